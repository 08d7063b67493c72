//! CPU accesses to video memory in the packed-pixel modes of the CL-GD5446: banks at A0000h, extended write modes 4 and 5,
//! addressing by eight or sixteen bytes, and the byte-swapped apertures.

use super::{
    BLIT_APERTURE, Cirrus, GR5_MODE, GR9_OFFSET_0, GRA_OFFSET_1, GRB_MODE_EXTENSIONS, SR2_PLANE_MASK, SWAPPED_DWORDS,
    SWAPPED_WORDS, VRAM,
};
use crate::memory::Memory;

/// GRB: GRA is the offset of the upper 32 KiB of the window.
const GRB_TWO_OFFSETS: u8 = 1 << 0;
/// GRB: a byte address is that of eight bytes.
const GRB_BY_8: u8 = 1 << 1;
/// GRB: write modes 4 and 5, and eight bits in GR0, GR1 and SR2.
const GRB_EXTENDED_WRITES: u8 = 1 << 2;
/// GRB: reads load eight latches, and write mode 1 writes them.
const GRB_8_LATCHES: u8 = 1 << 3;
/// GRB: with the extended write modes, pixels have two bytes and a byte address is that of sixteen.
const GRB_BY_16: u8 = 1 << 4;
/// GRB: the offsets count units of 16 KiB, else of 4 KiB.
const GRB_16K: u8 = 1 << 5;

const MASK: u32 = VRAM - 1;

/// Bytes of the window that one offset register moves.
const HALF_WINDOW: u32 = 0x8000;

impl Cirrus {
    fn grb(&self, bits: u8) -> bool {
        self.gr[GRB_MODE_EXTENSIONS] & bits == bits
    }

    fn write_mode(&self) -> u8 {
        self.gr[GR5_MODE] & 7
    }

    /// Whether accesses reach video memory byte by byte and unmodified.
    pub fn is_linear(&self) -> bool {
        let expands = self.grb(GRB_EXTENDED_WRITES) && matches!(self.write_mode(), 4 | 5);
        self.packed() && !self.traps && !self.grb(GRB_BY_8) && !self.by_16() && !expands
    }

    fn by_16(&self) -> bool {
        self.grb(GRB_EXTENDED_WRITES | GRB_BY_16)
    }

    /// The offsets in video memory of the window's halves of 32 KiB.
    pub fn banks(&self) -> [u32; 2] {
        let unit = if self.grb(GRB_16K) { 14 } else { 12 };
        let offset = |register: usize| (u32::from(self.gr[register]) << unit) & MASK;
        if self.grb(GRB_TWO_OFFSETS) {
            [offset(GR9_OFFSET_0), offset(GRA_OFFSET_1)]
        } else {
            let first = offset(GR9_OFFSET_0);
            [first, (first + HALF_WINDOW) & MASK]
        }
    }

    /// The offset in video memory of a byte of the window at A0000h.
    fn window_offset(&self, at: u32) -> u32 {
        self.banks()[(at / HALF_WINDOW % 2) as usize] + at % HALF_WINDOW
    }

    /// The CPU reads the window at A0000h in a packed-pixel mode.
    pub fn read_window(&mut self, memory: &Memory, latch: &mut u32, at: u32, data: &mut [u8]) {
        if !self.give_data(memory, data) {
            self.traps = false;
            for (byte, at) in data.iter_mut().zip(at..) {
                *byte = self.read_byte(memory, latch, self.window_offset(at));
            }
        }
    }

    /// The CPU writes the window at A0000h in a packed-pixel mode.
    pub fn write_window(&mut self, memory: &Memory, latch: u32, at: u32, data: &[u8]) {
        if !self.take_data(memory, data) {
            self.traps = false;
            for (&byte, at) in data.iter().zip(at..) {
                self.write_byte(memory, latch, self.window_offset(at), byte);
            }
        }
    }

    /// Where a byte at an offset of BAR 0 is in video memory: the order of bytes is swapped in some apertures. `None` in
    /// an aperture without memory.
    fn aperture_offset(at: u64) -> Option<u32> {
        let offset = at as u32 & MASK;
        if at < VRAM.into() {
            Some(offset)
        } else if SWAPPED_WORDS.contains(&at) {
            Some(offset ^ 1)
        } else if SWAPPED_DWORDS.contains(&at) {
            Some(offset ^ 3)
        } else {
            None
        }
    }

    /// The CPU reads BAR 0.
    pub fn read_aperture(&mut self, memory: &Memory, latch: &mut u32, at: u64, data: &mut [u8]) {
        if self.give_data(memory, data) || BLIT_APERTURE.contains(&at) {
            return;
        }
        self.traps = false;
        for (byte, at) in data.iter_mut().zip(at..) {
            if let Some(offset) = Self::aperture_offset(at) {
                *byte = self.read_byte(memory, latch, offset);
            }
        }
    }

    /// The CPU writes BAR 0.
    pub fn write_aperture(&mut self, memory: &Memory, latch: u32, at: u64, data: &[u8]) {
        if self.take_data(memory, data) || BLIT_APERTURE.contains(&at) {
            return;
        }
        self.traps = false;
        for (&byte, at) in data.iter().zip(at..) {
            if let Some(offset) = Self::aperture_offset(at) {
                self.write_byte(memory, latch, offset, byte);
            }
        }
    }

    /// The address of the first byte that an access to a byte reaches.
    fn scaled(&self, offset: u32) -> u32 {
        let shift = match (self.by_16(), self.grb(GRB_BY_8)) {
            (true, _) => 4,
            (false, true) => 3,
            _ => 0,
        };
        offset << shift & MASK
    }

    fn read_byte(&mut self, memory: &Memory, latch: &mut u32, offset: u32) -> u8 {
        let at = self.scaled(offset);
        let mut bytes = [0; 8];
        memory.read_video((at & !7).into(), &mut bytes);
        if self.grb(GRB_8_LATCHES) {
            let [a, b, c, d, e, f, g, h] = bytes;
            (*latch, self.upper_latch) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        }
        bytes[(at & 7) as usize]
    }

    fn write_byte(&self, memory: &Memory, latch: u32, offset: u32, value: u8) {
        let at = self.scaled(offset);
        match self.write_mode() {
            mode @ (4 | 5) if self.grb(GRB_EXTENDED_WRITES) => self.write_pixels(memory, at, value, mode == 5),
            1 if self.grb(GRB_8_LATCHES | GRB_BY_8) => {
                memory.write_video(at.into(), &latch.to_le_bytes());
                memory.write_video((at + 4).into(), &self.upper_latch.to_le_bytes());
            }
            _ => memory.write_video(at.into(), &[value]),
        }
    }

    /// Write modes 4 and 5: each bit, the highest first, becomes a pixel of the foreground colour, and in mode 5 each
    /// clear bit one of the background colour. SR2 enables the pixels.
    fn write_pixels(&self, memory: &Memory, at: u32, bits: u8, opaque: bool) {
        let size = if self.by_16() { 2 } else { 1 };
        let (foreground, background) = ([self.gr[1], self.gr[0x11]], [self.gr[0], self.gr[0x10]]);
        let enabled = self.sr[SR2_PLANE_MASK];
        for n in 0..8 {
            let set = bits << n & 0x80 != 0;
            if (set || opaque) && enabled << n & 0x80 != 0 {
                let colour = if set { &foreground } else { &background };
                memory.write_video(((at + n * size) & MASK).into(), &colour[..size as usize]);
            }
        }
    }
}
