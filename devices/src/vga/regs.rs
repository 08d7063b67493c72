//! The register file of the IBM VGA (IBM Personal System/2 Hardware Interface Technical Reference, "Video Subsystem").

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

// Ports of the colour addresses; the monochrome ones of the CRTC and the status register are 20h lower.
pub(super) const CRTC_INDEX: u16 = 0x3d4;
pub(super) const CRTC_DATA: u16 = 0x3d5;
pub(super) const STATUS_1: u16 = 0x3da;
const MONO_OFFSET: u16 = 0x20;
const ATTRIBUTE: u16 = 0x3c0;
const ATTRIBUTE_READ: u16 = 0x3c1;
const MISC_WRITE: u16 = 0x3c2;
const SEQUENCER_INDEX: u16 = 0x3c4;
const SEQUENCER_DATA: u16 = 0x3c5;
const DAC_MASK: u16 = 0x3c6;
const DAC_READ_INDEX: u16 = 0x3c7;
const DAC_WRITE_INDEX: u16 = 0x3c8;
const DAC_DATA: u16 = 0x3c9;
const FEATURE_READ: u16 = 0x3ca;
const MISC_READ: u16 = 0x3cc;
const GRAPHICS_INDEX: u16 = 0x3ce;
const GRAPHICS_DATA: u16 = 0x3cf;

/// Input status register 0: the monitor answers the DAC's test, so there is one.
const STATUS_0: u8 = 0x10;
const STATUS_1_BLANK: u8 = 1 << 0;
const STATUS_1_RETRACE: u8 = 1 << 3;

/// Bits that exist in the sequencer's registers.
const SEQUENCER_MASKS: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
/// Bits that exist in the graphics controller's registers.
const GRAPHICS_MASKS: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
/// Bits that exist in the attribute controller's registers.
const ATTRIBUTE_MASKS: [u8; 21] = [
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f,
    0x0f, 0x0f,
];
const CRTC_PROTECT: u8 = 0x80;
const ATTRIBUTE_INDEX: u8 = 0x3f;
/// Palette address source: the attribute controller's index register, bit 5.
pub(super) const PALETTE_ON: u8 = 0x20;

/// The CRTC's start address and cursor location.
const PLACES: std::ops::Range<usize> = 0x0c..0x10;

/// Miscellaneous output register.
#[bitfield(u8)]
#[derive(Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Misc {
    pub colour: bool,
    pub ram_enable: bool,
    #[bits(2)]
    pub clock: u8,
    __: bool,
    pub odd_even_page: bool,
    #[bits(2)]
    pub sync_polarity: u8,
}

/// The colour look-up table and its access state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dac {
    /// 256 times red, green, blue.
    pub table: Vec<u8>,
    pub mask: u8,
    read_index: u8,
    write_index: u8,
    /// Which of the three is next.
    step: u8,
    /// The first two of a colour being written.
    held: [u8; 2],
    reading: bool,
    /// Colours have eight bits (VBE), not six.
    pub wide: bool,
}

impl Dac {
    fn new() -> Self {
        Self {
            table: vec![0; 768],
            mask: 0xff,
            read_index: 0,
            write_index: 0,
            step: 0,
            held: [0; 2],
            reading: false,
            wide: false,
        }
    }

    fn bits(&self) -> u8 {
        if self.wide { 0xff } else { 0x3f }
    }

    fn read(&mut self) -> u8 {
        let value = self.table.get(usize::from(self.read_index) * 3 + usize::from(self.step)).copied().unwrap_or(0);
        self.step += 1;
        if self.step == 3 {
            self.step = 0;
            self.read_index = self.read_index.wrapping_add(1);
        }
        value & self.bits()
    }

    fn write(&mut self, value: u8) {
        let value = value & self.bits();
        if let Some(held) = self.held.get_mut(usize::from(self.step)) {
            *held = value;
            self.step += 1;
            return;
        }
        let at = usize::from(self.write_index) * 3;
        if let Some(colour) = self.table.get_mut(at..at + 3) {
            colour.copy_from_slice(&[self.held[0], self.held[1], value]);
        }
        self.step = 0;
        self.write_index = self.write_index.wrapping_add(1);
    }

    /// Red, green and blue of a colour, eight bits each.
    pub fn rgb(&self, index: u8) -> [u8; 3] {
        let at = usize::from(index & self.mask) * 3;
        let mut rgb = [0; 3];
        if let Some(colour) = self.table.get(at..at + 3) {
            rgb.copy_from_slice(colour);
        }
        if self.wide { rgb } else { rgb.map(|c| (c & 0x3f) << 2 | (c & 0x3f) >> 4) }
    }
}

/// All registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub misc: Misc,
    feature: u8,
    sequencer_index: u8,
    pub sequencer: [u8; 5],
    graphics_index: u8,
    pub graphics: [u8; 9],
    crtc_index: u8,
    pub crtc: [u8; 25],
    /// Index and, in bit 5, the palette address source.
    pub attribute_index: u8,
    /// The next write to 3C0h is data.
    attribute_data: bool,
    pub attribute: [u8; 21],
    pub dac: Dac,
}

/// The CRTC's timings, in dots and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub dot_clock: u64,
    pub dots: u64,
    pub shown_dots: u64,
    pub lines: u64,
    pub shown_lines: u64,
    pub retrace: (u64, u64),
}

impl Registers {
    pub fn new() -> Self {
        Self {
            misc: Misc::new(),
            feature: 0,
            sequencer_index: 0,
            sequencer: [0; 5],
            graphics_index: 0,
            graphics: [0; 9],
            crtc_index: 0,
            crtc: [0; 25],
            attribute_index: 0,
            attribute_data: false,
            attribute: [0; 21],
            dac: Dac::new(),
        }
    }

    /// `port` as its colour address, if it is one that answers now.
    fn decoded(&self, port: u16) -> Option<u16> {
        match port {
            0x3b4 | 0x3b5 | 0x3ba if !self.misc.colour() => Some(port + MONO_OFFSET),
            0x3d4 | 0x3d5 | 0x3da if self.misc.colour() => Some(port),
            0x3c0..=0x3cf => Some(port),
            _ => None,
        }
    }

    /// Reads a port. `now` is the time in nanoseconds, for the retrace; `timing` what the CRTC shows.
    pub fn read(&mut self, port: u16, now: u64, timing: impl FnOnce(&Self) -> Timing) -> Option<u8> {
        Some(match self.decoded(port)? {
            ATTRIBUTE => self.attribute_index,
            ATTRIBUTE_READ => self.attribute.get(usize::from(self.attribute_index & 0x1f)).copied().unwrap_or(0),
            MISC_WRITE => STATUS_0,
            SEQUENCER_INDEX => self.sequencer_index,
            SEQUENCER_DATA => self.sequencer.get(usize::from(self.sequencer_index)).copied().unwrap_or(0),
            DAC_MASK => self.dac.mask,
            // 3 while a read, 0 while a write is under way.
            DAC_READ_INDEX => {
                if self.dac.reading {
                    3
                } else {
                    0
                }
            }
            DAC_WRITE_INDEX => self.dac.write_index,
            DAC_DATA => self.dac.read(),
            FEATURE_READ => self.feature,
            MISC_READ => self.misc.into_bits(),
            GRAPHICS_INDEX => self.graphics_index,
            GRAPHICS_DATA => self.graphics.get(usize::from(self.graphics_index)).copied().unwrap_or(0),
            CRTC_INDEX => self.crtc_index,
            CRTC_DATA => self.crtc.get(usize::from(self.crtc_index)).copied().unwrap_or(0),
            STATUS_1 => {
                self.attribute_data = false;
                timing(self).status(now)
            }
            _ => return None,
        })
    }

    /// Writes a port.
    pub fn write(&mut self, port: u16, value: u8) {
        let Some(port) = self.decoded(port) else { return };
        match port {
            ATTRIBUTE => {
                if self.attribute_data {
                    let index = usize::from(self.attribute_index & 0x1f);
                    if let (Some(register), Some(mask)) = (self.attribute.get_mut(index), ATTRIBUTE_MASKS.get(index)) {
                        *register = value & mask;
                    }
                } else {
                    self.attribute_index = value & ATTRIBUTE_INDEX;
                }
                self.attribute_data = !self.attribute_data;
            }
            MISC_WRITE => self.misc = Misc::from_bits(value),
            SEQUENCER_INDEX => self.sequencer_index = value & 7,
            SEQUENCER_DATA => {
                let index = usize::from(self.sequencer_index);
                if let (Some(register), Some(mask)) = (self.sequencer.get_mut(index), SEQUENCER_MASKS.get(index)) {
                    *register = value & mask;
                }
            }
            DAC_MASK => self.dac.mask = value,
            DAC_READ_INDEX => {
                self.dac.read_index = value;
                self.dac.step = 0;
                self.dac.reading = true;
            }
            DAC_WRITE_INDEX => {
                self.dac.write_index = value;
                self.dac.step = 0;
                self.dac.reading = false;
            }
            DAC_DATA => self.dac.write(value),
            GRAPHICS_INDEX => self.graphics_index = value & 0xf,
            GRAPHICS_DATA => {
                let index = usize::from(self.graphics_index);
                if let (Some(register), Some(mask)) = (self.graphics.get_mut(index), GRAPHICS_MASKS.get(index)) {
                    *register = value & mask;
                }
            }
            CRTC_INDEX => self.crtc_index = value & 0x3f,
            CRTC_DATA => {
                let index = usize::from(self.crtc_index);
                let protected = self.crtc[0x11] & CRTC_PROTECT != 0;
                let Some(register) = self.crtc.get_mut(index) else { return };
                *register = match index {
                    // Of the protected ones, only the line compare bit of the overflow register can be written.
                    7 if protected => *register & !0x10 | value & 0x10,
                    0..=6 if protected => return,
                    _ => value,
                };
            }
            STATUS_1 => self.feature = value,
            _ => {}
        }
    }

    fn overflow(&self, bit8: u8, bit9: u8) -> u64 {
        let bit = |n: u8| u64::from(self.crtc[7] >> n & 1);
        bit(bit8) << 8 | bit(bit9) << 9
    }

    /// Dots of a character.
    pub fn char_width(&self) -> u64 {
        if self.sequencer[1] & 1 != 0 { 8 } else { 9 }
    }

    /// A dot is two of the clock's.
    pub fn half_clock(&self) -> bool {
        self.sequencer[1] & 8 != 0
    }

    /// The timings that the registers make.
    pub fn timing(&self) -> Timing {
        let crtc = |n: usize| u64::from(self.crtc[n]);
        let clock = if self.misc.clock() == 1 { 28_322_000 } else { 25_175_000 };
        let lines = (crtc(6) | u64::from(self.crtc[7] & 1) << 8 | u64::from(self.crtc[7] >> 5 & 1) << 9) + 2;
        // A retrace that the frame ends before would leave a program that waits for it alone for ever.
        let start = (crtc(0x10) | self.overflow(2, 7)).min(lines - 1);
        let length = match (crtc(0x11).wrapping_sub(start)) & 0xf {
            0 => 16,
            n => n,
        };
        Timing {
            dot_clock: if self.half_clock() { clock / 2 } else { clock },
            dots: (crtc(0) + 5) * self.char_width(),
            shown_dots: (crtc(1) + 1) * self.char_width(),
            lines,
            shown_lines: (crtc(0x12) | self.overflow(1, 6)) + 1,
            retrace: (start, start + length),
        }
    }

    /// Start address and cursor location.
    pub fn places(&self) -> &[u8] {
        self.crtc.get(PLACES).unwrap_or_default()
    }

    /// Whether a picture of the same memory is the same, but for the places.
    pub fn draws_like(&self, other: &Self) -> bool {
        let crtc = |regs: &Self| {
            let mut crtc = regs.crtc;
            crtc[PLACES].fill(0);
            crtc
        };
        // Of sequencer and graphics controller what the processor's accesses do not concern.
        let rest = |regs: &Self| {
            let (sequencer, graphics) = (&regs.sequencer, &regs.graphics);
            let palette_on = regs.attribute_index & PALETTE_ON;
            (regs.misc, [sequencer[1], sequencer[3], graphics[5], graphics[6]], palette_on, regs.attribute)
        };
        let dac = |regs: &Self| (regs.dac.mask, regs.dac.wide);
        rest(self) == rest(other)
            && crtc(self) == crtc(other)
            && dac(self) == dac(other)
            && self.dac.table == other.dac.table
    }

    /// The counter's value at the top left of the screen.
    pub fn start_address(&self) -> u32 {
        u32::from(self.crtc[0x0c]) << 8 | u32::from(self.crtc[0x0d])
    }

    /// How far the counter goes from one row to the next.
    pub fn row_pitch(&self) -> u32 {
        u32::from(self.crtc[0x13]) * 2
    }

    /// Scan lines of a row of characters, or repetitions of a line of pixels.
    pub fn row_height(&self) -> u32 {
        u32::from(self.crtc[9] & 0x1f) + 1
    }

    /// Every line is scanned twice.
    pub fn double_scan(&self) -> bool {
        self.crtc[9] & 0x80 != 0
    }

    /// The last line before the lower part of a split screen, which starts at address 0.
    pub fn line_compare(&self) -> u32 {
        u32::from(self.crtc[0x18]) | u32::from(self.crtc[7] >> 4 & 1) << 8 | u32::from(self.crtc[9] >> 6 & 1) << 9
    }

    /// The memory map is that of graphics (graphics controller, miscellaneous register).
    pub fn graphics_mode(&self) -> bool {
        self.graphics[6] & 1 != 0
    }

    /// Whether a saved state is one that these registers can have.
    pub fn is_possible(&self) -> bool {
        let Self {
            misc: _,
            feature: _,
            sequencer_index,
            sequencer,
            graphics_index,
            graphics,
            crtc_index,
            crtc: _,
            attribute_index,
            attribute_data: _,
            attribute,
            dac,
        } = self;
        let within = |values: &[u8], masks: &[u8]| values.iter().zip(masks).all(|(v, m)| v & !m == 0);
        *sequencer_index <= 7
            && *graphics_index <= 0xf
            && *crtc_index <= 0x3f
            && *attribute_index <= ATTRIBUTE_INDEX
            && within(sequencer, &SEQUENCER_MASKS)
            && within(graphics, &GRAPHICS_MASKS)
            && within(attribute, &ATTRIBUTE_MASKS)
            && dac.table.len() == 768
            && dac.step < 3
    }
}

impl Timing {
    /// Input status register 1 at a time in nanoseconds.
    fn status(&self, now: u64) -> u8 {
        let dot = (u128::from(now) * u128::from(self.dot_clock) / 1_000_000_000) as u64;
        let (line, dot) = (dot / self.dots.max(1) % self.lines.max(1), dot % self.dots.max(1));
        let mut status = 0;
        if line >= self.shown_lines || dot >= self.shown_dots {
            status |= STATUS_1_BLANK;
        }
        if (self.retrace.0..self.retrace.1).contains(&line) {
            status |= STATUS_1_RETRACE | STATUS_1_BLANK;
        }
        status
    }
}
