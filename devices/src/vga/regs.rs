//! VGA registers: sequencer (SR), graphics controller (GR), CRT controller (CR), attribute controller (AR), DAC, MISC,
//! FEAT, ST0 and ST1 (IBM Personal System/2 Hardware Interface Technical Reference, "Video Subsystem").

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

// Ports at the colour addresses; the monochrome addresses of CR and of ST1 are 20h lower.
pub(super) const CR_INDEX: u16 = 0x3d4;
pub(super) const CR_DATA: u16 = 0x3d5;
pub(super) const ST1: u16 = 0x3da;
pub(super) const MONO_OFFSET: u16 = 0x20;
pub(super) const AR_INDEX: u16 = 0x3c0;
pub(super) const AR_READ: u16 = 0x3c1;
pub(super) const MISC_WRITE: u16 = 0x3c2;
pub(super) const SR_INDEX: u16 = 0x3c4;
pub(super) const SR_DATA: u16 = 0x3c5;
pub(super) const DAC_MASK: u16 = 0x3c6;
pub(super) const DAC_READ_INDEX: u16 = 0x3c7;
pub(super) const DAC_WRITE_INDEX: u16 = 0x3c8;
pub(super) const DAC_DATA: u16 = 0x3c9;
pub(super) const FEAT_READ: u16 = 0x3ca;
pub(super) const MISC_READ: u16 = 0x3cc;
pub(super) const GR_INDEX: u16 = 0x3ce;
pub(super) const GR_DATA: u16 = 0x3cf;

// Indexes of registers.
pub(super) const SR1_CLOCKING_MODE: usize = 1;
pub(super) const SR2_MAP_MASK: usize = 2;
pub(super) const SR3_CHARACTER_MAP: usize = 3;
pub(super) const SR4_MEMORY_MODE: usize = 4;
pub(super) const GR0_SET_RESET: usize = 0;
pub(super) const GR1_ENABLE_SET_RESET: usize = 1;
pub(super) const GR2_COLOUR_COMPARE: usize = 2;
pub(super) const GR3_DATA_ROTATE: usize = 3;
pub(super) const GR4_READ_MAP: usize = 4;
pub(super) const GR5_MODE: usize = 5;
pub(super) const GR6_MISC: usize = 6;
pub(super) const GR7_COLOUR_DONT_CARE: usize = 7;
pub(super) const GR8_BIT_MASK: usize = 8;
pub(super) const CR00_HORIZONTAL_TOTAL: usize = 0x00;
pub(super) const CR01_HORIZONTAL_DISPLAY_END: usize = 0x01;
pub(super) const CR06_VERTICAL_TOTAL: usize = 0x06;
pub(super) const CR07_OVERFLOW: usize = 0x07;
pub(super) const CR08_PRESET_ROW_SCAN: usize = 0x08;
pub(super) const CR09_MAX_SCAN_LINE: usize = 0x09;
pub(super) const CR0A_CURSOR_START: usize = 0x0a;
pub(super) const CR0B_CURSOR_END: usize = 0x0b;
pub(super) const CR0C_START_ADDRESS_HIGH: usize = 0x0c;
pub(super) const CR0D_START_ADDRESS_LOW: usize = 0x0d;
pub(super) const CR0E_CURSOR_LOCATION_HIGH: usize = 0x0e;
pub(super) const CR0F_CURSOR_LOCATION_LOW: usize = 0x0f;
pub(super) const CR10_VERTICAL_RETRACE_START: usize = 0x10;
pub(super) const CR11_VERTICAL_RETRACE_END: usize = 0x11;
pub(super) const CR12_VERTICAL_DISPLAY_END: usize = 0x12;
pub(super) const CR13_OFFSET: usize = 0x13;
pub(super) const CR14_UNDERLINE_LOCATION: usize = 0x14;
pub(super) const CR17_MODE_CONTROL: usize = 0x17;
pub(super) const CR18_LINE_COMPARE: usize = 0x18;
pub(super) const AR10_MODE_CONTROL: usize = 0x10;
pub(super) const AR12_COLOUR_PLANE_ENABLE: usize = 0x12;
pub(super) const AR13_PIXEL_PANNING: usize = 0x13;
pub(super) const AR14_COLOUR_SELECT: usize = 0x14;

/// ST0: switch sense, which is set because the monitor answers the DAC test.
const ST0_SWITCH_SENSE: u8 = 0x10;
const ST1_DISPLAY_DISABLED: u8 = 1 << 0;
const ST1_VERTICAL_RETRACE: u8 = 1 << 3;

/// Implemented bits of SR0 to SR4.
const SR_MASKS: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
/// Implemented bits of GR0 to GR8.
const GR_MASKS: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
/// Implemented bits of AR00 to AR14.
const AR_MASKS: [u8; 21] = [
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f,
    0x0f, 0x0f,
];
const CR11_PROTECT: u8 = 0x80;
const AR_INDEX_MASK: u8 = 0x3f;
/// Palette address source, bit 5 of the AR index.
pub(super) const AR_INDEX_PAS: u8 = 0x20;

const SR_NAMES: [&str; 5] = ["SR0", "SR1", "SR2", "SR3", "SR4"];
const GR_NAMES: [&str; 9] = ["GR0", "GR1", "GR2", "GR3", "GR4", "GR5", "GR6", "GR7", "GR8"];
const CR_NAMES: [&str; 25] = [
    "CR00", "CR01", "CR02", "CR03", "CR04", "CR05", "CR06", "CR07", "CR08", "CR09", "CR0A", "CR0B", "CR0C", "CR0D",
    "CR0E", "CR0F", "CR10", "CR11", "CR12", "CR13", "CR14", "CR15", "CR16", "CR17", "CR18",
];
const AR_NAMES: [&str; 21] = [
    "AR00", "AR01", "AR02", "AR03", "AR04", "AR05", "AR06", "AR07", "AR08", "AR09", "AR0A", "AR0B", "AR0C", "AR0D",
    "AR0E", "AR0F", "AR10", "AR11", "AR12", "AR13", "AR14",
];

/// CR0C to CR0F: start address and cursor location.
const START_AND_CURSOR: std::ops::Range<usize> = CR0C_START_ADDRESS_HIGH..CR0F_CURSOR_LOCATION_LOW + 1;

/// MISC, the miscellaneous output register.
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

/// The DAC: colour look-up table and access state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dac {
    /// 256 entries of red, green, blue.
    pub table: Vec<u8>,
    pub mask: u8,
    read_index: u8,
    write_index: u8,
    /// The component (0 red, 1 green, 2 blue) of the next access.
    component: u8,
    /// Red and green of the entry being written.
    pending: [u8; 2],
    read_mode: bool,
    /// Components have eight bits (VBE), else six.
    pub eight_bit: bool,
}

impl Dac {
    fn new() -> Self {
        Self {
            table: vec![0; 768],
            mask: 0xff,
            read_index: 0,
            write_index: 0,
            component: 0,
            pending: [0; 2],
            read_mode: false,
            eight_bit: false,
        }
    }

    fn bits(&self) -> u8 {
        if self.eight_bit { 0xff } else { 0x3f }
    }

    fn read(&mut self) -> u8 {
        let value =
            self.table.get(usize::from(self.read_index) * 3 + usize::from(self.component)).copied().unwrap_or(0);
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            self.read_index = self.read_index.wrapping_add(1);
        }
        value & self.bits()
    }

    fn write(&mut self, value: u8) {
        let value = value & self.bits();
        if let Some(pending) = self.pending.get_mut(usize::from(self.component)) {
            *pending = value;
            self.component += 1;
            return;
        }
        let at = usize::from(self.write_index) * 3;
        if let Some(colour) = self.table.get_mut(at..at + 3) {
            colour.copy_from_slice(&[self.pending[0], self.pending[1], value]);
        }
        self.component = 0;
        self.write_index = self.write_index.wrapping_add(1);
    }

    /// Red, green and blue of an entry after the mask, scaled to eight bits.
    pub fn rgb(&self, index: u8) -> [u8; 3] {
        let at = usize::from(index & self.mask) * 3;
        let mut rgb = [0; 3];
        if let Some(colour) = self.table.get(at..at + 3) {
            rgb.copy_from_slice(colour);
        }
        if self.eight_bit { rgb } else { rgb.map(|c| (c & 0x3f) << 2 | (c & 0x3f) >> 4) }
    }
}

/// The register file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub misc: Misc,
    feat: u8,
    sr_index: u8,
    pub sr: [u8; 5],
    gr_index: u8,
    pub gr: [u8; 9],
    cr_index: u8,
    pub cr: [u8; 25],
    /// AR index, with the palette address source in bit 5.
    pub ar_index: u8,
    /// The attribute flip-flop: the next write to 3C0h is data.
    ar_flip_flop: bool,
    pub ar: [u8; 21],
    pub dac: Dac,
}

/// CRTC timing, in dots and scan lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub dot_clock: u64,
    pub total_dots: u64,
    pub displayed_dots: u64,
    pub total_lines: u64,
    pub displayed_lines: u64,
    pub vertical_retrace: (u64, u64),
}

impl Registers {
    pub fn new() -> Self {
        Self {
            misc: Misc::new(),
            feat: 0,
            sr_index: 0,
            sr: [0; 5],
            gr_index: 0,
            gr: [0; 9],
            cr_index: 0,
            cr: [0; 25],
            ar_index: 0,
            ar_flip_flop: false,
            ar: [0; 21],
            dac: Dac::new(),
        }
    }

    /// The colour address of `port` if the adapter decodes the port now (MISC bit 0).
    pub fn decode_port(&self, port: u16) -> Option<u16> {
        match port {
            0x3b4 | 0x3b5 | 0x3ba if !self.misc.colour() => Some(port + MONO_OFFSET),
            0x3d4 | 0x3d5 | 0x3da if self.misc.colour() => Some(port),
            0x3c0..=0x3cf => Some(port),
            _ => None,
        }
    }

    /// CRX, the index of the CRT controller.
    pub fn cr_index(&self) -> u8 {
        self.cr_index
    }

    /// The next write to 3C0h is data.
    pub fn ar_flip_flop(&self) -> bool {
        self.ar_flip_flop
    }

    /// Reads the DAC's data port.
    pub fn read_dac(&mut self) -> u8 {
        self.dac.read()
    }

    /// Writes the DAC's data port.
    pub fn write_dac(&mut self, value: u8) {
        self.dac.write(value);
    }

    /// Reads a port. `now` is the time in nanoseconds and `timing` returns the displayed timing, for ST1.
    pub fn read(&mut self, port: u16, now: u64, timing: impl FnOnce(&Self) -> Timing) -> Option<u8> {
        Some(match self.decode_port(port)? {
            AR_INDEX => self.ar_index,
            AR_READ => self.ar.get(usize::from(self.ar_index & 0x1f)).copied().unwrap_or(0),
            MISC_WRITE => ST0_SWITCH_SENSE,
            SR_INDEX => self.sr_index,
            SR_DATA => self.sr.get(usize::from(self.sr_index)).copied().unwrap_or(0),
            DAC_MASK => self.dac.mask,
            // DAC state: 3 after a write of the read index, 0 after a write of the write index.
            DAC_READ_INDEX => {
                if self.dac.read_mode {
                    3
                } else {
                    0
                }
            }
            DAC_WRITE_INDEX => self.dac.write_index,
            DAC_DATA => self.dac.read(),
            FEAT_READ => self.feat,
            MISC_READ => self.misc.into_bits(),
            GR_INDEX => self.gr_index,
            GR_DATA => self.gr.get(usize::from(self.gr_index)).copied().unwrap_or(0),
            CR_INDEX => self.cr_index,
            CR_DATA => self.cr.get(usize::from(self.cr_index)).copied().unwrap_or(0),
            ST1 => {
                self.ar_flip_flop = false;
                timing(self).st1(now)
            }
            _ => return None,
        })
    }

    /// The name of the register at a port. Data ports have the name of the register that their index selects.
    pub fn name(&self, port: u16) -> Option<&'static str> {
        let at = |names: &[&'static str], index: u8| names.get(usize::from(index)).copied();
        match self.decode_port(port)? {
            AR_INDEX if !self.ar_flip_flop => Some("ARX"),
            AR_INDEX | AR_READ => at(&AR_NAMES, self.ar_index & 0x1f),
            MISC_WRITE => Some("MISC/ST0"),
            SR_INDEX => Some("SRX"),
            SR_DATA => at(&SR_NAMES, self.sr_index),
            DAC_MASK => Some("DACMASK"),
            DAC_READ_INDEX => Some("DACRX/DACSTATE"),
            DAC_WRITE_INDEX => Some("DACWX"),
            DAC_DATA => Some("DACDATA"),
            FEAT_READ => Some("FEAT"),
            MISC_READ => Some("MISC"),
            GR_INDEX => Some("GRX"),
            GR_DATA => at(&GR_NAMES, self.gr_index),
            CR_INDEX => Some("CRX"),
            CR_DATA => at(&CR_NAMES, self.cr_index),
            ST1 => Some("ST1/FEAT"),
            _ => None,
        }
    }

    /// Writes a port.
    pub fn write(&mut self, port: u16, value: u8) {
        let Some(port) = self.decode_port(port) else { return };
        match port {
            AR_INDEX => {
                if self.ar_flip_flop {
                    let index = usize::from(self.ar_index & 0x1f);
                    if let (Some(register), Some(mask)) = (self.ar.get_mut(index), AR_MASKS.get(index)) {
                        *register = value & mask;
                    }
                } else {
                    self.ar_index = value & AR_INDEX_MASK;
                }
                self.ar_flip_flop = !self.ar_flip_flop;
            }
            MISC_WRITE => self.misc = Misc::from_bits(value),
            SR_INDEX => self.sr_index = value & 7,
            SR_DATA => {
                let index = usize::from(self.sr_index);
                if let (Some(register), Some(mask)) = (self.sr.get_mut(index), SR_MASKS.get(index)) {
                    *register = value & mask;
                }
            }
            DAC_MASK => self.dac.mask = value,
            DAC_READ_INDEX => {
                self.dac.read_index = value;
                self.dac.component = 0;
                self.dac.read_mode = true;
            }
            DAC_WRITE_INDEX => {
                self.dac.write_index = value;
                self.dac.component = 0;
                self.dac.read_mode = false;
            }
            DAC_DATA => self.dac.write(value),
            GR_INDEX => self.gr_index = value & 0xf,
            GR_DATA => {
                let index = usize::from(self.gr_index);
                if let (Some(register), Some(mask)) = (self.gr.get_mut(index), GR_MASKS.get(index)) {
                    *register = value & mask;
                }
            }
            CR_INDEX => self.cr_index = value & 0x3f,
            CR_DATA => {
                let index = usize::from(self.cr_index);
                let protected = self.cr[CR11_VERTICAL_RETRACE_END] & CR11_PROTECT != 0;
                let Some(register) = self.cr.get_mut(index) else { return };
                *register = match index {
                    // With CR11 bit 7 set only the line compare bit of CR00 to CR07 is writable.
                    CR07_OVERFLOW if protected => *register & !0x10 | value & 0x10,
                    CR00_HORIZONTAL_TOTAL..=CR06_VERTICAL_TOTAL if protected => return,
                    _ => value,
                };
            }
            ST1 => self.feat = value,
            _ => {}
        }
    }

    fn overflow(&self, bit8: u8, bit9: u8) -> u64 {
        let bit = |n: u8| u64::from(self.cr[CR07_OVERFLOW] >> n & 1);
        bit(bit8) << 8 | bit(bit9) << 9
    }

    /// Dots per character clock.
    pub fn char_width(&self) -> u64 {
        if self.sr[SR1_CLOCKING_MODE] & 1 != 0 { 8 } else { 9 }
    }

    /// SR1 bit 3: the dot clock is half the input clock.
    pub fn dot_clock_halved(&self) -> bool {
        self.sr[SR1_CLOCKING_MODE] & 8 != 0
    }

    /// The timing that the registers program.
    pub fn timing(&self) -> Timing {
        let cr = |n: usize| u64::from(self.cr[n]);
        let clock = if self.misc.clock() == 1 { 28_322_000 } else { 25_175_000 };
        let lines = (cr(CR06_VERTICAL_TOTAL)
            | u64::from(self.cr[CR07_OVERFLOW] & 1) << 8
            | u64::from(self.cr[CR07_OVERFLOW] >> 5 & 1) << 9)
            + 2;
        // Keep the retrace within the frame, as programs wait for it.
        let start = (cr(CR10_VERTICAL_RETRACE_START) | self.overflow(2, 7)).min(lines - 1);
        let length = match (cr(CR11_VERTICAL_RETRACE_END).wrapping_sub(start)) & 0xf {
            0 => 16,
            n => n,
        };
        Timing {
            dot_clock: if self.dot_clock_halved() { clock / 2 } else { clock },
            total_dots: (cr(CR00_HORIZONTAL_TOTAL) + 5) * self.char_width(),
            displayed_dots: (cr(CR01_HORIZONTAL_DISPLAY_END) + 1) * self.char_width(),
            total_lines: lines,
            displayed_lines: (cr(CR12_VERTICAL_DISPLAY_END) | self.overflow(1, 6)) + 1,
            vertical_retrace: (start, start + length),
        }
    }

    /// CR0C to CR0F.
    pub fn start_and_cursor(&self) -> &[u8] {
        self.cr.get(START_AND_CURSOR).unwrap_or_default()
    }

    /// Whether both render the same picture from the same memory, apart from start address and cursor location.
    pub fn renders_same_as(&self, other: &Self) -> bool {
        let cr = |regs: &Self| {
            let mut cr = regs.cr;
            cr[START_AND_CURSOR].fill(0);
            cr
        };
        // The parts of SR and GR that affect the display, not CPU accesses.
        let rest = |regs: &Self| {
            let (sr, gr) = (&regs.sr, &regs.gr);
            let palette_on = regs.ar_index & AR_INDEX_PAS;
            (regs.misc, [sr[SR1_CLOCKING_MODE], sr[SR3_CHARACTER_MAP], gr[GR5_MODE], gr[GR6_MISC]], palette_on, regs.ar)
        };
        let dac = |regs: &Self| (regs.dac.mask, regs.dac.eight_bit);
        rest(self) == rest(other)
            && cr(self) == cr(other)
            && dac(self) == dac(other)
            && self.dac.table == other.dac.table
    }

    /// The offset in the planes at a value of the address counter: the same in byte mode, twice as much in word mode,
    /// whose bit 0 is a high bit of the counter (CR17). Double-word mode (CR14) belongs to chain-4, whose bytes are stored
    /// as in byte mode.
    pub fn plane_offset(&self, counter: u32) -> u32 {
        const CR14_DOUBLE_WORD: u8 = 1 << 6;
        const CR17_WRAP_MA15: u8 = 1 << 5;
        const CR17_BYTE_MODE: u8 = 1 << 6;
        let control = self.cr[CR17_MODE_CONTROL];
        if control & CR17_BYTE_MODE != 0 || self.cr[CR14_UNDERLINE_LOCATION] & CR14_DOUBLE_WORD != 0 {
            return counter & 0xffff;
        }
        let high = if control & CR17_WRAP_MA15 != 0 { counter >> 15 } else { counter >> 13 };
        (counter << 1 | high & 1) & 0xffff
    }

    /// Start address: the address counter at the top left of the screen.
    pub fn start_address(&self) -> u32 {
        u32::from(self.cr[CR0C_START_ADDRESS_HIGH]) << 8 | u32::from(self.cr[CR0D_START_ADDRESS_LOW])
    }

    /// Increment of the address counter per row (CR13).
    pub fn row_pitch(&self) -> u32 {
        u32::from(self.cr[CR13_OFFSET]) * 2
    }

    /// Scan lines per character row, or repetitions of each line of pixels (CR09).
    pub fn row_height(&self) -> u32 {
        u32::from(self.cr[CR09_MAX_SCAN_LINE] & 0x1f) + 1
    }

    /// CR09 bit 7: each line is scanned twice.
    pub fn double_scan(&self) -> bool {
        self.cr[CR09_MAX_SCAN_LINE] & 0x80 != 0
    }

    /// The last line of the upper part of a split screen; the lower part starts at address 0.
    pub fn line_compare(&self) -> u32 {
        u32::from(self.cr[CR18_LINE_COMPARE])
            | u32::from(self.cr[CR07_OVERFLOW] >> 4 & 1) << 8
            | u32::from(self.cr[CR09_MAX_SCAN_LINE] >> 6 & 1) << 9
    }

    /// GR6 bit 0: graphics mode.
    pub fn graphics_mode(&self) -> bool {
        self.gr[GR6_MISC] & 1 != 0
    }

    /// Whether the values, from a saved state, are possible.
    pub fn is_valid(&self) -> bool {
        let Self { misc: _, feat: _, sr_index, sr, gr_index, gr, cr_index, cr: _, ar_index, ar_flip_flop: _, ar, dac } =
            self;
        let within = |values: &[u8], masks: &[u8]| values.iter().zip(masks).all(|(v, m)| v & !m == 0);
        *sr_index <= 7
            && *gr_index <= 0xf
            && *cr_index <= 0x3f
            && *ar_index <= AR_INDEX_MASK
            && within(sr, &SR_MASKS)
            && within(gr, &GR_MASKS)
            && within(ar, &AR_MASKS)
            && dac.table.len() == 768
            && dac.component < 3
    }
}

impl Timing {
    /// ST1 at a time in nanoseconds.
    fn st1(&self, now: u64) -> u8 {
        let dot = (u128::from(now) * u128::from(self.dot_clock) / 1_000_000_000) as u64;
        let (line, dot) = (dot / self.total_dots.max(1) % self.total_lines.max(1), dot % self.total_dots.max(1));
        let mut status = 0;
        if line >= self.displayed_lines || dot >= self.displayed_dots {
            status |= ST1_DISPLAY_DISABLED;
        }
        if (self.vertical_retrace.0..self.vertical_retrace.1).contains(&line) {
            status |= ST1_VERTICAL_RETRACE | ST1_DISPLAY_DISABLED;
        }
        status
    }
}
