//! INT 10h AH=12h, alternate select: video settings.

use crate::bda;
use crate::cirrus;
use crate::hw::Hw;
use crate::regs::Regs;
use crate::vga;

/// AL of a function that is supported.
const DONE: u8 = 0x12;

const MEMORY_256K: u8 = 3;
const RAM_ENABLE: u8 = 0x02;
const CLOCKING: u8 = 1;
const SCREEN_OFF: u8 = 0x20;

/// Sets or clears the bits `mask` of a BIOS data area byte.
fn change<H: Hw>(hw: &mut H, variable: u16, mask: u8, set: bool) {
    let value = hw.bda8(variable) & !mask;
    hw.set_bda8(variable, if set { value | mask } else { value });
}

/// AH=12h. BL=20h (print screen routine for other than 25 rows) does nothing: the system BIOS' routine reads the number
/// of rows from the BIOS data area. BL=35h (display switch) is not supported: there is one adapter.
#[inline(never)]
pub fn call<H: Hw>(hw: &mut H, regs: &mut Regs) {
    if H::CIRRUS && cirrus::extended(hw, regs) {
        return;
    }
    let (function, value) = (regs.bl(), regs.al());
    if matches!(function, 0x31..=0x34 | 0x36) && value > 1 {
        return;
    }
    let off = value != 0;
    match function {
        0x10 => {
            let mono = vga::crtc(hw) != vga::CRTC_COLOUR;
            regs.set_bh(mono.into());
            regs.set_bl(MEMORY_256K);
            let switches = hw.bda8(bda::SWITCHES);
            regs.set_ch(switches >> 4);
            regs.set_cl(switches & 0xf);
            return;
        }
        0x30 => {
            let flags = hw.bda8(bda::FLAGS) & !(bda::FLAG_200 | bda::FLAG_400);
            let lines = match value {
                0 => bda::FLAG_200,
                1 => 0,
                2 => bda::FLAG_400,
                _ => return,
            };
            hw.set_bda8(bda::FLAGS, flags | lines);
        }
        0x31 => change(hw, bda::FLAGS, bda::FLAG_KEEP_PALETTE, off),
        0x32 => {
            let misc = hw.inb(vga::MISC_READ) & !RAM_ENABLE;
            hw.outb(vga::MISC, if off { misc } else { misc | RAM_ENABLE });
        }
        0x33 => change(hw, bda::FLAGS, bda::FLAG_GREY, !off),
        0x34 => change(hw, bda::CONTROL, bda::CONTROL_NO_EMULATION, off),
        0x36 => {
            let clocking = vga::read(hw, vga::SEQUENCER, CLOCKING) & !SCREEN_OFF;
            vga::write(hw, vga::SEQUENCER, CLOCKING, if off { clocking | SCREEN_OFF } else { clocking });
        }
        _ => return,
    }
    regs.set_al(DONE);
}
