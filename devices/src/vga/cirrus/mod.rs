//! Cirrus Logic CL-GD5446: the extension registers of this SVGA adapter over the VGA (CL-GD5446 Technical Reference
//! Manual, November 1996; the memory-mapped registers and the blitter as Linux's and X.Org's cirrus drivers use them).
//!
//! SR6 to SR1F, GR9 to GR3F, CR19 to CR3F and the hidden DAC register behind port 3C6h. BAR 0 is 32 MiB: video memory,
//! the same with the bytes of words and of dwords swapped, and from 16 MiB on the BitBLT aperture, which takes the data
//! of system-to-screen operations. BAR 1 is a page: the VGA ports 3C0h-3DFh at 0, the blitter's registers at 100h. With
//! SR17 bit 2 the blitter's registers are also at B8000h, or with bit 6 at the end of video memory in BAR 0.
//!
//! The extension registers answer whether or not SR6 has the key 12h: the key only reads back. Linux's driver never
//! writes it.
//!
//! Deliberately missing: the video window (CR31 to CR3F read back), the signature generator, the general-purpose I/O
//! pins, and DDC (SR8 reads as lines that nothing drives).

mod adapter;
mod blit;
mod cursor;
mod memory;
mod rop;
mod scanout;

pub(super) use cursor::Cursor;

use super::regs::{
    CR_DATA, DAC_DATA, DAC_MASK, DAC_READ_INDEX, DAC_WRITE_INDEX, GR_DATA, GR_INDEX, Registers, SR_DATA, SR_INDEX,
};
use blit::Transfer;
use serde::{Deserialize, Serialize};
use std::ops::Range;

pub(super) const VENDOR: u16 = 0x1013;
pub(super) const DEVICE: u16 = 0x00b8;
/// Bytes of video memory: what the chip's 22 address bits reach.
pub(super) const VRAM: u32 = 4 << 20;
/// Bytes of BAR 0.
pub(super) const APERTURE_SIZE: u32 = 32 << 20;
/// Bytes of BAR 1.
pub(super) const MMIO_SIZE: u32 = 0x1000;

/// The apertures of BAR 0 after video memory, by address bits 23 and 22.
pub(super) const SWAPPED_WORDS: Range<u64> = 4 << 20..8 << 20;
pub(super) const SWAPPED_DWORDS: Range<u64> = 8 << 20..12 << 20;
pub(super) const BLIT_APERTURE: Range<u64> = 16 << 20..32 << 20;

/// Offsets in BAR 1: the VGA ports from 3C0h on, and the blitter's registers.
pub(super) const MMIO_VGA: Range<u64> = 0..0x20;
pub(super) const MMIO_BLIT: Range<u64> = 0x100..0x200;
/// The blitter's registers at B8000h.
pub(super) const MMIO_LEGACY: u64 = 0xb_8000;
/// Bytes of the blitter's registers.
pub(super) const MMIO_BLIT_LEN: u64 = 0x100;

const SR2_PLANE_MASK: usize = 2;
const SR6_KEY: usize = 6;
const SR7_EXTENDED_MODE: usize = 7;
const SR8_EEPROM: usize = 8;
const SRB_VCLK0_NUMERATOR: usize = 0xb;
const SRF_DRAM_CONTROL: usize = 0xf;
const SR10_CURSOR_X: usize = 0x10;
const SR11_CURSOR_Y: usize = 0x11;
const SR12_CURSOR_ATTRIBUTES: usize = 0x12;
const SR13_CURSOR_PATTERN: usize = 0x13;
const SR15_SCRATCH_3: usize = 0x15;
const SR17_CONFIGURATION: usize = 0x17;
const SR1B_VCLK0_DENOMINATOR: usize = 0x1b;
const SR1F_MCLK: usize = 0x1f;

const KEY: u8 = 0x12;
const KEY_LOCKED: u8 = 0x0f;
/// SR6: bits that take part in the comparison with the key.
const KEY_MASK: u8 = 0x17;
/// SR7: high-resolution packed-pixel modes.
const SR7_PACKED: u8 = 1 << 0;
/// SR12: DAC accesses reach the cursor's colours.
const SR12_CURSOR_COLOURS: u8 = 1 << 1;
/// SR17: the blitter's registers are in memory.
const SR17_MMIO: u8 = 1 << 2;
/// SR17: they are at the end of the linear aperture instead of at B8000h.
const SR17_MMIO_LINEAR: u8 = 1 << 6;
/// SR17 bits 5 to 3, read-only: PCI bus.
const SR17_PCI: u8 = 4 << 3;
const SR17_BUS: u8 = 7 << 3;
/// SR8: the DDC clock and data lines as read, both high.
const SR8_LINES: u8 = 1 << 2 | 1 << 7;

const GR5_MODE: usize = 5;
const GR9_OFFSET_0: usize = 9;
const GRA_OFFSET_1: usize = 0xa;
const GRB_MODE_EXTENSIONS: usize = 0xb;
const GRE_POWER: usize = 0xe;
const GRE_STATIC_SYNC: u8 = 3 << 1;
const GR18_DRAM_TIMING: usize = 0x18;

const CR19_FIRST: usize = 0x19;
const CR1A_CONTROL: usize = 0x1a;
const CR1B_EXTENDED_DISPLAY: usize = 0x1b;
const CR1D_OVERLAY: usize = 0x1d;
const CR22_LATCHES: usize = 0x22;
const CR24_ATTRIBUTE_TOGGLE: usize = 0x24;
const CR25_PART_STATUS: usize = 0x25;
const CR26_ATTRIBUTE_INDEX: usize = 0x26;
const CR27_ID: usize = 0x27;

/// Registers of the three extended groups: SR0 to SR1F, GR0 to GR3F, CR0 to CR3F.
const SR_COUNT: usize = 0x20;
const GR_COUNT: usize = 0x40;
const CR_COUNT: usize = 0x40;

/// Hidden DAC register: reads of port 3C6h before the access that reaches it.
const HIDDEN_DAC_READS: u8 = 4;

/// Register names for traces.
const GR_NAMES: [&str; GR_COUNT] = [
    "GR0", "GR1", "GR2", "GR3", "GR4", "GR5", "GR6", "GR7", "GR8", "GR9", "GRA", "GRB", "GRC", "GRD", "GRE", "GRF",
    "GR10", "GR11", "GR12", "GR13", "GR14", "GR15", "GR16", "GR17", "GR18", "GR19", "GR1A", "GR1B", "GR1C", "GR1D",
    "GR1E", "GR1F", "GR20", "GR21", "GR22", "GR23", "GR24", "GR25", "GR26", "GR27", "GR28", "GR29", "GR2A", "GR2B",
    "GR2C", "GR2D", "GR2E", "GR2F", "GR30", "GR31", "GR32", "GR33", "GR34", "GR35", "GR36", "GR37", "GR38", "GR39",
    "GR3A", "GR3B", "GR3C", "GR3D", "GR3E", "GR3F",
];
const SR_NAMES: [&str; SR_COUNT] = [
    "SR0", "SR1", "SR2", "SR3", "SR4", "SR5", "SR6", "SR7", "SR8", "SR9", "SRA", "SRB", "SRC", "SRD", "SRE", "SRF",
    "SR10", "SR11", "SR12", "SR13", "SR14", "SR15", "SR16", "SR17", "SR18", "SR19", "SR1A", "SR1B", "SR1C", "SR1D",
    "SR1E", "SR1F",
];
/// CR19 to CR27.
const CR_NAMES: [&str; 15] = [
    "CR19", "CR1A", "CR1B", "CR1C", "CR1D", "CR1E", "CR1F", "CR20", "CR21", "CR22", "CR23", "CR24", "CR25", "CR26",
    "CR27",
];

/// What a write to a register requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing, or a change of the mapping.
    Register,
    /// The blitter must start.
    StartBlit,
    /// It is a register of the VGA.
    NotMine,
}

/// The extension registers and the blitter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cirrus {
    /// SRX: the index in bits 4 to 0; bits 7 to 5 are the low bits of a cursor coordinate that is written next.
    sr_index: u8,
    gr_index: u8,
    /// SR0 to SR1F. Of the VGA's own, SR2 is here with all eight bits, for the extended write modes.
    sr: Vec<u8>,
    /// GR0 to GR3F. Of the VGA's own, GR0, GR1 and GR5 are here with all eight bits.
    gr: Vec<u8>,
    /// CR0 to CR3F; those of the VGA are unused.
    cr: Vec<u8>,
    /// Position of the cursor in pixels.
    cursor_x: u16,
    cursor_y: u16,
    /// The DAC entries that SR12 bit 1 selects; the cursor has the colours 0 and 15.
    cursor_table: Vec<u8>,
    hidden_dac: u8,
    /// Reads of port 3C6h in a row.
    hidden_dac_reads: u8,
    /// Latches 4 to 7, for accesses of eight bytes (GRB bit 3).
    upper_latch: u32,
    /// The operation that waits for data of the CPU, or that the CPU reads.
    transfer: Option<Transfer>,
    /// The CPU has given or taken data, and has not accessed video memory since: memory slots stay removed, because
    /// drivers do many such operations in a row.
    traps: bool,
}

impl Cirrus {
    pub fn new() -> Self {
        let mut chip = Self {
            sr_index: 0,
            gr_index: 0,
            sr: vec![0; SR_COUNT],
            gr: vec![0; GR_COUNT],
            cr: vec![0; CR_COUNT],
            cursor_x: 0,
            cursor_y: 0,
            cursor_table: vec![0; 768],
            hidden_dac: 0,
            hidden_dac_reads: 0,
            upper_latch: 0,
            transfer: None,
            traps: false,
        };
        chip.sr[SR6_KEY] = KEY_LOCKED;
        // Straps: 64-bit memory, two banks, 4 MiB, PCI; the memory clock's reset value.
        chip.sr[SRF_DRAM_CONTROL] = 0x98;
        chip.sr[SR15_SCRATCH_3] = 4;
        chip.sr[SR17_CONFIGURATION] = SR17_PCI;
        chip.sr[SR1F_MCLK] = 0x2d;
        chip.gr[GR18_DRAM_TIMING] = 0x0f;
        chip
    }

    /// Whether the values, from a saved state, are possible.
    pub fn is_valid(&self) -> bool {
        let Self {
            sr_index: _,
            gr_index: _,
            sr,
            gr,
            cr,
            cursor_x,
            cursor_y,
            cursor_table,
            hidden_dac: _,
            hidden_dac_reads,
            upper_latch: _,
            transfer,
            traps,
        } = self;
        sr.len() == SR_COUNT
            && gr.len() == GR_COUNT
            && cr.len() == CR_COUNT
            && cursor_table.len() == 768
            && *cursor_x < 0x800
            && *cursor_y < 0x800
            && *hidden_dac_reads <= HIDDEN_DAC_READS
            && transfer.as_ref().is_none_or(|transfer| *traps && transfer.is_valid())
    }

    fn sr_number(&self) -> usize {
        usize::from(self.sr_index & 0x1f)
    }

    fn gr_number(&self) -> usize {
        usize::from(self.gr_index & 0x3f)
    }

    /// Reads a port; `None` if the register is the VGA's. `port` is a colour address.
    pub fn read(&mut self, regs: &mut Registers, latch: u32, port: u16) -> Option<u8> {
        if matches!(port, DAC_READ_INDEX | DAC_WRITE_INDEX | DAC_DATA) {
            self.hidden_dac_reads = 0;
        }
        Some(match port {
            SR_INDEX => self.sr_index,
            SR_DATA => match self.sr_number() {
                n @ (SR2_PLANE_MASK | 5..) => match n {
                    SR8_EEPROM => self.sr[n] | SR8_LINES,
                    _ => self.sr[n],
                },
                _ => return None,
            },
            GR_INDEX => self.gr_index,
            GR_DATA => match self.gr_number() {
                blit::GR31_START => self.blit_status(),
                n @ (0 | 1 | GR5_MODE | 9..) => self.gr[n],
                _ => return None,
            },
            CR_DATA => match usize::from(regs.cr_index()) {
                CR22_LATCHES => latch.to_le_bytes()[usize::from(regs.gr[4] & 3)],
                CR24_ATTRIBUTE_TOGGLE => u8::from(regs.ar_flip_flop()) << 7,
                CR25_PART_STATUS => 0,
                CR26_ATTRIBUTE_INDEX => regs.ar_index,
                CR27_ID => (DEVICE & 0xff) as u8,
                n @ CR19_FIRST.. => self.cr[n],
                _ => return None,
            },
            DAC_MASK if self.hidden_dac_reads == HIDDEN_DAC_READS => {
                self.hidden_dac_reads = 0;
                self.hidden_dac
            }
            DAC_MASK => {
                self.hidden_dac_reads += 1;
                return None;
            }
            DAC_DATA if self.cursor_colours_selected() => self.with_cursor_table(regs, |regs| regs.read_dac()),
            _ => return None,
        })
    }

    /// Writes a port. `port` is a colour address.
    pub fn write(&mut self, regs: &mut Registers, port: u16, value: u8) -> Written {
        match port {
            SR_INDEX => {
                self.sr_index = value;
                // The VGA's index has no place for the others.
                return if value & 0x1f < 5 { Written::NotMine } else { Written::Register };
            }
            SR_DATA => match self.sr_number() {
                n @ SR2_PLANE_MASK => {
                    self.sr[n] = value;
                    return Written::NotMine;
                }
                ..5 => return Written::NotMine,
                n => self.write_sr(n, value),
            },
            GR_INDEX => {
                self.gr_index = value;
                return if value & 0x3f < 9 { Written::NotMine } else { Written::Register };
            }
            GR_DATA => match self.gr_number() {
                n @ (0 | 1 | GR5_MODE) => {
                    self.gr[n] = value;
                    return Written::NotMine;
                }
                ..9 => return Written::NotMine,
                n => return self.write_gr(n, value),
            },
            CR_DATA => match usize::from(regs.cr_index()) {
                CR22_LATCHES..=CR27_ID => {}
                n @ CR19_FIRST.. => self.cr[n] = value,
                _ => return Written::NotMine,
            },
            DAC_MASK if self.hidden_dac_reads == HIDDEN_DAC_READS => {
                self.hidden_dac_reads = 0;
                self.hidden_dac = value;
            }
            DAC_MASK | DAC_READ_INDEX | DAC_WRITE_INDEX => {
                self.hidden_dac_reads = 0;
                return Written::NotMine;
            }
            DAC_DATA => {
                self.hidden_dac_reads = 0;
                if !self.cursor_colours_selected() {
                    return Written::NotMine;
                }
                self.with_cursor_table(regs, |regs| regs.write_dac(value));
            }
            _ => return Written::NotMine,
        }
        Written::Register
    }

    fn write_sr(&mut self, n: usize, value: u8) {
        self.sr[n] = match n {
            SR6_KEY if value & KEY_MASK == KEY => KEY,
            SR6_KEY => KEY_LOCKED,
            SR17_CONFIGURATION => value & !SR17_BUS | self.sr[n] & SR17_BUS,
            // Results of the signature generator.
            0x19 | 0x1a => self.sr[n],
            _ => value,
        };
        let coordinate = u16::from(value) << 3 | u16::from(self.sr_index >> 5);
        match n {
            SR10_CURSOR_X => self.cursor_x = coordinate,
            SR11_CURSOR_Y => self.cursor_y = coordinate,
            _ => {}
        }
    }

    /// SR12 bit 1: DAC accesses reach the cursor's colours.
    fn cursor_colours_selected(&self) -> bool {
        self.sr[SR12_CURSOR_ATTRIBUTES] & SR12_CURSOR_COLOURS != 0
    }

    /// Calls `f` with the cursor's colours in place of the DAC's table.
    fn with_cursor_table<R>(&mut self, regs: &mut Registers, f: impl FnOnce(&mut Registers) -> R) -> R {
        std::mem::swap(&mut regs.dac.table, &mut self.cursor_table);
        let result = f(regs);
        std::mem::swap(&mut regs.dac.table, &mut self.cursor_table);
        result
    }

    /// GRE: the monitor is off or on standby, because a sync signal is static.
    pub fn is_monitor_off(&self) -> bool {
        self.gr[GRE_POWER] & GRE_STATIC_SYNC != 0
    }

    /// SR7 bit 0: the chip is in a packed-pixel mode.
    pub fn packed(&self) -> bool {
        self.sr[SR7_EXTENDED_MODE] & SR7_PACKED != 0
    }

    /// The blitter's registers are at B8000h.
    pub fn mmio_at_b8000(&self) -> bool {
        self.packed() && self.sr[SR17_CONFIGURATION] & (SR17_MMIO | SR17_MMIO_LINEAR) == SR17_MMIO
    }

    /// The blitter's registers are in the last 256 bytes of video memory in BAR 0.
    pub fn mmio_in_linear(&self) -> bool {
        self.sr[SR17_CONFIGURATION] & (SR17_MMIO | SR17_MMIO_LINEAR) == SR17_MMIO | SR17_MMIO_LINEAR
    }

    /// The name of the register at a port; `None` if it is the VGA's. `port` is a colour address.
    pub fn name(&self, regs: &Registers, port: u16) -> Option<&'static str> {
        match port {
            SR_DATA if self.sr_number() > 4 => SR_NAMES.get(self.sr_number()).copied(),
            GR_DATA if self.gr_number() > 8 => GR_NAMES.get(self.gr_number()).copied(),
            CR_DATA => usize::from(regs.cr_index()).checked_sub(CR19_FIRST).and_then(|n| CR_NAMES.get(n)).copied(),
            DAC_MASK if self.hidden_dac_reads == HIDDEN_DAC_READS => Some("HDR"),
            _ => None,
        }
    }

    /// The name of the blitter's register at an offset of its page.
    pub fn blit_name(offset: u64) -> Option<&'static str> {
        blit::mmio_register(offset).and_then(|n| GR_NAMES.get(n)).copied()
    }

    /// Reads a byte of the blitter's registers in memory.
    pub fn read_mmio(&self, offset: u64) -> u8 {
        match blit::mmio_register(offset) {
            Some(blit::GR31_START) => self.blit_status(),
            Some(n) => self.gr[n],
            None => 0xff,
        }
    }

    /// Writes a byte of the blitter's registers in memory. The registers of the colours' first bytes are GR0 and GR1.
    pub fn write_mmio(&mut self, regs: &mut Registers, offset: u64, value: u8) -> Written {
        match blit::mmio_register(offset) {
            Some(n @ (0 | 1)) => {
                self.gr[n] = value;
                regs.gr[n] = value & 0xf;
                Written::Register
            }
            Some(n) => self.write_gr(n, value),
            None => Written::Register,
        }
    }
}

#[cfg(test)]
mod tests;
