//! Opening, locking and replacing image files.

use super::ImageError;
use crate::block::Directories;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Attempts to lock a file that another process has locked, and the pause between two.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Opens a file for reading that the image `from` names, if it is in an allowed directory. Gives the file and its path.
///
/// # Errors
/// If the host refuses, it is not a file or block device, or it is in another directory.
pub fn open_named(dirs: &Directories, name: &str, from: &Path) -> Result<(File, PathBuf), ImageError> {
    let (file, path) = dirs.open(from, name, false, false).map_err(ImageError::block)?;
    check_kind(&file, &path)?;
    Ok((file, path))
}

/// The directory of a file.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// `path` with `end` appended to the file's name.
pub fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A hidden file beside `path` for what is being made.
pub fn temporary(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{what}-{}", std::process::id()));
    parent(path).join(name)
}

/// Opens an image file or block device.
///
/// # Errors
/// If the host refuses or the path names something else.
pub fn open(path: &Path, write: bool) -> Result<File, ImageError> {
    // O_NONBLOCK, so that a FIFO does not block; it has no effect on files and block devices.
    let file = OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(ImageError::host(path))?;
    check_kind(&file, path)?;
    Ok(file)
}

fn check_kind(file: &File, path: &Path) -> Result<(), ImageError> {
    let kind = file.metadata().map_err(ImageError::host(path))?.file_type();
    if kind.is_file() || kind.is_block_device() {
        return Ok(());
    }
    let what = if kind.is_dir() { "is a directory" } else { "is not a file or a block device" };
    Err(ImageError::refused(path, what))
}

/// Locks an open image: for one writer, or with other readers. The lock lasts as long as the descriptor.
///
/// # Errors
/// If another process has it, or the path names another file by now.
pub fn lock(file: &File, path: &Path, exclusive: bool) -> Result<(), ImageError> {
    let busy = |why: &io::Error| matches!(why.raw_os_error(), Some(libc::EAGAIN | libc::EACCES));
    let mut result = crate::block::lock(file, exclusive);
    for _ in 0..LOCK_TRIES {
        if !result.as_ref().is_err_and(busy) {
            break;
        }
        // A process that is ending holds its locks for some more milliseconds.
        std::thread::sleep(LOCK_PAUSE);
        result = crate::block::lock(file, exclusive);
    }
    match result {
        Ok(()) => {}
        Err(why) if busy(&why) => {
            let all: Vec<_> = crate::block::holders(file).iter().map(ToString::to_string).collect();
            let holder = if all.is_empty() { "another process".to_owned() } else { all.join(", ") };
            return Err(ImageError::InUse { path: path.to_owned(), holder });
        }
        // A file system without locks.
        Err(_) => return Ok(()),
    }
    let same = fs::metadata(path).map_err(ImageError::host(path))?;
    let ours = file.metadata().map_err(ImageError::host(path))?;
    if (same.dev(), same.ino()) != (ours.dev(), ours.ino()) {
        return Err(ImageError::refused(path, "was replaced by another process: try again"));
    }
    Ok(())
}

/// Opens and locks an image.
///
/// # Errors
/// Those of [`open`] and [`lock`].
pub fn open_locked(path: &Path, write: bool) -> Result<File, ImageError> {
    let file = open(path, write)?;
    lock(&file, path, write)?;
    Ok(file)
}

/// Brings a directory's entries to stable storage.
///
/// # Errors
/// The host's error.
pub fn sync_directory(path: &Path) -> Result<(), ImageError> {
    let dir = parent(path);
    let result = File::open(&dir).and_then(|dir| dir.sync_all());
    match result {
        // Some file systems have no fsync for directories.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL)) => Ok(()),
        other => other.map_err(ImageError::host(&dir)),
    }
}

/// A file that is being made under a temporary name. Dropping it removes the file.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Creates `path`, which must not exist but for a leftover of an earlier process.
    ///
    /// # Errors
    /// The host's error.
    pub fn create(path: PathBuf) -> Result<Self, ImageError> {
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(ImageError::host(&path))?;
        Ok(Self { file, path, kept: false })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the file stay under its name when this value is dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Brings the content to stable storage and renames the file to `target`, which is replaced only if `replace` says so.
    ///
    /// # Errors
    /// The host's error; `target` is as before then.
    pub fn publish(mut self, target: &Path, replace: bool) -> Result<(), ImageError> {
        self.file.sync_all().map_err(ImageError::host(&self.path))?;
        if replace {
            fs::rename(&self.path, target).map_err(ImageError::host(target))?;
        } else {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            let renamed = match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
                // Not on all file systems; hard_link does not replace either.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    fs::hard_link(&self.path, target).and_then(|()| fs::remove_file(&self.path))
                }
                other => other.map_err(io::Error::from),
            };
            renamed.map_err(|why| exists(target, why))?;
        }
        self.kept = true;
        sync_directory(target)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn exists(path: &Path, why: io::Error) -> ImageError {
    match why.kind() {
        io::ErrorKind::AlreadyExists => ImageError::refused(path, "exists: give --force to replace it"),
        _ => ImageError::Host { path: path.to_owned(), why },
    }
}

/// Refuses a target that exists, before a long operation begins.
///
/// # Errors
/// If `path` exists and `force` is not given, or is in use.
pub fn check_target(path: &Path, force: bool) -> Result<(), ImageError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(ImageError::Host { path: path.to_owned(), why }),
        Ok(_) if !force => Err(exists(path, io::ErrorKind::AlreadyExists.into())),
        Ok(_) => open_locked(path, true).map(drop),
    }
}
