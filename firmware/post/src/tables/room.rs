//! Room that outlives the power-on code: what the BIOS's code leaves of its segment, E8000h to EFFFFh, and the end of
//! RAM below 4 GiB.

use crate::Machine;
use crate::map::{Map, NVS};
use crate::shadow::{BOOT_CODE, Shadow};

const CODE: u32 = 0xf_0000;
/// The BIOS's header, and where in it the size of its code is.
const HEADER: u32 = 0xf_e000;
const TEXT_END: u32 = 0xa;
const EXTRA: (u32, u32) = (0xe_8000, BOOT_CODE);
const MIB: u32 = 0x10_0000;
const PAGE: u32 = 0x1000;

/// Room.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Free in the code segment: first and end.
    code: (u32, u32),
    /// Free before the code segment.
    extra: (u32, u32),
    /// Free at the end of RAM: taken from the end.
    high: (u32, u32),
    high_end: u32,
}

impl Room {
    /// All that there is after option ROMs that end at `roms_end`.
    pub fn new<M: Machine>(machine: &mut M, map: &Map, roms_end: u32) -> Self {
        let text_end = u32::from(machine.read16(HEADER + TEXT_END));
        let code = if text_end == 0 { HEADER } else { (CODE + text_end).min(HEADER) };
        let end = map.low_ram_end() & !(PAGE - 1);
        // At most half of it.
        let start = MIB + end.saturating_sub(MIB) / 2;
        Self {
            code: (code, HEADER),
            extra: (roms_end.clamp(EXTRA.0, EXTRA.1), EXTRA.1),
            high: (start, end),
            high_end: end,
        }
    }

    /// Room from F0000h on, or failing that from E8000h on: below 1 MiB, where operating systems look for things.
    pub fn low<M: Machine>(&mut self, machine: &mut M, shadow: &mut Shadow, bytes: u32, align: u32) -> Option<u32> {
        if let Some(at) = self.code(bytes, align) {
            return Some(at);
        }
        let at = take(&mut self.extra, bytes, align)?;
        shadow.make_ram(machine, at, bytes);
        Some(at)
    }

    /// Room from F0000h on.
    pub fn code(&mut self, bytes: u32, align: u32) -> Option<u32> {
        take(&mut self.code, bytes, align)
    }

    /// Room at the end of RAM below 4 GiB.
    pub fn high(&mut self, bytes: u32, align: u32) -> Option<u32> {
        let at = self.high.1.checked_sub(bytes)? & !(align - 1);
        if at < self.high.0 {
            return None;
        }
        self.high.1 = at;
        Some(at)
    }

    /// Tells the memory map what was taken at the end of RAM.
    pub fn write(&self, map: &mut Map) {
        map.set((self.high.1 & !(PAGE - 1)).into(), self.high_end.into(), NVS);
    }
}

/// `align` is a power of two.
fn take(room: &mut (u32, u32), bytes: u32, align: u32) -> Option<u32> {
    let at = room.0.checked_add(align - 1)? & !(align - 1);
    let next = at.checked_add(bytes).filter(|&next| next <= room.1)?;
    room.0 = next;
    Some(at)
}
