//! INT 15h memory services: memory sizes, block move and switch to protected mode (AH=87h to 89h: IBM PS/2 and PC BIOS
//! Interface Technical Reference; AX=E820h: ACPI specification, section 15.1).

use super::pic;
use super::system::unsupported;
use crate::Bios;
use pcvm_firmware_rt::{E820, FarPtr, Hw, Regs};

/// "SMAP".
const SIGNATURE: u32 = 0x534d_4150;
/// Bytes of an address range descriptor, without and with extended attributes (ACPI 3.0).
const RANGE: u16 = 20;
const RANGE_WITH_ATTRIBUTES: u16 = 24;
/// Extended attributes: the range is enabled.
const ENABLED: u32 = 1;
/// KiB from 1 MiB to 16 MiB.
const BELOW_16_MIB: u32 = 15 << 10;
/// AH of a block move: exception.
const EXCEPTION: u8 = 0x02;

/// KiB of RAM above 1 MiB.
pub fn extended<H: Hw>(bios: &Bios<H>) -> u32 {
    bios.handoff.extended_memory >> 10
}

/// AX=E801h, E820h, E881h.
pub fn int15<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    match regs.al() {
        0x01 | 0x81 => {
            let kib = extended(bios);
            // KiB below 16 MiB, and 64 KiB blocks above.
            let (low, high) = (kib.min(BELOW_16_MIB), kib.saturating_sub(BELOW_16_MIB) >> 6);
            if regs.al() == 0x01 {
                regs.set_ax(low as u16);
                regs.set_cx(low as u16);
                regs.set_bx(high as u16);
                regs.set_dx(high as u16);
            } else {
                (regs.eax, regs.ecx, regs.ebx, regs.edx) = (low, low, high, high);
            }
            regs.set_cf(false);
        }
        0x20 => map(bios, regs),
        _ => unsupported(regs),
    }
}

fn map<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let count = usize::from(bios.handoff.e820_count).min(bios.handoff.e820.len());
    let ranges = bios.handoff.e820.get(..count).unwrap_or_default();
    let index = regs.ebx as usize;
    let Some(range) = ranges.get(index) else { return unsupported(regs) };
    if regs.edx != SIGNATURE || regs.ecx < RANGE.into() {
        return unsupported(regs);
    }
    let at = FarPtr::new(regs.es, regs.di());
    let &E820 { base, base_high, length, length_high, kind } = range;
    for (n, value) in [base, base_high, length, length_high, kind].into_iter().enumerate() {
        bios.hw.write32(at.add(4 * n as u16), value);
    }
    if regs.ecx >= RANGE_WITH_ATTRIBUTES.into() {
        bios.hw.write32(at.add(RANGE), ENABLED);
        regs.ecx = RANGE_WITH_ATTRIBUTES.into();
    } else {
        regs.ecx = RANGE.into();
    }
    regs.eax = SIGNATURE;
    regs.ebx = if index + 1 < count { index as u32 + 1 } else { 0 };
    regs.set_cf(false);
}

/// A segment descriptor.
struct Segment {
    base: u32,
    /// Offset of its last byte.
    limit: u32,
}

fn descriptor<H: Hw>(hw: &mut H, at: FarPtr) -> Segment {
    let (low, high) = (hw.read32(at), hw.read32(at.add(4)));
    let limit = low & 0xffff | high & 0xf_0000;
    let granular = high & 1 << 23 != 0;
    Segment {
        base: low >> 16 | (high & 0xff) << 16 | high & 0xff00_0000,
        limit: if granular { limit << 12 | 0xfff } else { limit },
    }
}

/// AH=87h: copies CX words between two segments of the descriptor table at ES:SI (source at 10h, destination at 18h).
pub fn block_move<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let hw = &mut *bios.hw;
    // In virtual-8086 mode the memory manager has to do this; it has passed the call on instead.
    if hw.protected() {
        return unsupported(regs);
    }
    let table = FarPtr::new(regs.es, regs.si());
    let (from, to) = (descriptor(hw, table.add(0x10)), descriptor(hw, table.add(0x18)));
    let words = regs.cx();
    let bytes = u32::from(words) * 2;
    if bytes != 0 && (bytes - 1 > from.limit || bytes - 1 > to.limit) {
        // As the CPU's limit check would.
        regs.set_ah(EXCEPTION);
        return regs.set_cf(true);
    }
    if bytes != 0 {
        let a20 = hw.a20();
        if !a20 {
            hw.set_a20(true);
        }
        hw.block_move(from.base, to.base, words);
        if !a20 {
            hw.set_a20(false);
        }
    }
    regs.set_ah(0);
    regs.set_cf(false);
}

/// AH=89h: switches to protected mode with the descriptor table at ES:SI (7 descriptors and room for the BIOS's own).
/// IRQs 0 to 7 get vectors from BH on, IRQs 8 to 15 from BL on; all are masked. On success it does not return to real
/// mode.
pub fn protected_mode<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let hw = &mut *bios.hw;
    if hw.protected() {
        return unsupported(regs);
    }
    hw.set_interrupts(false);
    pic::program(hw, regs.bh(), regs.bl(), 0xffff);
    hw.set_a20(true);
    hw.protected_mode(FarPtr::new(regs.es, regs.si()), regs);
}
