//! Deleting a snapshot: what depends on it gets its content first.

use super::{Pending, finish, list, recover};
use crate::image::chain::{Depth, Disk};
use crate::image::files;
use crate::image::merge::{self, merge_into};
use crate::image::snapshot::index::IndexFile;
use crate::image::{Format, ImageError, Progress, directories};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Deletes a snapshot of an image that no machine uses. With the image alone based on it, the image's changes are written
/// into the snapshot's file, which becomes the image; with one other snapshot based on it, that one's file gets its content.
///
/// `more` are directories that the backing files of the first snapshot may be in.
///
/// An interrupted deletion leaves the image as it is. The snapshot may be in the index still, marked as being deleted.
///
/// Images outside the index that are based on the snapshot's file lose their backing file; a machine that runs on one keeps
/// the file locked, so the snapshot is not deleted.
///
/// # Errors
/// If several snapshots depend on it, a file is in use, or the host refuses.
pub fn delete(image: &Path, name: &str, more: &[PathBuf], progress: Progress<'_>) -> Result<(), ImageError> {
    let image = &recover(image)?;
    let lock = files::open_locked(image, true)?;
    let index = list(image)?;
    let snapshot = index.find(image, name)?.clone();
    let children: Vec<_> = index.snapshots.iter().filter(|child| child.parent.as_deref() == Some(name)).collect();
    let current = index.parent.as_deref() == Some(name);
    let dir = files::parent(image);
    let file = dir.join(&snapshot.file);
    let dirs = directories(image, more)?;

    let mut store = IndexFile::load(image)?;
    store.state.snapshots.retain(|other| other.name != name);
    for child in store.state.snapshots.iter_mut().filter(|child| child.parent.as_deref() == Some(name)) {
        child.parent.clone_from(&snapshot.parent);
    }
    match (children.as_slice(), current) {
        ([], false) => {
            // A machine that uses the file has it locked.
            drop(files::open_locked(&file, true)?);
        }
        ([], true) => {
            let copy = lock.try_clone().map_err(ImageError::host(image))?;
            let mut disk = Disk::from_file(image, copy, Format::Qcow2, &dirs, Depth::Chain, false)?;
            let mut begun = IndexFile::load(image)?;
            begun.state.snapshots.iter_mut().filter(|other| other.name == name).for_each(|other| other.deleting = true);
            begun.store(image)?;
            merge_into(&mut disk, &file, snapshot.format, progress)?;
            drop(disk);
            let last = store.state.snapshots.is_empty();
            store.state.parent.clone_from(&snapshot.parent);
            store.state.format = if last && snapshot.parent.is_none() { None } else { Some(snapshot.format) };
            return replace(image, &lock, &file, store);
        }
        ([child], false) => {
            let child_file = dir.join(&child.file);
            let base = snapshot.parent.as_deref().map(|parent| index.find(image, parent)).transpose()?;
            let base = base.map(|base| (dir.join(&base.file), base.format));
            give_content(&child_file, &file, base, more, progress)?;
        }
        (several, _) => {
            let mut names: Vec<_> = several.iter().map(|child| format!("'{}'", child.name)).collect();
            if current {
                names.push("the image itself".to_owned());
            }
            let why =
                format!("snapshot '{name}' is the base of {}: delete all but one of these first", names.join(" and "));
            return Err(ImageError::refused(image, why));
        }
    }
    store.store(image)?;
    fs::remove_file(&file).map_err(ImageError::host(&file))
}

/// Makes the snapshot's file, which has the image's content by now, the image.
fn replace(image: &Path, before: &fs::File, file: &Path, mut store: IndexFile) -> Result<(), ImageError> {
    let old = IndexFile::load(image)?;
    let inode = |metadata: std::io::Result<fs::Metadata>| metadata.map(|m| m.ino()).map_err(ImageError::host(image));
    let pending = Pending {
        inode_before: inode(before.metadata())?,
        inode_after: inode(fs::metadata(file))?,
        // Neither may be removed if the rename does not happen: the image is still based on the file.
        temporary: ".none".to_owned(),
        link: ".none".to_owned(),
        drop_link: false,
        state: store.state.clone(),
    };
    store.state = old.state;
    store.pending = Some(pending.clone());
    store.store(image)?;
    fs::rename(file, image).map_err(ImageError::host(image))?;
    files::sync_directory(image)?;
    finish(image, &mut store, &pending)
}

/// Copies into `child` what its backing file `file` has, and bases it on `base` instead.
fn give_content(
    child: &Path,
    file: &Path,
    base: Option<(PathBuf, Format)>,
    more: &[PathBuf],
    progress: Progress<'_>,
) -> Result<(), ImageError> {
    let lock = files::open_locked(child, true)?;
    drop(files::open_locked(file, true)?);
    merge::move_base(lock, child, base, more, progress)
}
