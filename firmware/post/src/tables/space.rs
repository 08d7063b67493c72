//! Memory for firmware tables: segment F000h after the BIOS's code, E8000h to EA7FFh, end of RAM below 4 GiB.

use crate::Machine;
use crate::map::{Map, NVS};
use crate::shadow::{BOOT_CODE, Shadow};

const CODE: u32 = 0xf_0000;
/// Address of the BIOS's header, and offset in it of the size of the BIOS's code.
const HEADER: u32 = 0xf_e000;
const TEXT_END: u32 = 0xa;
const EXTRA: (u32, u32) = (0xe_8000, BOOT_CODE);
const MIB: u32 = 0x10_0000;
const PAGE: u32 = 0x1000;
/// Bytes kept free in segment F000h for entry points and the interrupt routing table.
const KEPT: u32 = 0x300;

/// Allocator of space for firmware tables.
#[derive(Clone, Copy, Debug)]
pub struct TableSpace {
    /// Free in segment F000h: start and end.
    code: (u32, u32),
    /// Free between the option ROMs and the boot code.
    extra: (u32, u32),
    /// Free at the end of RAM below 4 GiB, allocated from its end.
    high: (u32, u32),
    high_end: u32,
}

impl TableSpace {
    /// The space that the BIOS and option ROMs (up to `roms_end`) leave free.
    pub fn new<M: Machine>(machine: &mut M, map: &Map, roms_end: u32) -> Self {
        let text_end = u32::from(machine.read16(HEADER + TEXT_END));
        let code = if text_end == 0 { HEADER } else { (CODE + text_end).min(HEADER) };
        let end = map.low_ram_end() & !(PAGE - 1);
        // At most half of the RAM above 1 MiB.
        let start = MIB + end.saturating_sub(MIB) / 2;
        Self {
            code: (code, HEADER),
            extra: (roms_end.clamp(EXTRA.0, EXTRA.1), EXTRA.1),
            high: (start, end),
            high_end: end,
        }
    }

    /// Allocates below 1 MiB: from E8000h, or if that is full in segment F000h, except for the last `KEPT` bytes.
    pub fn low<M: Machine>(&mut self, machine: &mut M, shadow: &mut Shadow, bytes: u32, align: u32) -> Option<u32> {
        if let Some(at) = take(&mut self.extra, bytes, align) {
            shadow.make_ram(machine, at, bytes);
            return Some(at);
        }
        let mut code = (self.code.0, self.code.1.saturating_sub(KEPT));
        let at = take(&mut code, bytes, align)?;
        self.code.0 = code.0;
        Some(at)
    }

    /// Allocates in segment F000h, where operating systems search for entry points.
    pub fn code(&mut self, bytes: u32, align: u32) -> Option<u32> {
        take(&mut self.code, bytes, align)
    }

    /// Allocates at the end of RAM below 4 GiB.
    pub fn high(&mut self, bytes: u32, align: u32) -> Option<u32> {
        let at = self.high.1.checked_sub(bytes)? & !(align - 1);
        if at < self.high.0 {
            return None;
        }
        self.high.1 = at;
        Some(at)
    }

    /// Marks the allocated end of RAM as ACPI NVS in the memory map.
    pub fn write(&self, map: &mut Map) {
        map.set((self.high.1 & !(PAGE - 1)).into(), self.high_end.into(), NVS);
    }
}

/// Allocates from the start of an area. `align` is a power of two.
fn take(area: &mut (u32, u32), bytes: u32, align: u32) -> Option<u32> {
    let at = area.0.checked_add(align - 1)? & !(align - 1);
    let next = at.checked_add(bytes).filter(|&next| next <= area.1)?;
    area.0 = next;
    Some(at)
}
