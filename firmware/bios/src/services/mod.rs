//! Everything that is neither disk nor keyboard nor boot: timers, system services, ports, clock, PCI and APM.

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered beyond the BIOS data areas.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Fills the BIOS data areas and programs interrupt controllers, timer and clock.
pub fn init<H: Hw>(_bios: &mut Bios<H>) {}

/// Every other interrupt than the ones that have modules of their own. Returns false for a vector that is not served here.
pub fn interrupt<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs) -> bool {
    false
}
