//! The text screen as characters.

use super::Vga;
use crate::memory::Memory;

/// Code page 437 as Unicode, in rows of 32, control characters as the glyphs that the adapter shows for them.
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

/// The character of a code of code page 437.
pub fn cp437(code: u8) -> char {
    CP437[usize::from(code >> 5)].chars().nth(usize::from(code & 31)).unwrap_or(' ')
}

/// The code of a character in code page 437.
pub fn cp437_code(c: char) -> Option<u8> {
    // Space has two codes, NUL and FFh among them look like it.
    (0x20..=u8::MAX).chain(1..0x20).find(|&code| cp437(code) == c)
}

/// A text screen as cells, which is enough to show it by other means than pixels. Characters are those of code page 437:
/// a guest that has loaded another font shows others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextScreen {
    /// Cells of a row, 1 to 256.
    pub columns: u32,
    /// Rows, at least 1.
    pub rows: u32,
    /// Code and attribute of every cell, row by row from the top left.
    pub cells: Vec<[u8; 2]>,
    /// Bit 7 of an attribute makes the character blink; else it is the background's intensity.
    pub blinks: bool,
    /// Red, green and blue of what the four bits of an attribute's colours are.
    pub colours: [[u8; 3]; 16],
    /// The cursor, if it is to be seen.
    pub cursor: Option<TextCursor>,
}

/// A text screen's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCursor {
    /// From the left.
    pub column: u32,
    /// From the top.
    pub row: u32,
    /// The first of its scan lines.
    pub first: u8,
    /// The last of its scan lines.
    pub last: u8,
    /// Scan lines of a cell.
    pub height: u8,
}

/// The visible cells of a text mode.
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
    /// Counter value of a cell.
    pub fn address(&self, row: u32, column: u32) -> u32 {
        let (base, row) = if row >= self.split { (0, row - self.split) } else { (self.start, row) };
        (base + row * self.pitch + column) & 0xffff
    }
}

impl Vga {
    /// Code and attribute of the cell at a counter value.
    fn cell(&self, memory: &Memory, address: u32) -> [u8; 2] {
        let mut cell = [0; 2];
        let apart = self.text && address < super::TEXT_SIZE / 2;
        memory.read_video(
            if apart { u64::from(self.vram) + u64::from(address) * 2 } else { u64::from(address) * 4 },
            &mut cell,
        );
        cell
    }

    fn grid(&self) -> Grid {
        let regs = &self.regs;
        let height = regs.row_height() * if regs.double_scan() { 2 } else { 1 };
        let lines = regs.timing().shown_lines as u32;
        Grid {
            columns: u32::from(regs.crtc[1]) + 1,
            rows: (lines / height).max(1),
            start: regs.start_address(),
            pitch: regs.row_pitch(),
            split: (regs.line_compare() + 1).div_ceil(height),
        }
    }

    /// The text screen as cells; none if the screen shows graphics. One that is switched off is blank.
    pub fn text_cells(&self, memory: &Memory) -> Option<TextScreen> {
        if !self.is_text() {
            return None;
        }
        let grid = self.grid();
        let places = (0..grid.rows).flat_map(|row| (0..grid.columns).map(move |column| (row, column)));
        let (mut cells, mut cursor) = (vec![[b' ', 0]; (grid.rows * grid.columns) as usize], None);
        if !self.dark() {
            let crtc = &self.regs.crtc;
            let cursor_at = u32::from(crtc[0x0e]) << 8 | u32::from(crtc[0x0f]);
            let height = self.regs.row_height() as u8;
            let (first, last) = (crtc[0x0a] & 0x1f, (crtc[0x0b] & 0x1f).min(height.saturating_sub(1)));
            let shown = self.cursor_on() && first <= last;
            for (cell, (row, column)) in cells.iter_mut().zip(places) {
                let address = grid.address(row, column);
                *cell = self.cell(memory, address);
                if shown && address == cursor_at {
                    cursor = Some(TextCursor { column, row, first, last, height });
                }
            }
        }
        let blinks = self.blinks();
        Some(TextScreen { columns: grid.columns, rows: grid.rows, cells, blinks, colours: self.sixteen(), cursor })
    }

    /// The rows of the text screen from the top; empty if the screen shows graphics. Trailing blanks are kept.
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
