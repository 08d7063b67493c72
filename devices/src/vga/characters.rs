//! Text as pixels: what every scan line shows, and what of that it showed before.

use super::Vga;
use super::render::{Blink, SPREAD, Scan, packed};

const MODE_CONTROL: usize = 0x10;
const LINE_GRAPHICS: u8 = 1 << 2;
const CURSOR_START: usize = 0x0a;
const CURSOR_END: usize = 0x0b;
const UNDERLINE: usize = 0x14;
/// The bits of an attribute that are 001 for an underlined character.
const UNDERLINED: u8 = 7;
const BLINKING: u8 = 0x80;
/// Bytes of a glyph, and of a font of 256.
const GLYPH: usize = 32;
const FONT: usize = 0x2000;

/// A row of characters, as far as a scan line depends on it.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Where its cells begin among all.
    start: usize,
    /// The column of the cursor.
    cursor: Option<u32>,
    /// A character blinks.
    blinks: bool,
}

/// What the scan lines of a text screen show.
#[derive(Clone, Debug, Default)]
pub(super) struct TextLines {
    blink: Option<Blink>,
    /// Code and attribute, row by row, one more in each than is shown, for the pan.
    cells: Vec<[u8; 2]>,
    rows: Vec<Row>,
    /// By scan line: the row, and the counters.
    lines: Vec<(u32, Scan)>,
    /// Cells of a row.
    width: usize,
    /// Scan lines between two rows.
    height: usize,
    /// The cursor's scan lines.
    cursor: (u32, u32),
}

/// What has become of a scan line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It shows what it showed.
    Same,
    /// It shows what the line did that is so many lines below it.
    Moved(usize),
    /// Something else.
    New,
}

impl TextLines {
    /// Reads the screen; `cell` gives code and attribute at a counter's value.
    pub fn new(vga: &Vga, blink: Blink, cell: impl Fn(u32) -> [u8; 2]) -> Self {
        let crtc = &vga.regs.crtc;
        let width = usize::from(crtc[1]) + 2;
        let height = vga.regs.row_height() as usize * if vga.regs.double_scan() { 2 } else { 1 };
        let skew = u32::from(crtc[CURSOR_END] >> 5 & 3);
        let cursor_at = (u32::from(crtc[0x0e]) << 8 | u32::from(crtc[0x0f])).wrapping_add(skew);
        let cursor = (u32::from(crtc[CURSOR_START] & 0x1f), u32::from(crtc[CURSOR_END] & 0x1f));
        let has_cursor = vga.cursor_on() && cursor.0 <= cursor.1;
        let text_blinks = vga.blinks();
        let mut this = Self { blink: Some(blink), width, height, cursor, ..Self::default() };
        let mut address = None;
        for scan in vga.scans() {
            if address != Some(scan.address) {
                address = Some(scan.address);
                let start = this.cells.len();
                let addresses = (0..width as u32).map(|column| scan.address.wrapping_add(column) & 0xffff);
                this.cells.extend(addresses.clone().map(&cell));
                let found = addresses.zip(0..).find(|&(address, _)| has_cursor && address == cursor_at);
                let blinks = text_blinks && this.cells[start..].iter().any(|cell| cell[1] & BLINKING != 0);
                this.rows.push(Row { start, cursor: found.map(|(_, column)| column), blinks });
            }
            this.lines.push((this.rows.len() as u32 - 1, scan));
        }
        this
    }

    /// Whether the picture is another one when what blinks is not seen.
    pub fn blinks(&self) -> bool {
        self.rows.iter().any(|row| row.blinks || row.cursor.is_some())
    }

    fn cells_of(&self, row: &Row) -> &[[u8; 2]] {
        self.cells.get(row.start..row.start + self.width).unwrap_or_default()
    }

    fn cursor_in(&self, row: &Row, scan: Scan) -> Option<u32> {
        row.cursor.filter(|_| {
            self.blink.is_some_and(|blink| blink.cursor) && (self.cursor.0..=self.cursor.1).contains(&scan.row)
        })
    }

    /// What has become of every scan line since `before`, if no register has changed meanwhile but those of the places of
    /// screen and cursor.
    pub fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Became> + 'a {
        let phase_changed = self.blink.map(|blink| blink.characters) != before.blink.map(|blink| blink.characters);
        // Neighbouring lines are of the same rows.
        let mut known = [(u32::MAX, u32::MAX, false); 2];
        let mut same = move |n: usize, new: &(u32, Scan), old: Option<&(u32, Scan)>| {
            let Some(old) = old else { return false };
            let (Some(row), Some(was)) = (self.rows.get(new.0 as usize), before.rows.get(old.0 as usize)) else {
                return false;
            };
            if (known[n].0, known[n].1) != (new.0, old.0) {
                known[n] = (new.0, old.0, self.cells_of(row) == before.cells_of(was));
            }
            known[n].2
                && !(phase_changed && row.blinks)
                && (new.1.row, new.1.pan) == (old.1.row, old.1.pan)
                && self.cursor_in(row, new.1) == before.cursor_in(was, old.1)
        };
        self.lines.iter().enumerate().map(move |(y, new)| {
            if same(0, new, before.lines.get(y)) {
                Became::Same
            } else if same(1, new, before.lines.get(y + self.height)) {
                Became::Moved(self.height)
            } else {
                Became::New
            }
        })
    }
}

/// Draws scan lines of text.
pub(super) struct TextPen {
    /// Dots of a cell.
    cell: usize,
    /// Dots of the screen for one of a cell.
    wide: usize,
    /// Where the two fonts begin in plane 2.
    fonts: [usize; 2],
    colours: [u32; 16],
    /// Bits of an attribute's background.
    background: u8,
    /// Blinking characters are away.
    hidden: u8,
    line_graphics: bool,
    underline: u32,
    /// A line of whole cells.
    dots: Vec<u32>,
}

impl TextPen {
    pub fn new(vga: &Vga, blink: Blink) -> Self {
        let regs = &vga.regs;
        // The font is in plane 2: 256 glyphs of 32 lines at each of eight places (sequencer, character map select).
        let map = regs.sequencer[3];
        let place = |a: u8| usize::from((a & 3) << 1 | a >> 2) * FONT;
        let (cell, blinks) = (regs.char_width() as usize, vga.blinks());
        Self {
            cell,
            wide: if regs.half_clock() { 2 } else { 1 },
            // Attribute bit 3 chooses between map B (0) and map A, and is intensity as well.
            fonts: [place(map & 3 | map >> 2 & 4), place(map >> 2 & 3 | map >> 3 & 4)],
            colours: vga.sixteen().map(packed),
            background: if blinks { 7 } else { 0xf },
            hidden: if blinks && !blink.characters { BLINKING } else { 0 },
            line_graphics: regs.attribute[MODE_CONTROL] & LINE_GRAPHICS != 0,
            underline: u32::from(regs.crtc[UNDERLINE] & 0x1f),
            dots: vec![0; (usize::from(regs.crtc[1]) + 2) * cell],
        }
    }

    /// Draws line `y` of a screen; `font` gives a byte of plane 2.
    pub fn draw(&mut self, lines: &TextLines, y: usize, font: impl Fn(usize) -> u8, out: &mut [u32]) {
        let Some(&(row, scan)) = lines.lines.get(y) else { return };
        let Some(row) = lines.rows.get(row as usize) else { return };
        let cursor = lines.cursor_in(row, scan);
        for ((&[code, attribute], dots), column) in
            lines.cells_of(row).iter().zip(self.dots.chunks_exact_mut(self.cell)).zip(0..)
        {
            let back = self.colours[usize::from(attribute >> 4 & self.background)];
            let glyph = self.fonts[usize::from(attribute >> 3 & 1)] + usize::from(code) * GLYPH;
            let mut bits = font(glyph + scan.row as usize);
            if attribute & UNDERLINED == 1 && scan.row == self.underline {
                bits = 0xff;
            }
            if attribute & self.hidden != 0 {
                bits = 0;
            }
            if cursor == Some(column) {
                bits = 0xff;
            }
            let difference = if bits == 0 { 0 } else { back ^ self.colours[usize::from(attribute & 0xf)] };
            let Some((eight, ninth)) = dots.split_first_chunk_mut::<8>() else { continue };
            let drawn = SPREAD[usize::from(bits)];
            for (dot, drawn) in eight.iter_mut().zip(drawn) {
                // All ones where it is drawn.
                *dot = back ^ difference & u32::from(drawn).wrapping_neg();
            }
            // The ninth dot continues the eighth of the characters that lines are made of.
            let goes_on = bits & 1 != 0 && self.line_graphics && (0xc0..=0xdf).contains(&code);
            ninth.fill(if goes_on { back ^ difference } else { back });
        }
        // With nine dots, 8 is no shift and 0 one of a dot.
        let pan = if self.cell == 9 { (scan.pan as usize + 1) % 9 } else { scan.pan as usize & 7 };
        let shown = self.dots.get(pan..).unwrap_or_default();
        if self.wide == 1 {
            let len = out.len().min(shown.len());
            out[..len].copy_from_slice(&shown[..len]);
        } else {
            out.chunks_exact_mut(self.wide).zip(shown).for_each(|(to, &dot)| to.fill(dot));
        }
    }
}
