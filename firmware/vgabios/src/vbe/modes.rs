//! VBE mode list. Numbers 100h to 11Bh are VESA's, 11Ch to 14Ch those of the Bochs VBE BIOS, 160h and up this BIOS'
//! own.

use crate::cirrus;
use crate::dispi;
use crate::hw::Hw;
use crate::tables;

/// Resolutions, in ascending order.
pub const RESOLUTIONS: [(u16, u16); 18] = [
    (320, 200),
    (640, 400),
    (640, 480),
    (800, 600),
    (1024, 768),
    (1152, 864),
    (1280, 720),
    (1280, 800),
    (1280, 1024),
    (1360, 768),
    (1440, 900),
    (1600, 900),
    (1600, 1200),
    (1680, 1050),
    (1920, 1080),
    (1920, 1200),
    (2560, 1440),
    (2560, 1600),
];

/// Mode number, resolution, bits per pixel.
type Entry = (u16, (u16, u16), u8);

const COMMON: [Entry; 44] = [
    (0x100, (640, 400), 8),
    (0x101, (640, 480), 8),
    (0x102, (800, 600), 4),
    (0x103, (800, 600), 8),
    (0x104, (1024, 768), 4),
    (0x105, (1024, 768), 8),
    (0x106, (1280, 1024), 4),
    (0x107, (1280, 1024), 8),
    (0x10d, (320, 200), 15),
    (0x10e, (320, 200), 16),
    (0x10f, (320, 200), 24),
    (0x110, (640, 480), 15),
    (0x111, (640, 480), 16),
    (0x112, (640, 480), 24),
    (0x113, (800, 600), 15),
    (0x114, (800, 600), 16),
    (0x115, (800, 600), 24),
    (0x116, (1024, 768), 15),
    (0x117, (1024, 768), 16),
    (0x118, (1024, 768), 24),
    (0x119, (1280, 1024), 15),
    (0x11a, (1280, 1024), 16),
    (0x11b, (1280, 1024), 24),
    (0x11c, (1600, 1200), 8),
    (0x11d, (1600, 1200), 15),
    (0x11e, (1600, 1200), 16),
    (0x11f, (1600, 1200), 24),
    (0x140, (320, 200), 32),
    (0x141, (640, 400), 32),
    (0x142, (640, 480), 32),
    (0x143, (800, 600), 32),
    (0x144, (1024, 768), 32),
    (0x145, (1280, 1024), 32),
    (0x146, (320, 200), 8),
    (0x147, (1600, 1200), 32),
    (0x148, (1152, 864), 8),
    (0x149, (1152, 864), 15),
    (0x14a, (1152, 864), 16),
    (0x14b, (1152, 864), 24),
    (0x14c, (1152, 864), 32),
    (0x14d, (640, 400), 4),
    (0x14e, (640, 480), 4),
    (0x14f, (1600, 1200), 4),
    (0x150, (2560, 1600), 4),
];

/// First mode number of this BIOS' own modes: eight numbers per resolution, in the order of `DEPTHS`.
const OWN: u16 = 0x160;
const DEPTHS: [u8; 5] = [8, 15, 16, 24, 32];

/// Number of modes.
pub const COUNT: usize = 97;
/// Bytes per entry in the ROM: mode number, resolution index, bits per pixel.
pub const ENTRY: usize = 4;

const fn resolution_index(wanted: (u16, u16)) -> u8 {
    let mut i = 0;
    while RESOLUTIONS[i].0 != wanted.0 || RESOLUTIONS[i].1 != wanted.1 {
        i += 1;
    }
    i as u8
}

const fn is_common(resolution: (u16, u16), bpp: u8) -> bool {
    let mut i = 0;
    while i < COMMON.len() {
        let (_, (width, height), bits) = COMMON[i];
        if width == resolution.0 && height == resolution.1 && bits == bpp {
            return true;
        }
        i += 1;
    }
    false
}

/// The mode list as it is in the ROM.
pub const fn list() -> [u8; COUNT * ENTRY] {
    let mut all = [0; COUNT * ENTRY];
    let mut at = 0;
    let mut i = 0;
    while i < COMMON.len() {
        let (number, resolution, bpp) = COMMON[i];
        [all[at], all[at + 1]] = number.to_le_bytes();
        all[at + 2] = resolution_index(resolution);
        all[at + 3] = bpp;
        at += ENTRY;
        i += 1;
    }
    let mut resolution = 0;
    while resolution < RESOLUTIONS.len() {
        let mut depth = 0;
        while depth < DEPTHS.len() {
            if !is_common(RESOLUTIONS[resolution], DEPTHS[depth]) {
                [all[at], all[at + 1]] = (OWN + 8 * resolution as u16 + depth as u16).to_le_bytes();
                all[at + 2] = resolution as u8;
                all[at + 3] = DEPTHS[depth];
                at += ENTRY;
            }
            depth += 1;
        }
        resolution += 1;
    }
    assert!(at == COUNT * ENTRY);
    all
}

/// The resolutions as they are in the ROM: width and height.
pub const fn resolutions() -> [u8; 4 * RESOLUTIONS.len()] {
    let mut all = [0; 4 * RESOLUTIONS.len()];
    let mut i = 0;
    while i < RESOLUTIONS.len() {
        [all[4 * i], all[4 * i + 1]] = RESOLUTIONS[i].0.to_le_bytes();
        [all[4 * i + 2], all[4 * i + 3]] = RESOLUTIONS[i].1.to_le_bytes();
        i += 1;
    }
    all
}

/// A VBE mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Mode number.
    pub number: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in scan lines.
    pub height: u16,
    /// Bits per pixel; 4 is planar.
    pub bpp: u8,
}

/// Bytes per pixel; 0 if a pixel is less than a byte.
pub const fn pixel_bytes(bpp: u8) -> u16 {
    (bpp as u16 + 1) >> 3
}

/// Bytes per scan line of `width` pixels; of each plane in planar modes.
pub const fn line_bytes(width: u16, bpp: u8) -> u16 {
    if bpp == 4 { width >> 3 } else { width.wrapping_mul(pixel_bytes(bpp)) }
}

impl Mode {
    /// The mode at an index of the list.
    #[inline(never)]
    pub fn at<H: Hw>(hw: &H, index: usize) -> Self {
        let entry = tables::VBE_MODES + (index * ENTRY) as u16;
        let resolution = tables::VBE_RESOLUTIONS + 4 * u16::from(hw.table8(entry + 2));
        Self {
            number: hw.table16(entry),
            width: hw.table16(resolution),
            height: hw.table16(resolution + 2),
            bpp: hw.table8(entry + 3),
        }
    }

    /// Video memory that the mode needs, in units of 64 KiB, rounded up.
    pub fn banks(&self) -> u16 {
        let planes = if self.bpp == 4 { 4 } else { 1 };
        let bytes = u32::from(line_bytes(self.width, self.bpp)) * u32::from(self.height) * planes;
        ((bytes + 0xffff) >> 16) as u16
    }
}

/// Whether the adapter has the mode and the memory for it.
pub fn fits<H: Hw>(hw: &mut H, mode: &Mode) -> bool {
    if H::CIRRUS { cirrus::supports(hw, mode) } else { mode.banks() <= dispi::read(hw, dispi::VIDEO_MEMORY_64K) }
}

/// The first mode that satisfies `wanted`.
pub fn find<H: Hw>(hw: &mut H, wanted: impl Fn(&Mode) -> bool) -> Option<Mode> {
    for index in 0..COUNT {
        let mode = Mode::at(hw, index);
        if wanted(&mode) {
            return Some(mode);
        }
    }
    None
}
