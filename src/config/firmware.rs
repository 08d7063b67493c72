//! Firmware image files: size check and reading.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The size of a firmware image is a multiple of this, in bytes.
pub const FIRMWARE_UNIT: u64 = 64 << 10;
/// The largest image in bytes: the range below 4 GiB that the board decodes as ROM.
pub const FIRMWARE_MAX: u64 = 16 << 20;

/// Why a firmware image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The host kernel refused to open or read the file.
    #[error("firmware {}: {}", path.display(), crate::error::host_error(why))]
    Host {
        /// The image.
        path: PathBuf,
        /// The host kernel's error.
        why: std::io::Error,
    },
    /// The path names a directory, a device or a FIFO.
    #[error("firmware {}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The size is not one that firmware can have.
    #[error("firmware {}: the size must be a multiple of 64 KiB from 64 KiB to 16 MiB, not {size} bytes", path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
}

/// Checks that `path` is a readable regular file whose size firmware can have.
pub fn check_firmware(path: &Path) -> Result<(), FirmwareError> {
    open(path).map(|_| ())
}

/// Reads a firmware image: a multiple of 64 KiB, from 64 KiB to 16 MiB.
pub fn read_firmware(path: &Path) -> Result<Vec<u8>, FirmwareError> {
    let (mut file, size) = open(path)?;
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes).map_err(|why| FirmwareError::Host { path: path.to_owned(), why })?;
    Ok(bytes)
}

fn open(path: &Path) -> Result<(File, u64), FirmwareError> {
    let failed = |why| FirmwareError::Host { path: path.to_owned(), why };
    // Check the type before opening: opening a FIFO blocks until it has a writer.
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
