//! INT 10h AH=08h, 09h, 0Ah, 0Eh and 13h: reads and writes characters at the cursor, teletype output.

use crate::bda;
use crate::cursor::{self, Position};
use crate::glyphs;
use crate::hw::{Far, Hw, far};
use crate::modes::{self, MemoryModel};
use crate::regs::Regs;
use crate::scroll::{self, Window};
use crate::vga;

const BELL: u8 = 7;
const BACKSPACE: u8 = 8;
const LINE_FEED: u8 = 10;
/// Limit for the repeat count: 32 KiB of text memory holds no more cells.
const MAX_COUNT: u16 = 0x4000;

const CARRIAGE_RETURN: u8 = 13;

/// Address of a text cell.
fn cell<H: Hw>(hw: &mut H, page: u8, at: Position) -> Far {
    let columns = hw.bda16(bda::COLUMNS);
    let cell = u16::from(at.row).wrapping_mul(columns).wrapping_add(at.column.into());
    let segment = vga::text_segment(hw);
    far(segment, cursor::page_start(hw, page).wrapping_add(cell << 1))
}

fn is_text<H: Hw>(hw: &mut H) -> bool {
    matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Text)
}

/// AH=08h: reads the character and, in text modes, the attribute at the cursor.
#[inline(never)]
pub fn read<H: Hw>(hw: &mut H, page: u8) -> (u8, u8) {
    let at = cursor::get(hw, page);
    if is_text(hw) {
        let at = cell(hw, page, at);
        let [character, attribute] = hw.read16(at).to_le_bytes();
        (character, attribute)
    } else {
        (glyphs::read(hw, page, at), 0)
    }
}

/// AH=09h and 0Ah: writes a character `count` times from the cursor on, without moving the cursor. With `keep_attribute` (AH=0Ah)
/// text cells retain their attribute.
///
/// Modes with 256 colours have one page; there `page` (BH) is the background colour.
#[inline(never)]
pub fn write<H: Hw>(hw: &mut H, page: u8, character: u8, attribute: u8, keep_attribute: bool, count: u16) {
    let colours = matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Linear);
    let (page, background) = if colours { (0, page) } else { (page, 0) };
    let mut at = cursor::get(hw, page);
    if is_text(hw) {
        let mut at = cell(hw, page, at);
        if !keep_attribute {
            let value = u32::from(attribute) << 8 | u32::from(character);
            return hw.fill(at, value | value << 16, count.min(MAX_COUNT) * 2);
        }
        for _ in 0..count.min(MAX_COUNT) {
            hw.write8(at, character);
            at = at.at(2);
        }
        return;
    }
    let columns = hw.bda16(bda::COLUMNS);
    let rows = hw.bda8(bda::ROWS);
    for _ in 0..count {
        hw.let_interrupts_in();
        glyphs::write(hw, page, at, character, attribute, background);
        at.column = at.column.wrapping_add(1);
        if u16::from(at.column) >= columns {
            at.column = 0;
            if at.row >= rows {
                return;
            }
            at.row += 1;
        }
    }
}

/// Sounds the speaker: 896 Hz from PIT channel 2.
#[inline(never)]
fn bell<H: Hw>(hw: &mut H) {
    const DIVISOR: u16 = 1331;
    hw.outb(0x43, 0xb6);
    hw.outb(0x42, DIVISOR as u8);
    hw.outb(0x42, (DIVISOR >> 8) as u8);
    let control = hw.inb(0x61);
    hw.outb(0x61, control | 3);
    // Delay: 4096 reads of port 61h, each of which is an ISA cycle or, on a VMM, an exit.
    for n in 0..4096 {
        hw.inb(0x61);
        if n & 0x3f == 0 {
            hw.let_interrupts_in();
        }
    }
    hw.outb(0x61, control);
}

/// Teletype output: writes a character or executes a control character, and returns the new cursor position.
/// `attribute` applies to text modes; `None` retains the cell's attribute.
fn put<H: Hw>(hw: &mut H, page: u8, character: u8, colour: u8, attribute: Option<u8>, mut at: Position) -> Position {
    let columns = hw.bda16(bda::COLUMNS);
    let rows = hw.bda8(bda::ROWS);
    match character {
        BELL => {
            bell(hw);
            return at;
        }
        BACKSPACE => {
            at.column = at.column.saturating_sub(1);
            return at;
        }
        CARRIAGE_RETURN => {
            at.column = 0;
            return at;
        }
        LINE_FEED => at.row = at.row.wrapping_add(1),
        _ => {
            if is_text(hw) {
                let at = cell(hw, page, at);
                match attribute {
                    Some(attribute) => hw.write16(at, u16::from(attribute) << 8 | u16::from(character)),
                    None => hw.write8(at, character),
                }
            } else {
                glyphs::write(hw, page, at, character, colour, 0);
            }
            at.column = at.column.wrapping_add(1);
            if u16::from(at.column) >= columns {
                at.column = 0;
                at.row = at.row.wrapping_add(1);
            }
        }
    }
    if at.row > rows {
        at.row = rows;
        // The new row takes the attribute of the last row.
        let fill = if is_text(hw) {
            let last = cell(hw, page, at);
            (hw.read16(last) >> 8) as u8
        } else {
            0
        };
        let all = Window { top: 0, left: 0, bottom: rows, right: columns.wrapping_sub(1) as u8 };
        scroll::scroll(hw, true, 1, fill, all);
    }
    at
}

/// AH=0Eh: teletype output.
#[inline(never)]
pub fn teletype<H: Hw>(hw: &mut H, page: u8, character: u8, colour: u8) {
    let at = cursor::get(hw, page);
    let at = put(hw, page, character, colour, None, at);
    cursor::set(hw, page, at);
}

/// AH=13h: writes a string. AL bit 0: the cursor moves to its end; bit 1: each character is followed by its attribute.
#[inline(never)]
pub fn string<H: Hw>(hw: &mut H, regs: &Regs) {
    let mode = regs.al();
    if mode > 3 {
        return;
    }
    let page = regs.bh();
    let before = cursor::get(hw, page);
    let mut at = Position { column: regs.dl(), row: regs.dh() };
    if regs.dh() == 0xff {
        at = before;
    }
    let mut from = far(regs.es, regs.bp());
    let mut attribute = regs.bl();
    for _ in 0..regs.cx() {
        hw.let_interrupts_in();
        let character = hw.read8(from);
        from = from.at(1);
        if mode & 2 != 0 {
            attribute = hw.read8(from);
            from = from.at(1);
        }
        at = put(hw, page, character, attribute, Some(attribute), at);
    }
    cursor::set(hw, page, if mode & 1 != 0 { at } else { before });
}
