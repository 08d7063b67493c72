//! Everything that a configuration names on the host, opened and checked before KVM is: a mistake in a file name is
//! told even where there is no KVM.

use crate::block::{Image, ImageError};
use crate::chardev::{CharError, Chardev};
use crate::config::ControlSpec;
use crate::config::firmware::FirmwareError;
use crate::config::{BootDevice, CharSpec, MachineConfig, NicConfig, Payload};
use crate::control::socket_path::{self, SocketPath, SocketPathError};
use crate::display::{DisplayError, Prepared};
use crate::machine::limits::{self, LimitError};
use crate::net::{NetError, Port};
use crate::vnc::{ListenError, Listeners};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Machines without a name that can run at a time, and have control parts.
const UNNAMED: u32 = 1000;

/// A machine's files and character devices.
pub struct Inputs {
    /// hda, hdb, hdc, hdd; none for no drive and for a CD-ROM drive without a disc.
    pub images: [Option<Image>; 4],
    /// COM1 to COM4; none for no port.
    pub serial: [Option<Chardev>; 4],
    /// Where the firmware's debug output goes.
    pub debugcon: Option<Chardev>,
    /// Where programs find the machine.
    pub control: Option<SocketPath>,
    /// What the VNC server listens on.
    pub vnc: Option<Listeners>,
    /// The display.
    pub display: Option<Prepared>,
    /// The network cards' cables.
    pub ports: Vec<Port>,
    /// And expansion ROMs.
    pub nic_roms: Vec<Vec<u8>>,
}

/// Something that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// More than the host has.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A disk or CD-ROM image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A kernel or initial RAM disk.
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
    /// The control socket.
    #[error(transparent)]
    Control(#[from] SocketPathError),
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
    /// Not as a source: its text is all in ours.
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl Inputs {
    /// Opens all of it, and gives a machine without a name one that is free. The terminal comes last: nothing is told in
    /// raw mode that could be told before.
    pub fn open(config: &mut MachineConfig) -> Result<Self, InputError> {
        limits::check_memory(config.memory)?;
        match &config.payload {
            Payload::Firmware(Some(path)) => crate::config::check_firmware(path)?,
            Payload::Firmware(None) => {}
            Payload::Kernel { kernel, initrd, .. } => {
                check_file(kernel)?;
                initrd.as_deref().map_or(Ok(()), check_file)?;
            }
        }
        let mut images = [None, None, None, None];
        for (disk, drive) in config.drives.iter().filter(|(_, drive)| drive.path.is_some()) {
            let Some(image) = images.get_mut(usize::from(disk.0)) else { continue };
            let opened = Image::open(drive)?;
            if let Some(format) = opened.foreign_format() {
                let path = drive.path.as_deref().unwrap_or(Path::new(""));
                eprintln!("pcvm: warning: {}: looks like a {format} file but is used as a raw image", path.display());
            }
            *image = Some(opened);
        }
        let debugcon = match &config.debugcon {
            Some(path) => Some(Chardev::open(&CharSpec::File(path.clone()))?),
            None => None,
        };
        let vnc = config.vnc.as_ref().map(Listeners::open).transpose()?;
        let control = open_control(config)?;
        let display = Prepared::open(config.display, &config.name)?;
        let nic_roms = config.nics.iter().map(|nic| nic_rom(nic, &config.boot)).collect::<Result<_, _>>()?;
        let ports = config.nics.iter().map(Port::open).collect::<Result<_, _>>()?;
        let mut serial = [None, None, None, None];
        for (port, spec) in serial.iter_mut().zip(&config.serial) {
            *port = spec.as_ref().map(Chardev::open).transpose()?;
        }
        Ok(Self { images, serial, debugcon, control, vnc, display, ports, nic_roms })
    }
}

/// A network card's expansion ROM: the one that was named, or, where the network is in the boot order, the one that Debian's
/// package ipxe-qemu has for this card.
fn nic_rom(nic: &NicConfig, boot: &[BootDevice]) -> Result<Vec<u8>, InputError> {
    const IPXE: &str = "/usr/lib/ipxe/qemu/pxe-rtl8139.rom";
    const MOST: u64 = 1 << 20;
    let path = match &nic.rom {
        Some(path) => path.as_path(),
        None if boot.contains(&BootDevice::Network) && Path::new(IPXE).exists() => Path::new(IPXE),
        None => return Ok(Vec::new()),
    };
    let fail = |why| InputError::File { path: path.to_owned(), why };
    check_file(path)?;
    let bytes = std::fs::read(path).map_err(fail)?;
    if bytes.len() as u64 > MOST || !bytes.starts_with(&[0x55, 0xaa]) {
        return Err(fail(std::io::Error::other("not an expansion ROM (55h AAh first, at most 1 MiB)")));
    }
    Ok(bytes)
}

/// The control socket.
fn open_control(config: &mut MachineConfig) -> Result<Option<SocketPath>, InputError> {
    match &config.control {
        ControlSpec::None => Ok(None),
        ControlSpec::Path(path) => Ok(Some(socket_path::claim_path(path)?)),
        ControlSpec::ByName { given: true } => {
            Ok(Some(socket_path::claim_name(&socket_path::directory()?, &config.name)?))
        }
        ControlSpec::ByName { given: false } => {
            let first = config.name.clone();
            let mut claimed = socket_path::directory().and_then(|dir| socket_path::claim_name(&dir, &first));
            for n in 2..=UNNAMED {
                if !matches!(claimed, Err(SocketPathError::NameTaken { .. })) {
                    break;
                }
                config.name = format!("{first}-{n}");
                claimed = socket_path::directory().and_then(|dir| socket_path::claim_name(&dir, &config.name));
            }
            match claimed {
                Ok(place) => Ok(Some(place)),
                // Nobody has asked for one; whoever looks for one is told.
                Err(SocketPathError::NoDirectory) => Ok(None),
                Err(why) => {
                    tracing::warn!("no control socket: {why}");
                    Ok(None)
                }
            }
        }
    }
}

/// A file that is there and can be read.
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
