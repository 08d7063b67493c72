//! INT 10h AH=1Ch and 4F04h: saving and restoring the adapter's state.

use crate::hw::Hw;
use crate::regs::Regs;

/// 4F04h.
pub fn vbe<H: Hw>(_hw: &mut H, _regs: &mut Regs) -> u16 {
    0x014f
}
