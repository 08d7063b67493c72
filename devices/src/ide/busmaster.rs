//! The bus master of one channel (82371SB data sheet, section 2.4.15 ff.; "Programming Interface for Bus Master IDE
//! Controller", revision 1.0).
//!
//! Command, status and the physical region descriptor table. Each descriptor is fetched once. At most 8192 of them,
//! 64 KiB worth, are fetched after one start: more than any table can hold.

use crate::{GuestRange, Memory};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U32};

/// Offset of the command register within a channel's eight bytes.
pub const BMICX: u64 = 0;
/// Offset of the status register.
pub const BMISX: u64 = 2;
/// Offset of the descriptor table pointer.
pub const BMIDTPX: u64 = 4;
/// The most descriptors fetched after one start.
const MAX_DESCRIPTORS: u16 = 8192;

/// Command register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmicx {
    /// Start/stop.
    pub start: bool,
    #[bits(2)]
    __: u8,
    /// Memory is written (a read of the drive). The drive knows its direction; nothing depends on this bit.
    pub to_memory: bool,
    #[bits(4)]
    __: u8,
}

/// Status register. Never simplex.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmisx {
    /// Started, and descriptors are left.
    pub active: bool,
    /// The transfer met an error on the bus. Write 1 to clear.
    pub error: bool,
    /// The drive raised its interrupt. Write 1 to clear.
    pub interrupt: bool,
    #[bits(2)]
    __: u8,
    /// Software says that the drives can do DMA.
    #[bits(2)]
    pub drive_dma_capable: u8,
    simplex: bool,
}

/// A descriptor as it lies in memory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PrdEntry {
    /// Physical address; bit 0 is not driven.
    base: U32,
    /// Bits 1-15: bytes, 0 for 64 KiB; bit 31: the last one.
    count: U32,
}

/// Where the engine is in its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PrdCursor {
    /// The next descriptor.
    next: u32,
    /// What is left of the current region.
    addr: u32,
    remaining: u32,
    /// The current region is the last one.
    last: bool,
    fetched: u16,
}

/// One channel's bus master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusMaster {
    command: Bmicx,
    status: Bmisx,
    table: u32,
    cursor: PrdCursor,
}

impl BusMaster {
    /// Reads one byte of the eight.
    pub fn read(&self, offset: u64) -> u8 {
        match offset {
            BMICX => self.command.into_bits(),
            BMISX => self.status.into_bits(),
            BMIDTPX..8 => self.table.to_le_bytes()[(offset - BMIDTPX) as usize],
            _ => 0,
        }
    }

    /// Writes one byte of the eight. `moving` says that the host is working on this channel's memory right now.
    /// True if the engine was started.
    pub fn write(&mut self, offset: u64, value: u8, in_flight: bool) -> bool {
        match offset {
            BMICX => {
                let was = self.command.start();
                self.command = Bmicx::from_bits(value & 0x09);
                if self.command.start() && !was {
                    self.cursor = PrdCursor { next: self.table, ..PrdCursor::default() };
                    self.status.set_active(true);
                    return true;
                }
                // What is under way is not called back: the engine is active until it ends.
                if !self.command.start() && !in_flight {
                    self.status.set_active(false);
                }
            }
            BMISX => {
                let value = Bmisx::from_bits(value);
                self.status.set_drive_dma_capable(value.drive_dma_capable());
                if value.interrupt() {
                    self.status.set_interrupt(false);
                }
                if value.error() {
                    self.status.set_error(false);
                }
            }
            BMIDTPX..8 => {
                let mut bytes = self.table.to_le_bytes();
                bytes[(offset - BMIDTPX) as usize] = value;
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
        false
    }

    /// Whether the engine would move data now.
    pub fn running(&self) -> bool {
        self.command.start() && self.status.active()
    }

    /// The drive's interrupt line rose.
    pub fn latch_interrupt(&mut self) {
        self.status.set_interrupt(true);
    }

    /// A transfer ended: the engine is idle if it was stopped meanwhile, or if the table is used up.
    pub fn update_active(&mut self) {
        if !self.command.start() || (self.cursor.last && self.cursor.remaining == 0) {
            self.status.set_active(false);
        }
    }

    /// Takes the next `want` bytes' worth of memory off the table, less if it ends before, and puts it into `ranges`,
    /// whose content is dropped.
    pub fn take_ranges(&mut self, memory: &Memory, want: u64, mut ranges: Vec<GuestRange>) -> Vec<GuestRange> {
        ranges.clear();
        let mut need = want;
        while need > 0 {
            if self.cursor.remaining == 0 {
                if self.cursor.last {
                    break;
                }
                self.fetch_descriptor(memory);
            }
            let len = u64::from(self.cursor.remaining).min(need) as u32;
            let addr = u64::from(self.cursor.addr);
            match ranges.last_mut() {
                Some(range) if range.addr + u64::from(range.len) == addr && range.len < 1 << 30 => range.len += len,
                _ => ranges.push(GuestRange { addr, len }),
            }
            self.cursor.addr = self.cursor.addr.wrapping_add(len);
            self.cursor.remaining -= len;
            need -= u64::from(len);
        }
        ranges
    }

    fn fetch_descriptor(&mut self, memory: &Memory) {
        let mut entry = PrdEntry { base: U32::ZERO, count: U32::ZERO };
        memory.read(self.cursor.next.into(), entry.as_mut_bytes());
        let count = entry.count.get();
        self.cursor.fetched = self.cursor.fetched.saturating_add(1);
        self.cursor.next = self.cursor.next.wrapping_add(size_of::<PrdEntry>() as u32);
        self.cursor.addr = entry.base.get() & !1;
        self.cursor.remaining = match count & 0xfffe {
            0 => 0x1_0000,
            bytes => bytes,
        };
        self.cursor.last = count >> 31 == 1 || self.cursor.fetched >= MAX_DESCRIPTORS;
    }

    /// Whether a saved state is one that the engine can have.
    pub fn is_valid(&self) -> bool {
        let Self { command, status, table, cursor } = self;
        command.into_bits() & !0x09 == 0
            && status.into_bits() & !0x67 == 0
            && table & 3 == 0
            && cursor.remaining <= 0x1_0000
            && cursor.fetched <= MAX_DESCRIPTORS
            && (cursor.last || cursor.fetched < MAX_DESCRIPTORS)
    }
}
