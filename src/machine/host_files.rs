//! Opens the host files, devices and sockets of a configuration. This comes before KVM, so that a wrong file name is
//! reported even on a host without KVM.

use crate::block::{DriveParts, GroupConflict, Image, ImageError, ThrottleGroups};
use crate::chardev::{CharError, Chardev};
use crate::config::firmware::FirmwareError;
use crate::config::{BootDevice, CharSpec, DriveConfig, MachineConfig, NicConfig, parse};
use crate::display::{DisplayError, Prepared};
use crate::machine::kernel::{self, Kernel, KernelError};
use crate::machine::limits::{self, LimitError};
use crate::net::{NetError, NetPort};
use crate::vnc::{ListenError, Listeners};
use pcvm_devices::DiskId;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A machine's files and character devices.
pub struct HostFiles {
    /// The drives, with their media.
    pub drives: BTreeMap<DiskId, DriveParts>,
    /// Character devices, by [`pcvm_devices::CharId`].
    pub chardevs: Vec<Option<Chardev>>,
    /// The sockets on which the VNC server listens.
    pub vnc: Option<Listeners>,
    /// The display.
    pub display: Option<Prepared>,
    /// Network backends, by network card.
    pub ports: Vec<NetPort>,
    /// Expansion ROMs of the network cards.
    pub nic_roms: Vec<Vec<u8>>,
    /// The kernel of `--kernel`.
    pub kernel: Option<Kernel>,
}

/// A file, device or socket that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The configuration needs more than the host has.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A disk or CD-ROM image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Drives that share limits do not agree on them.
    #[error("--disk: the drives of the limit-group '{0}' have different limits")]
    LimitGroup(String),
    /// The firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A kernel, initial RAM disk or module.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An expansion ROM.
    #[error("{}: {}", path.display(), crate::error::host_error(why))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// A serial port or the debug output.
    #[error(transparent)]
    Char(#[from] CharError),
    /// `--display`.
    #[error(transparent)]
    Display(#[from] DisplayError),
    /// VNC.
    #[error(transparent)]
    Vnc(#[from] ListenError),
    /// A network card.
    #[error("--net: {0}")]
    Net(NetError),
}

impl From<NetError> for InputError {
    /// Has no `source`, because its text contains the text of `error`.
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl HostFiles {
    /// Opens all files, devices and sockets. The terminal comes last, so that errors are printed before it enters raw mode.
    ///
    /// # Errors
    /// If one of them cannot be opened or used.
    pub fn open(config: &MachineConfig) -> Result<Self, InputError> {
        limits::check_memory(config.memory)?;
        config.firmware.as_deref().map_or(Ok(()), crate::config::check_firmware)?;
        let kernel = config.kernel.as_ref().map(|kernel| kernel::load(kernel, config.memory)).transpose()?;
        let mut groups = ThrottleGroups::default();
        let mut drives = BTreeMap::new();
        for (&disk, drive) in &config.drives {
            let image = drive.path.is_some().then(|| Image::open(drive)).transpose()?;
            let group = drive.limit_group.as_deref();
            let throttle = groups
                .join(group, drive.limits)
                .map_err(|GroupConflict| InputError::LimitGroup(group.unwrap_or_default().to_owned()))?;
            let name = parse::unit_name(disk).to_owned();
            let DriveConfig { write_error, read_error, .. } = *drive;
            drives.insert(disk, DriveParts { name, image, write_error, read_error, throttle });
        }
        let debugcon = match &config.debugcon {
            Some(path) => Some(Chardev::open(&CharSpec::File(path.clone()))?),
            None => None,
        };
        let vnc = config.vnc.as_ref().map(Listeners::open).transpose()?;
        let display = Prepared::open(config.display, &config.name, config.keymap)?;
        let nic_roms = config.nics.iter().map(|nic| nic_rom(nic, &config.boot)).collect::<Result<_, _>>()?;
        let ports = config.nics.iter().map(NetPort::open).collect::<Result<_, _>>()?;
        let mut chardevs = Vec::new();
        for spec in &config.serial {
            chardevs.push(spec.as_ref().map(Chardev::open).transpose()?);
        }
        chardevs.push(debugcon);
        Ok(Self { drives, chardevs, vnc, display, ports, nic_roms, kernel })
    }
}

/// A network card's expansion ROM: the configured file, or, if the network is in the boot order, the one of Debian's package
/// ipxe-qemu.
fn nic_rom(nic: &NicConfig, boot: &[BootDevice]) -> Result<Vec<u8>, InputError> {
    const IPXE: &str = "/usr/lib/ipxe/qemu/pxe-rtl8139.rom";
    const MAX: u64 = 1 << 20;
    let path = match &nic.rom {
        Some(path) => path.as_path(),
        None if boot.contains(&BootDevice::Network) && Path::new(IPXE).exists() => Path::new(IPXE),
        None => return Ok(Vec::new()),
    };
    let fail = |why| InputError::File { path: path.to_owned(), why };
    check_file(path)?;
    let bytes = std::fs::read(path).map_err(fail)?;
    if bytes.len() as u64 > MAX || !bytes.starts_with(&[0x55, 0xaa]) {
        return Err(fail(std::io::Error::other(
            "is not an expansion ROM (it must begin with 55h AAh and have at most 1 MiB)",
        )));
    }
    Ok(bytes)
}

/// Checks that a file exists and can be read.
fn check_file(path: &Path) -> Result<(), InputError> {
    let failed = |why| InputError::File { path: path.to_owned(), why };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    if metadata.len() == 0 {
        return Err(failed(std::io::Error::other("is empty")));
    }
    File::open(path).map(|_| ()).map_err(failed)
}
