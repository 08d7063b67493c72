//! Video save pointer table (40:A8h): parameters, palette save area and fonts that a program substitutes for the ROM's
//! (IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference, "Video save pointer table").

use crate::bda;
use crate::fonts;
use crate::hw::{Far, Hw, far};
use crate::tables;

/// Offsets of the pointers in the table.
const PARAMETERS: u16 = 0;
const PALETTE_AREA: u16 = 4;
const TEXT_FONT: u16 = 8;
const GRAPHICS_FONT: u16 = 12;

const OVERSCAN: u8 = 0x11;
/// End of a mode list.
const END: u8 = 0xff;
/// Limit for mode lists that lack their end.
const LIST_MAX: u16 = 0x20;

/// Reads a pointer of the table; `None` if it is null.
fn pointer<H: Hw>(hw: &mut H, entry: u16) -> Option<Far> {
    let table = hw.read_far(far(bda::SEGMENT, bda::SAVE_POINTERS));
    if table == far(0, 0) {
        return None;
    }
    let to = hw.read_far(table.at(entry));
    if to == far(0, 0) { None } else { Some(to) }
}

/// Address of a mode's entry in the video parameter table.
pub fn parameters<H: Hw>(hw: &mut H, index: u8) -> Far {
    let table = pointer(hw, PARAMETERS).unwrap_or(hw.tables());
    table.at(tables::parameters_of(index))
}

/// Copies the value of a palette register or of the overscan to the palette save area, if there is one.
pub fn palette<H: Hw>(hw: &mut H, register: u8, value: u8) {
    let at = if register == OVERSCAN { 16 } else { u16::from(register) };
    if at > 16 || register == 16 {
        return;
    }
    if let Some(area) = pointer(hw, PALETTE_AREA) {
        hw.write8(area.at(at), value);
    }
}

/// Whether a mode list contains a mode.
fn listed<H: Hw>(hw: &mut H, list: Far, mode: u8) -> bool {
    for n in 0..LIST_MAX {
        match hw.read8(list.at(n)) {
            END => return false,
            listed if listed == mode => return true,
            _ => {}
        }
    }
    false
}

/// Loads the program's font for a text mode. Returns false if the program has none.
pub fn text_font<H: Hw>(hw: &mut H, mode: u8) -> bool {
    let Some(font) = pointer(hw, TEXT_FONT) else { return false };
    if !listed(hw, font.at(11), mode) {
        return false;
    }
    let [height, block] = hw.read16(font).to_le_bytes();
    let count = hw.read16(font.at(2));
    let first = hw.read16(font.at(4));
    let glyphs = hw.read_far(font.at(6));
    fonts::load(hw, glyphs, first, count, height, block);
    fonts::set_height(hw, height);
    true
}

/// Sets the program's font for a graphics mode, if there is one.
pub fn graphics_font<H: Hw>(hw: &mut H, mode: u8) {
    let Some(font) = pointer(hw, GRAPHICS_FONT) else { return };
    if listed(hw, font.at(7), mode) {
        let rows = hw.read8(font);
        let height = hw.read16(font.at(1));
        let glyphs = hw.read_far(font.at(3));
        hw.write_far(bda::FONT, glyphs);
        hw.set_bda8(bda::ROWS, rows.wrapping_sub(1));
        hw.set_bda16(bda::CHAR_HEIGHT, height);
    }
}
