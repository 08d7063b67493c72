//! Booting from CD-ROM ("El Torito" Bootable CD-ROM Format Specification 1.0), and the drives that it emulates.

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered about the CD that was booted.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// INT 13h for a drive that a CD emulates, and functions 4Ah to 4Dh. Returns whether the call was one of these and is done.
pub fn int13<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs) -> bool {
    false
}
