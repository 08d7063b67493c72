//! INT 13h.

use super::status::Status;
use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// INT 13h.
pub fn int13<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(Status::BAD_COMMAND.0);
    regs.set_cf(true);
}

/// INT 40h: INT 13h for floppies only.
pub fn int40<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    regs.set_ah(Status::BAD_COMMAND.0);
    regs.set_cf(true);
}
