//! INT 10h dispatcher: the video function in AH.

use crate::bda;
use crate::cursor::{self, Position};
use crate::fonts;
use crate::glyphs;
use crate::hw::Hw;
use crate::info;
use crate::palette;
use crate::regs::Regs;
use crate::scroll::{self, Window};
use crate::select;
use crate::set_mode::{self, NO_CLEAR};
use crate::state;
use crate::teletype;
use crate::vbe;

/// The value that AH=00h returns in AL, by mode.
const fn mode_set_result(mode: u8) -> u8 {
    match mode {
        6 => 0x3f,
        0..=7 => 0x30,
        _ => 0x20,
    }
}

/// Handles a call of INT 10h.
pub fn int10<H: Hw>(hw: &mut H, regs: &mut Regs) {
    match regs.ah() {
        0x00 => {
            let mode = regs.al();
            if set_mode::set_mode(hw, mode) {
                regs.set_al(mode_set_result(mode & !NO_CLEAR));
            }
        }
        0x01 => cursor::set_shape(hw, regs.ch(), regs.cl()),
        0x02 => cursor::set(hw, regs.bh(), Position { column: regs.dl(), row: regs.dh() }),
        0x03 => {
            let at = cursor::get(hw, regs.bh());
            regs.set_cx(hw.bda16(bda::CURSOR_SHAPE));
            regs.set_dl(at.column);
            regs.set_dh(at.row);
        }
        // No light pen.
        0x04 => regs.set_ah(0),
        0x05 => cursor::select_page(hw, regs.al()),
        0x06 | 0x07 => {
            let window = Window { top: regs.ch(), left: regs.cl(), bottom: regs.dh(), right: regs.dl() };
            scroll::scroll(hw, regs.ah() == 6, regs.al(), regs.bh(), window);
        }
        0x08 => {
            let (character, attribute) = teletype::read(hw, regs.bh());
            regs.set_al(character);
            regs.set_ah(attribute);
        }
        0x09 => teletype::write(hw, regs.bh(), regs.al(), regs.bl(), false, regs.cx()),
        0x0a => teletype::write(hw, regs.bh(), regs.al(), regs.bl(), true, regs.cx()),
        0x0b => palette::cga(hw, regs.bh(), regs.bl()),
        0x0c => glyphs::write_dot(hw, regs.bh(), regs.cx(), regs.dx(), regs.al()),
        0x0d => {
            let colour = glyphs::read_dot(hw, regs.bh(), regs.cx(), regs.dx());
            regs.set_al(colour);
        }
        0x0e => {
            let page = hw.bda8(bda::PAGE);
            teletype::teletype(hw, page, regs.al(), regs.bl());
        }
        0x0f => {
            regs.set_al(hw.bda8(bda::MODE) | hw.bda8(bda::CONTROL) & bda::CONTROL_NO_CLEAR);
            regs.set_ah(hw.bda16(bda::COLUMNS) as u8);
            regs.set_bh(hw.bda8(bda::PAGE));
        }
        0x10 => palette::call(hw, regs),
        0x11 => fonts::generator(hw, regs),
        0x12 => select::call(hw, regs),
        0x1a => info::display_combination(hw, regs),
        0x1b => info::state(hw, regs),
        0x1c => state::call(hw, regs),
        0x4f => vbe::call(hw, regs),
        0x13 => teletype::string(hw, regs),
        _ => {}
    }
}
