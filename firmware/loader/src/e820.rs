//! Memory map by INT 15h AX=E820h (ACPI specification, section 15.1).

use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// Buffer for an entry.
const ENTRY: FarPtr = FarPtr::new(0x7c0, 0x20);
const SMAP: u32 = u32::from_be_bytes(*b"SMAP");
/// Type of usable RAM.
pub const RAM: u32 = 1;
/// Limit of entries.
pub const MAX_ENTRIES: u16 = 128;

/// A range of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// [`RAM`], or another type.
    pub kind: u32,
}

impl Range {
    /// First address behind the range.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.length)
    }
}

/// Calls `each` with each range of the map.
pub fn for_each<H: Hw>(hw: &mut H, mut each: impl FnMut(&mut H, Range)) {
    let mut next = 0;
    for _ in 0..MAX_ENTRIES {
        let mut regs = Regs { eax: 0xe820, ebx: next, ecx: 20, edx: SMAP, es: ENTRY.segment, ..Regs::ZERO };
        regs.edi = ENTRY.offset.into();
        hw.call_interrupt(0x15, &mut regs);
        if regs.cf() || regs.eax != SMAP {
            return;
        }
        let quad =
            |hw: &mut H, at: u16| u64::from(hw.read32(ENTRY.add(at))) | u64::from(hw.read32(ENTRY.add(at + 4))) << 32;
        let range = Range { base: quad(hw, 0), length: quad(hw, 8), kind: hw.read32(ENTRY.add(16)) };
        each(hw, range);
        next = regs.ebx;
        if next == 0 {
            return;
        }
    }
}

/// The highest page-aligned address for `bytes` bytes of RAM that end at or below `last` and begin at or above `floor`.
pub fn highest<H: Hw>(hw: &mut H, bytes: u32, floor: u32, last: u64) -> Option<u32> {
    const PAGE: u64 = 0x1000;
    let mut found = None;
    for_each(hw, |_, range| {
        let end = range.end().min(last).min(1 << 32);
        if range.kind != RAM || end < u64::from(bytes) {
            return;
        }
        let at = (end - u64::from(bytes)) & !(PAGE - 1);
        if at >= range.base.max(floor.into()) && found.is_none_or(|other| at > u64::from(other)) {
            found = Some(at as u32);
        }
    });
    found
}
