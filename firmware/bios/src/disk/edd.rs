//! INT 13h AH=41h to 49h and 4Eh.

use super::Info;
use super::status::{Result, Status};
use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// One of the functions.
pub fn call<H: Hw>(_bios: &mut Bios<H>, _regs: &mut Regs, _index: u8, _info: &Info) -> Result<()> {
    Err(Status::BAD_COMMAND)
}
