//! The screen as pixels, from registers and video memory that nobody changes meanwhile.

use super::Vga;
use super::regs::PALETTE_ON;
use crate::memory::Memory;

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
const CRTC_MODE: usize = 0x17;
const PRESET_ROW_SCAN: usize = 8;
const CURSOR_START: usize = 0x0a;
const CURSOR_END: usize = 0x0b;
const UNDERLINE: usize = 0x14;
/// Attribute mode control: pixel panning is 0 below the split.
const PAN_STOPS: u8 = 1 << 5;
/// The bits of an attribute that are 001 for an underlined character.
const UNDERLINED: u8 = 7;

/// What the CRTC's counters are in a scan line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scan {
    /// The address counter at the left edge.
    address: u32,
    /// The line in a row of characters.
    row: u32,
    /// Pixel panning.
    pan: u32,
}

/// How four bytes, one of each plane, become colours.
struct Pixels {
    colours: Vec<[u8; 3]>,
    eight_bit: bool,
    interleaved: bool,
}

impl Pixels {
    fn new(vga: &Vga, eight_bit: bool) -> Self {
        let interleaved = vga.regs.graphics[5] & SHIFT_INTERLEAVE != 0;
        let colours = if eight_bit { (0..=255).map(|n| vga.regs.dac.rgb(n)).collect() } else { vga.sixteen().to_vec() };
        Self { colours, eight_bit, interleaved }
    }

    /// The pixels of a character clock: four of eight bits, or eight of four.
    fn of(&self, quad: &[u8]) -> [[u8; 3]; 8] {
        let colour = |n: u8| self.colours.get(usize::from(n)).copied().unwrap_or_default();
        let byte = |n: usize| quad.get(n).copied().unwrap_or(0);
        std::array::from_fn(|x| {
            if self.eight_bit {
                colour(byte(x & 3))
            } else if self.interleaved {
                // Two bits of a pixel lie together, even bytes in planes 0 and 2, odd ones in 1 and 3.
                let (shift, odd) = (6 - 2 * (x & 3), x >> 2);
                colour(byte(odd) >> shift & 3 | (byte(odd + 2) >> shift & 3) << 2)
            } else {
                let bit = |n: usize| (byte(n) >> (7 - x) & 1) << n;
                colour(bit(0) | bit(1) | bit(2) | bit(3))
            }
        })
    }
}

impl Frame {
    fn black((width, height): (u32, u32)) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    fn line(&mut self, y: u32) -> &mut [u8] {
        let bytes = self.width as usize * 3;
        self.rgb.get_mut(y as usize * bytes..(y as usize + 1) * bytes).unwrap_or_default()
    }
}

impl Vga {
    /// The screen as it is now, every dot and every scan line: a pixel of mode 13h is two dots wide and two lines high.
    /// Blinking things are shown.
    pub fn render(&self, memory: &Memory) -> Frame {
        if self.vbe.packed() {
            self.render_packed(memory)
        } else if self.vbe.enabled() {
            self.render_vbe_planes(memory)
        } else if self.is_text() {
            self.render_text(memory)
        } else {
            self.render_planes(memory)
        }
    }

    /// Columns and rows of dots of the screen.
    pub fn size(&self) -> (u32, u32) {
        let Self { vbe, regs, .. } = self;
        if vbe.packed() {
            return (vbe.xres.into(), vbe.yres.into());
        }
        if vbe.enabled() {
            return (u32::from(vbe.xres) / 8 * 8, vbe.yres.into());
        }
        // A character clock of graphics is eight dots.
        let clock = if self.is_text() { regs.char_width() as u32 } else { 8 };
        let columns = u32::from(regs.crtc[1]) + 1;
        (columns * clock * if regs.half_clock() { 2 } else { 1 }, regs.timing().shown_lines as u32)
    }

    /// The display is blanked: by the sequencer, by the attribute controller, or by a CRTC that was never set up.
    pub(super) fn dark(&self) -> bool {
        self.regs.sequencer[1] & SCREEN_OFF != 0 || !self.palette_on()
    }

    /// The attribute controller shows anything: drivers blank VBE's modes by this bit as well.
    fn palette_on(&self) -> bool {
        self.regs.attribute_index & PALETTE_ON != 0
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

    /// Attribute bit 7 makes a character blink, not its background bright.
    pub(super) fn text_blinks(&self) -> bool {
        self.regs.attribute[MODE_CONTROL] & BLINK != 0
    }

    /// The cursor is not switched off.
    pub(super) fn cursor_on(&self) -> bool {
        self.regs.crtc[CURSOR_START] & CURSOR_OFF == 0
    }

    pub(super) fn sixteen(&self) -> [[u8; 3]; 16] {
        std::array::from_fn(|n| self.palette(n as u8))
    }

    /// What every scan line shows: the CRTC's counters, from the top of the screen to the bottom.
    fn scans(&self) -> impl Iterator<Item = Scan> + use<> {
        let regs = &self.regs;
        let double = regs.double_scan();
        let last_row = regs.row_height() - 1;
        let pitch = regs.row_pitch();
        let line_compare = regs.line_compare();
        // After the split neither panning goes on, if the attribute controller is told so.
        let pan_stops = regs.attribute[MODE_CONTROL] & PAN_STOPS != 0;
        let start = regs.start_address() + u32::from(regs.crtc[PRESET_ROW_SCAN] >> 5 & 3);
        let pan = u32::from(regs.attribute[PIXEL_PAN] & 0xf);
        let mut scan = Scan { address: start, row: u32::from(regs.crtc[PRESET_ROW_SCAN] & 0x1f), pan };
        let mut first = true;
        (0..regs.timing().shown_lines as u32).map(move |line| {
            let shown = scan;
            let repeated = double && first;
            first = !first;
            if line == line_compare {
                scan = Scan { address: 0, row: 0, pan: if pan_stops { 0 } else { scan.pan } };
                first = true;
            } else if !repeated {
                scan.row = if scan.row == last_row { 0 } else { (scan.row + 1) & 0x1f };
                if scan.row == 0 {
                    scan.address += pitch;
                }
            }
            shown
        })
    }

    /// Draws scan lines of so many pixels, each of `wide` dots: `draw` gives the pixels of one. Lines that show the same
    /// are drawn once.
    fn draw_scans(
        scans: impl Iterator<Item = Scan>,
        pixels: u32,
        wide: u32,
        mut draw: impl FnMut(Scan, &mut [u8]),
    ) -> Frame {
        let (least, most) = scans.size_hint();
        let lines = most.unwrap_or(least);
        let room = (pixels * wide) as usize * 3 * lines;
        let mut frame = Frame { width: pixels * wide, height: 0, rgb: Vec::with_capacity(room) };
        let mut line = vec![0; pixels as usize * 3];
        let mut drawn = None;
        for scan in scans {
            let bytes = frame.width as usize * 3;
            frame.height += 1;
            if drawn == Some(scan) {
                frame.rgb.extend_from_within(frame.rgb.len() - bytes..);
                continue;
            }
            draw(scan, &mut line);
            drawn = Some(scan);
            if wide == 1 {
                frame.rgb.extend_from_slice(&line);
            } else {
                for pixel in line.chunks_exact(3) {
                    (0..wide).for_each(|_| frame.rgb.extend_from_slice(pixel));
                }
            }
        }
        frame
    }

    fn render_text(&self, memory: &Memory) -> Frame {
        let regs = &self.regs;
        let cell_width = regs.char_width() as usize;
        let columns = u32::from(regs.crtc[1]) + 1;
        let pixels = columns * cell_width as u32;
        let wide = if regs.half_clock() { 2 } else { 1 };
        if self.dark() {
            return Frame::black(self.size());
        }
        let colours = self.sixteen();
        // The font is in plane 2: 256 glyphs of 32 lines at each of eight places (sequencer, character map select).
        let mut planes = vec![0; 0x4_0000];
        memory.read_video(0, &mut planes);
        let mut cells = vec![0; super::TEXT_SIZE as usize];
        if self.text {
            memory.read_video(self.vram.into(), &mut cells);
        }
        // Character and attribute at a counter's value.
        let cell = |address: u32| {
            let address = address as usize & 0xffff;
            match cells.get(address * 2..address * 2 + 2) {
                Some(cell) if self.text => [cell[0], cell[1]],
                _ => [planes[address * 4], planes[address * 4 + 1]],
            }
        };
        let map = regs.sequencer[3];
        let place = |a: u8| usize::from((a & 3) << 1 | a >> 2) * 0x2000;
        // Attribute bit 3 chooses between map B (0) and map A, and is intensity as well.
        let fonts = [place(map & 3 | map >> 2 & 4), place(map >> 2 & 3 | map >> 3 & 4)];
        let mode = regs.attribute[MODE_CONTROL];
        let skew = u32::from(regs.crtc[CURSOR_END] >> 5 & 3);
        let cursor_at = (u32::from(regs.crtc[0x0e]) << 8 | u32::from(regs.crtc[0x0f])).wrapping_add(skew);
        let cursor = u32::from(regs.crtc[CURSOR_START] & 0x1f)..=u32::from(regs.crtc[CURSOR_END] & 0x1f);
        let cursor_on = self.cursor_on();
        let underline = u32::from(regs.crtc[UNDERLINE] & 0x1f);
        let background = if self.text_blinks() { 7 } else { 0xf };
        // One character more than is shown, for the pan.
        let mut dots = vec![[0; 3]; (columns as usize + 1) * cell_width];
        Self::draw_scans(self.scans(), pixels, wide, |scan, line| {
            // With nine dots, 8 is no shift and 0 one of a dot.
            let pan = if cell_width == 9 { (scan.pan as usize + 1) % 9 } else { scan.pan as usize & 7 };
            for (column, dots) in (0..).zip(dots.chunks_exact_mut(cell_width)) {
                let address = scan.address.wrapping_add(column) & 0xffff;
                let [code, attribute] = cell(address);
                let glyph = fonts[usize::from(attribute >> 3 & 1)] + usize::from(code) * 32;
                let back = colours[usize::from(attribute >> 4 & background)];
                let mut bits = planes.get((glyph + scan.row as usize) * 4 + 2).copied().unwrap_or(0);
                if cursor_on && address == cursor_at && cursor.contains(&scan.row)
                    || attribute & UNDERLINED == 1 && scan.row == underline
                {
                    bits = 0xff;
                }
                // Most of most screens.
                dots.fill(back);
                if bits == 0 {
                    continue;
                }
                let fore = colours[usize::from(attribute & 0xf)];
                for (x, dot) in dots.iter_mut().take(8).enumerate() {
                    if bits << x & 0x80 != 0 {
                        *dot = fore;
                    }
                }
                // The ninth dot continues the eighth of the characters that lines are made of.
                if let Some(ninth) = dots.get_mut(8)
                    && bits & 1 != 0
                    && mode & LINE_GRAPHICS != 0
                    && (0xc0..=0xdf).contains(&code)
                {
                    *ninth = fore;
                }
            }
            let shown = dots[pan..].as_flattened();
            line.copy_from_slice(&shown[..line.len()]);
        })
    }

    /// The VGA's own graphics modes.
    fn render_planes(&self, memory: &Memory) -> Frame {
        let regs = &self.regs;
        let columns = u32::from(regs.crtc[1]) + 1;
        // A character clock makes eight pixels of four bits, or four of eight bits.
        let eight_bit = regs.graphics[5] & SHIFT_256 != 0;
        let per_clock = if eight_bit { 4 } else { 8 };
        let wide = if eight_bit { 2 } else { 1 } * if regs.half_clock() { 2 } else { 1 };
        if self.dark() {
            return Frame::black(self.size());
        }
        let mut planes = vec![0; super::PLANE_SIZE as usize * 4];
        memory.read_video(0, &mut planes);
        // CGA's banks of lines: bits of the row scan counter stand in for bits of the address, which is one of words
        // or of bytes, and a counter's value is a word (CRTC mode control).
        let control = regs.crtc[CRTC_MODE];
        let unit = if control & BYTE_MODE != 0 { 0 } else { 1 };
        let replaced = [(1, 0x2000 >> unit, 0), (2, 0x4000 >> unit, 1)]
            .map(|(bit, address, row)| if control & bit == 0 { (address, row) } else { (0, 0) });
        let pixels = Pixels::new(self, eight_bit);
        Self::draw_scans(self.scans(), columns * per_clock, wide, |scan, line| {
            let pan = if eight_bit { scan.pan >> 1 & 3 } else { scan.pan & 7 };
            let mut out = line.chunks_exact_mut(3);
            // One clock more than is shown, for the pan.
            let mut skip = pan as usize;
            for clock in 0..=columns {
                let mut address = scan.address.wrapping_add(clock);
                for (bit, row) in replaced {
                    address = if scan.row >> row & 1 != 0 { address | bit } else { address & !bit };
                }
                let at = (address & (super::PLANE_SIZE - 1)) as usize * 4;
                let colours = pixels.of(&planes[at..at + 4]);
                for colour in colours[..per_clock as usize].iter().skip(skip) {
                    let Some(pixel) = out.next() else { return };
                    pixel.copy_from_slice(colour);
                }
                skip = 0;
            }
        })
    }

    /// VBE's modes of four planes.
    fn render_vbe_planes(&self, memory: &Memory) -> Frame {
        let vbe = &self.vbe;
        let (columns, lines) = (u32::from(vbe.xres) / 8, u32::from(vbe.yres));
        if self.dark() {
            return Frame::black(self.size());
        }
        let pitch = u32::from(vbe.virt_width) / 8;
        let start = u32::from(vbe.y_offset) * pitch + u32::from(vbe.x_offset) / 8;
        let scans =
            (0..lines).map(|line| Scan { address: start.wrapping_add(line.wrapping_mul(pitch)), row: 0, pan: 0 });
        let pixels = Pixels::new(self, false);
        let limit = u64::from(self.vram / 4);
        let mut bytes = vec![0; columns as usize * 4];
        Self::draw_scans(scans, columns * 8, 1, |scan, line| {
            // Where the line does not fit it goes on at the start.
            let first = u64::from(scan.address) % limit;
            let whole = ((limit - first) * 4).min(bytes.len() as u64) as usize;
            memory.read_video(first * 4, &mut bytes[..whole]);
            memory.read_video(0, &mut bytes[whole..]);
            for (eight, quad) in line.chunks_exact_mut(24).zip(bytes.chunks_exact(4)) {
                for (pixel, colour) in eight.chunks_exact_mut(3).zip(pixels.of(quad)) {
                    pixel.copy_from_slice(&colour);
                }
            }
        })
    }

    /// VBE's modes with packed pixels.
    fn render_packed(&self, memory: &Memory) -> Frame {
        let mut frame = Frame::black(self.size());
        if !self.palette_on() {
            return frame;
        }
        let mut raw = Vec::new();
        for y in 0..frame.height {
            self.read_line(memory, y, &mut raw);
            self.colour_line(&raw, frame.line(y));
        }
        frame
    }

    /// The bytes of a line of packed pixels.
    fn read_line(&self, memory: &Memory, y: u32, raw: &mut Vec<u8>) {
        let vbe = &self.vbe;
        let bytes = u64::from(vbe.bpp.div_ceil(8));
        let line = u64::from(vbe.y_offset) + u64::from(y);
        raw.resize((u64::from(vbe.xres) * bytes) as usize, 0);
        memory.read_video(line * u64::from(vbe.line_bytes()) + u64::from(vbe.x_offset) * bytes, raw);
    }

    fn colour_line(&self, raw: &[u8], rgb: &mut [u8]) {
        let bytes = usize::from(self.vbe.bpp.div_ceil(8)).max(1);
        for (pixel, from) in rgb.chunks_exact_mut(3).zip(raw.chunks_exact(bytes)) {
            pixel.copy_from_slice(&match *from {
                [index] => self.regs.dac.rgb(index),
                [low, high] => sixteen_bit(u16::from_le_bytes([low, high]), self.vbe.bpp == 15),
                [blue, green, red, ..] => [red, green, blue],
                [] => [0; 3],
            });
        }
    }
}

/// The last picture, for the next one: where pixels are packed, lines that have not changed are not drawn again.
#[derive(Default)]
pub struct Canvas {
    /// Whose picture it is.
    vga: Option<Vga>,
    /// The bytes of its lines, if pixels are packed.
    raw: Vec<Vec<u8>>,
    frame: Frame,
}

impl Canvas {
    /// As [`Vga::render`].
    pub fn draw(&mut self, vga: &Vga, memory: &Memory) -> Frame {
        let packed = vga.vbe.packed() && vga.palette_on();
        if !packed || !self.vga.as_ref().is_some_and(|last| last.shows_like(vga)) {
            self.raw.clear();
            if !packed {
                return vga.render(memory);
            }
            self.vga = Some(vga.shown());
            self.frame = Frame::black(vga.size());
        }
        self.raw.resize(self.frame.height as usize, Vec::new());
        let mut line = Vec::new();
        for (y, last) in (0..).zip(&mut self.raw) {
            vga.read_line(memory, y, &mut line);
            if *last != line {
                vga.colour_line(&line, self.frame.line(y));
                std::mem::swap(last, &mut line);
            }
        }
        self.frame.clone()
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
