//! Bus master IDE: the DMA engine of one channel (82371SB data sheet, section 2.4.15 ff.; "Programming Interface for
//! Bus Master IDE Controller", revision 1.0).
//!
//! Registers BMICX, BMISX and BMIDTPX, and the table of physical region descriptors (PRD). Each descriptor is fetched
//! once. At most 8192 descriptors (64 KiB, the largest table) are fetched per start.

use crate::pci::RegisterNames;
use crate::{Ctx, GuestRange};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U32};

/// Offset of the command register in a channel's 8 bytes.
pub const BMICX: u64 = 0;
/// Offset of the status register in a channel's 8 bytes.
pub const BMISX: u64 = 2;
/// Offset of the descriptor table pointer register in a channel's 8 bytes.
pub const BMIDTPX: u64 = 4;
/// The most descriptors fetched per start.
const MAX_DESCRIPTORS: u16 = 8192;

/// The registers of the primary and the secondary channel.
pub const NAMES: &RegisterNames = &[
    (0x0..=0x0, "BMICP"),
    (0x2..=0x2, "BMISP"),
    (0x4..=0x7, "BMIDTPP"),
    (0x8..=0x8, "BMICS"),
    (0xa..=0xa, "BMISS"),
    (0xc..=0xf, "BMIDTPS"),
];

/// BMICX, command register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmicx {
    /// SSBM: start/stop bus master.
    pub start: bool,
    #[bits(2)]
    __: u8,
    /// RWCON: the transfer writes memory. Without effect, as the drive's command has a direction.
    pub to_memory: bool,
    #[bits(4)]
    __: u8,
}

/// BMISX, status register.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmisx {
    /// BMIDEA: started, and the table is not used up.
    pub active: bool,
    /// IDEDMAE: error on the PCI bus. Write 1 to clear.
    pub error: bool,
    /// IDEINTS: the drive raised its interrupt. Write 1 to clear.
    pub interrupt: bool,
    #[bits(2)]
    __: u8,
    /// DMA0CAP and DMA1CAP, which firmware or drivers set for drives that support DMA.
    #[bits(2)]
    pub drive_dma_capable: u8,
    /// Simplex only; hardwired to 0.
    simplex: bool,
}

/// A physical region descriptor in guest memory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PrdEntry {
    /// Physical address; bit 0 is ignored.
    base: U32,
    /// Bits 1 to 15: byte count, 0 is 64 KiB. Bit 31: end of table.
    count: U32,
}

/// The engine's position in the descriptor table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PrdCursor {
    /// Address of the next descriptor.
    next: u32,
    /// Address of the rest of the current region.
    addr: u32,
    /// Bytes remaining in the current region.
    remaining: u32,
    /// The current region is the last one.
    last: bool,
    /// Descriptors fetched since the start.
    fetched: u16,
}

/// The bus master of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusMaster {
    command: Bmicx,
    status: Bmisx,
    table: u32,
    cursor: PrdCursor,
}

impl BusMaster {
    /// Reads one of the channel's 8 bytes.
    pub fn read(&self, offset: u64) -> u8 {
        match offset {
            BMICX => self.command.into_bits(),
            BMISX => self.status.into_bits(),
            BMIDTPX..8 => self.table.to_le_bytes()[(offset - BMIDTPX) as usize],
            _ => 0,
        }
    }

    /// Writes one of the channel's 8 bytes. `in_flight`: a block request on this channel's guest memory is in flight.
    /// Returns whether the write started the engine.
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
                // A request in flight cannot be cancelled: the engine stays active until it completes.
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

    /// Whether the engine is started and active.
    pub fn running(&self) -> bool {
        self.command.start() && self.status.active()
    }

    /// Latches a rising edge of the drive's interrupt.
    pub fn latch_interrupt(&mut self) {
        self.status.set_interrupt(true);
    }

    /// After a transfer: clears BMIDEA if the engine was stopped or the table is used up.
    pub fn update_active(&mut self) {
        if !self.command.start() || (self.cursor.last && self.cursor.remaining == 0) {
            self.status.set_active(false);
        }
    }

    /// Takes the next `count` bytes of guest memory from the table, or fewer if it ends before. `ranges` is cleared and
    /// reused for the result.
    pub fn take_ranges(&mut self, cx: &mut Ctx<'_>, count: u64, mut ranges: Vec<GuestRange>) -> Vec<GuestRange> {
        ranges.clear();
        let mut need = count;
        while need > 0 {
            if self.cursor.remaining == 0 {
                if self.cursor.last {
                    break;
                }
                self.fetch_descriptor(cx);
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

    fn fetch_descriptor(&mut self, cx: &mut Ctx<'_>) {
        let mut entry = PrdEntry { base: U32::ZERO, count: U32::ZERO };
        cx.memory().read(self.cursor.next.into(), entry.as_mut_bytes());
        let (base, count) = (entry.base.get(), entry.count.get());
        self.cursor.fetched = self.cursor.fetched.saturating_add(1);
        self.cursor.next = self.cursor.next.wrapping_add(size_of::<PrdEntry>() as u32);
        self.cursor.addr = base & !1;
        self.cursor.remaining = match count & 0xfffe {
            0 => 0x1_0000,
            bytes => bytes,
        };
        self.cursor.last = count >> 31 == 1 || self.cursor.fetched >= MAX_DESCRIPTORS;
        if (base | count) & 1 == 1 {
            cx.guest_error("PRD with an odd base address or byte count");
        } else if (base & 0xffff) + self.cursor.remaining > 0x1_0000 {
            cx.guest_error("PRD memory region crosses a 64 KiB boundary");
        } else if self.cursor.last && count >> 31 == 0 {
            cx.guest_error("PRD table without an EOT bit");
        }
    }

    /// Whether a saved state is valid.
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
