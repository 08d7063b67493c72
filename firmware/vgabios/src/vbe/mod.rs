//! INT 10h AH=4Fh: VESA BIOS Extension (VBE) Core Functions Standard 3.0.

pub mod ddc;
pub mod display;
pub mod info;
pub mod modes;
pub mod palette;
pub mod set;

use crate::hw::Hw;
use crate::regs::Regs;
use crate::state;

/// AX: supported, successful.
pub const DONE: u16 = 0x004f;
/// AX: supported, failed.
pub const FAILED: u16 = 0x014f;
/// AX: not supported by the hardware configuration.
pub const UNSUPPORTED: u16 = 0x024f;
/// AX: invalid in the current video mode.
pub const INVALID: u16 = 0x034f;

/// Handles a VBE call; the return status goes into AX.
#[inline(never)]
pub fn call<H: Hw>(hw: &mut H, regs: &mut Regs) {
    let status = match regs.al() {
        0x00 => info::controller(hw, regs),
        0x01 => info::mode(hw, regs),
        0x02 => set::set(hw, regs),
        0x03 => {
            regs.set_bx(set::current(hw));
            DONE
        }
        0x04 => state::vbe(hw, regs),
        0x05 => display::window(hw, regs),
        0x06 => display::line_length(hw, regs),
        0x07 => display::start(hw, regs),
        0x08 => palette::width(hw, regs),
        0x09 => palette::data(hw, regs),
        // The interface's code drives the Bochs display interface.
        0x0a if regs.bl() == 0 && !H::CIRRUS => {
            let (at, len) = hw.protected_mode_interface();
            regs.es = at.seg;
            regs.set_di(at.off);
            regs.set_cx(len);
            DONE
        }
        0x15 => ddc::call(hw, regs),
        // Unsupported function: AX stays, so AL is not 4Fh.
        _ => return,
    };
    regs.set_ax(status);
}
