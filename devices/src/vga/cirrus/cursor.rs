//! Hardware cursor of the CL-GD5446 (SR10 to SR13): 32 by 32 or 64 by 64 pixels, two bits each.

use super::{Cirrus, SR12_CURSOR_ATTRIBUTES, SR13_CURSOR_PATTERN, VRAM};
use crate::memory::Memory;
use crate::vga::render::rgb32;
use std::ops::Range;

/// SR12: the cursor is shown.
const ENABLED: u8 = 1 << 0;
/// SR12: 64 by 64 pixels.
const LARGE: u8 = 1 << 2;
/// The patterns are in the last 16 KiB of video memory, in units of 256 bytes.
const PATTERNS: u64 = VRAM as u64 - 0x4000;
const PATTERN_UNIT: u64 = 256;

/// The displayed cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::vga) struct Cursor {
    x: u32,
    y: u32,
    /// Pixels per line, and lines.
    size: u32,
    /// The pattern's bytes in video memory.
    pattern: Range<u64>,
    /// The colours of set pixels of both planes and of the second plane only.
    foreground: u32,
    background: u32,
}

impl Cirrus {
    /// The cursor, if it is shown. `scale` turns a colour's six bits into eight.
    pub fn cursor(&self) -> Option<Cursor> {
        let attributes = self.sr[SR12_CURSOR_ATTRIBUTES];
        let (size, mask) = if attributes & LARGE != 0 { (64, 0x3c) } else { (32, 0x3f) };
        let at = PATTERNS + u64::from(self.sr[SR13_CURSOR_PATTERN] & mask) * PATTERN_UNIT;
        let colour = |n: usize| {
            let mut rgb = [0; 3];
            rgb.copy_from_slice(self.cursor_table.get(n * 3..n * 3 + 3)?);
            Some(rgb32(rgb.map(|c| (c & 0x3f) << 2 | (c & 0x3f) >> 4)))
        };
        (attributes & ENABLED != 0).then_some(())?;
        Some(Cursor {
            x: self.cursor_x.into(),
            y: self.cursor_y.into(),
            size,
            pattern: at..at + u64::from(size * size / 4),
            foreground: colour(15)?,
            background: colour(0)?,
        })
    }
}

impl Cursor {
    /// The scan lines that it covers.
    pub fn lines(&self) -> Range<u32> {
        self.y..self.y + self.size
    }

    /// The pattern's bytes in video memory.
    pub fn pattern(&self) -> Range<u64> {
        self.pattern.clone()
    }

    /// Draws the cursor's part of scan line `y`. The first plane alone inverts a pixel.
    pub fn draw(&self, memory: &Memory, y: u32, line: &mut [u32]) {
        if !self.lines().contains(&y) {
            return;
        }
        let (bytes, row) = (u64::from(self.size / 8), u64::from(y - self.y));
        // The planes alternate by lines in the large pattern, and follow each other in the small one.
        let (step, second) = if self.size == 64 { (16, 8) } else { (4, 128) };
        let (mut inverts, mut shows) = ([0; 8], [0; 8]);
        memory.read_video(self.pattern.start + row * step, &mut inverts[..bytes as usize]);
        memory.read_video(self.pattern.start + row * step + second, &mut shows[..bytes as usize]);
        let (inverts, shows) = (u64::from_be_bytes(inverts), u64::from_be_bytes(shows));
        let pixels = line.get_mut(self.x as usize..).unwrap_or_default();
        for (pixel, n) in pixels.iter_mut().zip(0..self.size) {
            let bit = |plane: u64| plane << n >> 63 != 0;
            match (bit(shows), bit(inverts)) {
                (false, false) => {}
                (false, true) => *pixel ^= 0x00ff_ffff,
                (true, false) => *pixel = self.background,
                (true, true) => *pixel = self.foreground,
            }
        }
    }
}
