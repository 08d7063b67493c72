//! `pcvm image convert`: copies a disk into a new image. Ranges without data stay holes.

use super::chain::{Depth, Disk};
use super::create::{CreateOptions, format_file};
use super::files::{self, NewFile};
use super::write::Target;
use super::{Format, ImageError, Progress, directories};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Bytes that are copied at once: a multiple of every cluster size.
pub(super) const STEP: u64 = 2 << 20;

/// How a disk is copied.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Format of the source, where its name does not say it.
    pub from: Option<Format>,
    /// The new image.
    pub to: CreateOptions,
    /// Replace an existing file.
    pub force: bool,
}

/// Copies the disk `source` with its backing files into `target`. With a backing file for the target, its content is left
/// out where it is the same. `more` are directories that the files which the images name may be in.
///
/// # Errors
/// If the source cannot be read, the target exists, or the host refuses; the target is as before then.
pub fn convert(
    source: &Path,
    target: &Path,
    options: &ConvertOptions,
    more: &[PathBuf],
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let mut disk = Disk::open(source, options.from, &directories(source, more)?, Depth::Chain, true)?;
    // A raw target may be a block device, which is written in place.
    let device = std::fs::metadata(target).is_ok_and(|metadata| metadata.file_type().is_block_device());
    if device {
        return to_device(&mut disk, target, options, progress);
    }
    files::check_target(target, options.force)?;
    let size = match options.to.format {
        // QEMU drops an incomplete last sector of a qcow2 image.
        Format::Qcow2 => disk.size().next_multiple_of(512),
        _ => disk.size(),
    };
    let new = NewFile::create(files::temporary(target, "new"))?;
    format_file(new.file(), target, size, &options.to)?;
    let mut out = Target::open_new(new.file(), new.path(), options.to.format)?;
    let base = match &options.to.backing {
        Some((path, format)) => {
            let full = files::parent(target).join(super::write::recorded_name(target, path));
            Some(Disk::open(&full, Some(*format), &directories(&full, more)?, Depth::Chain, true)?)
        }
        None => None,
    };
    copy(&mut disk, &mut out, base, true, progress)?;
    out.finish()?;
    new.publish(target, options.force)
}

fn to_device(
    disk: &mut Disk,
    target: &Path,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    if options.to.format != Format::Raw || !options.force {
        return Err(ImageError::refused(target, "is a block device: give -O raw and --force to overwrite it"));
    }
    let file = files::open_locked(target, true)?;
    let room = crate::block::qcow2::Source::length(&file).map_err(ImageError::host(target))?;
    if room < disk.size() {
        return Err(ImageError::refused(target, format!("has {room} bytes, the disk {}", disk.size())));
    }
    let mut out = Target::open(&file, target, Format::Raw)?;
    copy(disk, &mut out, None, false, progress)?;
    out.finish()
}

/// Copies everything. With `base`, only what differs from it. `was_zero` says that the target reads as zeros so far.
fn copy(
    disk: &mut Disk,
    out: &mut Target,
    mut base: Option<Disk>,
    was_zero: bool,
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let size = disk.size();
    let step = STEP.max(out.granularity());
    let (mut buffer, mut other) = (vec![0; step as usize], Vec::new());
    let mut at = 0;
    while at < size {
        let segment = disk.map(at, size - at)?;
        let empty = segment.is_zero() && (was_zero || base.is_some());
        // Whole clusters without data, but not the one in which data begins.
        let skip = if empty && base.is_none() { segment.length / step * step } else { 0 };
        if skip > 0 && at.is_multiple_of(step) {
            at += skip;
            progress(at, size);
            continue;
        }
        let length = (step - at % step).min(size - at);
        let part = &mut buffer[..length as usize];
        disk.read(at, part)?;
        match &mut base {
            None => out.write(at, part, was_zero)?,
            Some(base) => {
                other.resize(part.len(), 0);
                base.read(at, &mut other)?;
                write_differences(out, at, part, &other)?;
            }
        }
        at += length;
        progress(at, size);
    }
    Ok(())
}

/// Writes the units of `part` that differ from `other`, which the target shows so far.
pub(super) fn write_differences(out: &mut Target, at: u64, part: &[u8], other: &[u8]) -> Result<(), ImageError> {
    let unit = out.granularity() as usize;
    for (index, (new, old)) in part.chunks(unit).zip(other.chunks(unit)).enumerate() {
        if new != old {
            out.write(at + (index * unit) as u64, new, false)?;
        }
    }
    Ok(())
}
