//! Drive image: a backend with the drive's limits, lock, access mode and size around it.

use super::backend::Backend;
use super::directories::Directories;
use super::format::{Access, FormatImage};
use super::raw::{Patience, RawFile};
use super::sys::{Direction, IoVec};
use super::{create, holder};
use crate::config::{CacheMode, DriveConfig, ImageFormat, Media};
use crate::error::host_error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock that another process holds is tried again, and the pause before each try.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
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
    #[error("{}: is in use by {}", path.display(), holder.as_deref().unwrap_or("another process"))]
    InUse {
        /// The image.
        path: PathBuf,
        /// The process, if it can be found.
        holder: Option<String>,
    },
    /// `cache=none` on a file system without O_DIRECT.
    #[error("{}: its file system has no direct I/O (O_DIRECT): use another cache mode than cache=none", .0.display())]
    NoDirectIo(PathBuf),
    /// `cache=none` and a size that direct I/O cannot write to the last byte.
    #[error("{}: with cache=none the size must be a multiple of {unit} bytes, not {size}", path.display())]
    UnalignedSize {
        /// The image.
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// Of O_DIRECT, in bytes.
        unit: usize,
    },
    /// The content is not what the format says, or has a feature that is not supported.
    #[error("{}: {why}", path.display())]
    Format {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        why: io::Error,
    },
    /// A file that an image names.
    #[error("{}: the file '{name}' that it names {why}", path.display())]
    Reference {
        /// The image.
        path: PathBuf,
        /// The name in the image.
        name: String,
        /// What is wrong, as a predicate.
        why: &'static str,
    },
    /// A file without `format=` that begins like an image of another format.
    #[error("{}: begins like a {format} image: {}", path.display(), advice(format))]
    ForeignFormat {
        /// The image.
        path: PathBuf,
        /// The format that it seems to have.
        format: &'static str,
    },
    /// `size=` for an image that exists with another size.
    #[error("{}: exists with {is} bytes, not {wanted}: remove 'size' or change the size with 'pcvm image resize'", path.display())]
    OtherSize {
        /// The image.
        path: PathBuf,
        /// Bytes of the image.
        is: u64,
        /// Bytes in the option.
        wanted: u64,
    },
    /// A format that is only read.
    #[error("{}: {format} images are only read: give 'readonly' or 'snapshot'", path.display())]
    FormatReadOnly {
        /// The image.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// The drive's configuration has no image.
    #[error("the drive has no image")]
    NoPath,
}

/// What to do with a file that begins like an image of `format`.
fn advice(format: &str) -> String {
    const RAW: &str = "or 'format=raw' if these are the guest's own bytes";
    match ImageFormat::from_name(format) {
        Some(format) => format!("add 'format={}', {RAW}", format.name()),
        None => format!("this format is not supported; convert the image with 'pcvm image convert' or qemu-img, {RAW}"),
    }
}

/// An open, locked image of a drive.
#[derive(Debug)]
pub struct Image {
    pub(super) backend: Backend,
    /// Bytes that the backend stores.
    pub(super) stored: u64,
    /// `stored`, rounded up to whole sectors.
    size: u64,
    read_only: bool,
    /// Each write is flushed before it completes.
    pub(super) write_through: bool,
    /// Flushes do nothing.
    pub(super) no_flush: bool,
    /// TRIM frees space.
    pub(super) discard: bool,
    /// There may be writes that are not on stable storage yet.
    pub(super) dirty: bool,
    /// The errno with which the next transfer fails.
    #[cfg(test)]
    failure: Option<i32>,
}

impl Image {
    /// Opens and locks a drive's image: exclusively for writing, shared for reading only.
    ///
    /// A disk has a whole number of 512-byte sectors. A CD-ROM's last sector may be incomplete (some tools write ISO
    /// images in units of 512 bytes): the missing part of its 2048 bytes reads as zeros.
    pub fn open(drive: &DriveConfig) -> Result<Self, ImageError> {
        let path = drive.path.as_deref().ok_or(ImageError::NoPath)?;
        let read_only = drive.read_only || drive.media == Media::Cdrom;
        let created = match drive.create_size {
            Some(size) => create::create_if_missing(path, drive.format.unwrap_or(ImageFormat::Raw), size)?,
            None => false,
        };
        let backend = open_backend(path, drive, read_only)?;

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
        if let Some(wanted) = drive.create_size
            && !created
            && stored != wanted
        {
            return Err(ImageError::OtherSize { path: path.to_owned(), is: stored, wanted });
        }
        Ok(Self {
            backend,
            stored,
            size: stored.next_multiple_of(sector),
            read_only,
            write_through: drive.cache == CacheMode::Writethrough,
            // What a snapshot's overlay holds is gone after a crash of the host in any case.
            no_flush: drive.cache == CacheMode::Unsafe || drive.snapshot,
            discard: drive.discard,
            // Writes of an earlier process may still be unflushed.
            dirty: !read_only,
            #[cfg(test)]
            failure: None,
        })
    }

    /// Makes the next transfer fail.
    #[cfg(test)]
    pub fn fail_next(&mut self, errno: i32) {
        self.failure = Some(errno);
    }

    /// Moves bytes between the image and memory: [`Backend::transfer`].
    #[inline]
    pub(super) fn transfer(
        &mut self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(errno) = self.failure.take() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.backend.transfer(iov, offset, direction, patience)
    }

    /// Size of the drive in bytes: whole sectors.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the image was opened for reading only.
    pub fn read_only(&self) -> bool {
        self.read_only
    }
}

/// Opens and locks the backend of a drive's image.
fn open_backend(path: &Path, drive: &DriveConfig, read_only: bool) -> Result<Backend, ImageError> {
    let direct = drive.cache == CacheMode::None;
    let format = drive.format.unwrap_or(ImageFormat::Raw);
    let write = !read_only && !drive.snapshot;
    if format == ImageFormat::Raw && !drive.snapshot {
        let file = RawFile::open(path, read_only, direct)?;
        refuse_foreign_format(&file, path, drive)?;
        // Fails later with its own message.
        if file.size() > 0 {
            lock(&file, path, write)?;
        }
        return Ok(Backend::File(file));
    }
    if format == ImageFormat::Vmdk && write {
        return Err(ImageError::FormatReadOnly { path: path.to_owned(), format: format.name() });
    }
    let directories = Directories::new(path, &drive.backing_dirs)?;
    let image = if drive.snapshot {
        if format == ImageFormat::Raw {
            refuse_foreign_format(&RawFile::open(path, true, false)?, path, drive)?;
        }
        let overlay = create::unlinked_file().map_err(|why| ImageError::Host { path: create::temporary_dir(), why })?;
        FormatImage::overlay(overlay, path, format, &directories)?
    } else {
        FormatImage::open(path, format, Access { write, direct }, &directories)?
    };
    Ok(Backend::Format(Box::new(image)))
}

/// Refuses a disk whose format the user did not give and which may not be raw. The content does not choose the format: a
/// guest with a raw disk could write a header there that names a file of the host as its backing file.
fn refuse_foreign_format(file: &RawFile, path: &Path, drive: &DriveConfig) -> Result<(), ImageError> {
    match file.foreign_format() {
        Some(format) if drive.format.is_none() && drive.media == Media::Disk => {
            Err(ImageError::ForeignFormat { path: path.to_owned(), format })
        }
        _ => Ok(()),
    }
}

/// Locks a file of an image without waiting: for one writer, or for any number of readers.
pub(super) fn lock(file: &RawFile, path: &Path, exclusive: bool) -> Result<(), ImageError> {
    let mut result = file.lock(exclusive);
    for _ in 0..LOCK_TRIES {
        // A process that is ending, or that has forked and not yet executed, holds its locks for some more milliseconds.
        if !result.as_ref().is_err_and(|why| matches!(why.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        result = file.lock(exclusive);
    }
    match result {
        Ok(()) => Ok(()),
        Err(why) => match why.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => {
                Err(ImageError::InUse { path: path.to_owned(), holder: holder::holder(file.file()) })
            }
            // A file system without locks does not prevent the use of the image.
            _ => {
                let why = host_error(&why);
                tracing::warn!("{}: cannot be locked ({why}): use by another machine is not detected", path.display());
                Ok(())
            }
        },
    }
}
