//! Removable media: discs and floppies that a client inserts into and takes out of a running machine's drives.
//!
//! Opening and closing an image can block, and so can a drive whose request executes. So the operations run on a client's
//! thread, never on the main loop, and hold the board's lock only to inform the device.

use super::Handle;
use super::shared::Shared;
use crate::block::{Image, ImageError};
use crate::config::parse::{OptionError, network_target};
use crate::config::{DriveConfig, ImageFormat, Media, folder};
use pcvm_devices::{BlockError, DiskId, Medium, Tray, TrayRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The drives and what is in them.
#[derive(Debug, Default)]
pub struct Drives {
    /// Held while a medium is changed.
    pub(super) changing: Mutex<()>,
    /// Held for moments. By drive: its configuration, of which `path` is the medium that is in it now.
    all: Mutex<BTreeMap<DiskId, Drive>>,
}

/// A drive.
#[derive(Clone, Debug)]
struct Drive {
    name: String,
    config: DriveConfig,
    /// What a change of the medium without a choice makes of it: the user's `readonly`. A directory, which is
    /// write-protected by default, does not protect the medium that follows it.
    write_protected: bool,
    /// Bytes of its medium.
    size: Option<u64>,
    error: Option<BlockError>,
}

/// A drive as clients see it.
#[derive(Clone, Debug)]
pub struct DriveInfo {
    /// The drive.
    pub disk: DiskId,
    /// Its name: "hda".
    pub name: String,
    /// Its configuration; `path` is the medium that is in it now.
    pub config: DriveConfig,
    /// Bytes of its medium; none if it is empty.
    pub size: Option<u64>,
    /// Its tray, if it has one.
    pub tray: Option<Tray>,
    /// The error for which it waits for the machine to be resumed.
    pub error: Option<BlockError>,
}

impl DriveInfo {
    /// Whether its medium can be changed.
    pub fn removable(&self) -> bool {
        self.config.media != Media::Disk
    }
}

/// A medium to insert.
#[derive(Clone, Debug)]
pub struct NewMedium {
    /// The image.
    pub path: PathBuf,
    /// Its format, as the user gave it.
    pub format: Option<ImageFormat>,
    /// Whether the guest can write; `None` keeps the drive's setting.
    pub read_only: Option<bool>,
}

/// A medium cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The machine has no such drive.
    #[error("Device '{0}' not found")]
    NotFound(String),
    /// A hard disk.
    #[error("Device '{0}' is not removable: it is a hard disk")]
    NotRemovable(String),
    /// The guest prevents it.
    #[error(
        "Device '{0}' is locked by the guest, which was asked to eject the medium; try again when its tray is open, or \
         use force"
    )]
    Locked(String),
    /// The medium cannot be taken out of a closed drive.
    #[error("Tray of device '{0}' is not open; open it first")]
    TrayClosed(String),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A network disk's URI.
    #[error(transparent)]
    Uri(#[from] OptionError),
}

/// QEMU's names of the drives, by [`DiskId`].
const ALIASES: [[&str; 2]; 6] = [
    ["ide0-hd0", "ide0-cd0"],
    ["ide0-hd1", "ide0-cd1"],
    ["ide1-hd0", "ide1-cd0"],
    ["ide1-hd1", "ide1-cd1"],
    ["floppy0", "floppy0"],
    ["floppy1", "floppy1"],
];

impl Drives {
    /// The drives of a machine: names, configurations and sizes of their media.
    pub fn new(drives: impl IntoIterator<Item = (DiskId, String, DriveConfig, Option<u64>)>) -> Self {
        let drives = drives.into_iter().map(|(disk, name, config, size)| {
            let write_protected = config.read_only && config.path.as_deref().and_then(folder).is_none();
            (disk, Drive { name, config, write_protected, size, error: None })
        });
        Self { all: Mutex::new(drives.collect()), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DiskId, Drive>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of a drive has another format from now on.
    pub fn set_format(&self, disk: DiskId, format: ImageFormat) {
        if let Some(drive) = self.lock().get_mut(&disk) {
            drive.config.format = Some(format);
        }
    }

    /// The drive's name.
    pub fn name(&self, disk: DiskId) -> Option<String> {
        self.lock().get(&disk).map(|drive| drive.name.clone())
    }

    /// The drive with this name has stopped with an error.
    pub fn set_error(&self, name: &str, error: BlockError) {
        self.lock().values_mut().filter(|drive| drive.name == name).for_each(|drive| drive.error = Some(error));
    }

    /// All drives try their requests again.
    pub fn clear_errors(&self) {
        self.lock().values_mut().for_each(|drive| drive.error = None);
    }
}

impl Shared {
    fn tray(&self, disk: DiskId) -> Option<Tray> {
        self.with_board(|board| board.tray(disk))
    }

    /// Puts a medium into a drive, or takes the medium out. The device learns that its medium is gone before the image is
    /// replaced, and that there is a new one afterwards, so that it never reads the one with the layout of the other.
    fn replace(&self, disk: DiskId, new: Option<(Image, DriveConfig)>) {
        self.with_board(|board| board.change_medium(disk, None));
        let (image, config) = new.unzip();
        let medium: Option<Medium> = image.as_ref().map(Image::medium);
        if let Some(drive) = self.drives.lock().get_mut(&disk) {
            drive.size = medium.as_ref().map(|medium| medium.size);
            match config {
                Some(config) => drive.config = config,
                None => drive.config.path = None,
            }
        }
        let old = self.engine.replace(disk, image);
        if let Some(Err(error)) = old.map(Image::close) {
            let name = self.drives.name(disk).unwrap_or_default();
            let why = crate::error::host_error(&error);
            tracing::warn!("drive {name}: what the guest wrote last did not reach the medium: {why}");
        }
        if medium.is_some() {
            self.with_board(|board| board.change_medium(disk, medium));
        }
    }
}

impl Handle {
    /// All drives.
    pub fn drives(&self) -> Vec<DriveInfo> {
        let drives = self.0.drives.lock().clone();
        let with_tray = |(disk, drive)| {
            let Drive { name, config, write_protected: _, size, error } = drive;
            DriveInfo { disk, name, config, size, tray: self.0.tray(disk), error }
        };
        drives.into_iter().map(with_tray).collect()
    }

    /// The drive with this name: ours ("hdc") or QEMU's ("ide1-cd0").
    ///
    /// # Errors
    /// If the machine has no such drive, or its medium cannot be changed.
    pub fn removable_drive(&self, name: &str) -> Result<DiskId, MediaError> {
        let drives = self.0.drives.lock();
        let aliases = |disk: DiskId| ALIASES.get(usize::from(disk.0)).is_some_and(|both| both.contains(&name));
        let found = drives.iter().find(|(disk, drive)| drive.name == name || aliases(**disk));
        match found {
            None => Err(MediaError::NotFound(name.to_owned())),
            Some((_, drive)) if drive.config.media == Media::Disk => Err(MediaError::NotRemovable(drive.name.clone())),
            Some((disk, _)) => Ok(*disk),
        }
    }

    /// Opens a drive's tray; the medium stays on it. A drive without a tray does nothing.
    ///
    /// # Errors
    /// If the guest has locked the tray and `force` is false. The guest is then asked to eject the medium.
    pub fn open_tray(&self, disk: DiskId, force: bool) -> Result<(), MediaError> {
        let locked = self.0.with_board(|board| {
            let Some(tray) = board.tray(disk) else { return false };
            let locked = tray.locked && !tray.open && !force;
            board.move_tray(disk, if locked { TrayRequest::Button } else { TrayRequest::Open });
            locked
        });
        if locked { Err(MediaError::Locked(self.0.drives.name(disk).unwrap_or_default())) } else { Ok(()) }
    }

    /// Closes a drive's tray.
    pub fn close_tray(&self, disk: DiskId) {
        self.0.with_board(|board| board.move_tray(disk, TrayRequest::Close));
    }

    /// Takes the medium out of a drive whose tray is open or that has no tray. Can block.
    ///
    /// # Errors
    /// If the tray is closed.
    pub fn remove_medium(&self, disk: DiskId) -> Result<(), MediaError> {
        let _changing = self.0.drives.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.tray(disk).is_some_and(|tray| !tray.open) {
            return Err(MediaError::TrayClosed(self.0.drives.name(disk).unwrap_or_default()));
        }
        self.0.replace(disk, None);
        Ok(())
    }

    /// Opens the tray and takes the medium out. Can block.
    ///
    /// # Errors
    /// See [`Handle::open_tray`].
    pub fn eject(&self, disk: DiskId, force: bool) -> Result<(), MediaError> {
        let _changing = self.0.drives.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.open_tray(disk, force)?;
        self.0.replace(disk, None);
        Ok(())
    }

    /// Puts a medium into a drive, in place of the one that is in it, and closes the tray. Can block.
    ///
    /// # Errors
    /// If the image cannot be used, which leaves the drive as it is; else see [`Handle::open_tray`].
    pub fn change_medium(&self, disk: DiskId, new: NewMedium, force: bool) -> Result<(), MediaError> {
        let _changing = self.0.drives.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = self.0.drives.lock().get(&disk).cloned() else {
            return Err(MediaError::NotFound(String::new()));
        };
        let network = network_target(new.path.as_os_str())?;
        let protected = before.write_protected || folder(&new.path).is_some();
        let config = DriveConfig {
            read_only: before.config.media == Media::Cdrom || new.read_only.unwrap_or(protected),
            path: Some(new.path),
            network,
            format: new.format,
            create_size: None,
            ..before.config.clone()
        };
        let opened = Image::open(&config);
        let image = match opened {
            // The drive itself may hold the lock: the same floppy is inserted again.
            Err(ImageError::InUse { .. }) if same_file(&before.config, &config) => None,
            result => Some(result?),
        };
        self.open_tray(disk, force)?;
        let image = match image {
            Some(image) => image,
            None => {
                self.0.replace(disk, None);
                Image::open(&config)?
            }
        };
        self.0.replace(disk, Some((image, config)));
        Ok(())
    }
}

/// Whether two drives have the same file.
fn same_file(one: &DriveConfig, other: &DriveConfig) -> bool {
    let canonical =
        |config: &DriveConfig| config.path.as_deref().and_then(|path| folder(path).unwrap_or(path).canonicalize().ok());
    canonical(one).is_some_and(|path| canonical(other) == Some(path))
}
