//! VGA rendering to pixels, scan line by scan line, from a copy of the registers and video memory.

use super::Vga;
use super::cirrus::Cirrus;
use super::regs::{
    AR_INDEX_PAS, AR10_MODE_CONTROL, AR12_COLOUR_PLANE_ENABLE, AR13_PIXEL_PANNING, AR14_COLOUR_SELECT,
    CR0A_CURSOR_START, CR01_HORIZONTAL_DISPLAY_END, CR08_PRESET_ROW_SCAN, CR17_MODE_CONTROL, GR5_MODE, Registers,
    SR1_CLOCKING_MODE, Timing,
};

/// A frame of pixels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// The pixels as 00RRGGBBh, line by line from the top left.
    pub pixels: Vec<u32>,
}

/// Blink phase: which blinking elements are visible. In units of displayed frames the cursor is visible for 8 and
/// hidden for 8, characters are visible for 16 and hidden for 16 (technical reference, "Video Subsystem": cursor and
/// character blink rates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlinkPhase {
    /// The cursor is visible.
    pub cursor: bool,
    /// Blinking characters, and blinking pixels of graphics modes, are visible.
    pub characters: bool,
}

impl BlinkPhase {
    /// All elements are visible.
    pub const VISIBLE: Self = Self { cursor: true, characters: true };
}

/// Frames between two phases.
const BLINK_FRAMES: u64 = 8;

const AR10_BLINK: u8 = 1 << 3;
const AR10_PALETTE_BITS_5_4: u8 = 1 << 7;
const GR5_SHIFT_INTERLEAVE: u8 = 1 << 5;
const GR5_SHIFT_256: u8 = 1 << 6;
const SR1_SCREEN_OFF: u8 = 1 << 5;
const CR0A_CURSOR_OFF: u8 = 1 << 5;
/// AR10 bit 5: pixel panning is 0 below the split.
const AR10_PANNING_COMPATIBILITY: u8 = 1 << 5;

/// The CRTC counters at the start of a scan line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanLine {
    /// The address counter.
    pub address: u32,
    /// The row scan counter: the line within a character row.
    pub row_scan: u32,
    /// Pixel panning (AR13).
    pub pan: u32,
}

/// Decodes four bytes, one of each plane, to pixels.
pub(super) struct PixelDecoder {
    colours: Vec<u32>,
    eight_bit: bool,
    interleaved: bool,
}

/// The bits of a byte as eight bytes, the highest bit first.
pub(super) const BIT_EXPANSION: [[u8; 8]; 256] = {
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

impl PixelDecoder {
    pub(super) fn new(vga: &Vga, eight_bit: bool, blink: BlinkPhase) -> Self {
        let interleaved = vga.regs.gr[GR5_MODE] & GR5_SHIFT_INTERLEAVE != 0;
        let colours = if eight_bit {
            (0..=255).map(|n| rgb32(vga.regs.dac.rgb(n))).collect()
        } else {
            (0..16).map(|n| vga.pixel_colour(n, blink)).collect()
        };
        Self { colours, eight_bit, interleaved }
    }

    /// The pixels of a character clock: four of eight bits, or eight of four bits.
    pub(super) fn decode(&self, quad: [u8; 4]) -> [u32; 8] {
        let mut indexes = [0; 8];
        if self.eight_bit {
            indexes[..4].copy_from_slice(&quad);
        } else if self.interleaved {
            // CGA shift mode: two bits per pixel in planes 0 and 2 (even bytes) or 1 and 3 (odd bytes).
            for (x, index) in indexes.iter_mut().enumerate() {
                let (shift, odd) = (6 - 2 * (x & 3), x >> 2);
                *index = quad[odd] >> shift & 3 | (quad[odd + 2] >> shift & 3) << 2;
            }
        } else {
            let [a, b, c, d] = quad.map(|byte| u64::from_ne_bytes(BIT_EXPANSION[usize::from(byte)]));
            indexes = (a | b << 1 | c << 2 | d << 3).to_ne_bytes();
        }
        let mut pixels = [0; 8];
        for (pixel, index) in pixels.iter_mut().zip(indexes) {
            *pixel = self.colours.get(usize::from(index)).copied().unwrap_or_default();
        }
        pixels
    }
}

/// The colour as 00RRGGBBh.
pub(super) fn rgb32([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, red, green, blue])
}

impl Bitmap {
    pub(super) fn black((width, height): (u32, u32)) -> Self {
        Self { width, height, pixels: vec![0; width as usize * height as usize] }
    }

    /// The pixels of a line; empty past the last line.
    pub fn line(&self, y: u32) -> &[u32] {
        let width = self.width as usize;
        self.pixels.get(y as usize * width..(y as usize + 1) * width).unwrap_or_default()
    }

    pub(super) fn line_mut(&mut self, y: u32) -> &mut [u32] {
        let width = self.width as usize;
        self.pixels.get_mut(y as usize * width..(y as usize + 1) * width).unwrap_or_default()
    }

    /// Red, green and blue of every pixel, as in image files.
    pub fn rgb(&self) -> Vec<u8> {
        self.pixels.iter().flat_map(|pixel| pixel.to_be_bytes().into_iter().skip(1)).collect()
    }
}

impl Vga {
    /// Width and height of the display in dots and scan lines.
    pub fn size(&self) -> (u32, u32) {
        let Self { vbe, regs, .. } = self;
        if let Some(chip) = self.packed_cirrus().filter(|_| self.is_packed()) {
            let columns = u32::from(regs.cr[CR01_HORIZONTAL_DISPLAY_END]) + 1;
            return (columns * 8, (regs.timing().displayed_lines * chip.line_factor(regs)) as u32);
        }
        if vbe.packed() {
            return (vbe.xres.into(), vbe.yres.into());
        }
        if vbe.enabled() {
            return (u32::from(vbe.xres) / 8 * 8, vbe.yres.into());
        }
        // In graphics modes a character clock has eight dots.
        let clock = if self.is_text() { regs.char_width() as u32 } else { 8 };
        let columns = u32::from(regs.cr[CR01_HORIZONTAL_DISPLAY_END]) + 1;
        (columns * clock * if regs.dot_clock_halved() { 2 } else { 1 }, regs.timing().displayed_lines as u32)
    }

    /// Whether the display is blanked, by SR1, by the palette address source or by power management.
    pub(super) fn is_blanked(&self) -> bool {
        self.regs.sr[SR1_CLOCKING_MODE] & SR1_SCREEN_OFF != 0
            || !self.palette_enabled()
            || self.cirrus.as_deref().is_some_and(Cirrus::is_monitor_off)
    }

    /// GR5 bit 6: pixels have eight bits.
    pub(super) fn eight_bit(&self) -> bool {
        self.regs.gr[GR5_MODE] & GR5_SHIFT_256 != 0
    }

    /// The palette address source bit is set. Drivers blank VBE modes by it as well.
    pub(super) fn palette_enabled(&self) -> bool {
        self.regs.ar_index & AR_INDEX_PAS != 0
    }

    /// The colour of a 4-bit value through AR12 (plane enable), palette, AR14 (colour select) and DAC.
    fn attribute_rgb(&self, attribute: u8) -> [u8; 3] {
        self.palette_rgb(attribute & self.regs.ar[AR12_COLOUR_PLANE_ENABLE])
    }

    /// The colour of a palette entry through palette, AR14 and DAC.
    fn palette_rgb(&self, entry: u8) -> [u8; 3] {
        let regs = &self.regs;
        let mode = regs.ar[AR10_MODE_CONTROL];
        let select = regs.ar[AR14_COLOUR_SELECT];
        let entry = regs.ar[usize::from(entry & 0xf)] & 0x3f;
        let index = if mode & AR10_PALETTE_BITS_5_4 != 0 {
            entry & 0x0f | (select & 3) << 4 | (select & 0xc) << 4
        } else {
            entry | (select & 0xc) << 4
        };
        regs.dac.rgb(index)
    }

    /// The colour of a 4-bit pixel. With AR10 blinking enabled, bit 3 toggles in pixels where it is set, or in all
    /// pixels if plane 3 is disabled, which gives mode 0Fh its blinking colour.
    fn pixel_colour(&self, pixel: u8, blink: BlinkPhase) -> u32 {
        let enable = self.regs.ar[AR12_COLOUR_PLANE_ENABLE];
        let entry = pixel & enable;
        let toggles = self.blink_enabled() && (entry & 8 != 0 || enable & 8 == 0);
        rgb32(self.palette_rgb(if toggles && !blink.characters { entry ^ 8 } else { entry }))
    }

    /// AR10 bit 3: attribute bit 7 makes a character blink instead of brightening its background, and graphics pixels
    /// blink by bit 3.
    pub(super) fn blink_enabled(&self) -> bool {
        self.regs.ar[AR10_MODE_CONTROL] & AR10_BLINK != 0
    }

    /// The blink phase at a time in nanoseconds, and when it ends.
    pub fn blink_phase(&self, now: u64) -> (BlinkPhase, u64) {
        let Timing { dot_clock, total_dots, total_lines, .. } =
            Self::timing(&self.regs, &self.vbe, self.cirrus.as_deref());
        let half = (BLINK_FRAMES * 1_000_000_000 * total_dots * total_lines / dot_clock.max(1)).max(1);
        let turns = now / half;
        (BlinkPhase { cursor: turns & 1 == 0, characters: turns & 2 == 0 }, (turns + 1).saturating_mul(half))
    }

    /// CR0A bit 5 is clear: the cursor is enabled.
    pub(super) fn cursor_enabled(&self) -> bool {
        self.regs.cr[CR0A_CURSOR_START] & CR0A_CURSOR_OFF == 0
    }

    /// The 16 colours of text.
    pub(super) fn text_palette(&self) -> [[u8; 3]; 16] {
        std::array::from_fn(|n| self.attribute_rgb(n as u8))
    }

    /// The CRTC counters of every displayed scan line, from top to bottom.
    pub(super) fn scan_lines(&self) -> impl Iterator<Item = ScanLine> + use<> {
        let regs = &self.regs;
        let double = regs.double_scan();
        let last_row = regs.row_height() - 1;
        let packed = self.packed_cirrus();
        let pitch = regs.row_pitch() + packed.map_or(0, |chip| chip.offset_high() * 2);
        let line_compare = regs.line_compare();
        // AR10 can reset pixel panning below the split.
        let reset_panning = regs.ar[AR10_MODE_CONTROL] & AR10_PANNING_COMPATIBILITY != 0;
        let high = packed.map_or(0, Cirrus::start_address);
        let start = high + regs.start_address() + u32::from(regs.cr[CR08_PRESET_ROW_SCAN] >> 5 & 3);
        let pan = u32::from(regs.ar[AR13_PIXEL_PANNING] & 0xf);
        let mut scan = ScanLine { address: start, row_scan: u32::from(regs.cr[CR08_PRESET_ROW_SCAN] & 0x1f), pan };
        let mut first = true;
        let lines = regs.timing().displayed_lines * packed.map_or(1, |chip| chip.line_factor(regs));
        (0..lines as u32).map(move |line| {
            let shown = scan;
            let repeated = double && first;
            first = !first;
            if line == line_compare {
                scan = ScanLine { address: 0, row_scan: 0, pan: if reset_panning { 0 } else { scan.pan } };
                first = true;
            } else if !repeated {
                scan.row_scan = if scan.row_scan == last_row { 0 } else { (scan.row_scan + 1) & 0x1f };
                if scan.row_scan == 0 {
                    scan.address += pitch;
                }
            }
            shown
        })
    }
}

/// Draws scan lines of the graphics modes without VBE.
pub(super) struct PlanarRenderer {
    columns: u32,
    /// Pixels per character clock.
    pixels_per_clock: u32,
    /// Dots per pixel.
    dots_per_pixel: usize,
    eight_bit: bool,
    /// For the address mode.
    regs: Registers,
    /// Address bits that bits of the row scan counter replace: the address bit and the counter's bit number.
    row_scan_bits: [(u32, u32); 2],
    pixels: PixelDecoder,
}

impl PlanarRenderer {
    pub fn new(vga: &Vga, blink: BlinkPhase) -> Self {
        let regs = &vga.regs;
        // A character clock has eight 4-bit pixels, or four 8-bit pixels.
        let eight_bit = vga.eight_bit();
        // CGA memory banks: CR17 lets row scan counter bits replace address bits 13 and 14.
        let control = regs.cr[CR17_MODE_CONTROL];
        let row_scan_bits = [(1, 0x2000, 0), (2, 0x4000, 1)]
            .map(|(bit, address, row)| if control & bit == 0 { (address, row) } else { (0, 0) });
        Self {
            columns: u32::from(regs.cr[CR01_HORIZONTAL_DISPLAY_END]) + 1,
            pixels_per_clock: if eight_bit { 4 } else { 8 },
            dots_per_pixel: if eight_bit { 2 } else { 1 } * if regs.dot_clock_halved() { 2 } else { 1 },
            eight_bit,
            regs: regs.clone(),
            row_scan_bits,
            pixels: PixelDecoder::new(vga, eight_bit, blink),
        }
    }

    /// Offset and length in the planes of a line's bytes; all planes if the bytes are not contiguous.
    pub fn bytes(&self, scan: ScanLine) -> (u64, u64) {
        let first = self.regs.plane_offset(scan.address);
        let last = self.regs.plane_offset(scan.address.wrapping_add(self.columns));
        let len = last.wrapping_sub(first).wrapping_add(1);
        if last < first || self.row_scan_bits.iter().any(|&(bit, _)| bit != 0) {
            return (0, u64::from(super::PLANE_SIZE) * 4);
        }
        (u64::from(first) * 4, u64::from(len) * 4)
    }

    /// Draws a line from the planes.
    pub fn draw(&self, planes: &[u8], scan: ScanLine, line: &mut [u32]) {
        let pan = if self.eight_bit { scan.pan >> 1 & 3 } else { scan.pan & 7 };
        let mut out = line.chunks_exact_mut(self.dots_per_pixel);
        // One more clock than is displayed, for pixel panning.
        let mut skip = pan as usize;
        for clock in 0..=self.columns {
            let mut address = self.regs.plane_offset(scan.address.wrapping_add(clock));
            for (bit, row) in self.row_scan_bits {
                address = if scan.row_scan >> row & 1 != 0 { address | bit } else { address & !bit };
            }
            let at = (address & (super::PLANE_SIZE - 1)) as usize * 4;
            let quad = planes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
            for &colour in self.pixels.decode(quad)[..self.pixels_per_clock as usize].iter().skip(skip) {
                let Some(pixel) = out.next() else { return };
                pixel.fill(colour);
            }
            skip = 0;
        }
    }
}

/// Draws scan lines of packed-pixel modes, of VBE and of the CL-GD5446.
pub(super) struct PackedRenderer {
    bits: u16,
    /// Bytes per pixel.
    bytes: usize,
    /// The palette of 8-bit modes.
    palette: Vec<u32>,
}

impl PackedRenderer {
    pub fn new(vga: &Vga) -> Self {
        let bits = vga.packed_cirrus().map_or(vga.vbe.bpp, Cirrus::bits);
        let palette = if bits == 8 { (0..=255).map(|n| rgb32(vga.regs.dac.rgb(n))).collect() } else { Vec::new() };
        Self { bits, bytes: usize::from(bits.div_ceil(8)).max(1), palette }
    }

    /// Bytes of a line in video memory.
    pub fn line_bytes(&self, vga: &Vga) -> u64 {
        u64::from(vga.size().0) * self.bytes as u64
    }

    /// Offset in video memory of every line.
    pub fn lines(&self, vga: &Vga) -> Vec<u64> {
        if vga.packed_cirrus().is_some() {
            // The address counter counts dwords.
            return vga.scan_lines().map(|scan| u64::from(scan.address) * 4 % u64::from(vga.vram())).collect();
        }
        let vbe = &vga.vbe;
        let (line, left) = (u64::from(vbe.line_bytes()), u64::from(vbe.x_offset) * self.bytes as u64);
        (0..u64::from(vbe.yres)).map(|y| (u64::from(vbe.y_offset) + y) * line + left).collect()
    }

    /// Pixels have 32 bits, the format of [`Bitmap`] except for the highest byte.
    pub fn is_32_bit(&self) -> bool {
        self.bytes == 4
    }

    /// Draws a line of 8-, 15-, 16- or 24-bit pixels.
    pub fn draw(&self, raw: &[u8], line: &mut [u32]) {
        match self.bytes {
            1 => line.iter_mut().zip(raw).for_each(|(pixel, &index)| {
                *pixel = self.palette.get(usize::from(index)).copied().unwrap_or_default();
            }),
            2 => line.iter_mut().zip(raw.as_chunks().0).for_each(|(pixel, &bytes)| {
                *pixel = rgb32(rgb_of_16_bits(u16::from_le_bytes(bytes), self.bits == 15));
            }),
            3 => line.iter_mut().zip(raw.as_chunks().0).for_each(|(pixel, &[blue, green, red])| {
                *pixel = rgb32([red, green, blue]);
            }),
            _ => {}
        }
    }
}

/// A 5:5:5 or 5:6:5 pixel with eight bits per component.
fn rgb_of_16_bits(pixel: u16, fifteen: bool) -> [u8; 3] {
    let five = |n: u16| ((n & 31) << 3 | (n & 31) >> 2) as u8;
    if fifteen {
        [five(pixel >> 10), five(pixel >> 5), five(pixel)]
    } else {
        let green = pixel >> 5 & 63;
        [five(pixel >> 11), (green << 2 | green >> 4) as u8, five(pixel)]
    }
}
