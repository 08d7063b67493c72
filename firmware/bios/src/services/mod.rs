//! BIOS services other than disk, keyboard and boot: timer, RTC, INT 15h, serial and parallel ports, PCI and APM.

mod apm;
pub(crate) mod beep;
pub(crate) mod clock;
mod exceptions;
mod init;
mod memory;
mod parallel;
mod pci;
pub(crate) mod pic;
mod rtc;
mod serial;
mod system;
#[cfg(test)]
mod tests;

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs, bda};

pub use init::init;

/// State outside the BIOS data areas and [`pcvm_firmware_rt::apm`]: none.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Serves the interrupts of this module. Returns false for any other vector.
pub fn interrupt<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    match regs.vector {
        0x00 | 0x06 => exceptions::fault(bios, regs),
        0x02 => exceptions::nmi(bios),
        0x05 => parallel::print_screen(bios),
        0x08 => rtc::int08(bios),
        0x11 => {
            let equipment = bios.hw.get(bda::EQUIPMENT);
            regs.set_ax(equipment);
        }
        0x12 => {
            let kib = bios.hw.get(bda::MEMORY);
            regs.set_ax(kib);
        }
        0x14 => serial::int14(bios, regs),
        0x15 => system::int15(bios, regs),
        0x17 => parallel::int17(bios, regs),
        0x1a => {
            if !rtc::int1a(bios, regs) && !pci::int1a(bios, regs) {
                regs.set_cf(true);
            }
        }
        0x70 => rtc::int70(bios),
        0x71 => return exceptions::redirected(bios),
        0x75 => exceptions::coprocessor(bios),
        _ => return false,
    }
    true
}
