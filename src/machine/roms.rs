//! The ROM images that a machine is fitted with.

use crate::config::firmware::FirmwareError;
use crate::config::{MachineConfig, Payload};

/// The project's own BIOS and VGA BIOS, as `firmware/build` made them.
const BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/bios.bin");
const VGA_BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/vgabios.bin");

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
    /// What the configuration says: our own, or a file with the VGA BIOS that lies beside it (ours where none does), which
    /// is part of the adapter.
    ///
    /// # Errors
    /// If the file is not readable or no firmware.
    pub fn new(config: &MachineConfig) -> Result<Self, FirmwareError> {
        let mut roms = match &config.payload {
            Payload::Kernel { .. } => Self::default(),
            Payload::Firmware(None) => Self { bios: BIOS.to_vec(), vga: VGA_BIOS.to_vec() },
            Payload::Firmware(Some(path)) => {
                let bios = crate::config::read_firmware(path)?;
                let beside = std::fs::read(path.with_file_name(VGA_BIOS_BESIDE)).ok();
                Self { bios, vga: beside.unwrap_or_else(|| VGA_BIOS.to_vec()) }
            }
        };
        if config.vga.is_none() {
            roms.vga.clear();
        }
        Ok(roms)
    }
}
