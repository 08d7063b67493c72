//! The screen as pixels, line by line, from registers and video memory that nobody changes meanwhile.

use super::Vga;
use super::regs::{PALETTE_ON, Timing};

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// 00RRGGBBh of every pixel, line by line from the top left.
    pub pixels: Vec<u32>,
}

/// What of that which blinks is to be seen. At a mode's frame rate the cursor is there for 8 frames and away for 8, and
/// characters for 16 (technical reference, "Video Subsystem": cursor and character blink rates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blink {
    /// The cursor.
    pub cursor: bool,
    /// Characters, and pixels of graphics that blink.
    pub characters: bool,
}

impl Blink {
    /// All of it.
    pub const SHOWN: Self = Self { cursor: true, characters: true };
}

/// Frames between two changes of what is to be seen.
const BLINK_FRAMES: u64 = 8;

const MODE_CONTROL: usize = 0x10;
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
/// Attribute mode control: pixel panning is 0 below the split.
const PAN_STOPS: u8 = 1 << 5;

/// What the CRTC's counters are in a scan line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The address counter at the left edge.
    pub address: u32,
    /// The line in a row of characters.
    pub row: u32,
    /// Pixel panning.
    pub pan: u32,
}

/// How four bytes, one of each plane, become colours.
pub(super) struct Pixels {
    colours: Vec<u32>,
    eight_bit: bool,
    interleaved: bool,
}

/// Bits as bytes, the highest first.
pub(super) const SPREAD: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut n = 0;
    while n < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[n][bit] = (n >> (7 - bit)) as u8 & 1;
            bit += 1;
        }
        n += 1;
    }
    table
};

impl Pixels {
    pub(super) fn new(vga: &Vga, eight_bit: bool, blink: Blink) -> Self {
        let interleaved = vga.regs.graphics[5] & SHIFT_INTERLEAVE != 0;
        let colours = if eight_bit {
            (0..=255).map(|n| packed(vga.regs.dac.rgb(n))).collect()
        } else {
            (0..16).map(|n| vga.pixel_colour(n, blink)).collect()
        };
        Self { colours, eight_bit, interleaved }
    }

    /// The pixels of a character clock: four of eight bits, or eight of four.
    pub(super) fn of(&self, quad: [u8; 4]) -> [u32; 8] {
        let mut indexes = [0; 8];
        if self.eight_bit {
            indexes[..4].copy_from_slice(&quad);
        } else if self.interleaved {
            // Two bits of a pixel lie together, even bytes in planes 0 and 2, odd ones in 1 and 3.
            for (x, index) in indexes.iter_mut().enumerate() {
                let (shift, odd) = (6 - 2 * (x & 3), x >> 2);
                *index = quad[odd] >> shift & 3 | (quad[odd + 2] >> shift & 3) << 2;
            }
        } else {
            let [a, b, c, d] = quad.map(|byte| u64::from_ne_bytes(SPREAD[usize::from(byte)]));
            indexes = (a | b << 1 | c << 2 | d << 3).to_ne_bytes();
        }
        let mut pixels = [0; 8];
        for (pixel, index) in pixels.iter_mut().zip(indexes) {
            *pixel = self.colours.get(usize::from(index)).copied().unwrap_or_default();
        }
        pixels
    }
}

/// 00RRGGBBh.
pub(super) fn packed([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, red, green, blue])
}

impl Bitmap {
    pub(super) fn black((width, height): (u32, u32)) -> Self {
        Self { width, height, pixels: vec![0; width as usize * height as usize] }
    }

    /// The pixels of a line; none past the last.
    pub fn line(&self, y: u32) -> &[u32] {
        let width = self.width as usize;
        self.pixels.get(y as usize * width..(y as usize + 1) * width).unwrap_or_default()
    }

    pub(super) fn line_mut(&mut self, y: u32) -> &mut [u32] {
        let width = self.width as usize;
        self.pixels.get_mut(y as usize * width..(y as usize + 1) * width).unwrap_or_default()
    }

    /// Red, green and blue of every pixel, as files of pictures have them.
    pub fn rgb(&self) -> Vec<u8> {
        self.pixels.iter().flat_map(|pixel| pixel.to_be_bytes().into_iter().skip(1)).collect()
    }
}

impl Vga {
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

    /// Pixels of eight bits (graphics controller, mode).
    pub(super) fn eight_bit(&self) -> bool {
        self.regs.graphics[5] & SHIFT_256 != 0
    }

    /// The attribute controller shows anything: drivers blank VBE's modes by this bit as well.
    pub(super) fn palette_on(&self) -> bool {
        self.regs.attribute_index & PALETTE_ON != 0
    }

    /// A four-bit colour through plane enable, palette, colour select and DAC.
    fn palette(&self, attribute: u8) -> [u8; 3] {
        self.palette_entry(attribute & self.regs.attribute[COLOUR_PLANE_ENABLE])
    }

    /// The same without the plane enable.
    fn palette_entry(&self, entry: u8) -> [u8; 3] {
        let regs = &self.regs;
        let mode = regs.attribute[MODE_CONTROL];
        let select = regs.attribute[COLOUR_SELECT];
        let entry = regs.attribute[usize::from(entry & 0xf)] & 0x3f;
        let index = if mode & PALETTE_54 != 0 {
            entry & 0x0f | (select & 3) << 4 | (select & 0xc) << 4
        } else {
            entry | (select & 0xc) << 4
        };
        regs.dac.rgb(index)
    }

    /// The colour of a pixel of four bits. With blinking switched on bit 3 blinks: where it is set, and all over the screen
    /// if plane 3 is switched off, by which mode 0Fh has its blinking colour.
    fn pixel_colour(&self, pixel: u8, blink: Blink) -> u32 {
        let enable = self.regs.attribute[COLOUR_PLANE_ENABLE];
        let entry = pixel & enable;
        let blinks = self.blinks() && (entry & 8 != 0 || enable & 8 == 0);
        packed(self.palette_entry(if blinks && !blink.characters { entry ^ 8 } else { entry }))
    }

    /// Attribute bit 7 makes a character blink, not its background bright; pixels of graphics blink too.
    pub(super) fn blinks(&self) -> bool {
        self.regs.attribute[MODE_CONTROL] & BLINK != 0
    }

    /// What is to be seen at a time in nanoseconds, and until when.
    pub fn blink(&self, now: u64) -> (Blink, u64) {
        let Timing { dot_clock, dots, lines, .. } = Self::timing(&self.regs, &self.vbe);
        let half = (BLINK_FRAMES * 1_000_000_000 * dots * lines / dot_clock.max(1)).max(1);
        let turns = now / half;
        (Blink { cursor: turns & 1 == 0, characters: turns & 2 == 0 }, (turns + 1).saturating_mul(half))
    }

    /// The cursor is not switched off.
    pub(super) fn cursor_on(&self) -> bool {
        self.regs.crtc[CURSOR_START] & CURSOR_OFF == 0
    }

    /// The colours of text.
    pub(super) fn sixteen(&self) -> [[u8; 3]; 16] {
        std::array::from_fn(|n| self.palette(n as u8))
    }

    /// What every scan line shows: the CRTC's counters, from the top of the screen to the bottom.
    pub(super) fn scans(&self) -> impl Iterator<Item = Scan> + use<> {
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
}

/// Draws lines of the VGA's own graphics modes.
pub(super) struct PlaneLines {
    columns: u32,
    /// Pixels of a character clock.
    per_clock: u32,
    /// Dots of a pixel.
    wide: usize,
    eight_bit: bool,
    /// What the row scan counter replaces: a bit of the address, and the bit of the counter.
    replaced: [(u32, u32); 2],
    pixels: Pixels,
}

impl PlaneLines {
    pub fn new(vga: &Vga, blink: Blink) -> Self {
        let regs = &vga.regs;
        // A character clock makes eight pixels of four bits, or four of eight bits.
        let eight_bit = vga.eight_bit();
        // CGA's banks of lines: bits of the row scan counter stand in for bits of the address, which is one of words
        // or of bytes, and a counter's value is a word (CRTC mode control).
        let control = regs.crtc[CRTC_MODE];
        let unit = if control & BYTE_MODE != 0 { 0 } else { 1 };
        let replaced = [(1, 0x2000 >> unit, 0), (2, 0x4000 >> unit, 1)]
            .map(|(bit, address, row)| if control & bit == 0 { (address, row) } else { (0, 0) });
        Self {
            columns: u32::from(regs.crtc[1]) + 1,
            per_clock: if eight_bit { 4 } else { 8 },
            wide: if eight_bit { 2 } else { 1 } * if regs.half_clock() { 2 } else { 1 },
            eight_bit,
            replaced,
            pixels: Pixels::new(vga, eight_bit, blink),
        }
    }

    /// Bytes of the planes from which a line is drawn; more than those if they do not lie together.
    pub fn bytes(&self, scan: Scan) -> (u64, u64) {
        let (first, len) = (scan.address & (super::PLANE_SIZE - 1), self.columns + 1);
        if first + len > super::PLANE_SIZE || self.replaced.iter().any(|&(bit, _)| bit != 0) {
            return (0, u64::from(super::PLANE_SIZE) * 4);
        }
        (u64::from(first) * 4, u64::from(len) * 4)
    }

    /// Draws a line from the planes' bytes.
    pub fn draw(&self, planes: &[u8], scan: Scan, line: &mut [u32]) {
        let pan = if self.eight_bit { scan.pan >> 1 & 3 } else { scan.pan & 7 };
        let mut out = line.chunks_exact_mut(self.wide);
        // One clock more than is shown, for the pan.
        let mut skip = pan as usize;
        for clock in 0..=self.columns {
            let mut address = scan.address.wrapping_add(clock);
            for (bit, row) in self.replaced {
                address = if scan.row >> row & 1 != 0 { address | bit } else { address & !bit };
            }
            let at = (address & (super::PLANE_SIZE - 1)) as usize * 4;
            let quad = planes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
            for &colour in self.pixels.of(quad)[..self.per_clock as usize].iter().skip(skip) {
                let Some(pixel) = out.next() else { return };
                pixel.fill(colour);
            }
            skip = 0;
        }
    }
}

/// Draws lines of packed pixels.
pub(super) struct PackedLines {
    bits: u16,
    /// Bytes of a pixel.
    bytes: usize,
    /// Of eight bits.
    palette: Vec<u32>,
}

impl PackedLines {
    pub fn new(vga: &Vga) -> Self {
        let bits = vga.vbe.bpp;
        let palette = if bits == 8 { (0..=255).map(|n| packed(vga.regs.dac.rgb(n))).collect() } else { Vec::new() };
        Self { bits, bytes: usize::from(bits.div_ceil(8)).max(1), palette }
    }

    /// Where in video memory a line is, and how many bytes it has.
    pub fn bytes(&self, vga: &Vga, y: u32) -> (u64, u64) {
        let (vbe, bytes) = (&vga.vbe, self.bytes as u64);
        let line = u64::from(vbe.y_offset) + u64::from(y);
        (line * u64::from(vbe.line_bytes()) + u64::from(vbe.x_offset) * bytes, u64::from(vbe.xres) * bytes)
    }

    /// Pixels are of 32 bits: they are the picture's, but for their highest byte.
    pub fn are_whole(&self) -> bool {
        self.bytes == 4
    }

    /// Draws a line of smaller pixels.
    pub fn draw(&self, raw: &[u8], line: &mut [u32]) {
        match self.bytes {
            1 => line.iter_mut().zip(raw).for_each(|(pixel, &index)| {
                *pixel = self.palette.get(usize::from(index)).copied().unwrap_or_default();
            }),
            2 => line.iter_mut().zip(raw.as_chunks().0).for_each(|(pixel, &bytes)| {
                *pixel = packed(sixteen_bit(u16::from_le_bytes(bytes), self.bits == 15));
            }),
            3 => line.iter_mut().zip(raw.as_chunks().0).for_each(|(pixel, &[blue, green, red])| {
                *pixel = packed([red, green, blue]);
            }),
            _ => {}
        }
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
