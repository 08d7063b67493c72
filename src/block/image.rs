//! One image: what can be one, and how it is opened.

use super::sys;
use crate::config::{DriveConfig, Media};
use crate::error::host_error;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A hard disk's sector.
const DISK_SECTOR: u64 = 512;
/// A CD-ROM's sector.
const CD_SECTOR: u64 = 2048;
/// Sectors that LBA48 can address (ATA/ATAPI-6, 6.2).
const DISK_MAX: u64 = DISK_SECTOR << 48;
/// Sectors that READ CAPACITY (10) can tell: the last one's number has 32 bits (MMC-3, READ CAPACITY).
const CD_MAX: u64 = CD_SECTOR << 32;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host refused.
    #[error("{}: {}", path.display(), host_error(why))]
    Host {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It can be read but not written.
    #[error("{}: cannot be written ({}); give 'readonly' to use it without writing", path.display(), host_error(why))]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A directory, FIFO, socket, …
    #[error("{}: is {what}, not a file or a block device", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Nothing in it.
    #[error("{}: is empty", .0.display())]
    Empty(PathBuf),
    /// Not a whole number of sectors.
    #[error("{}: {size} bytes is not a whole number of 512-byte sectors", path.display())]
    PartialSector {
        /// The file.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// More than the drive can address.
    #[error("{}: {size} bytes is more than such a drive can have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Somebody else has it.
    #[error("{}: is in use by another machine or drive", .0.display())]
    InUse(PathBuf),
    /// The drive has no image.
    #[error("the drive has no image")]
    NoPath,
}

/// An open, locked image of a drive.
#[derive(Debug)]
pub struct Image {
    pub(super) file: File,
    /// Bytes in the file.
    pub(super) stored: u64,
    /// `stored`, rounded up to whole sectors.
    size: u64,
    read_only: bool,
    foreign: Option<&'static str>,
    /// Its file system lives in memory: reading and writing never waits for a device.
    pub(super) in_memory: bool,
    /// RWF_NOWAIT was refused.
    pub(super) no_nowait_read: AtomicBool,
    /// RWF_NOWAIT was refused.
    pub(super) no_nowait_write: AtomicBool,
    /// Discard was refused.
    pub(super) no_discard: AtomicBool,
    /// Something may be waiting for a flush.
    pub(super) dirty: AtomicBool,
}

impl Image {
    /// Opens and locks a drive's image: exclusively for writing, shared for reading only.
    ///
    /// A disk has a whole number of 512-byte sectors. A CD-ROM's last sector may be incomplete (some tools write ISO
    /// images in units of 512 bytes): what is missing of its 2048 bytes reads as zeros.
    pub fn open(drive: &DriveConfig) -> Result<Self, ImageError> {
        let path = drive.path.as_deref().ok_or(ImageError::NoPath)?;
        let read_only = drive.read_only || drive.media == Media::Cdrom;
        let failed = |why| ImageError::Host { path: path.to_owned(), why };

        check_kind(path, &std::fs::metadata(path).map_err(failed)?)?;
        let mut file = open_file(path, read_only)?;
        let kind = file.metadata().map_err(failed)?;
        check_kind(path, &kind)?;

        // The end of a block device is found by seeking; its metadata says 0.
        let stored = file.seek(SeekFrom::End(0)).map_err(failed)?;
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
        if drive.media == Media::Disk && stored % sector != 0 {
            return Err(ImageError::PartialSector { path: path.to_owned(), size: stored });
        }
        lock(&file, path, !read_only)?;

        let foreign = if drive.media == Media::Disk { foreign_format(&file) } else { None };
        let in_memory = rustix::fs::fstatfs(&file).is_ok_and(|fs| matches!(fs.f_type as u64, TMPFS | RAMFS));
        Ok(Self {
            in_memory: in_memory && kind.is_file(),
            file,
            stored,
            size: stored.next_multiple_of(sector),
            read_only,
            foreign,
            no_nowait_read: AtomicBool::new(false),
            no_nowait_write: AtomicBool::new(false),
            no_discard: AtomicBool::new(false),
            // An earlier user may have left something unflushed.
            dirty: AtomicBool::new(!read_only),
        })
    }

    /// Bytes that the drive has: whole sectors.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it was opened for reading only.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The other format that a disk image seems to be in, by its first bytes. It is raw all the same: a guest can
    /// write those bytes too.
    pub fn foreign_format(&self) -> Option<&'static str> {
        self.foreign
    }
}

/// statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// statfs(2).
const RAMFS: u64 = 0x8584_58f6;

fn check_kind(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ImageError> {
    let kind = metadata.file_type();
    let what = if kind.is_file() || kind.is_block_device() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a character device"
    };
    Err(ImageError::NotAnImage { path: path.to_owned(), what })
}

fn open_file(path: &Path, read_only: bool) -> Result<File, ImageError> {
    // Nonblocking for what may have become a FIFO meanwhile; files and block devices do not care.
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK).open(path);
    open(!read_only).map_err(|why| {
        if !read_only && open(false).is_ok() {
            ImageError::NotWritable { path: path.to_owned(), why }
        } else {
            ImageError::Host { path: path.to_owned(), why }
        }
    })
}

fn lock(file: &File, path: &Path, exclusive: bool) -> Result<(), ImageError> {
    match sys::lock(file, exclusive) {
        Ok(()) => Ok(()),
        Err(why) => match why.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Err(ImageError::InUse(path.to_owned())),
            // File systems that cannot lock are used unlocked.
            _ => {
                tracing::warn!("{}: cannot be locked: {why}", path.display());
                Ok(())
            }
        },
    }
}

/// By the first bytes, as their specifications give them.
fn foreign_format(file: &File) -> Option<&'static str> {
    let mut start = [0; 68];
    let read = file.read_at(&mut start, 0).ok()?;
    let start = start.get(..read)?;
    let magics: [(usize, &[u8], &str); 6] = [
        (0, b"QFI\xfb", "qcow2"),
        (0, b"KDMV", "VMDK"),
        (0, b"# Disk DescriptorFile", "VMDK descriptor"),
        (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
        (0, &[0x1f, 0x8b], "gzip"),
        (0, b"vhdxfile", "VHDX"),
    ];
    magics.iter().find(|(at, magic, _)| start.get(*at..).is_some_and(|s| s.starts_with(magic))).map(|m| m.2)
}
