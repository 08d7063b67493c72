//! Where a caller's data is: below 1 MiB and 64 KiB, where real mode reaches it, or above, where each sector takes the way by a
//! sector of ours.

use super::status::{Result, Status};
use pcvm_firmware_rt::{FarPtr, Hw, ebda};

/// The first address that real mode does not reach.
const REACH: u64 = 0x10_fff0;
/// String instructions move that much at most, so that no offset wraps.
const PIECE: u32 = 0x8000;
/// Bytes of [`ebda::SECTOR`].
const BOUNCE: u32 = 512;

/// A place in memory that moves on as it is filled or emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    linear: u32,
    above: bool,
}

impl Place {
    /// The driver's own sector, which the next transfer to memory above 1 MiB overwrites.
    pub const OWN: Self = Self { linear: ebda::SECTOR.at.linear(), above: false };

    /// `bytes` bytes at `at`. The end of the segment does not matter; the end of what real mode reaches does.
    pub fn far(at: FarPtr, bytes: u32) -> Result<Self> {
        let linear = at.linear();
        if u64::from(linear) + u64::from(bytes) > REACH {
            return Err(Status::BOUNDARY);
        }
        Ok(Self { linear, above: false })
    }

    /// `bytes` bytes at a 64-bit address.
    pub fn flat<H: Hw>(hw: &mut H, address: u64, bytes: u32) -> Result<Self> {
        let end = address.checked_add(bytes.into()).ok_or(Status::BOUNDARY)?;
        if end > 1 << 32 {
            return Err(Status::BOUNDARY);
        }
        let above = end > REACH;
        // Under a memory manager nothing but the manager moves memory up there.
        if above && hw.protected() {
            return Err(Status::BOUNDARY);
        }
        Ok(Self { linear: address as u32, above })
    }

    /// Moves on.
    pub fn skip(&mut self, bytes: u32) {
        self.linear = self.linear.wrapping_add(bytes);
    }

    fn pointer(self) -> FarPtr {
        if self.linear < 0x10_0000 {
            FarPtr::new((self.linear >> 4) as u16, self.linear as u16 & 0xf)
        } else {
            FarPtr::new(0xffff, (self.linear - 0xf_fff0) as u16)
        }
    }

    /// Fills an even number of bytes from a data port.
    pub fn fill_from<H: Hw>(&mut self, hw: &mut H, port: u16, bytes: u32) {
        let mut left = bytes;
        while left > 0 {
            let now = left.min(if self.above { BOUNCE } else { PIECE });
            let to = if self.above { ebda::SECTOR.at } else { self.pointer() };
            if now % 4 == 0 {
                hw.insl(port, to, (now / 4) as u16);
            } else {
                hw.insw(port, to, (now / 2) as u16);
            }
            if self.above {
                hw.block_move(ebda::SECTOR.at.linear(), self.linear, (now / 2) as u16);
            }
            self.skip(now);
            left -= now;
        }
    }

    /// Sends an even number of bytes to a data port.
    pub fn drain_to<H: Hw>(&mut self, hw: &mut H, port: u16, bytes: u32) {
        let mut left = bytes;
        while left > 0 {
            let now = left.min(if self.above { BOUNCE } else { PIECE });
            let from = if self.above { ebda::SECTOR.at } else { self.pointer() };
            if self.above {
                hw.block_move(self.linear, ebda::SECTOR.at.linear(), (now / 2) as u16);
            }
            if now % 4 == 0 {
                hw.outsl(port, from, (now / 4) as u16);
            } else {
                hw.outsw(port, from, (now / 2) as u16);
            }
            self.skip(now);
            left -= now;
        }
    }
}
