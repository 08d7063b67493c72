//! PVH: an ELF kernel with a 32-bit entry note (Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h).

use crate::fw_cfg::{self, key};
use crate::info::{Info, enable_a20};
use crate::{Entry, e820};
use pcvm_firmware_rt::{FarPtr, Hw};

/// Offsets in `hvm_start_info`.
const RSDP: u16 = 32;
const MEMORY_MAP: u16 = 40;
const MEMORY_MAP_ENTRIES: u16 = 48;
/// Segment of the EBDA in the BIOS data area.
const EBDA_SEGMENT: FarPtr = FarPtr::new(0x40, 0x0e);
/// Bytes of a `hvm_memmap_table_entry`.
const ENTRY: u16 = 24;

/// Loads the kernel and completes its start information with the memory map and the ACPI RSDP.
pub fn load<H: Hw>(hw: &mut H) -> Result<Entry, &'static str> {
    let mut info = Info::load(hw)?;
    let rsdp = find_rsdp(hw);
    hw.write32(info.start.add(RSDP), rsdp);
    let most = (info.room() / ENTRY).min(e820::MAX_ENTRIES);
    let map = info.block(hw, most * ENTRY)?;
    let mut count = 0;
    e820::for_each(hw, |hw, range| {
        if count < most {
            let at = map.add(count * ENTRY);
            for (offset, quad) in [(0, range.base), (8, range.length), (16, range.kind.into())] {
                hw.write32(at.add(offset), quad as u32);
                hw.write32(at.add(offset + 4), (quad >> 32) as u32);
            }
            count += 1;
        }
    });
    hw.write32(info.start.add(MEMORY_MAP), map.linear());
    hw.write32(info.start.add(MEMORY_MAP_ENTRIES), count.into());
    enable_a20(hw);
    Ok(Entry::Flat { address: fw_cfg::word(hw, key::KERNEL_ENTRY)?, eax: 0, ebx: info.start.linear() })
}

/// Searches the ACPI RSDP in the EBDA's first KiB and at E0000h to FFFFFh (ACPI specification, section 5.2.5.1). Returns 0
/// if there is none.
fn find_rsdp<H: Hw>(hw: &mut H) -> u32 {
    const SIGNATURE: [u32; 2] = [u32::from_le_bytes(*b"RSD "), u32::from_le_bytes(*b"PTR ")];
    const LENGTH: u16 = 20;
    let ebda = u32::from(hw.read16(EBDA_SEGMENT)) << 4;
    for (start, end) in [(ebda, ebda + 0x400), (0xe_0000, 0x10_0000)] {
        for linear in (start..end).step_by(16) {
            let at = FarPtr::from_linear(linear);
            if hw.read32(at) == SIGNATURE[0]
                && hw.read32(at.add(4)) == SIGNATURE[1]
                && (0..LENGTH).fold(0, |sum: u8, n| sum.wrapping_add(hw.read8(at.add(n)))) == 0
            {
                return linear;
            }
        }
    }
    0
}
