//! `pcvm image commit` and `rebase`: an overlay's content into its backing file, and another backing file for an overlay.

use super::chain::{Depth, Disk, SegmentKind};
use super::convert::STEP;
use super::create::{CreateOptions, Preallocation, format_file};
use super::files::{self, NewFile};
use super::write::{Target, recorded_name};
use super::{Format, ImageError, Progress, directories, format, snapshot};
use crate::block::Directories;
use crate::block::qcow2::{AUTOCLEAR_BITMAPS, Header};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Refuses an overlay whose internal snapshots or bitmaps would be lost or change.
fn check_plain(path: &Path, header: &Header) -> Result<(), ImageError> {
    if header.snapshots > 0 {
        let why = "has internal snapshots, whose content would change: delete them with 'qemu-img snapshot -d'";
        return Err(ImageError::refused(path, why));
    }
    if header.bitmaps.is_some_and(|bitmaps| bitmaps.count > 0) && header.autoclear & AUTOCLEAR_BITMAPS != 0 {
        let why = "has persistent bitmaps, which would become wrong: remove them with 'qemu-img bitmap --remove'";
        return Err(ImageError::refused(path, why));
    }
    Ok(())
}

/// An overlay under an exclusive lock.
struct Overlay {
    path: PathBuf,
    file: File,
    header: Header,
}

impl Overlay {
    fn open(path: &Path, given: Option<Format>) -> Result<Self, ImageError> {
        let path = snapshot::recover(path)?;
        let file = files::open_locked(&path, true)?;
        let found = format::decide(&path, &file, given)?;
        if found != Format::Qcow2 {
            return Err(ImageError::refused(&path, format!("is {found}, and only qcow2 images have backing files")));
        }
        let header = Header::read(&file).map_err(|why| ImageError::refused(&path, why))?;
        check_plain(&path, &header)?;
        Ok(Self { path, file, header })
    }

    fn disk(&self, dirs: &Directories) -> Result<Disk, ImageError> {
        let file = self.file.try_clone().map_err(ImageError::host(&self.path))?;
        Disk::from_file(&self.path, file, Format::Qcow2, dirs, Depth::Chain, false)
    }
}

/// Writes an overlay's content into its backing file, and empties the overlay. Gives the backing file.
///
/// The overlay stays complete until the backing file is on stable storage, and is then replaced by an empty one in one step.
///
/// # Errors
/// If the image has no backing file, one of the two is in use or is part of pcvm's snapshots, or the host refuses.
pub fn commit(
    path: &Path,
    given: Option<Format>,
    dirs: &Directories,
    progress: Progress<'_>,
) -> Result<PathBuf, ImageError> {
    let overlay = Overlay::open(path, given)?;
    let path = &overlay.path;
    if let Some(name) = snapshot::list(path)?.parent {
        let why = format!("is based on the snapshot '{name}': 'pcvm image snapshot --delete {name}' merges it");
        return Err(ImageError::refused(path, why));
    }
    let mut disk = overlay.disk(dirs)?;
    let Some(base) = disk.layers().get(1).map(|layer| (layer.path.clone(), layer.format)) else {
        return Err(ImageError::refused(path, "has no backing file"));
    };
    let (base, base_format) = base;
    merge_into(&mut disk, &base, base_format, progress)?;

    let options = CreateOptions {
        format: Format::Qcow2,
        cluster_size: overlay.header.cluster_size(),
        refcount_bits: 1 << overlay.header.refcount_order,
        preallocation: Preallocation::Off,
        backing: Some((base.clone(), base_format)),
    };
    let new = NewFile::create(files::temporary(path, "new"))?;
    format_file(new.file(), path, disk.size(), &options)?;
    keep_mode(&overlay.file, new.file(), path)?;
    new.publish(path, true)?;
    Ok(base)
}

/// Gives a file that replaces `old` its owner and permissions.
pub(super) fn keep_mode(old: &File, new: &File, path: &Path) -> Result<(), ImageError> {
    let metadata = old.metadata().map_err(ImageError::host(path))?;
    new.set_permissions(metadata.permissions()).map_err(ImageError::host(path))?;
    // Only root can give files away; an owner keeps them anyway.
    let _ = std::os::unix::fs::fchown(new, Some(metadata.uid()), Some(metadata.gid()));
    Ok(())
}

/// Writes what the top image of `disk` has into its backing file at `base`, and brings that to stable storage.
pub(super) fn merge_into(
    disk: &mut Disk,
    base: &Path,
    base_format: Format,
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let file = files::open_locked(base, true)?;
    let known = disk.layers().get(1).and_then(|layer| layer.file()).and_then(|file| file.metadata().ok());
    let opened = file.metadata().map_err(ImageError::host(base))?;
    if known.is_none_or(|known| (known.dev(), known.ino()) != (opened.dev(), opened.ino())) {
        return Err(ImageError::refused(base, "was replaced by another process: try again"));
    }
    let base_header = disk.layers().get(1).and_then(|layer| layer.header()).cloned();
    if let Some(header) = &base_header {
        check_plain(base, header)?;
    }
    let (size, base_size) = (disk.size(), disk.layers().get(1).map_or(0, |layer| layer.size));
    let mut out = Target::open(&file, base, base_format)?;
    if size > base_size {
        super::resize::grow(&mut out, disk, 1, size)?;
        // Growing moves tables, so both sides begin anew.
        out.finish()?;
        disk.reload(1)?;
        out = Target::open(&file, base, base_format)?;
    }
    let step = STEP.max(out.granularity());
    let unit = out.granularity();
    let end = size.max(base_size);
    let mut buffer = vec![0; step as usize];
    let mut at = 0;
    while at < size {
        let segment = disk.map(at, size - at)?;
        if segment.depth > 0 || segment.kind == SegmentKind::Absent {
            at += segment.length;
            progress(at, size);
            continue;
        }
        // Whole units of the target: what the overlay does not have of them comes from below, also behind its end.
        let start = at / unit * unit;
        let stop = (at + segment.length).next_multiple_of(unit).min(end).min(start + step);
        let part = &mut buffer[..(stop - start) as usize];
        let split = size.min(stop);
        let (ours, below) = part.split_at_mut((split - start) as usize);
        disk.read(start, ours)?;
        disk.read_below(1, split, below)?;
        out.write(start, part, false)?;
        at = stop;
        progress(at.min(size), size);
    }
    out.finish()
}

/// How an overlay gets another backing file.
#[derive(Clone, Debug)]
pub struct RebaseOptions {
    /// Format of the overlay, where its name does not say it.
    pub format: Option<Format>,
    /// The new backing file and its format; `None` for an image without one.
    pub backing: Option<(PathBuf, Format)>,
    /// Change the name only: the new file has the same content.
    pub name_only: bool,
}

/// Gives an overlay another backing file. Unless `name_only`, its content stays the same: what the new backing file has
/// differently is copied into the overlay first. `more` are directories that the files which the images name may be in.
///
/// # Errors
/// If the image is in use or no overlay, the new backing file cannot be used, or the host refuses. The image has its old
/// backing file then, and its content.
pub fn rebase(
    path: &Path,
    options: &RebaseOptions,
    more: &[PathBuf],
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let overlay = Overlay::open(path, options.format)?;
    let path = &overlay.path;
    if let Some(name) = snapshot::list(path)?.parent {
        let why = format!("is based on the snapshot '{name}', and stays so until that is deleted");
        return Err(ImageError::refused(path, why));
    }
    overlay.rebase(options.backing.as_ref(), options.name_only, more, progress)
}

/// The same for an image that is locked and may be part of the snapshots.
pub(super) fn move_base(
    file: File,
    path: &Path,
    backing: Option<(PathBuf, Format)>,
    more: &[PathBuf],
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let header = Header::read(&file).map_err(|why| ImageError::refused(path, why))?;
    check_plain(path, &header)?;
    Overlay { path: path.to_owned(), file, header }.rebase(backing.as_ref(), false, more, progress)
}

impl Overlay {
    fn rebase(
        &self,
        backing: Option<&(PathBuf, Format)>,
        name_only: bool,
        more: &[PathBuf],
        progress: Progress<'_>,
    ) -> Result<(), ImageError> {
        let path = &self.path;
        let named = backing.map(|(file, format)| (recorded_name(path, file), *format));
        if !name_only {
            let new = match &named {
                Some((name, format)) => {
                    let full = files::parent(path).join(name);
                    Some(Disk::open(&full, Some(*format), &directories(&full, more)?, Depth::Chain, true)?)
                }
                None => None,
            };
            let ours = self.file.metadata().map_err(ImageError::host(path))?;
            let same = |layer: &super::chain::Layer| {
                let metadata = layer.file().and_then(|file| file.metadata().ok());
                metadata.is_some_and(|metadata| (metadata.dev(), metadata.ino()) == (ours.dev(), ours.ino()))
            };
            if new.as_ref().is_some_and(|new| new.layers().iter().any(same)) {
                return Err(ImageError::refused(path, "would be its own backing file"));
            }
            let mut old = self.disk(&directories(path, more)?)?;
            copy_differences(self, &mut old, new, progress)?;
        }
        let header = Header::read(&self.file).map_err(|why| ImageError::refused(path, why))?;
        let named = named.as_ref().map(|(name, format)| (name.as_path(), *format));
        set_backing(&self.file, path, &header, named)
    }
}

/// Copies into the overlay what `new` has differently below it.
fn copy_differences(
    overlay: &Overlay,
    old: &mut Disk,
    mut new: Option<Disk>,
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let size = old.size();
    let mut out = Target::open(&overlay.file, &overlay.path, Format::Qcow2)?;
    let unit = out.granularity();
    let step = STEP.max(unit);
    let (mut content, mut other) = (vec![0; step as usize], vec![0; step as usize]);
    let mut at = 0;
    while at < size {
        let segment = old.map(at, size - at)?;
        if segment.depth == 0 && segment.kind != SegmentKind::Absent {
            at += segment.length;
            progress(at, size);
            continue;
        }
        // `at` is at the start of a unit: the overlay's segments are its clusters.
        let mut length = segment.length.next_multiple_of(unit).min(size - at);
        let zero = segment.is_zero();
        let zero_below = match &mut new {
            None => true,
            Some(new) if at >= new.size() => true,
            Some(new) => {
                let below = new.map(at, length)?;
                // Compare no further than the new chain's segment, in whole units.
                let whole = below.length / unit * unit;
                if whole > 0 {
                    length = length.min(whole);
                }
                whole > 0 && below.is_zero()
            }
        };
        if zero && zero_below && segment.length >= length {
            at += length;
            progress(at, size);
            continue;
        }
        let length = length.min(step - at % step);
        let (part, base) = (&mut content[..length as usize], &mut other[..length as usize]);
        old.read(at, part)?;
        match &mut new {
            Some(new) => new.read(at, base)?,
            None => base.fill(0),
        }
        super::convert::write_differences(&mut out, at, part, base)?;
        at += length;
        progress(at, size);
    }
    out.finish()
}

/// Writes a qcow2 header with another backing file in one write, and brings it to stable storage.
pub(super) fn set_backing(
    file: &File,
    path: &Path,
    header: &Header,
    backing: Option<(&Path, Format)>,
) -> Result<(), ImageError> {
    let start = header.length as usize;
    let mut bytes = vec![0; start];
    file.read_exact_at(&mut bytes, 0).map_err(ImageError::host(path))?;
    let name = backing.map(|(name, _)| name.as_os_str().as_bytes()).unwrap_or_default();
    if name.len() > 1023 {
        return Err(ImageError::refused(path, "the backing file's name is longer than 1023 bytes"));
    }
    let build = |bytes: &[u8], feature_names: bool| {
        let mut bytes = bytes.to_vec();
        let mut put = |kind: u32, data: &[u8]| {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        };
        if let Some((_, format)) = backing {
            put(0xe279_2aca, format.name().as_bytes());
        }
        for extension in &header.extensions {
            match extension.kind {
                0xe279_2aca => {}
                0x6803_f857 if !feature_names => {}
                kind => put(kind, &extension.data),
            }
        }
        put(0, &[]);
        let at = if name.is_empty() { 0 } else { bytes.len() as u64 };
        bytes.extend(name);
        bytes[8..16].copy_from_slice(&at.to_be_bytes());
        bytes[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
        bytes
    };
    let cluster = header.cluster_size() as usize;
    bytes = [true, false]
        .iter()
        .map(|names| build(&bytes, *names))
        .find(|built| built.len() <= cluster)
        .ok_or_else(|| ImageError::refused(path, "its header has no room for the backing file's name"))?;
    // What is left of longer extensions would be read by nothing, as the end marker precedes it.
    file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map_err(ImageError::host(path))
}
