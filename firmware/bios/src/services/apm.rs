//! INT 15h AH=53h: Advanced Power Management BIOS 1.2 (Intel and Microsoft, "Advanced Power Management (APM) BIOS Interface Specification",
//! revision 1.2).

use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs};

/// INT 15h AH=53h.
pub fn int15<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
    super::system::unsupported(regs);
}
