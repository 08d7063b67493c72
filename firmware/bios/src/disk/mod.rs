//! Disks: INT 13h.

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered about drives.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Finds the drives.
pub fn init<H: Hw>(_bios: &mut Bios<H>) {}

/// INT 13h.
pub fn int13<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(1);
    regs.set_cf(true);
}

/// INT 40h: INT 13h for floppies only.
pub fn int40<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(1);
    regs.set_cf(true);
}

/// IRQ 6: the floppy controller's.
pub fn int0e<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    crate::vectors::unexpected(bios.hw, 6);
}

/// IRQ 14: the first IDE channel's.
pub fn int76<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    crate::vectors::unexpected(bios.hw, 14);
}
