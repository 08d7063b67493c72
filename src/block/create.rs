//! Creation of image files: `size=` of `--disk`, and the overlay of `snapshot`.

use super::image::ImageError;
use crate::config::ImageFormat;
use imago::FormatCreateBuilder;
use imago::StorageOpenOptions;
use imago::qcow2::Qcow2;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Creates an image of `size` bytes if there is no file at `path`. Gives whether it did.
///
/// # Errors
/// If the file cannot be created; a file that is created in part is removed.
pub fn create_if_missing(path: &Path, format: ImageFormat, size: u64) -> Result<bool, ImageError> {
    let failed = |why| ImageError::Host { path: path.to_owned(), why };
    let file = match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let result = match format {
        ImageFormat::Raw => file.set_len(size),
        ImageFormat::Qcow2 => create_qcow2(file, size),
        ImageFormat::Vmdk => Err(io::ErrorKind::Unsupported.into()),
    };
    result.map(|()| true).map_err(|why| {
        let _ = std::fs::remove_file(path);
        failed(why)
    })
}

fn create_qcow2(file: File, size: u64) -> io::Result<()> {
    let store = imago::file::File::from_open_file(file, StorageOpenOptions::new().write(true))?;
    Qcow2::<imago::file::File>::create_builder(store).size(size).create()
}

/// Where temporary files are that may become large: TMPDIR, or /var/tmp, because /tmp may be in memory.
pub fn temporary_dir() -> PathBuf {
    std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// A file without a name, which ends with its descriptor.
///
/// # Errors
/// If the directory for temporary files does not take it.
pub fn unlinked_file() -> io::Result<File> {
    let dir = temporary_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(&dir, flags, Mode::RUSR | Mode::WUSR)?))
}
