//! Snapshots of a disk: an overlay at the image's path, and a line in an index beside it.
//!
//! `disk.img` after a snapshot `before-update`:
//!
//! ```text
//! disk.img                      new qcow2 overlay; the machine's configuration still names this path
//! disk.img.snap-before-update   what disk.img was, in its own format; the overlay's backing file
//! disk.img.snapshots            the index: names, dates, parents, and the format of disk.img
//! ```
//!
//! A raw image becomes qcow2 at its path, so the index tells the format: it is pcvm's file, which no guest can write.
//!
//! # Crash safety
//! An operation first writes the index with the state before and after it (`pending`), with the inode numbers that
//! `disk.img` has before and after. Then one rename(2) replaces `disk.img`, and the index is written again without the
//! pending part. A reader of an index with a pending part compares the inode number: it says which state holds. A process
//! killed between any two steps thus leaves an image with all its data; [`recover`] removes what it left behind.
//!
//! # Running machines
//! Slow steps come first and last, so that a machine stops for a few system calls only:
//!
//! 1. [`prepare`] or [`prepare_rollback`] for each disk, while the machine runs.
//! 2. Stop the drives and flush them.
//! 3. [`Prepared::commit`] for each; if one fails, [`Committed::undo`] for those before it.
//! 4. Open the images again: [`Committed::reopen`] has the path and format, to be locked anew. Let the drives run.
//! 5. [`Committed::finish`] for each.
//!
//! The caller holds the image's lock for writing from before 1 until 4.

mod delete;
mod index;

pub use delete::delete;
pub use index::{Index, Snapshot};

use super::chain::{Depth, Disk};
use super::create::{CreateOptions, Preallocation, format_file};
use super::files::{self, NewFile, with_suffix};
use super::merge::keep_mode;
use super::{Format, ImageError, format};
use crate::block::Directories;
use index::{IndexFile, Pending};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What to take.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The snapshot's name: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    pub name: String,
    /// A comment of up to 1000 bytes.
    pub comment: Option<String>,
    /// Format of the image, where neither the index nor its name says it.
    pub format: Option<Format>,
}

/// The path and formats to open after [`Prepared::commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopen {
    /// The image's path, with links resolved.
    pub image: PathBuf,
    /// Its format from now on.
    pub format: Format,
    /// Its backing file, in the same directory.
    pub backing: PathBuf,
    /// The backing file's format.
    pub backing_format: Format,
}

/// A snapshot or rollback of which only the last step is missing. Dropping it removes what was prepared.
#[derive(Debug)]
pub struct Prepared {
    image: PathBuf,
    overlay: NewFile,
    reopen: Reopen,
    index: IndexFile,
    pending: Pending,
    active: bool,
}

/// A snapshot or rollback that is in effect.
#[derive(Debug)]
pub struct Committed {
    image: PathBuf,
    reopen: Reopen,
    index: IndexFile,
    pending: Pending,
}

/// The snapshots of an image, as they are; an operation that was interrupted counts if it took effect.
///
/// # Errors
/// If the index cannot be read or is damaged.
pub fn list(image: &Path) -> Result<Index, ImageError> {
    match fs::canonicalize(image) {
        Ok(path) => Ok(IndexFile::load(&path)?.current(&path)),
        Err(_) => Ok(Index::default()),
    }
}

/// The format that the index has for an image; `None` without snapshots.
///
/// # Errors
/// If the index cannot be read or is damaged.
pub fn format_of(image: &Path) -> Result<Option<Format>, ImageError> {
    Ok(list(image)?.format)
}

/// Cleans up after an operation that was interrupted, under the image's lock. Gives the image's path with links resolved.
/// To be called before an image is opened for writing; costs one failing stat(2) without snapshots.
///
/// # Errors
/// If the image does not exist, is in use, or its index is damaged.
pub fn recover(image: &Path) -> Result<PathBuf, ImageError> {
    let image = fs::canonicalize(image).map_err(ImageError::host(image))?;
    let mut index = IndexFile::load(&image)?;
    if index.pending.is_none() {
        return Ok(image);
    }
    let _lock = files::open_locked(&image, true)?;
    // It may have ended before the lock was free.
    index = IndexFile::load(&image)?;
    if let Some(pending) = index.pending.take() {
        let inode = fs::metadata(&image).map_err(ImageError::host(&image))?.ino();
        if inode == pending.inode_after {
            finish(&image, &mut index, &pending)?;
        } else if inode == pending.inode_before {
            roll_back(&image, &mut index, &pending)?;
        } else {
            return Err(index::undecided(&image));
        }
    }
    Ok(image)
}

/// Makes the state after the operation the index's only one.
fn finish(image: &Path, index: &mut IndexFile, pending: &Pending) -> Result<(), ImageError> {
    index.state = pending.state.clone();
    index.pending = None;
    if index.state == Index::default() {
        index::remove(image)?
    } else {
        index.store(image)?
    }
    if pending.drop_link {
        let _ = fs::remove_file(files::parent(image).join(&pending.link));
    }
    Ok(())
}

/// Removes what an operation prepared that did not take effect.
fn roll_back(image: &Path, index: &mut IndexFile, pending: &Pending) -> Result<(), ImageError> {
    let dir = files::parent(image);
    // The index keeps naming them until they are gone.
    for (name, inodes) in [
        (&pending.temporary, [pending.inode_after, pending.inode_after]),
        // A second name of the image, or the overlay under its future backing file's name.
        (&pending.link, [pending.inode_before, pending.inode_after]),
    ] {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| inodes.contains(&metadata.ino())) {
            fs::remove_file(&path).map_err(ImageError::host(&path))?;
        }
    }
    index.pending = None;
    if index.state == Index::default() { index::remove(image) } else { index.store(image) }
}

/// Prepares a snapshot: creates the overlay beside the image and writes the index. The image is not touched.
///
/// # Errors
/// If the name is invalid or taken, the image is not a regular file, its format is unknown, or the host refuses.
pub fn prepare(image: &Path, request: &Request) -> Result<Prepared, ImageError> {
    index::check_name(&request.name)?;
    let (image, index, current) = open_index(image)?;
    let format = regular(&image, request.format)?;
    let file = snapshot_file(&image, &current, &request.name)?;
    let disk = top(&image, format)?;
    let snapshot = Snapshot {
        name: request.name.clone(),
        date: index::now(),
        parent: current.parent.clone(),
        file: file_name(&file)?,
        format,
        size: disk.size(),
        comment: index::check_comment(request.comment.as_deref())?,
        deleting: false,
    };
    let mut after = current;
    after.format = Some(Format::Qcow2);
    after.parent = Some(request.name.clone());
    after.snapshots.push(snapshot);
    Prepared::new(image, index, after, &disk, (file.clone(), format), file, false)
}

/// Prepares a rollback to a snapshot: creates an empty overlay on it. What the image has now is dropped, or with `keep`
/// becomes a snapshot itself.
///
/// # Errors
/// As for [`prepare`], and if there is no snapshot of that name.
pub fn prepare_rollback(image: &Path, name: &str, keep: Option<&Request>) -> Result<Prepared, ImageError> {
    let (image, index, current) = open_index(image)?;
    let target = current.find(&image, name)?.clone();
    if target.deleting {
        let why = format!("the deletion of its snapshot '{name}' was interrupted: delete it again");
        return Err(ImageError::refused(&image, why));
    }
    let format = regular(&image, None)?;
    let backing = files::parent(&image).join(&target.file);
    let base = top(&backing, target.format)?;
    let mut after = current.clone();
    let link = match keep {
        Some(request) => {
            index::check_name(&request.name)?;
            let file = snapshot_file(&image, &current, &request.name)?;
            after.snapshots.push(Snapshot {
                name: request.name.clone(),
                date: index::now(),
                parent: current.parent,
                file: file_name(&file)?,
                format,
                size: top(&image, format)?.size(),
                comment: index::check_comment(request.comment.as_deref())?,
                deleting: false,
            });
            file
        }
        None => files::temporary(&image, "before"),
    };
    after.format = Some(Format::Qcow2);
    after.parent = Some(target.name);
    Prepared::new(image, index, after, &base, (backing, target.format), link, keep.is_none())
}

/// The image's path, its index, and the state that holds.
fn open_index(image: &Path) -> Result<(PathBuf, IndexFile, Index), ImageError> {
    let image = fs::canonicalize(image).map_err(ImageError::host(image))?;
    let index = IndexFile::load(&image)?;
    if index.pending.is_some() {
        // The caller holds the lock, so no other process is at it; but it should have called `recover`.
        return Err(ImageError::refused(&image, "an interrupted snapshot was not cleaned up"));
    }
    let current = index.state.clone();
    Ok((image, index, current))
}

/// The format of an image that can have snapshots.
fn regular(image: &Path, given: Option<Format>) -> Result<Format, ImageError> {
    let file = files::open(image, false)?;
    if !file.metadata().map_err(ImageError::host(image))?.is_file() {
        let why = "is a block device, which cannot be renamed: create an overlay with 'pcvm image create --backing'";
        return Err(ImageError::refused(image, why));
    }
    match format::decide(image, &file, given)? {
        format @ (Format::Raw | Format::Qcow2) => Ok(format),
        other => Err(ImageError::refused(image, format!("format {other} is read-only here: convert it first"))),
    }
}

/// The image without its backing files.
fn top(image: &Path, format: Format) -> Result<Disk, ImageError> {
    let dirs = Directories::new(image, &[]).map_err(ImageError::block)?;
    let file = files::open(image, false)?;
    Disk::from_file(image, file, format, &dirs, Depth::Top, false)
}

/// Where the snapshot's file will be.
fn snapshot_file(image: &Path, index: &Index, name: &str) -> Result<PathBuf, ImageError> {
    let file = with_suffix(image, &format!(".snap-{name}"));
    if index.snapshots.iter().any(|snapshot| snapshot.name == name) {
        return Err(ImageError::refused(image, format!("has a snapshot '{name}' already")));
    }
    if fs::symlink_metadata(&file).is_ok() {
        return Err(ImageError::refused(&file, "exists, and the index does not know it: move it away"));
    }
    Ok(file)
}

fn file_name(path: &Path) -> Result<String, ImageError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| ImageError::refused(path, "its name is not UTF-8, so it cannot have snapshots"))
}

impl Prepared {
    fn new(
        image: PathBuf,
        mut index: IndexFile,
        after: Index,
        base: &Disk,
        backing: (PathBuf, Format),
        link: PathBuf,
        drop_link: bool,
    ) -> Result<Self, ImageError> {
        let overlay = NewFile::create(files::temporary(&image, "overlay"))?;
        let options = CreateOptions {
            format: Format::Qcow2,
            cluster_size: base.layers().first().and_then(|layer| layer.header()).map_or(65536, |h| h.cluster_size()),
            refcount_bits: 16,
            preallocation: Preallocation::Off,
            backing: Some(backing.clone()),
        };
        // QEMU drops an incomplete last sector.
        format_file(overlay.file(), &image, base.size().next_multiple_of(512), &options)?;
        let before = files::open(&image, false)?;
        keep_mode(&before, overlay.file(), &image)?;
        overlay.file().sync_all().map_err(ImageError::host(overlay.path()))?;
        let inode = |file: &fs::File| file.metadata().map(|m| m.ino()).map_err(ImageError::host(&image));
        let pending = Pending {
            inode_before: inode(&before)?,
            inode_after: inode(overlay.file())?,
            temporary: file_name(overlay.path())?,
            link: file_name(&link)?,
            drop_link,
            state: after,
        };
        index.pending = Some(pending.clone());
        index.store(&image)?;
        let reopen =
            Reopen { image: image.clone(), format: Format::Qcow2, backing: backing.0, backing_format: backing.1 };
        Ok(Self { image, overlay, reopen, index, pending, active: true })
    }

    /// Replaces the image by the overlay. The image's file must be flushed.
    ///
    /// # Errors
    /// If the host refuses; the image and its index are as before then.
    pub fn commit(mut self) -> Result<Committed, ImageError> {
        let link = files::parent(&self.image).join(&self.pending.link);
        exchange(&self.image, self.overlay.path(), &link)?;
        self.overlay.keep();
        self.active = false;
        let done = Committed {
            image: self.image.clone(),
            reopen: self.reopen.clone(),
            index: self.index.clone(),
            pending: self.pending.clone(),
        };
        match files::sync_directory(&done.image) {
            Ok(()) => Ok(done),
            Err(error) => {
                done.undo()?;
                Err(error)
            }
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.active {
            // The overlay's own value removes it. Errors leave what `recover` removes.
            let _ = roll_back(&self.image, &mut self.index, &self.pending);
        }
    }
}

/// Gives the image a second name, and the overlay its first. The image's path names one of the two at any moment.
fn exchange(image: &Path, overlay: &Path, link: &Path) -> Result<(), ImageError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    if fs::hard_link(image, link).is_ok() {
        return fs::rename(overlay, image).map_err(|why| {
            let _ = fs::remove_file(link);
            ImageError::Host { path: image.to_owned(), why }
        });
    }
    // No hard links on this file system: exchange the names in one step.
    fs::rename(overlay, link).map_err(ImageError::host(link))?;
    renameat_with(CWD, link, CWD, image, RenameFlags::EXCHANGE).map_err(|error| {
        let _ = fs::rename(link, overlay);
        let why =
            format!("its file system has neither hard links nor RENAME_EXCHANGE ({})", std::io::Error::from(error));
        ImageError::refused(image, why)
    })
}

impl Committed {
    /// What to open now.
    pub fn reopen(&self) -> &Reopen {
        &self.reopen
    }

    /// Writes the index without what is past.
    ///
    /// # Errors
    /// If the host refuses. The snapshot is in effect even so, and the next [`recover`] ends it.
    pub fn finish(mut self) -> Result<(), ImageError> {
        finish(&self.image, &mut self.index, &self.pending)
    }

    /// Puts the image back. Allowed as long as nothing was written to the overlay.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn undo(mut self) -> Result<(), ImageError> {
        let link = files::parent(&self.image).join(&self.pending.link);
        fs::rename(&link, &self.image).map_err(ImageError::host(&link))?;
        roll_back(&self.image, &mut self.index, &self.pending)
    }
}

/// Takes a snapshot of an image that no machine uses.
///
/// # Errors
/// Those of [`prepare`] and [`Prepared::commit`], and if the image is in use.
pub fn take(image: &Path, request: &Request) -> Result<Reopen, ImageError> {
    let image = recover(image)?;
    let file = files::open_locked(&image, true)?;
    file.sync_all().map_err(ImageError::host(&image))?;
    end(prepare(&image, request)?)
}

/// Rolls an image that no machine uses back to a snapshot.
///
/// # Errors
/// Those of [`prepare_rollback`] and [`Prepared::commit`], and if the image is in use.
pub fn rollback(image: &Path, name: &str, keep: Option<&Request>) -> Result<Reopen, ImageError> {
    let image = recover(image)?;
    let file = files::open_locked(&image, true)?;
    if keep.is_some() {
        file.sync_all().map_err(ImageError::host(&image))?;
    }
    end(prepare_rollback(&image, name, keep)?)
}

fn end(prepared: Prepared) -> Result<Reopen, ImageError> {
    let done = prepared.commit()?;
    let reopen = done.reopen().clone();
    done.finish()?;
    Ok(reopen)
}
