//! Drives: media, images and how the host accesses them.

use super::nbd::NbdTarget;
use pcvm_devices::fdc::DriveType;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A drive of the machine: hard disk or CD-ROM on an IDE channel, or floppy drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveConfig {
    /// Type of the drive.
    pub media: Media,
    /// The image. `None` only for a drive of removable media without a medium.
    pub path: Option<PathBuf>,
    /// The image is a network disk, and `path` its URI.
    pub network: Option<NbdTarget>,
    /// The guest cannot write. Always true for a CD-ROM drive.
    pub read_only: bool,
    /// The serial number in IDENTIFY words 10 to 19, up to 20 printable ASCII characters; `None` for a generated one.
    pub serial: Option<String>,
    /// The image's format as the user gave it; `None` if the user gave none, which means raw.
    pub format: Option<ImageFormat>,
    /// How the host caches the image.
    pub cache: CacheMode,
    /// Writes go to a temporary overlay that ends with the machine.
    pub snapshot: bool,
    /// TRIM frees space on the host.
    pub discard: bool,
    /// What the engine does when a write fails.
    pub write_error: ErrorAction,
    /// What the engine does when a read fails.
    pub read_error: ErrorAction,
    /// Limits of the I/O rate.
    pub limits: Limits,
    /// The drives that name the same group share one set of limits.
    pub limit_group: Option<String>,
    /// Create the image with this size in bytes if it does not exist.
    pub create_size: Option<u64>,
    /// Directories besides the image's own that its backing and data files may be in.
    pub backing_dirs: Vec<PathBuf>,
}

impl DriveConfig {
    /// A drive with the default options. A CD-ROM drive is read-only.
    pub fn new(media: Media, path: Option<PathBuf>) -> Self {
        Self {
            media,
            path,
            network: None,
            read_only: media == Media::Cdrom,
            serial: None,
            format: None,
            cache: CacheMode::Writeback,
            snapshot: false,
            discard: true,
            write_error: ErrorAction::StopIfFull,
            read_error: ErrorAction::Report,
            limits: Limits::default(),
            limit_group: None,
            create_size: None,
            backing_dirs: Vec::new(),
        }
    }
}

/// The directory of a path `dir:DIRECTORY`, which stands for a medium made from a directory. A file whose name begins with
/// `dir:` is given as `./dir:NAME`.
pub fn folder(path: &Path) -> Option<&Path> {
    path.as_os_str().as_bytes().strip_prefix(b"dir:").map(|folder| Path::new(OsStr::from_bytes(folder)))
}

/// Type of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// ATA hard disk.
    Disk,
    /// ATAPI CD-ROM.
    Cdrom,
    /// Floppy drive of this type; `None` chooses it by the disk in it when the machine is built.
    Floppy(Option<DriveType>),
}

impl Media {
    /// The type of a floppy drive with a disk of `size` bytes in it, or empty: as configured, else the one that a PC would
    /// have for the disk, else 1.44 MB. `None` for other drives.
    pub fn floppy_drive(self, size: Option<u64>) -> Option<DriveType> {
        let Self::Floppy(kind) = self else { return None };
        kind.or_else(|| DriveType::for_size(size?)).or(Some(DriveType::D1440))
    }
}

/// Format of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// The bytes of the disk, one to one.
    Raw,
    /// qcow2 version 2 or 3.
    Qcow2,
    /// VMDK, read-only.
    Vmdk,
}

impl ImageFormat {
    /// The names of all formats.
    pub const NAMES: &str = "raw, qcow2 or vmdk";

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Raw, Self::Qcow2, Self::Vmdk].into_iter().find(|format| format.name() == name)
    }

    /// The name: `raw`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }
}

/// How the host caches an image (the terms are QEMU's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Through the host's page cache. A flush brings the writes to stable storage.
    #[default]
    Writeback,
    /// Past the host's page cache (O_DIRECT). A flush brings the writes to stable storage.
    None,
    /// Through the host's page cache; each write reaches stable storage before it completes.
    Writethrough,
    /// Through the host's page cache, and a flush does nothing: a crash of the host may lose or reorder writes.
    Unsafe,
}

impl CacheMode {
    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "writeback" => Some(Self::Writeback),
            "none" => Some(Self::None),
            "writethrough" => Some(Self::Writethrough),
            "unsafe" => Some(Self::Unsafe),
            _ => None,
        }
    }
}

/// What happens when the host fails a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAction {
    /// The guest gets the error.
    Report,
    /// The machine pauses. When it is resumed, the request is tried again.
    Stop,
    /// Pause if the host has no space left, else report.
    StopIfFull,
    /// The guest sees a success.
    Ignore,
}

/// Limits of a drive's I/O rate. A token bucket each for requests and bytes: tokens flow in at the rate, up to the burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests.
    pub requests: Option<Rate>,
    /// Bytes.
    pub bytes: Option<Rate>,
}

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units per second, at least 1.
    pub per_second: u64,
    /// The most units that may pass at once after a pause, at least 1.
    pub burst: u64,
}
