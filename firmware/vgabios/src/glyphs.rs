//! Graphics modes, VBE modes included: drawing and reading characters and pixels, scrolling.

use crate::bda;
use crate::cursor::{self, Position};
use crate::dac;
use crate::dispi;
use crate::hw::{Far, Hw, far};
use crate::modes::{self, MemoryModel};
use crate::scroll::Window;
use crate::vbe;
use crate::vga;

const MAP_MASK: u8 = 2;
const SET_RESET: u8 = 0;
const ENABLE_SET_RESET: u8 = 1;
const FUNCTION: u8 = 3;
const READ_MAP: u8 = 4;
const MODE: u8 = 5;
const COLOUR_DONT_CARE: u8 = 7;
const BIT_MASK: u8 = 8;

const FUNCTION_XOR: u8 = 0x18;
const WRITE_LATCHES: u8 = 1;
const WRITE_COLOUR: u8 = 2;
const READ_COMPARE: u8 = 8;
const ALL_PLANES: u8 = 0xf;

/// Bit 7 of a colour: XOR with the pixels on the screen.
const XOR: u8 = 0x80;
/// Largest character height in scan lines.
const MAX_HEIGHT: usize = 32;
/// Offset of the odd scan lines in CGA graphics modes.
const ODD_LINES: u32 = 0x2000;
/// Bytes per step of a copy between two banks.
const COPY_STEP: usize = 16;

/// Video memory layout of the current graphics mode.
struct Surface {
    model: MemoryModel,
    planar: bool,
    /// Bytes per pixel; 0 if a pixel is less than a byte.
    pixel: u8,
    bpp: u8,
    /// Bytes from one scan line to the next.
    pitch: u16,
    /// Offset of the page.
    base: u16,
    /// Scan lines per character.
    height: u8,
    /// The bank in the window; `None` in modes without banks.
    bank: Option<u16>,
    /// The bank that `close` restores.
    saved_bank: u16,
}

impl Surface {
    fn open<H: Hw>(hw: &mut H, page: u8) -> Self {
        let model = modes::memory_model(hw.bda8(bda::MODE));
        let height = hw.bda8(bda::CHAR_HEIGHT).clamp(1, MAX_HEIGHT as u8);
        let columns = hw.bda16(bda::COLUMNS);
        let mut surface = Self {
            model,
            planar: matches!(model, MemoryModel::Planar),
            pixel: 0,
            bpp: 8,
            pitch: columns,
            base: 0,
            height,
            bank: None,
            saved_bank: 0,
        };
        match model {
            MemoryModel::Cga4 | MemoryModel::Cga2 => surface.pitch = 80,
            MemoryModel::Linear => (surface.pixel, surface.pitch) = (1, 320),
            MemoryModel::Vbe => {
                let bpp = dispi::read(hw, dispi::BPP) as u8;
                let width = dispi::read(hw, dispi::VIRT_WIDTH);
                surface.saved_bank = dispi::read(hw, dispi::BANK);
                surface.bank = Some(surface.saved_bank);
                surface.bpp = bpp;
                surface.planar = bpp == 4;
                surface.pixel = vbe::modes::pixel_bytes(bpp) as u8;
                surface.pitch = vbe::modes::line_bytes(width, bpp);
            }
            MemoryModel::Text | MemoryModel::Planar => surface.base = cursor::page_start(hw, page),
        }
        surface
    }

    fn close<H: Hw>(&mut self, hw: &mut H) {
        let saved_bank = self.saved_bank;
        self.select(hw, saved_bank);
    }

    fn select<H: Hw>(&mut self, hw: &mut H, bank: u16) {
        if self.bank.is_some_and(|current| current != bank) {
            dispi::write(hw, dispi::BANK, bank);
            self.bank = Some(bank);
        }
    }

    /// Bytes of a character cell in a scan line: eight pixels.
    fn cell(&self) -> u16 {
        match self.model {
            MemoryModel::Cga4 => 2,
            _ if self.pixel != 0 => 8 * u16::from(self.pixel),
            _ => 1,
        }
    }

    /// Offset of a scan line.
    fn line(&self, y: u16) -> u32 {
        let pitch = u32::from(self.pitch);
        match self.model {
            MemoryModel::Cga4 | MemoryModel::Cga2 => u32::from(y >> 1) * pitch + if y & 1 != 0 { ODD_LINES } else { 0 },
            _ => u32::from(self.base) + u32::from(y) * pitch,
        }
    }

    /// Far pointer to the byte at an offset; switches the bank if necessary.
    fn at<H: Hw>(&mut self, hw: &mut H, offset: u32) -> Far {
        self.select(hw, (offset >> 16) as u16);
        let segment = match self.model {
            MemoryModel::Cga4 | MemoryModel::Cga2 => vga::COLOUR_SEGMENT,
            _ => vga::GRAPHICS_SEGMENT,
        };
        far(segment, offset as u16)
    }

    fn cell_line(&self, at: Position, row: u8) -> u32 {
        self.line(u16::from(at.row) * u16::from(self.height) + u16::from(row))
            + u32::from(at.column) * u32::from(self.cell())
    }

    /// Pixel value of a colour; direct colour modes take the 16 colours of a CGA.
    fn pixel_value(&self, colour: u8) -> u32 {
        if self.pixel <= 1 {
            return colour.into();
        }
        let [red, green, blue] = dac::cga(colour & 7, colour & 8 != 0).map(u32::from);
        match self.bpp {
            15 => (red >> 1) << 10 | (green >> 1) << 5 | blue >> 1,
            16 => (red >> 1) << 11 | green << 5 | blue >> 1,
            _ => red << 18 | green << 10 | blue << 2,
        }
    }

    fn write_pixel<H: Hw>(&mut self, hw: &mut H, offset: u32, value: u32, xor: bool) {
        let mut value = value;
        for at in offset..offset + u32::from(self.pixel) {
            let at = self.at(hw, at);
            let old = if xor { hw.read8(at) } else { 0 };
            hw.write8(at, old ^ value as u8);
            value >>= 8;
        }
    }

    fn read_pixel<H: Hw>(&mut self, hw: &mut H, offset: u32) -> u32 {
        let mut value = 0;
        for n in (0..u32::from(self.pixel)).rev() {
            let at = self.at(hw, offset + n);
            value = value << 8 | u32::from(hw.read8(at));
        }
        value
    }
}

/// Far pointer to a character's glyph. CGA modes take the upper 128 characters from vector 1Fh, eight lines each.
fn glyph<H: Hw>(hw: &mut H, model: MemoryModel, height: u8, character: u8) -> Far {
    if matches!(model, MemoryModel::Cga4 | MemoryModel::Cga2) && character >= 0x80 {
        let upper = hw.read_far(bda::FONT_UPPER);
        return upper.at(u16::from(character & 0x7f) * 8);
    }
    let font = hw.read_far(bda::FONT);
    font.at(u16::from(character) * u16::from(height))
}

/// Expands eight dots to eight pixels of two bits.
fn double_width(dots: u8) -> u16 {
    let mut pairs = 0;
    for bit in 0..8 {
        if dots >> bit & 1 != 0 {
            pairs |= 3 << (2 * bit);
        }
    }
    pairs
}

/// Draws a character. Bit 7 of `colour` selects XOR, except in modes with 256 colours, which use all eight bits and
/// draw the other dots in `background`.
#[inline(never)]
pub fn write<H: Hw>(hw: &mut H, page: u8, at: Position, character: u8, colour: u8, background: u8) {
    let mut surface = Surface::open(hw, page);
    let font = glyph(hw, surface.model, surface.height, character);
    let xor = colour & XOR != 0;
    if surface.planar {
        // Clear the cell in all planes, then write the dots to the planes of the colour.
        if xor {
            vga::write(hw, vga::GRAPHICS, FUNCTION, FUNCTION_XOR);
        } else {
            vga::write(hw, vga::SEQUENCER, MAP_MASK, ALL_PLANES);
            for row in 0..surface.height {
                let to = surface.cell_line(at, row);
                let to = surface.at(hw, to);
                hw.write8(to, 0);
            }
        }
        vga::write(hw, vga::SEQUENCER, MAP_MASK, colour & ALL_PLANES);
    }
    for row in 0..surface.height {
        let dots = hw.read8(font.at(row.into()));
        let line = surface.cell_line(at, row);
        if surface.pixel != 0 {
            let single = surface.bpp > 8;
            for dot in 0..8 {
                let lit = dots << dot & 0x80 != 0;
                if xor && single && !lit {
                    continue;
                }
                let value = surface.pixel_value(if lit { colour } else { background });
                surface.write_pixel(hw, line + u32::from(dot * surface.pixel), value, xor && single);
            }
            continue;
        }
        let to = surface.at(hw, line);
        match surface.model {
            MemoryModel::Cga4 => {
                // The leftmost pixel is in the highest bits of the first byte.
                let dots = (double_width(dots) & (u16::from(colour & 3) * 0x5555)).swap_bytes();
                let old = if xor { hw.read16(to) } else { 0 };
                hw.write16(to, old ^ dots);
            }
            MemoryModel::Cga2 => {
                let old = if xor { hw.read8(to) } else { 0 };
                hw.write8(to, old ^ if colour & 1 != 0 { dots } else { 0 });
            }
            _ => {
                if xor {
                    hw.read8(to);
                }
                hw.write8(to, dots);
            }
        }
    }
    if surface.planar {
        vga::write(hw, vga::SEQUENCER, MAP_MASK, ALL_PLANES);
        if xor {
            vga::write(hw, vga::GRAPHICS, FUNCTION, 0);
        }
    }
    surface.close(hw);
}

/// The dots of one scan line of a cell that are not colour 0.
#[inline(never)]
fn dots<H: Hw>(hw: &mut H, surface: &mut Surface, line: u32) -> u8 {
    if surface.pixel != 0 {
        let mut dots = 0;
        for dot in 0..8 {
            let value = surface.read_pixel(hw, line + u32::from(dot * surface.pixel));
            dots = dots << 1 | u8::from(value != 0);
        }
        return dots;
    }
    let at = surface.at(hw, line);
    match surface.model {
        MemoryModel::Cga4 => {
            let pairs = hw.read16(at).swap_bytes();
            let mut dots = 0;
            for bit in 0..8 {
                if pairs >> (2 * bit) & 3 != 0 {
                    dots |= 1 << bit;
                }
            }
            dots
        }
        MemoryModel::Cga2 => hw.read8(at),
        // Read mode 1 with colour compare 0 returns the dots of colour 0.
        _ => !hw.read8(at),
    }
}

/// AH=08h in graphics modes: finds the character whose glyph is drawn at a position; 0 if no glyph matches.
#[inline(never)]
pub fn read<H: Hw>(hw: &mut H, page: u8, at: Position) -> u8 {
    let mut surface = Surface::open(hw, page);
    let mut drawn = [0u8; 16];
    let height = surface.height.min(16);
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, MODE, READ_COMPARE);
        vga::write(hw, vga::GRAPHICS, COLOUR_DONT_CARE, ALL_PLANES);
    }
    for (row, drawn) in (0..height).zip(drawn.iter_mut()) {
        let line = surface.cell_line(at, row);
        *drawn = dots(hw, &mut surface, line);
    }
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, MODE, 0);
    }
    surface.close(hw);
    for character in 0..=255 {
        let font = glyph(hw, surface.model, surface.height, character);
        let mut same = true;
        for (row, drawn) in (0..u16::from(height)).zip(drawn) {
            if hw.read8(font.at(row)) != drawn {
                same = false;
                break;
            }
        }
        if same {
            return character;
        }
    }
    0
}

/// Byte offset of a pixel, and its bit position if a pixel is less than a byte.
fn dot_at(surface: &Surface, x: u16, y: u16) -> (u32, u8) {
    let line = surface.line(y);
    match surface.model {
        MemoryModel::Cga4 => (line + u32::from(x >> 2), (6 - 2 * (x & 3)) as u8),
        _ if surface.pixel != 0 => (line + u32::from(x) * u32::from(surface.pixel), 0),
        _ => (line + u32::from(x >> 3), (7 - (x & 7)) as u8),
    }
}

/// AH=0Ch: writes a pixel.
#[inline(never)]
pub fn write_dot<H: Hw>(hw: &mut H, page: u8, x: u16, y: u16, colour: u8) {
    let mut surface = Surface::open(hw, page);
    let (offset, bit) = dot_at(&surface, x, y);
    let xor = colour & XOR != 0;
    if surface.pixel != 0 {
        let value = surface.pixel_value(colour);
        surface.write_pixel(hw, offset, value, xor && surface.bpp > 8);
        return surface.close(hw);
    }
    let at = surface.at(hw, offset);
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, BIT_MASK, 1 << (bit & 7));
        vga::write(hw, vga::GRAPHICS, MODE, WRITE_COLOUR);
        vga::write(hw, vga::GRAPHICS, FUNCTION, if xor { FUNCTION_XOR } else { 0 });
        hw.read8(at);
        hw.write8(at, colour & ALL_PLANES);
        vga::write(hw, vga::GRAPHICS, FUNCTION, 0);
        vga::write(hw, vga::GRAPHICS, MODE, 0);
        vga::write(hw, vga::GRAPHICS, BIT_MASK, 0xff);
    } else {
        let mask = if matches!(surface.model, MemoryModel::Cga4) { 3 } else { 1 };
        let old = hw.read8(at);
        let new = (colour & mask) << (bit & 7);
        hw.write8(at, if xor { old ^ new } else { old & !(mask << (bit & 7)) | new });
    }
    surface.close(hw);
}

/// AH=0Dh: reads a pixel.
#[inline(never)]
pub fn read_dot<H: Hw>(hw: &mut H, page: u8, x: u16, y: u16) -> u8 {
    let mut surface = Surface::open(hw, page);
    let (offset, bit) = dot_at(&surface, x, y);
    let mut colour = 0;
    if surface.pixel != 0 {
        colour = surface.read_pixel(hw, offset) as u8;
    } else {
        let at = surface.at(hw, offset);
        if surface.planar {
            for plane in 0..4 {
                vga::write(hw, vga::GRAPHICS, READ_MAP, plane);
                colour |= (hw.read8(at) >> (bit & 7) & 1) << plane;
            }
            vga::write(hw, vga::GRAPHICS, READ_MAP, 0);
        } else {
            let mask = if matches!(surface.model, MemoryModel::Cga4) { 3 } else { 1 };
            colour = hw.read8(at) >> (bit & 7) & mask;
        }
    }
    surface.close(hw);
    colour
}

/// Copies a part of a scan line to another scan line.
#[inline(never)]
fn copy_line<H: Hw>(hw: &mut H, surface: &mut Surface, to: u32, from: u32, len: u16) {
    let last = u32::from(len.saturating_sub(1));
    let bank = to >> 16;
    if surface.bank.is_none() || [to + last, from, from + last].iter().all(|offset| offset >> 16 == bank) {
        let (to, from) = (surface.at(hw, to), surface.at(hw, from));
        if surface.planar {
            // The latches hold one byte of each plane, so copy byte by byte.
            hw.copy_bytes(to, from, len);
        } else {
            hw.copy(to, from, len);
        }
        return;
    }
    let mut done = 0;
    while done < len {
        let (from, to) = (from + u32::from(done), to + u32::from(done));
        // One step stays in one bank at both ends.
        let room = (0x1_0000 - (from & 0xffff)).min(0x1_0000 - (to & 0xffff));
        let count = u32::from(len - done).min(room).min(COPY_STEP as u32) as u16;
        let from = surface.at(hw, from);
        if surface.planar {
            hw.read8(from);
            let to = surface.at(hw, to);
            hw.write8(to, 0);
            done += 1;
            continue;
        }
        let mut bytes = [0u8; COPY_STEP];
        let bytes = bytes.get_mut(..usize::from(count)).unwrap_or_default();
        hw.load(bytes, from);
        let to = surface.at(hw, to);
        hw.store(to, bytes);
        done += count;
    }
}

/// Fills a part of a scan line with a colour.
#[inline(never)]
fn fill_line<H: Hw>(hw: &mut H, surface: &mut Surface, to: u32, len: u16, colour: u8) {
    if surface.pixel > 1 && colour != 0 {
        let value = surface.pixel_value(colour);
        let mut at = to;
        while at < to + u32::from(len) {
            surface.write_pixel(hw, at, value, false);
            at += u32::from(surface.pixel);
        }
        return;
    }
    let byte = match surface.model {
        MemoryModel::Cga4 => (colour & 3) * 0x55,
        MemoryModel::Cga2 => (colour & 1) * 0xff,
        // In planar modes the set/reset register holds the colour.
        _ => colour,
    };
    let value = u32::from(byte) * 0x0101_0101;
    // Fill up to the end of the bank, then the rest.
    let room = 0x1_0000 - (to & 0xffff);
    let first = u32::from(len).min(room) as u16;
    let at = surface.at(hw, to);
    hw.fill(at, value, first);
    if first < len {
        let at = surface.at(hw, to + u32::from(first));
        hw.fill(at, value, len - first);
    }
}

/// Scrolls a window by `lines` rows, at most its height, and fills the freed rows with `colour`.
#[inline(never)]
pub fn scroll<H: Hw>(hw: &mut H, up: bool, lines: u8, colour: u8, window: Window) {
    let page = hw.bda8(bda::PAGE);
    let mut surface = Surface::open(hw, page);
    let height = u16::from(surface.height);
    let cell = surface.cell();
    let left = u32::from(window.left) * u32::from(cell);
    let width = u16::from(window.right - window.left + 1) * cell;
    let first = u16::from(window.top) * height;
    let all = u16::from(window.bottom - window.top + 1) * height;
    let lines = (u16::from(lines) * height).min(all);
    let moved = all - lines;
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, MODE, WRITE_LATCHES);
    }
    for n in 0..moved {
        hw.let_interrupts_in();
        let (to, from) = if up { (n, n + lines) } else { (all - 1 - n, all - 1 - n - lines) };
        let (to, from) = (surface.line(first + to) + left, surface.line(first + from) + left);
        copy_line(hw, &mut surface, to, from, width);
    }
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, MODE, 0);
        vga::write(hw, vga::GRAPHICS, SET_RESET, colour & ALL_PLANES);
        vga::write(hw, vga::GRAPHICS, ENABLE_SET_RESET, ALL_PLANES);
    }
    for n in 0..lines {
        hw.let_interrupts_in();
        let y = if up { moved + n } else { n };
        let to = surface.line(first + y) + left;
        fill_line(hw, &mut surface, to, width, colour);
    }
    if surface.planar {
        vga::write(hw, vga::GRAPHICS, ENABLE_SET_RESET, 0);
        vga::write(hw, vga::GRAPHICS, SET_RESET, 0);
    }
    surface.close(hw);
}
