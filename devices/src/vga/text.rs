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

/// The visible cells of a text mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub columns: u32,
    pub rows: u32,
    /// Scan lines of a cell.
    pub height: u32,
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
    pub(super) fn cell(&self, memory: &Memory, address: u32) -> [u8; 2] {
        let mut cell = [0; 2];
        let apart = self.text && address < super::TEXT_SIZE / 2;
        memory.read_video(
            if apart { u64::from(self.vram) + u64::from(address) * 2 } else { u64::from(address) * 4 },
            &mut cell,
        );
        cell
    }

    pub(super) fn grid(&self) -> Grid {
        let regs = &self.regs;
        let height = regs.row_height() * if regs.double_scan() { 2 } else { 1 };
        let lines = regs.timing().shown_lines as u32;
        Grid {
            columns: u32::from(regs.crtc[1]) + 1,
            rows: (lines / height).max(1),
            height,
            start: regs.start_address(),
            pitch: regs.row_pitch(),
            split: (regs.line_compare() + 1).div_ceil(height),
        }
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
