//! INT 10h AH=01h, 02h, 03h and 05h: cursor type, cursor position, active display page.

use crate::bda;
use crate::hw::Hw;
use crate::modes::{self, MemoryModel};
use crate::vga;

/// Cursor type of text modes: scan lines 6-7 of an 8-line cell, as a CGA has it. Cursor emulation scales it.
pub const DEFAULT_SHAPE: u16 = 0x0607;

const CURSOR_START: u8 = 0x0a;
const CURSOR_END: u8 = 0x0b;
const START_HIGH: u8 = 0x0c;
const START_LOW: u8 = 0x0d;
const CURSOR_HIGH: u8 = 0x0e;
const CURSOR_LOW: u8 = 0x0f;

/// Cursor Start register (CRTC 0Ah): cursor off.
const CURSOR_OFF: u8 = 0x20;

/// A cursor position, as in [`bda::CURSOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Column.
    pub column: u8,
    /// Row.
    pub row: u8,
}

/// Writes a word to two consecutive CRT controller registers, high byte first.
pub fn write_pair<H: Hw>(hw: &mut H, high: u8, value: u16) {
    let crtc = vga::crtc(hw);
    vga::write(hw, crtc, high, (value >> 8) as u8);
    vga::write(hw, crtc, high + 1, value as u8);
}

/// Cursor emulation: scales first and last scan line from an 8-line cell to a cell of `height` lines. An underline
/// keeps its distance to the bottom; a block stays a block.
pub fn emulate(start: u8, end: u8, height: u8) -> (u8, u8) {
    if height <= 8 || start > end || end > 7 {
        return (start, end);
    }
    let bottom = height - 2;
    if end >= 6 && end - start <= 1 {
        return (bottom - (end - start), bottom);
    }
    let scale = |line: u8| (u16::from(line) * u16::from(height) / 8) as u8;
    (scale(start), scale(end + 1) - 1)
}

/// AH=01h: sets the first scan line (`start`, bits 6-5 as in CH: they switch the cursor off) and the last one.
#[inline(never)]
pub fn set_shape<H: Hw>(hw: &mut H, start: u8, end: u8) {
    hw.set_bda16(bda::CURSOR_SHAPE, u16::from(start) << 8 | u16::from(end));
    let (mut first, mut last) = (start & 0x3f, end & 0x1f);
    if start & 0x60 != 0 {
        first = CURSOR_OFF;
        last = 0;
    } else if hw.bda8(bda::CONTROL) & bda::CONTROL_NO_EMULATION == 0 {
        let height = hw.bda8(bda::CHAR_HEIGHT);
        (first, last) = emulate(first, last, height);
    }
    let crtc = vga::crtc(hw);
    vga::write(hw, crtc, CURSOR_START, first);
    vga::write(hw, crtc, CURSOR_END, last);
}

/// AH=03h: returns the cursor position of a page.
pub fn get<H: Hw>(hw: &mut H, page: u8) -> Position {
    let [column, row] = hw.bda16(bda::CURSOR + 2 * u16::from(page & 7)).to_le_bytes();
    Position { column, row }
}

/// AH=02h: sets the cursor position of a page.
#[inline(never)]
pub fn set<H: Hw>(hw: &mut H, page: u8, at: Position) {
    if page > 7 {
        return;
    }
    hw.set_bda16(bda::CURSOR + 2 * u16::from(page), u16::from_le_bytes([at.column, at.row]));
    if page == hw.bda8(bda::PAGE) {
        set_crtc(hw, at);
    }
}

/// Programs the CRTC's cursor location, in text modes.
fn set_crtc<H: Hw>(hw: &mut H, at: Position) {
    if !matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Text) {
        return;
    }
    let columns = hw.bda16(bda::COLUMNS);
    let cell = u16::from(at.row).wrapping_mul(columns).wrapping_add(at.column.into());
    let start = hw.bda16(bda::PAGE_START) >> 1;
    write_pair(hw, CURSOR_HIGH, start.wrapping_add(cell));
}

/// Offset of a page in video memory, in bytes.
pub fn page_start<H: Hw>(hw: &mut H, page: u8) -> u16 {
    hw.bda16(bda::PAGE_SIZE).wrapping_mul(page.into())
}

/// AH=05h: makes a page the active one.
#[inline(never)]
pub fn select_page<H: Hw>(hw: &mut H, page: u8) {
    let model = modes::memory_model(hw.bda8(bda::MODE));
    if page > 7
        || matches!(model, MemoryModel::Vbe | MemoryModel::Cga4 | MemoryModel::Cga2 | MemoryModel::Linear) && page != 0
    {
        return;
    }
    let start = page_start(hw, page);
    hw.set_bda8(bda::PAGE, page);
    hw.set_bda16(bda::PAGE_START, start);
    if matches!(model, MemoryModel::Vbe) {
        return;
    }
    // The CRTC start address counts words in text modes and bytes in planar modes.
    write_pair(hw, START_HIGH, if matches!(model, MemoryModel::Text) { start >> 1 } else { start });
    let at = get(hw, page);
    set_crtc(hw, at);
}

const _: () = assert!(START_LOW == START_HIGH + 1 && CURSOR_LOW == CURSOR_HIGH + 1);
