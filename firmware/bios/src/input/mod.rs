//! Keyboard and pointing device: INT 09h, 16h, 74h, and INT 15h AH=C2h.

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered about them beyond the BIOS data areas.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Resets and enables the keyboard controller, the keyboard and the mouse.
pub fn init<H: Hw>(_bios: &mut Bios<H>) {}

/// IRQ 1: a scan code.
pub fn int09<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.inb(0x60);
    bios.hw.outb(0x20, 0x20);
}

/// INT 16h.
pub fn int16<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(0);
}

/// IRQ 12: a byte of the mouse.
pub fn int74<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    crate::vectors::unexpected(bios.hw, 12);
}

/// INT 15h AH=C2h: the pointing device's functions.
pub fn int15_pointer<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(1);
    regs.set_cf(true);
}
