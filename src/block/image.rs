//! Drive image: a backend with the drive's limits, lock, access mode and size around it.

use super::backend::Backend;
use super::raw::RawFile;
use crate::config::{DriveConfig, Media};
use crate::error::host_error;
use pcvm_devices::Medium;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Bytes in a sector of a hard disk.
const DISK_SECTOR: u64 = 512;
/// Bytes in a sector of a CD-ROM.
const CD_SECTOR: u64 = 2048;
/// Bytes that LBA48 addresses (ATA/ATAPI-6, 6.2).
const DISK_MAX: u64 = DISK_SECTOR << 48;
/// Bytes that READ CAPACITY (10) reports: the number of the last sector has 32 bits (MMC-3, READ CAPACITY).
const CD_MAX: u64 = CD_SECTOR << 32;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host refused.
    #[error("{}: {}", path.display(), host_error(why))]
    Host {
        /// The image.
        path: PathBuf,
        /// The host's error.
        why: io::Error,
    },
    /// The image can be read but not written.
    #[error("{}: cannot be written ({}); give 'readonly' to use it without writing", path.display(), host_error(why))]
    NotWritable {
        /// The image.
        path: PathBuf,
        /// The host's error.
        why: io::Error,
    },
    /// A directory, FIFO, socket or character device.
    #[error("{}: is {what}, not a file or a block device", path.display())]
    NotAnImage {
        /// The image.
        path: PathBuf,
        /// What the path names instead.
        what: &'static str,
    },
    /// The image has no bytes.
    #[error("{}: is empty", .0.display())]
    Empty(PathBuf),
    /// The size is not a multiple of the sector size.
    #[error("{}: {size} bytes is not a whole number of 512-byte sectors", path.display())]
    PartialSector {
        /// The image.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// The size is more than the drive can address.
    #[error("{}: {size} bytes is more than the drive can address", path.display())]
    TooLarge {
        /// The image.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Another process or drive holds a conflicting lock.
    #[error("{}: is in use by another machine or drive", .0.display())]
    InUse(PathBuf),
    /// The drive's configuration has no image.
    #[error("the drive has no image")]
    NoPath,
}

/// An open, locked image of a drive.
#[derive(Debug)]
pub struct Image {
    name: String,
    pub(super) backend: Backend,
    /// Bytes that the backend stores.
    pub(super) stored: u64,
    /// `stored`, rounded up to whole sectors.
    size: u64,
    read_only: bool,
    foreign_format: Option<&'static str>,
    /// There may be writes that are not on stable storage yet.
    pub(super) dirty: AtomicBool,
}

impl Image {
    /// Opens and locks a drive's image: exclusively for writing, shared for reading only. `name` labels the drive in
    /// statistics and its worker thread ("hda").
    ///
    /// A disk has a whole number of 512-byte sectors. A CD-ROM's last sector may be incomplete (some tools write ISO
    /// images in units of 512 bytes): the missing part of its 2048 bytes reads as zeros.
    pub fn open(name: &str, drive: &DriveConfig) -> Result<Self, ImageError> {
        let path = drive.path.as_deref().ok_or(ImageError::NoPath)?;
        let read_only = drive.read_only || drive.media == Media::Cdrom;
        let backend = Backend::File(RawFile::open(path, read_only)?);

        let stored = backend.size();
        let (sector, max) = match drive.media {
            Media::Disk => (DISK_SECTOR, DISK_MAX),
            Media::Cdrom => (CD_SECTOR, CD_MAX),
        };
        if stored == 0 {
            return Err(ImageError::Empty(path.to_owned()));
        }
        if stored > max {
            return Err(ImageError::TooLarge { path: path.to_owned(), size: stored });
        }
        if drive.media == Media::Disk && !stored.is_multiple_of(sector) {
            return Err(ImageError::PartialSector { path: path.to_owned(), size: stored });
        }
        lock(&backend, path, !read_only)?;

        Ok(Self {
            name: name.to_owned(),
            foreign_format: if drive.media == Media::Disk { backend.foreign_format() } else { None },
            backend,
            stored,
            size: stored.next_multiple_of(sector),
            read_only,
            // Writes of an earlier process may still be unflushed.
            dirty: AtomicBool::new(!read_only),
        })
    }

    /// The drive's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the drive in bytes: whole sectors.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The image as a medium for a device.
    pub fn medium(&self) -> Medium {
        Medium { size: self.size, read_only: self.read_only, disc: None }
    }

    /// Whether the image was opened for reading only.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The other format that a disk image has the magic number of. The image is used as raw all the same: a guest can
    /// write those bytes, too.
    pub fn foreign_format(&self) -> Option<&'static str> {
        self.foreign_format
    }
}

fn lock(backend: &Backend, path: &Path, exclusive: bool) -> Result<(), ImageError> {
    match backend.lock(exclusive) {
        Ok(()) => Ok(()),
        Err(why) => match why.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Err(ImageError::InUse(path.to_owned())),
            // A file system without locks does not prevent the use of the image.
            _ => {
                let why = host_error(&why);
                tracing::warn!("{}: cannot be locked ({why}): use by another machine is not detected", path.display());
                Ok(())
            }
        },
    }
}
