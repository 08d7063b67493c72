//! INT 10h AH=06h and 07h: scrolls a window of the active page.

use crate::bda;
use crate::cursor;
use crate::glyphs;
use crate::hw::{Hw, far};
use crate::modes::{self, MemoryModel};
use crate::vga;

/// A window of character cells; both corners are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub top: u8,
    /// First column.
    pub left: u8,
    /// Last row.
    pub bottom: u8,
    /// Last column.
    pub right: u8,
}

/// Scrolls the window up or down by `lines` rows, or clears it if `lines` is 0 or more than its height. Freed rows
/// become blanks with `attribute`, in graphics modes pixels of that colour.
#[inline(never)]
pub fn scroll<H: Hw>(hw: &mut H, up: bool, lines: u8, attribute: u8, window: Window) {
    let columns = hw.bda16(bda::COLUMNS);
    let last_row = hw.bda8(bda::ROWS);
    let Window { top, left, bottom, right } = window;
    let bottom = bottom.min(last_row);
    let right = u16::from(right).min(columns.wrapping_sub(1)) as u8;
    if top > bottom || left > right {
        return;
    }
    let height = bottom - top + 1;
    let lines = if lines == 0 || lines > height { height } else { lines };
    let moved = height - lines;
    let width = right - left + 1;
    if !matches!(modes::memory_model(hw.bda8(bda::MODE)), MemoryModel::Text) {
        return glyphs::scroll(hw, up, lines, attribute, Window { top, left, bottom, right });
    }
    let pitch = columns * 2;
    let page = hw.bda8(bda::PAGE);
    let base = cursor::page_start(hw, page) + u16::from(left) * 2;
    let segment = vga::text_segment(hw);
    let row_at = |row: u8| far(segment, base.wrapping_add(u16::from(row) * pitch));
    let blank = (u32::from(attribute) * 0x0100_0100) | 0x0020_0020;
    let (rows, cleared) = if up { (top, top + moved) } else { (bottom - moved + 1, top) };
    if u16::from(width) == columns && up {
        // Full-width rows are contiguous: one copy moves all.
        hw.copy(row_at(top), row_at(top + lines), u16::from(moved) * pitch);
        hw.fill(row_at(cleared), blank, u16::from(lines) * pitch);
        return;
    }
    for n in 0..moved {
        let (to, from) = if up { (rows + n, rows + n + lines) } else { (bottom - n, bottom - n - lines) };
        hw.copy(row_at(to), row_at(from), u16::from(width) * 2);
    }
    for n in 0..lines {
        hw.fill(row_at(cleared + n), blank, u16::from(width) * 2);
    }
}
