//! Drive image: a backend with the drive's limits, lock, access mode and size around it.

use super::backend::Backend;
use super::directories::Directories;
use super::fat::FatDir;
use super::format::{Access, FormatImage};
use super::nbd::{Interrupt, NbdClient, NbdError};
use super::raw::{Patience, RawFile, foreign_format};
use super::sys::{Direction, IoVec};
use super::{create, disc, holder};
use crate::config::nbd::NbdTarget;
use crate::config::{CacheMode, DriveConfig, ImageFormat, Media, folder};
use crate::error::host_error;
use pcvm_devices::Medium;
use pcvm_devices::disc::Disc;
use pcvm_devices::fdc::{DriveType, geometry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

/// Bytes in which a format's header shows.
const FORMAT_START: u64 = 512;

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
    /// The size of no floppy.
    #[error("{}: {size} bytes is not the size of a floppy, which is {}", path.display(), geometry::SIZES)]
    NotAFloppy {
        /// The image.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// A floppy that does not fit its drive.
    #[error("{}: a floppy of {size} bytes does not fit the {} drive{}", path.display(), drive.name(), suitable(*size))]
    WrongFloppyDrive {
        /// The image.
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// The drive.
        drive: DriveType,
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
    /// The description of a disc in a format that is not read.
    #[error("{}: is {what}, which is not read: make a .cue sheet with .bin files of it (with {mend})", path.display())]
    DiscFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// Programs that convert it.
        mend: &'static str,
    },
    /// A cue sheet.
    #[error("{}: {why}", path.display())]
    Cue {
        /// The sheet.
        path: PathBuf,
        /// The line, and what is wrong there.
        why: super::cue::CueError,
    },
    /// A directory that cannot be listed.
    #[error(transparent)]
    Tree(#[from] super::folder::TreeError),
    /// A directory that does not fit the medium.
    #[error("{}: {why}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// `dir:` as a hard disk.
    #[error("{}: a directory can be a CD (--cdrom) or a floppy (--floppy), not a hard disk", .0.display())]
    FolderAsDisk(PathBuf),
    /// A network disk cannot be used.
    #[error("{uri}: {why}")]
    Network {
        /// Where it is.
        uri: String,
        /// What is wrong.
        why: NbdError,
    },
    /// A network disk without `format=` that begins like an image of another format.
    #[error(
        "{uri}: begins like a {format} image: let the server read that format, such as by 'qemu-nbd -f', or add \
         'format=raw' if these are the guest's own bytes"
    )]
    ForeignNetworkFormat {
        /// Where it is.
        uri: String,
        /// The format that it seems to have.
        format: &'static str,
    },
    /// The drive's configuration has no image.
    #[error("the drive has no image")]
    NoPath,
}

/// Names the drive for a floppy of `size` bytes.
fn suitable(size: u64) -> String {
    let name = DriveType::NAMES.into_iter().find(|&(_, kind)| DriveType::for_size(size) == Some(kind));
    name.map(|(name, _)| format!("; 'pcvm run' needs 'drive={name}' for it")).unwrap_or_default()
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
    /// The layout of a disc that is not one track of 2048-byte sectors.
    disc: Option<Disc>,
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
        let (backend, disc) = match (drive.media, folder(path)) {
            (Media::Cdrom, _) if drive.network.is_none() => disc::open(path)?,
            (Media::Disk, Some(_)) => return Err(ImageError::FolderAsDisk(path.to_owned())),
            (Media::Floppy(_), Some(folder)) => {
                let failed =
                    |why: super::fat::FatError| ImageError::Folder { path: folder.to_owned(), why: why.to_string() };
                let disk = FatDir::open(folder, !read_only).map_err(failed)?;
                locked(disk.lock(), path, || None)?;
                (Backend::FatDir(Box::new(disk)), None)
            }
            (Media::Disk | Media::Floppy(_), None) | (Media::Cdrom, _) => (open_backend(path, drive, read_only)?, None),
        };

        let stored = backend.size();
        let (sector, max) = match drive.media {
            Media::Disk => (DISK_SECTOR, DISK_MAX),
            Media::Cdrom => (CD_SECTOR, CD_MAX),
            Media::Floppy(_) => (DISK_SECTOR, u64::MAX),
        };
        if stored == 0 {
            return Err(ImageError::Empty(path.to_owned()));
        }
        if stored > max {
            return Err(ImageError::TooLarge { path: path.to_owned(), size: stored });
        }
        if let Media::Floppy(kind) = drive.media {
            check_floppy(path, stored, kind)?;
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
            disc,
            // The client of a network disk does that itself, by one request instead of two where the server can.
            write_through: drive.cache == CacheMode::Writethrough && drive.network.is_none(),
            // What a snapshot's overlay holds is gone after a crash of the host in any case.
            no_flush: drive.cache == CacheMode::Unsafe || drive.snapshot,
            discard: drive.discard,
            // Writes of an earlier process may still be unflushed.
            dirty: !read_only,
            #[cfg(test)]
            failure: None,
        })
    }

    /// Brings all writes to stable storage, in whatever cache mode.
    ///
    /// # Errors
    /// If the host fails a write.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.dirty {
            self.backend.flush()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Brings all writes to stable storage and closes the image.
    ///
    /// # Errors
    /// If the host fails a write.
    pub fn close(mut self) -> io::Result<()> {
        if self.no_flush { Ok(()) } else { self.flush() }
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

    /// The image as a medium for a device.
    pub fn medium(&self) -> Medium {
        Medium { size: self.size, read_only: self.read_only, disc: self.disc.clone() }
    }

    /// Ends waits for the server of a network disk.
    pub(super) fn interrupt(&self) -> Option<Arc<Interrupt>> {
        match &self.backend {
            Backend::Nbd(client) => Some(client.interrupt()),
            Backend::File(_) | Backend::Format(_) | Backend::Mapped(_) | Backend::FatDir(_) => None,
        }
    }

    /// Whether the image was opened for reading only.
    pub fn read_only(&self) -> bool {
        self.read_only
    }
}

/// Whether an image of `size` bytes is a floppy, and one for this drive.
fn check_floppy(path: &Path, size: u64, drive: Option<DriveType>) -> Result<(), ImageError> {
    if DriveType::for_size(size).is_none() {
        return Err(ImageError::NotAFloppy { path: path.to_owned(), size });
    }
    match drive {
        Some(drive) if !drive.accepts_size(size) => {
            Err(ImageError::WrongFloppyDrive { path: path.to_owned(), size, drive })
        }
        _ => Ok(()),
    }
}

/// Opens and locks the backend of a drive's image.
fn open_backend(path: &Path, drive: &DriveConfig, read_only: bool) -> Result<Backend, ImageError> {
    if let Some(target) = &drive.network {
        return open_network(target, drive, read_only);
    }
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

/// Connects to a network disk. The server locks what it serves.
fn open_network(target: &NbdTarget, drive: &DriveConfig, read_only: bool) -> Result<Backend, ImageError> {
    let failed = |why| ImageError::Network { uri: target.to_string(), why };
    let mut client = NbdClient::open(target.clone(), read_only).map_err(failed)?;
    if drive.cache == CacheMode::Writethrough {
        client = client.with_write_through();
    }
    let mut start = vec![0; client.size().min(FORMAT_START) as usize];
    client.read_at(&mut start, 0).map_err(|why| failed(NbdError::Socket(why)))?;
    match foreign_format(&start) {
        Some(format) if drive.format.is_none() && drive.media == Media::Disk => {
            Err(ImageError::ForeignNetworkFormat { uri: target.to_string(), format })
        }
        _ => Ok(Backend::Nbd(Box::new(client))),
    }
}

/// Refuses a disk whose format the user did not give and which may not be raw. The content does not choose the format: a
/// guest with a raw disk could write a header there that names a file of the host as its backing file.
fn refuse_foreign_format(file: &RawFile, path: &Path, drive: &DriveConfig) -> Result<(), ImageError> {
    match file.foreign_format() {
        Some(format) if drive.format.is_none() && drive.media != Media::Cdrom => {
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
    locked(result, path, || holder::holder(file.file()))
}

/// The result of locking: only a lock of another process prevents the use of the image.
fn locked(result: io::Result<()>, path: &Path, holder: impl FnOnce() -> Option<String>) -> Result<(), ImageError> {
    match result {
        Ok(()) => Ok(()),
        Err(why) => match why.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Err(ImageError::InUse { path: path.to_owned(), holder: holder() }),
            // A file system without locks does not prevent the use of the image.
            _ => {
                let why = host_error(&why);
                tracing::warn!("{}: cannot be locked ({why}): use by another machine is not detected", path.display());
                Ok(())
            }
        },
    }
}
