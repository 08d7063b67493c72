//! The screen as pixels, from registers and video memory that nobody changes meanwhile.

use super::Vga;
use super::regs::PALETTE_ON;
use crate::memory::Memory;

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Red, green and blue of every pixel, line by line from the top left.
    pub rgb: Vec<u8>,
}

const MODE_CONTROL: usize = 0x10;
const LINE_GRAPHICS: u8 = 1 << 2;
const BLINK: u8 = 1 << 3;
const PALETTE_54: u8 = 1 << 7;
const COLOUR_PLANE_ENABLE: usize = 0x12;
const PIXEL_PAN: usize = 0x13;
const COLOUR_SELECT: usize = 0x14;
const SHIFT_INTERLEAVE: u8 = 1 << 5;
const SHIFT_256: u8 = 1 << 6;
const SCREEN_OFF: u8 = 1 << 5;
const CURSOR_OFF: u8 = 1 << 5;
/// CRTC mode control: the counter is a byte address; else, in words, the odd/even layout halves it.
const BYTE_MODE: u8 = 1 << 6;

impl Frame {
    fn black(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    fn line(&mut self, y: u32) -> &mut [u8] {
        let bytes = self.width as usize * 3;
        self.rgb.get_mut(y as usize * bytes..(y as usize + 1) * bytes).unwrap_or_default()
    }
}

impl Vga {
    /// The screen as it is now. Blinking things are shown.
    pub fn render(&self, memory: &Memory) -> Frame {
        if self.vbe.packed() {
            self.render_packed(memory)
        } else if self.is_text() {
            self.render_text(memory)
        } else {
            self.render_planes(memory)
        }
    }

    /// The display is blanked: by the sequencer, by the attribute controller, or by a CRTC that was never set up.
    pub(super) fn dark(&self) -> bool {
        self.regs.sequencer[1] & SCREEN_OFF != 0 || self.regs.attribute_index & PALETTE_ON == 0
    }

    /// A four-bit colour through palette, colour select and DAC.
    fn palette(&self, attribute: u8) -> [u8; 3] {
        let regs = &self.regs;
        let mode = regs.attribute[MODE_CONTROL];
        let select = regs.attribute[COLOUR_SELECT];
        let entry = regs.attribute[usize::from(attribute & regs.attribute[COLOUR_PLANE_ENABLE] & 0xf)] & 0x3f;
        let index = if mode & PALETTE_54 != 0 {
            entry & 0x0f | (select & 3) << 4 | (select & 0xc) << 4
        } else {
            entry | (select & 0xc) << 4
        };
        regs.dac.rgb(index)
    }

    /// Attribute bit 7 blinks.
    pub(super) fn text_blinks(&self) -> bool {
        self.regs.attribute[MODE_CONTROL] & BLINK != 0
    }

    /// The cursor is not switched off.
    pub(super) fn cursor_on(&self) -> bool {
        self.regs.crtc[0x0a] & CURSOR_OFF == 0
    }

    pub(super) fn sixteen(&self) -> [[u8; 3]; 16] {
        std::array::from_fn(|n| self.palette(n as u8))
    }

    fn render_text(&self, memory: &Memory) -> Frame {
        let regs = &self.regs;
        let grid = self.grid();
        let cell_width = regs.char_width() as u32;
        let mut frame = Frame::black(grid.columns * cell_width, grid.rows * grid.height);
        if self.dark() {
            return frame;
        }
        let colours = self.sixteen();
        let double = if regs.double_scan() { 2 } else { 1 };
        // The font is in plane 2: 256 glyphs of 32 lines at each of eight places (sequencer, character map select).
        let mut plane_bytes = vec![0; 0x4_0000];
        memory.read_video(0, &mut plane_bytes);
        let map = regs.sequencer[3];
        let font = |a: u8| usize::from((a & 3) << 1 | a >> 2) * 0x2000;
        let fonts = [font(map & 3 | map >> 2 & 4), font(map >> 2 & 3 | map >> 3 & 4)];
        let cursor_at = u32::from(regs.crtc[0x0e]) << 8 | u32::from(regs.crtc[0x0f]);
        let cursor = u32::from(regs.crtc[0x0a] & 0x1f)..=u32::from(regs.crtc[0x0b] & 0x1f);
        let cursor_on = self.cursor_on();
        for row in 0..grid.rows {
            for column in 0..grid.columns {
                let address = grid.address(row, column);
                let [code, attribute] = self.cell(memory, address);
                // Attribute bit 3 chooses between two fonts if they differ, and is intensity as well.
                let glyph = fonts[usize::from(attribute & 8 == 0)] + usize::from(code) * 32;
                let fore = colours[usize::from(attribute & 0xf)];
                let back = colours[usize::from(attribute >> 4 & if self.text_blinks() { 7 } else { 0xf })];
                let ninth = regs.attribute[MODE_CONTROL] & LINE_GRAPHICS != 0 && (0xc0..=0xdf).contains(&code);
                for scan in 0..grid.height {
                    let line = scan / double;
                    let bits = plane_bytes.get((glyph + line as usize) * 4 + 2).copied().unwrap_or(0);
                    let bits = if cursor_on && address == cursor_at && cursor.contains(&line) { 0xff } else { bits };
                    let out = frame.line(row * grid.height + scan);
                    for x in 0..cell_width {
                        let lit = if x < 8 { bits >> (7 - x) & 1 != 0 } else { ninth && bits & 1 != 0 };
                        let to = (column * cell_width + x) as usize * 3;
                        out[to..to + 3].copy_from_slice(if lit { &fore } else { &back });
                    }
                }
            }
        }
        frame
    }

    /// The VGA's own graphics modes, and VBE's with four planes.
    fn render_planes(&self, memory: &Memory) -> Frame {
        let regs = &self.regs;
        let eight_bit = regs.graphics[5] & SHIFT_256 != 0;
        let (columns, lines, repeat) = if self.vbe.enabled() {
            (u32::from(self.vbe.xres) / 8, u32::from(self.vbe.yres), 1)
        } else {
            let repeat = regs.row_height() * if regs.double_scan() { 2 } else { 1 };
            (u32::from(regs.crtc[1]) + 1, (regs.timing().shown_lines as u32 / repeat).max(1), repeat)
        };
        // CGA's two banks of lines: scan line counter bit 0 stands in for address bit 13 (CRTC mode control, bit 0).
        let interleaved = !self.vbe.enabled() && regs.crtc[0x17] & 1 == 0;
        let bank = if regs.crtc[0x17] & BYTE_MODE != 0 { 0x2000 } else { 0x1000 };
        let (lines, repeat) = if interleaved { (lines * repeat / 2, 2) } else { (lines, repeat) };
        let lines = lines.max(1);
        // A character clock makes eight pixels of four bits, or four of eight bits.
        let per_clock: u32 = if eight_bit { 4 } else { 8 };
        let mut frame = Frame::black(columns * per_clock, lines);
        if self.dark() {
            return frame;
        }
        let colours = self.sixteen();
        let (start, pitch, limit) = if self.vbe.enabled() {
            let pitch = u32::from(self.vbe.virt_width) / 8;
            (u32::from(self.vbe.y_offset) * pitch + u32::from(self.vbe.x_offset) / 8, pitch, self.vram / 4)
        } else {
            (regs.start_address(), regs.row_pitch(), super::PLANE_SIZE)
        };
        let split = if self.vbe.enabled() { u32::MAX } else { (regs.line_compare() + 1) / repeat };
        let pan = if eight_bit { regs.attribute[PIXEL_PAN] >> 1 & 3 } else { regs.attribute[PIXEL_PAN] & 7 };
        let pan = if self.vbe.enabled() { 0 } else { u32::from(pan) };
        for y in 0..lines {
            let (base, row) = if y >= split { (0, y - split) } else { (start, y) };
            let row_start = if interleaved {
                base.wrapping_add(row / 2 * pitch) + (row & 1) * bank
            } else {
                base.wrapping_add(row * pitch)
            };
            // One clock more than is shown, for the pan; one read of video memory for a line where it does not wrap.
            let mut bytes = vec![0; (columns as usize + 1) * 4];
            for (clock, quad) in bytes.chunks_exact_mut(4).enumerate() {
                memory.read_video(u64::from(row_start.wrapping_add(clock as u32) % limit) * 4, quad);
            }
            let out = frame.line(y);
            for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                let x = x as u32 + pan;
                let (clock, within) = ((x / per_clock) as usize * 4, x % per_clock);
                let quad = &bytes[clock..clock + 4];
                let rgb = if eight_bit {
                    regs.dac.rgb(quad[within as usize])
                } else if regs.graphics[5] & SHIFT_INTERLEAVE != 0 {
                    // Two bits of a pixel lie together, even bytes in planes 0 and 2, odd ones in 1 and 3.
                    let shift = 6 - 2 * (within % 4);
                    let odd = (within / 4) as usize;
                    colours[usize::from(quad[odd] >> shift & 3 | (quad[odd + 2] >> shift & 3) << 2)]
                } else {
                    let bit = |n: usize| (quad[n] >> (7 - within) & 1) << n;
                    colours[usize::from(bit(0) | bit(1) | bit(2) | bit(3))]
                };
                pixel.copy_from_slice(&rgb);
            }
        }
        frame
    }

    /// VBE's modes with packed pixels.
    fn render_packed(&self, memory: &Memory) -> Frame {
        let vbe = &self.vbe;
        let mut frame = Frame::black(vbe.xres.into(), vbe.yres.into());
        let bytes = u64::from(vbe.bpp.div_ceil(8));
        let start = u64::from(vbe.y_offset) * u64::from(vbe.line_bytes()) + u64::from(vbe.x_offset) * bytes;
        let mut line = vec![0; (u64::from(vbe.xres) * bytes) as usize];
        for y in 0..frame.height {
            memory.read_video(start + u64::from(y) * u64::from(vbe.line_bytes()), &mut line);
            for (pixel, from) in frame.line(y).chunks_exact_mut(3).zip(line.chunks_exact(bytes as usize)) {
                pixel.copy_from_slice(&match *from {
                    [index] => self.regs.dac.rgb(index),
                    [low, high] => sixteen_bit(u16::from_le_bytes([low, high]), vbe.bpp == 15),
                    [blue, green, red, ..] => [red, green, blue],
                    [] => [0; 3],
                });
            }
        }
        frame
    }
}

/// 5:5:5 or 5:6:5 to eight bits each.
fn sixteen_bit(pixel: u16, fifteen: bool) -> [u8; 3] {
    let five = |n: u16| ((n & 31) << 3 | (n & 31) >> 2) as u8;
    if fifteen {
        [five(pixel >> 10), five(pixel >> 5), five(pixel)]
    } else {
        let green = pixel >> 5 & 63;
        [five(pixel >> 11), (green << 2 | green >> 4) as u8, five(pixel)]
    }
}
