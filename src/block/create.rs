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

/// Bytes of a cluster of the images that are created here: imago's default.
const CLUSTER: u64 = 65_536;
/// L2 tables of an image: its L1 table, which is in memory while the image is open, has at most 32 MiB.
const TABLES_MAX: u64 = 4 << 20;

/// Whether a qcow2 image with these clusters can have this size: 2 PiB for clusters of 64 KiB.
pub fn qcow2_can_have(size: u64, cluster: u64) -> bool {
    size.div_ceil(cluster).div_ceil(cluster / 8) <= TABLES_MAX
}

fn create_qcow2(file: File, size: u64) -> io::Result<()> {
    if !qcow2_can_have(size, CLUSTER) {
        return Err(io::Error::other(format!("{size} bytes is too much for a qcow2 image of 64 KiB clusters")));
    }
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
