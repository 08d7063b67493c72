//! The ROM images that a machine is fitted with.

use crate::config::Payload;
use crate::config::firmware::FirmwareError;

/// The project's own BIOS and VGA BIOS, as `firmware/build` made them.
const VGA_BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/vgabios.bin");

/// Debian's SeaBIOS, until ours boots.
const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";

/// Firmware packages put a VGA BIOS for this adapter beside their BIOS, under this name.
const VGA_BIOS_BESIDE: &str = "vgabios-stdvga.bin";

/// The images' bytes; empty for a kernel that is started without firmware.
#[derive(Clone, Debug, Default)]
pub struct Roms {
    /// The system BIOS.
    pub bios: Vec<u8>,
    /// The video adapter's.
    pub vga: Vec<u8>,
}

impl Roms {
    /// What the configuration says: our own, or a file with the VGA BIOS that lies beside it (ours where none does).
    ///
    /// # Errors
    /// If the file is not readable or no firmware.
    pub fn new(payload: &Payload) -> Result<Self, FirmwareError> {
        match payload {
            Payload::Kernel { .. } => Ok(Self::default()),
            Payload::Firmware(path) => {
                let path = path.clone().unwrap_or_else(|| SEABIOS.into());
                let bios = crate::config::read_firmware(&path)?;
                let beside = std::fs::read(path.with_file_name(VGA_BIOS_BESIDE)).ok();
                Ok(Self { bios, vga: beside.unwrap_or_else(|| VGA_BIOS.to_vec()) })
            }
        }
    }
}
