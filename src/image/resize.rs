//! `pcvm image resize`: a longer or, if the user insists, a shorter disk.

use super::chain::{Depth, Disk};
use super::files;
use super::write::Target;
use super::{Format, ImageError, format, snapshot};
use crate::block::Directories;
use crate::block::qcow2::{Header, Source};
use std::path::Path;
use std::str::FromStr;

/// A size, or a difference to the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Absolute(u64),
    /// Bytes more.
    Grow(u64),
    /// Bytes less.
    Shrink(u64),
}

impl Size {
    /// The size, if it is one.
    pub fn absolute(self) -> Option<u64> {
        match self {
            Self::Absolute(size) => Some(size),
            _ => None,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    /// `[+|-]N[.N][b|K|M|G|T|P]`, where K is 1024 bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number): (fn(u64) -> Self, _) = match text.as_bytes().first() {
            Some(b'+') => (Self::Grow, &text[1..]),
            Some(b'-') => (Self::Shrink, &text[1..]),
            _ => (Self::Absolute, text),
        };
        let wrong = || format!("'{text}' is not a size, such as 512M, 20G or 1.5T");
        let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match number[digits.len()..].to_ascii_lowercase().trim_end_matches("ib") {
            "" | "b" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            _ => return Err(wrong()),
        };
        let bytes = match digits.parse::<u64>() {
            Ok(count) => count.checked_mul(1 << shift),
            Err(_) if digits.contains('.') => {
                let value = digits.parse::<f64>().map_err(|_| wrong())? * (1_u64 << shift) as f64;
                (value < (1_u64 << 62) as f64 && value >= 0.0).then_some(value as u64)
            }
            Err(_) => None,
        };
        bytes.map(kind).ok_or_else(wrong)
    }
}

/// Changes the virtual size. A new part reads as zeros. Gives the sizes before and after.
///
/// # Errors
/// If the image is in use, the new size is smaller and `shrink` is not given, the image has internal snapshots, or the host
/// refuses.
pub fn resize(
    path: &Path,
    given: Option<Format>,
    size: Size,
    shrink: bool,
    dirs: &Directories,
) -> Result<(u64, u64), ImageError> {
    let path = &snapshot::recover(path)?;
    let file = files::open_locked(path, true)?;
    let format = format::decide(path, &file, given)?;
    let header = match format {
        Format::Raw => None,
        Format::Qcow2 => Some(Header::read(&file).map_err(|why| ImageError::refused(path, why))?),
        other => return Err(ImageError::refused(path, format!("format {other} can be read only"))),
    };
    let old = match &header {
        Some(header) => header.size,
        None => file.length().map_err(ImageError::host(path))?,
    };
    let new = match size {
        Size::Absolute(size) => Some(size),
        Size::Grow(more) => old.checked_add(more),
        Size::Shrink(less) => old.checked_sub(less).filter(|size| *size > 0),
    };
    let new = new
        .filter(|size| *size <= 1 << 57)
        .ok_or_else(|| ImageError::refused(path, format!("has {old} bytes, which cannot be changed by that much")))?;
    if !new.is_multiple_of(512) {
        return Err(ImageError::refused(path, format!("{new} bytes is not a whole number of 512-byte sectors")));
    }
    if new < old && !shrink {
        let why = format!("would lose its last {} bytes: give --shrink if its guest no longer uses them", old - new);
        return Err(ImageError::refused(path, why));
    }
    if new == old {
        return Ok((old, new));
    }
    let Some(header) = header else {
        file.set_len(new).and_then(|()| file.sync_all()).map_err(ImageError::host(path))?;
        return Ok((old, new));
    };
    if header.snapshots > 0 {
        let why = "has internal snapshots, whose sizes would differ: delete them with 'qemu-img snapshot -d'";
        return Err(ImageError::refused(path, why));
    }
    if new < old && header.backing_file.is_some() {
        // A later growth would show the backing file's content again.
        return Err(ImageError::refused(path, "has a backing file, so it cannot shrink: copy it with 'convert'"));
    }
    let mut target = Target::open(&file, path, Format::Qcow2)?;
    if new > old {
        let copy = file.try_clone().map_err(ImageError::host(path))?;
        let mut disk = Disk::from_file(path, copy, Format::Qcow2, dirs, Depth::Chain, false)?;
        grow(&mut target, &mut disk, 0, new)?;
    } else {
        target.shrink(new)?;
    }
    target.finish()?;
    Ok((old, new))
}

/// Makes the layer `first` of `disk`, which `target` writes to, longer. The new part reads as zeros.
pub(super) fn grow(target: &mut Target, disk: &mut Disk, first: usize, new: u64) -> Result<(), ImageError> {
    let Some(layer) = disk.layers().get(first) else { return Ok(()) };
    let old = layer.size;
    let backing = layer.header().is_some_and(|header| header.backing_file.is_some());
    // The last cluster's beginning may be in the backing file only: the overlay gets it before the cluster is zeroed behind.
    let start = old - old % target.granularity();
    if backing && start < old {
        let mut head = vec![0; (old - start) as usize];
        disk.read_below(first, start, &mut head)?;
        target.write_head(start, &head)?;
    }
    target.grow_zeroed(old, new, backing)
}
