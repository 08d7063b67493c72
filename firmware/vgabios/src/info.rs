//! INT 10h AH=1Ah, display combination code, and AH=1Bh, functionality and state information.

use crate::bda;
use crate::hw::{Hw, far};
use crate::regs::Regs;
use crate::set_mode;
use crate::tables;
use crate::vga;

/// Bytes of the table that AH=1Bh returns.
const STATE_SIZE: u16 = 64;

/// Display codes of the active and the alternate display.
fn displays<H: Hw>(hw: &mut H) -> (u8, u8) {
    let index = u16::from(hw.bda8(bda::COMBINATION).min(tables::LAST_COMBINATION));
    let at = tables::DISPLAY_COMBINATIONS + 4 + 2 * index;
    (hw.table8(at), hw.table8(at + 1))
}

/// AH=1Ah: reads or writes the display combination code.
#[inline(never)]
pub fn display_combination<H: Hw>(hw: &mut H, regs: &mut Regs) {
    match regs.al() {
        0 => {
            let (active, other) = displays(hw);
            regs.set_bl(active);
            regs.set_bh(other);
        }
        1 => {
            // There is no alternate display.
            if regs.bl() > tables::LAST_COMBINATION || regs.bh() != 0 {
                return;
            }
            hw.set_bda8(bda::COMBINATION, regs.bl());
        }
        _ => return,
    }
    regs.set_al(0x1a);
}

/// Number of colours and of pages of a mode.
const fn colours_and_pages(mode: u8) -> (u16, u8) {
    match mode {
        0..=3 => (16, 8),
        4 | 5 => (4, 1),
        6 | 0x11 => (2, 1),
        7 => (0, 8),
        0x0d => (16, 8),
        0x0e => (16, 4),
        0x0f => (0, 2),
        0x10 => (16, 2),
        0x12 => (16, 1),
        _ => (256, 1),
    }
}

/// AH=1Bh: fills in the functionality and state information table.
#[inline(never)]
pub fn state<H: Hw>(hw: &mut H, regs: &mut Regs) {
    if regs.bx() != 0 {
        return;
    }
    let to = far(regs.es, regs.di());
    hw.fill(to, 0, STATE_SIZE);
    let tables = hw.tables();
    hw.write_far(to, tables.at(tables::STATIC_FUNCTIONALITY));
    // A copy of 40:49h to 40:66h.
    hw.copy(to.at(4), far(bda::SEGMENT, bda::MODE), 30);
    let rows = hw.bda8(bda::ROWS).wrapping_add(1);
    hw.write8(to.at(0x22), rows);
    let height = hw.bda16(bda::CHAR_HEIGHT);
    hw.write16(to.at(0x23), height);
    let (active, other) = displays(hw);
    hw.write8(to.at(0x25), active);
    hw.write8(to.at(0x26), other);
    let mode = hw.bda8(bda::MODE);
    let (colours, pages) = colours_and_pages(mode);
    hw.write16(to.at(0x27), colours);
    hw.write8(to.at(0x29), pages);
    let lines = match mode {
        0..=3 | 7 => match set_mode::lines(hw) {
            crate::modes::Lines::L200 => 0,
            crate::modes::Lines::L350 => 1,
            crate::modes::Lines::L400 => 2,
        },
        0x0f | 0x10 => 1,
        0x11 | 0x12 => 3,
        _ => 0,
    };
    hw.write8(to.at(0x2a), lines);
    let map = vga::read(hw, vga::SEQUENCER, 3);
    hw.write8(to.at(0x2b), map & 3 | map >> 2 & 4);
    hw.write8(to.at(0x2c), map >> 2 & 3 | map >> 3 & 4);
    let flags = hw.bda8(bda::FLAGS);
    let emulation = hw.bda8(bda::CONTROL) & bda::CONTROL_NO_EMULATION == 0;
    let blink = hw.bda8(bda::CGA_MODE) & 0x20;
    let misc = 1 | flags & bda::FLAG_GREY | flags & bda::FLAG_KEEP_PALETTE | if emulation { 0x10 } else { 0 } | blink;
    hw.write8(to.at(0x2d), misc);
    hw.write8(to.at(0x31), 3);
    regs.set_al(0x1b);
}
