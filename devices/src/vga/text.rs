//! VGA text modes as characters: cells, attributes and cursor.

use super::Vga;
use super::regs::{
    CR0A_CURSOR_START, CR0B_CURSOR_END, CR0E_CURSOR_LOCATION_HIGH, CR0F_CURSOR_LOCATION_LOW,
    CR01_HORIZONTAL_DISPLAY_END,
};
use crate::memory::Memory;

/// Code page 437 as Unicode, in rows of 32; control codes as the glyphs that the adapter displays.
const CP437: [&str; 8] = [
    " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼",
    " !\"#$%&'()*+,-./0123456789:;<=>?",
    "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_",
    "`abcdefghijklmnopqrstuvwxyz{|}~⌂",
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ",
    "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀",
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ",
];

/// The character of a code in code page 437.
pub fn cp437(code: u8) -> char {
    CP437[usize::from(code >> 5)].chars().nth(usize::from(code & 31)).unwrap_or(' ')
}

/// The code of a character in code page 437.
pub fn cp437_code(c: char) -> Option<u8> {
    // 00h and FFh also display as a space; prefer 20h.
    (0x20..=u8::MAX).chain(1..0x20).find(|&code| cp437(code) == c)
}

/// A text screen as cells, for displays without pixels. Characters are those of code page 437, even if the guest has
/// loaded another font.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextScreen {
    /// Cells per row, 1 to 256.
    pub columns: u32,
    /// Rows, at least 1.
    pub rows: u32,
    /// Code and attribute of each cell, row by row from the top left.
    pub cells: Vec<[u8; 2]>,
    /// Attribute bit 7 makes the character blink, else it is the background's intensity.
    pub blink_enabled: bool,
    /// The 16 text colours as red, green, blue.
    pub colours: [[u8; 3]; 16],
    /// The cursor, if visible.
    pub cursor: Option<TextCursor>,
}

/// A text screen's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCursor {
    /// From the left.
    pub column: u32,
    /// From the top.
    pub row: u32,
    /// First scan line of the cursor within the cell.
    pub first: u8,
    /// Last scan line of the cursor within the cell.
    pub last: u8,
    /// Scan lines of a cell.
    pub height: u8,
}

/// The geometry of a text screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    pub columns: u32,
    pub rows: u32,
    pub start: u32,
    pub pitch: u32,
    /// The first row of the lower part of a split screen, which starts at address 0.
    pub split: u32,
}

impl Grid {
    /// The address counter at a cell.
    pub fn address(&self, row: u32, column: u32) -> u32 {
        let (base, row) = if row >= self.split { (0, row - self.split) } else { (self.start, row) };
        (base + row * self.pitch + column) & 0xffff
    }
}

impl Vga {
    /// Where code and attribute of the cell at an address counter value are in video memory.
    pub(super) fn cell_at(&self, counter: u32) -> u64 {
        let offset = self.regs.plane_offset(counter);
        if self.text_relocated && offset & 1 == 0 && offset < super::TEXT_AREA_SIZE {
            u64::from(self.vram) + u64::from(offset)
        } else {
            u64::from(offset) * 4
        }
    }

    /// Code and attribute of the cell at an address counter value.
    fn cell(&self, memory: &Memory, counter: u32) -> [u8; 2] {
        let mut cell = [0; 2];
        memory.read_video(self.cell_at(counter), &mut cell);
        cell
    }

    fn grid(&self) -> Grid {
        let regs = &self.regs;
        let height = regs.row_height() * if regs.double_scan() { 2 } else { 1 };
        let lines = regs.timing().displayed_lines as u32;
        Grid {
            columns: u32::from(regs.cr[CR01_HORIZONTAL_DISPLAY_END]) + 1,
            rows: (lines / height).max(1),
            start: regs.start_address(),
            pitch: regs.row_pitch(),
            split: (regs.line_compare() + 1).div_ceil(height),
        }
    }

    /// The text screen as cells; `None` in a graphics mode. A blanked screen has blank cells.
    pub fn text_cells(&self, memory: &Memory) -> Option<TextScreen> {
        if !self.is_text() {
            return None;
        }
        let grid = self.grid();
        let positions = (0..grid.rows).flat_map(|row| (0..grid.columns).map(move |column| (row, column)));
        let (mut cells, mut cursor) = (vec![[b' ', 0]; (grid.rows * grid.columns) as usize], None);
        if !self.is_blanked() {
            let cr = &self.regs.cr;
            let cursor_at = u32::from(cr[CR0E_CURSOR_LOCATION_HIGH]) << 8 | u32::from(cr[CR0F_CURSOR_LOCATION_LOW]);
            let height = self.regs.row_height() as u8;
            let (first, last) =
                (cr[CR0A_CURSOR_START] & 0x1f, (cr[CR0B_CURSOR_END] & 0x1f).min(height.saturating_sub(1)));
            let shown = self.cursor_enabled() && first <= last;
            for (cell, (row, column)) in cells.iter_mut().zip(positions) {
                let address = grid.address(row, column);
                *cell = self.cell(memory, address);
                if shown && address == cursor_at {
                    cursor = Some(TextCursor { column, row, first, last, height });
                }
            }
        }
        let blink_enabled = self.blink_enabled();
        Some(TextScreen {
            columns: grid.columns,
            rows: grid.rows,
            cells,
            blink_enabled,
            colours: self.text_palette(),
            cursor,
        })
    }

    /// The rows of the text screen from the top; empty in a graphics mode. Trailing blanks are kept.
    pub fn text_screen(&self, memory: &Memory) -> Vec<String> {
        if !self.is_text() {
            return Vec::new();
        }
        let grid = self.grid();
        (0..grid.rows)
            .map(|row| {
                (0..grid.columns)
                    .map(|column| {
                        let [code, _] = self.cell(memory, grid.address(row, column));
                        cp437(code)
                    })
                    .collect()
            })
            .collect()
    }
}
