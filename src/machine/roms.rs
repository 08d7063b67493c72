//! System BIOS and VGA BIOS images of a machine.

use crate::config::MachineConfig;
use crate::config::firmware::FirmwareError;

/// The project's own BIOS and VGA BIOS, as `firmware/build` made them.
const BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/bios.bin");
const VGA_BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/vgabios.bin");

/// Firmware packages put a VGA BIOS for this adapter beside their BIOS, under this name.
const VGA_BIOS_BESIDE: &str = "vgabios-stdvga.bin";

/// The images.
#[derive(Clone, Debug, Default)]
pub struct Roms {
    /// The system BIOS.
    pub bios: Vec<u8>,
    /// The video adapter's.
    pub vga: Vec<u8>,
}

impl Roms {
    /// The built-in images, or a file and the VGA BIOS beside it. Where no VGA BIOS is beside it the built-in one is used,
    /// because it is part of the adapter.
    ///
    /// # Errors
    /// If the file cannot be read or is not a firmware image.
    pub fn new(config: &MachineConfig) -> Result<Self, FirmwareError> {
        let mut roms = match &config.firmware {
            None => Self { bios: BIOS.to_vec(), vga: VGA_BIOS.to_vec() },
            Some(path) => {
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
