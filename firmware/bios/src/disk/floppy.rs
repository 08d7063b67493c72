//! Floppy drives.

use super::Info;
use super::ata::Action;
use super::place::Place;
use super::status::{Result, Status};
use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// What is remembered about them.
#[derive(Debug, Default)]
pub struct State {}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self {}
    }
}

/// Finds them.
pub fn init<H: Hw>(_bios: &mut Bios<H>) {}

/// Called with each tick: counts the motors' time down.
pub fn motor_tick<H: Hw>(_bios: &mut Bios<H>) {}

/// IRQ 6.
pub fn interrupt<H: Hw>(bios: &mut Bios<H>) {
    crate::vectors::unexpected(bios.hw, 6);
}

/// INT 13h for floppies.
pub fn int13<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs) -> super::int13::Answer {
    super::int13::Answer::Status(Err(Status::BAD_COMMAND))
}

/// Reads, writes or verifies sectors by LBA.
pub fn access<H: Hw>(
    _bios: &mut Bios<H>,
    _info: &Info,
    _action: Action,
    _lba: u64,
    _count: u16,
    _place: &mut Place,
) -> (u16, Result<()>) {
    (0, Err(Status::NOT_READY))
}
