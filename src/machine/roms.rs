//! System BIOS and VGA BIOS images of a machine.

use crate::config::firmware::FirmwareError;
use crate::config::{Adapter, MachineConfig};

/// The project's own BIOS and VGA BIOS, as `firmware/build` made them.
const BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/bios.bin");
const VGA_BIOS: &[u8] = include_bytes!("../../firmware/prebuilt/vgabios.bin");
const VGA_BIOS_CIRRUS: &[u8] = include_bytes!("../../firmware/prebuilt/vgabios-cirrus.bin");

/// The built-in VGA BIOS of an adapter, and the name under which firmware packages put one beside their BIOS.
fn vga_bios(adapter: Adapter) -> (&'static [u8], &'static str) {
    match adapter {
        Adapter::Std { .. } => (VGA_BIOS, "vgabios-stdvga.bin"),
        Adapter::Cirrus => (VGA_BIOS_CIRRUS, "vgabios-cirrus.bin"),
    }
}

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
        let vga = config.vga.map(vga_bios);
        let built_in = || vga.map_or_else(Vec::new, |(rom, _)| rom.to_vec());
        Ok(match &config.firmware {
            None => Self { bios: BIOS.to_vec(), vga: built_in() },
            Some(path) => {
                let bios = crate::config::read_firmware(path)?;
                let beside = vga.and_then(|(_, name)| std::fs::read(path.with_file_name(name)).ok());
                Self { bios, vga: beside.unwrap_or_else(built_in) }
            }
        })
    }
}
