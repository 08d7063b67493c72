//! Transfer buffer in the caller's memory: accessed directly if real mode can address it, else through a bounce buffer
//! of one sector.

use super::status::{Result, Status};
use pcvm_firmware_rt::{FarPtr, Hw, ebda};

/// The first linear address that real mode cannot address.
const REACH: u64 = 0x10_fff0;
/// Maximum number of bytes per string I/O instruction, so that no offset wraps.
const MAX_STRING_IO: u32 = 0x8000;
/// Size of the bounce buffer, [`ebda::SECTOR`].
const BOUNCE_SIZE: u32 = 512;

/// A position in memory that advances with each transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    linear: u32,
    needs_bounce: bool,
}

impl Buffer {
    /// The driver's own sector. It is also the bounce buffer, so a transfer to or from memory above 1 MiB overwrites
    /// it.
    pub const SCRATCH: Self = Self { linear: ebda::SECTOR.at.linear(), needs_bounce: false };

    /// `bytes` bytes at `at`. They may cross the end of the segment, but must be within the reach of real mode.
    pub fn far(at: FarPtr, bytes: u32) -> Result<Self> {
        let linear = at.linear();
        if u64::from(linear) + u64::from(bytes) > REACH {
            return Err(Status::BOUNDARY);
        }
        Ok(Self { linear, needs_bounce: false })
    }

    /// `bytes` bytes at a 64-bit linear address.
    pub fn flat<H: Hw>(hw: &mut H, address: u64, bytes: u32) -> Result<Self> {
        let end = address.checked_add(bytes.into()).ok_or(Status::BOUNDARY)?;
        if end > 1 << 32 {
            return Err(Status::BOUNDARY);
        }
        let needs_bounce = end > REACH;
        // In virtual-8086 mode only the memory manager can access memory above 1 MiB.
        if needs_bounce && hw.protected() {
            return Err(Status::BOUNDARY);
        }
        Ok(Self { linear: address as u32, needs_bounce })
    }

    /// Advances by `bytes`.
    pub fn advance(&mut self, bytes: u32) {
        self.linear = self.linear.wrapping_add(bytes);
    }

    /// Linear address of the current position.
    pub fn linear(self) -> u32 {
        self.linear
    }

    /// Far pointer to the current position, which must be within the reach of real mode.
    pub fn pointer(self) -> FarPtr {
        if self.linear < 0x10_0000 {
            FarPtr::new((self.linear >> 4) as u16, self.linear as u16 & 0xf)
        } else {
            FarPtr::new(0xffff, (self.linear - 0xf_fff0) as u16)
        }
    }

    /// Reads an even number of bytes from a data port.
    pub fn read_from_port<H: Hw>(&mut self, hw: &mut H, port: u16, bytes: u32) {
        if !self.needs_bounce && bytes <= MAX_STRING_IO && bytes.is_multiple_of(4) {
            hw.insl(port, self.pointer(), (bytes / 4) as u16);
            return self.advance(bytes);
        }
        let mut left = bytes;
        while left > 0 {
            let now = left.min(if self.needs_bounce { BOUNCE_SIZE } else { MAX_STRING_IO });
            let to = if self.needs_bounce { ebda::SECTOR.at } else { self.pointer() };
            if now.is_multiple_of(4) {
                hw.insl(port, to, (now / 4) as u16);
            } else {
                hw.insw(port, to, (now / 2) as u16);
            }
            if self.needs_bounce {
                hw.block_move(ebda::SECTOR.at.linear(), self.linear, (now / 2) as u16);
            }
            self.advance(now);
            left -= now;
        }
    }

    /// Writes an even number of bytes to a data port.
    pub fn write_to_port<H: Hw>(&mut self, hw: &mut H, port: u16, bytes: u32) {
        if !self.needs_bounce && bytes <= MAX_STRING_IO && bytes.is_multiple_of(4) {
            hw.outsl(port, self.pointer(), (bytes / 4) as u16);
            return self.advance(bytes);
        }
        let mut left = bytes;
        while left > 0 {
            let now = left.min(if self.needs_bounce { BOUNCE_SIZE } else { MAX_STRING_IO });
            let from = if self.needs_bounce { ebda::SECTOR.at } else { self.pointer() };
            if self.needs_bounce {
                hw.block_move(self.linear, ebda::SECTOR.at.linear(), (now / 2) as u16);
            }
            if now.is_multiple_of(4) {
                hw.outsl(port, from, (now / 4) as u16);
            } else {
                hw.outsw(port, from, (now / 2) as u16);
            }
            self.advance(now);
            left -= now;
        }
    }
}
