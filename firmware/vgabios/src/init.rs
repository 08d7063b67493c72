//! Initialisation, called by POST: BIOS data area, interrupt vectors, mode 3.

use crate::bda;
use crate::cirrus;
use crate::hw::{Far, Hw, far};
use crate::set_mode;
use crate::tables;

const VECTOR_10: Far = far(0, 0x10 * 4);
const VECTOR_42: Far = far(0, 0x42 * 4);
const VECTOR_6D: Far = far(0, 0x6d * 4);

/// Equipment word: initial video mode.
const VIDEO_MASK: u16 = 0x30;
const VIDEO_COLOUR_80: u16 = 0x20;

/// Points INT 10h at `entry` and sets mode 3.
pub fn init<H: Hw>(hw: &mut H, entry: Far) {
    let equipment = hw.bda16(bda::EQUIPMENT);
    hw.set_bda16(bda::EQUIPMENT, equipment & !VIDEO_MASK | VIDEO_COLOUR_80);
    hw.set_bda8(bda::CONTROL, bda::CONTROL_DEFAULT);
    hw.set_bda8(bda::SWITCHES, bda::SWITCHES_DEFAULT);
    hw.set_bda8(bda::FLAGS, bda::FLAG_VGA | bda::FLAG_SWITCH | bda::FLAG_400);
    hw.set_bda8(bda::COMBINATION, tables::LAST_COMBINATION);
    let tables = hw.tables();
    hw.write_far(far(bda::SEGMENT, bda::SAVE_POINTERS), tables.at(tables::SAVE_POINTERS));
    // INT 42h keeps the system BIOS' video services, which owned INT 10h until now.
    let old = hw.read_far(VECTOR_10);
    if old != entry {
        hw.write_far(VECTOR_42, old);
    }
    hw.write_far(VECTOR_10, entry);
    hw.write_far(VECTOR_6D, entry);
    hw.write_far(bda::FONT_UPPER, tables.at(tables::FONT8 + 128 * 8));
    hw.write_far(bda::FONT, tables.at(tables::FONT16));
    if H::CIRRUS {
        cirrus::init(hw);
    }
    set_mode::set_mode(hw, 3);
}
