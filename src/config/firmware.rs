//! Firmware images: what can be one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A firmware image is a whole number of these.
pub const FIRMWARE_UNIT: u64 = 64 << 10;
/// The largest image: what is decoded below 4 GiB on this board.
pub const FIRMWARE_MAX: u64 = 16 << 20;

/// A firmware image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// It cannot be opened or read.
    #[error("firmware {}: {}", path.display(), crate::error::host_error(why))]
    Host {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It is a directory, a device, …
    #[error("firmware {}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It has a size that no firmware has.
    #[error("firmware {}: {size} bytes is not a multiple of 64 KiB from 64 KiB to 16 MiB", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
}

/// Whether `path` is a readable file of a size that firmware can have.
pub fn check_firmware(path: &Path) -> Result<(), FirmwareError> {
    open(path).map(|_| ())
}

/// The bytes of a firmware image: a multiple of 64 KiB, from 64 KiB to 16 MiB.
pub fn read_firmware(path: &Path) -> Result<Vec<u8>, FirmwareError> {
    let (mut file, size) = open(path)?;
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes).map_err(|why| FirmwareError::Host { path: path.to_owned(), why })?;
    Ok(bytes)
}

fn open(path: &Path) -> Result<(File, u64), FirmwareError> {
    let failed = |why| FirmwareError::Host { path: path.to_owned(), why };
    // Looked at before it is opened: opening a FIFO would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FirmwareError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size == 0 || size > FIRMWARE_MAX || size % FIRMWARE_UNIT != 0 {
        return Err(FirmwareError::Size { path: path.to_owned(), size });
    }
    Ok((file, size))
}
