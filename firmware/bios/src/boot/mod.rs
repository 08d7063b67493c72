//! From the option ROMs to the boot sector: INT 18h and 19h.

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered about the way to the boot sector.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Initialises the video adapter's option ROM.
pub fn init_video<H: Hw>(_bios: &mut Bios<H>) {}

/// Initialises all other option ROMs.
pub fn init_roms<H: Hw>(_bios: &mut Bios<H>) {}

/// Tells the user who we are and how to get the menu; lets him choose; boots.
pub fn run<H: Hw>(bios: &mut Bios<H>) {
    crate::log::line(bios.hw, "pcvm BIOS");
}

/// INT 18h: what was booted gives up: on to the next device.
pub fn int18<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs) {}

/// INT 19h: boot again.
pub fn int19<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs) {}
