//! VGA text modes as pixels: a snapshot of the cells per scan line, and the difference to the last snapshot.

use super::Vga;
use super::regs::{
    AR10_MODE_CONTROL, CR0A_CURSOR_START, CR0B_CURSOR_END, CR0E_CURSOR_LOCATION_HIGH, CR0F_CURSOR_LOCATION_LOW,
    CR01_HORIZONTAL_DISPLAY_END, CR14_UNDERLINE_LOCATION, SR3_CHARACTER_MAP,
};
use super::render::{BIT_EXPANSION, BlinkPhase, ScanLine, rgb32};

const AR10_LINE_GRAPHICS: u8 = 1 << 2;
/// The attribute bits that are 001 for an underlined character.
const ATTRIBUTE_UNDERLINE: u8 = 7;
const ATTRIBUTE_BLINK: u8 = 0x80;
/// Bytes of a glyph, and of a font of 256 glyphs.
const GLYPH_SIZE: usize = 32;
const FONT_SIZE: usize = 0x2000;

/// A character row.
#[derive(Clone, Copy, Debug)]
struct TextRow {
    /// Index of its first cell in the snapshot.
    start: usize,
    /// The column of the cursor, if it is in this row.
    cursor: Option<u32>,
    /// A character of the row blinks.
    blinks: bool,
}

/// The cells of a text screen, by scan line.
#[derive(Clone, Debug, Default)]
pub(super) struct TextSnapshot {
    blink: Option<BlinkPhase>,
    /// Code and attribute, row by row; each row has one more cell than is displayed, for pixel panning.
    cells: Vec<[u8; 2]>,
    rows: Vec<TextRow>,
    /// By scan line: the row and the CRTC counters.
    lines: Vec<(u32, ScanLine)>,
    /// Cells per row.
    width: usize,
    /// Scan lines per row.
    height: usize,
    /// First and last scan line of the cursor.
    cursor: (u32, u32),
}

/// The change of a scan line since the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineChange {
    /// It displays the same.
    Unchanged,
    /// It displays what the line this many lines below displayed.
    ScrolledFrom(usize),
    /// It displays something new.
    Changed,
}

impl TextSnapshot {
    /// Takes a snapshot; `cell` returns code and attribute at an address counter value.
    pub fn new(vga: &Vga, blink: BlinkPhase, cell: impl Fn(u32) -> [u8; 2]) -> Self {
        let cr = &vga.regs.cr;
        let width = usize::from(cr[CR01_HORIZONTAL_DISPLAY_END]) + 2;
        let height = vga.regs.row_height() as usize * if vga.regs.double_scan() { 2 } else { 1 };
        let skew = u32::from(cr[CR0B_CURSOR_END] >> 5 & 3);
        let cursor_at = (u32::from(cr[CR0E_CURSOR_LOCATION_HIGH]) << 8 | u32::from(cr[CR0F_CURSOR_LOCATION_LOW]))
            .wrapping_add(skew);
        let cursor = (u32::from(cr[CR0A_CURSOR_START] & 0x1f), u32::from(cr[CR0B_CURSOR_END] & 0x1f));
        let has_cursor = vga.cursor_enabled() && cursor.0 <= cursor.1;
        let blink_enabled = vga.blink_enabled();
        let mut this = Self { blink: Some(blink), width, height, cursor, ..Self::default() };
        let mut address = None;
        for scan in vga.scan_lines() {
            if address != Some(scan.address) {
                address = Some(scan.address);
                let start = this.cells.len();
                let addresses = (0..width as u32).map(|column| scan.address.wrapping_add(column) & 0xffff);
                this.cells.extend(addresses.clone().map(&cell));
                let found = addresses.zip(0..).find(|&(address, _)| has_cursor && address == cursor_at);
                let blinks = blink_enabled && this.cells[start..].iter().any(|cell| cell[1] & ATTRIBUTE_BLINK != 0);
                this.rows.push(TextRow { start, cursor: found.map(|(_, column)| column), blinks });
            }
            this.lines.push((this.rows.len() as u32 - 1, scan));
        }
        this
    }

    /// Whether the picture depends on the blink phase.
    pub fn depends_on_blink(&self) -> bool {
        self.rows.iter().any(|row| row.blinks || row.cursor.is_some())
    }

    fn cells_of(&self, row: &TextRow) -> &[[u8; 2]] {
        self.cells.get(row.start..row.start + self.width).unwrap_or_default()
    }

    fn cursor_in(&self, row: &TextRow, scan: ScanLine) -> Option<u32> {
        row.cursor.filter(|_| {
            self.blink.is_some_and(|blink| blink.cursor) && (self.cursor.0..=self.cursor.1).contains(&scan.row_scan)
        })
    }

    /// The change of every scan line since `before`. No register may have changed except start address and cursor
    /// location.
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = LineChange> + 'a {
        let phase_changed = self.blink.map(|blink| blink.characters) != before.blink.map(|blink| blink.characters);
        // Cache the comparison of two rows, as neighbouring lines belong to the same rows.
        let mut known = [(u32::MAX, u32::MAX, false); 2];
        let mut same = move |n: usize, new: &(u32, ScanLine), old: Option<&(u32, ScanLine)>| {
            let Some(old) = old else { return false };
            let (Some(row), Some(was)) = (self.rows.get(new.0 as usize), before.rows.get(old.0 as usize)) else {
                return false;
            };
            if (known[n].0, known[n].1) != (new.0, old.0) {
                known[n] = (new.0, old.0, self.cells_of(row) == before.cells_of(was));
            }
            known[n].2
                && !(phase_changed && row.blinks)
                && (new.1.row_scan, new.1.pan) == (old.1.row_scan, old.1.pan)
                && self.cursor_in(row, new.1) == before.cursor_in(was, old.1)
        };
        self.lines.iter().enumerate().map(move |(y, new)| {
            if same(0, new, before.lines.get(y)) {
                LineChange::Unchanged
            } else if same(1, new, before.lines.get(y + self.height)) {
                LineChange::ScrolledFrom(self.height)
            } else {
                LineChange::Changed
            }
        })
    }
}

/// Draws scan lines of text.
pub(super) struct TextRenderer {
    /// Dots per cell.
    cell: usize,
    /// Displayed dots per dot of a cell: 2 if the dot clock is halved.
    dots_per_pixel: usize,
    /// Offsets of the two fonts in plane 2.
    fonts: [usize; 2],
    colours: [u32; 16],
    /// The attribute bits that select the background colour.
    background_mask: u8,
    /// The attribute bit of characters that are hidden at this blink phase.
    hide_mask: u8,
    line_graphics: bool,
    underline: u32,
    /// A line of complete cells, before panning.
    dots: Vec<u32>,
}

impl TextRenderer {
    pub fn new(vga: &Vga, blink: BlinkPhase) -> Self {
        let regs = &vga.regs;
        // Plane 2 holds eight fonts of 256 glyphs of 32 lines (SR3, character map select).
        let map = regs.sr[SR3_CHARACTER_MAP];
        let font_offset = |a: u8| usize::from((a & 3) << 1 | a >> 2) * FONT_SIZE;
        let (cell, blink_enabled) = (regs.char_width() as usize, vga.blink_enabled());
        Self {
            cell,
            dots_per_pixel: if regs.dot_clock_halved() { 2 } else { 1 },
            // Attribute bit 3 selects map B (0) or map A (1), and is the intensity as well.
            fonts: [font_offset(map & 3 | map >> 2 & 4), font_offset(map >> 2 & 3 | map >> 3 & 4)],
            colours: vga.text_palette().map(rgb32),
            background_mask: if blink_enabled { 7 } else { 0xf },
            hide_mask: if blink_enabled && !blink.characters { ATTRIBUTE_BLINK } else { 0 },
            line_graphics: regs.ar[AR10_MODE_CONTROL] & AR10_LINE_GRAPHICS != 0,
            underline: u32::from(regs.cr[CR14_UNDERLINE_LOCATION] & 0x1f),
            dots: vec![0; (usize::from(regs.cr[CR01_HORIZONTAL_DISPLAY_END]) + 2) * cell],
        }
    }

    /// Draws scan line `y`; `font` returns a byte of plane 2.
    pub fn draw(&mut self, lines: &TextSnapshot, y: usize, font: impl Fn(usize) -> u8, out: &mut [u32]) {
        let Some(&(row, scan)) = lines.lines.get(y) else { return };
        let Some(row) = lines.rows.get(row as usize) else { return };
        let cursor = lines.cursor_in(row, scan);
        for ((&[code, attribute], dots), column) in
            lines.cells_of(row).iter().zip(self.dots.chunks_exact_mut(self.cell)).zip(0..)
        {
            let back = self.colours[usize::from(attribute >> 4 & self.background_mask)];
            let glyph = self.fonts[usize::from(attribute >> 3 & 1)] + usize::from(code) * GLYPH_SIZE;
            let mut bits = font(glyph + scan.row_scan as usize);
            if attribute & ATTRIBUTE_UNDERLINE == 1 && scan.row_scan == self.underline {
                bits = 0xff;
            }
            if attribute & self.hide_mask != 0 {
                bits = 0;
            }
            if cursor == Some(column) {
                bits = 0xff;
            }
            let difference = if bits == 0 { 0 } else { back ^ self.colours[usize::from(attribute & 0xf)] };
            let Some((eight, ninth)) = dots.split_first_chunk_mut::<8>() else { continue };
            let drawn = BIT_EXPANSION[usize::from(bits)];
            for (dot, drawn) in eight.iter_mut().zip(drawn) {
                // `drawn` is 1 for a foreground dot; its negation is a mask of all ones.
                *dot = back ^ difference & u32::from(drawn).wrapping_neg();
            }
            // For line-drawing characters the ninth dot repeats the eighth.
            let continues = bits & 1 != 0 && self.line_graphics && (0xc0..=0xdf).contains(&code);
            ninth.fill(if continues { back ^ difference } else { back });
        }
        // With nine dots per cell, panning 8 shifts by no dot and 0 by one.
        let pan = if self.cell == 9 { (scan.pan as usize + 1) % 9 } else { scan.pan as usize & 7 };
        let shown = self.dots.get(pan..).unwrap_or_default();
        if self.dots_per_pixel == 1 {
            let len = out.len().min(shown.len());
            out[..len].copy_from_slice(&shown[..len]);
        } else {
            out.chunks_exact_mut(self.dots_per_pixel).zip(shown).for_each(|(to, &dot)| to.fill(dot));
        }
    }
}
