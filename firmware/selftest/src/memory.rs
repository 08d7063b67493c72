//! Tests of RAM and of the BIOS memory services: INT 12h, INT 15h AX=E820h, AX=E801h, AH=87h and AH=88h.
//!
//! Specification of AX=E820h: ACPI specification, section 15.

use crate::{Outcome, SCRATCH, SCRATCH_LINEAR, Test};
use pcvm_firmware_rt::{FarPtr, Regs};
use pcvm_guest::{Machine, regs};

/// "SMAP".
const SIGNATURE: u32 = 0x534d_4150;
const RAM: u32 = 1;
const MIB: u64 = 1 << 20;

/// A range of the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Base address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
    /// 1: RAM.
    pub kind: u32,
}

/// Returns the first fault of a map. `base_memory` is the result of INT 12h in KiB.
pub fn find_fault(map: &[Range], base_memory: u32) -> Option<&'static str> {
    let overlap =
        |range: &Range, start: u64, end: u64| range.base < end && start < range.base.wrapping_add(range.length);
    for (n, range) in map.iter().enumerate() {
        if range.length == 0 || range.base.checked_add(range.length).is_none() {
            return Some("a range is empty or too long");
        }
        if range.kind == RAM && overlap(range, 0xa_0000, 0x10_0000) {
            return Some("RAM between 640 KiB and 1 MiB");
        }
        if map.iter().skip(n + 1).any(|other| overlap(other, range.base, range.base + range.length)) {
            return Some("ranges overlap");
        }
    }
    let Some(base) = map.iter().find(|range| range.base == 0 && range.kind == RAM) else {
        return Some("no RAM at 0");
    };
    if base.length != u64::from(base_memory) << 10 {
        return Some("INT 12h and INT 15h E820h differ");
    }
    if !map.iter().any(|range| range.base == MIB && range.kind == RAM) {
        return Some("no RAM at 1 MiB");
    }
    None
}

/// End of the ranges that follow 1 MiB without a hole: RAM, and RAM that the firmware reserves.
pub fn end_of_memory(map: &[Range]) -> u64 {
    let mut end = MIB;
    for _ in 0..map.len() {
        if let Some(range) = map.iter().find(|range| range.base == end) {
            end += range.length;
        }
    }
    end
}

fn read_map<M: Machine>(t: &mut Test<'_, M>, map: &mut [Range; 32]) -> Result<usize, crate::NotPassed> {
    let mut next = 0;
    for (n, range) in map.iter_mut().enumerate() {
        let mut regs = regs! { eax: 0xe820, ebx: next, ecx: 20, edx: SIGNATURE, es: SCRATCH, edi: 0 };
        t.bios(0x15, &mut regs);
        if regs.cf() {
            check!(t, n > 0, "INT 15h E820h fails")?;
            return Ok(n);
        }
        check!(t, regs.eax == SIGNATURE && regs.ecx >= 20, "INT 15h E820h answers without SMAP")?;
        let mut word = |at: u16| u64::from(t.m.read32(FarPtr::new(SCRATCH, at)));
        *range = Range { base: word(0) | word(4) << 32, length: word(8) | word(12) << 32, kind: word(16) as u32 };
        next = regs.ebx;
        if next == 0 {
            return Ok(n + 1);
        }
    }
    t.fail("more than 32 ranges").map(|()| 0)
}

/// The E820 map is valid, and all services report the same sizes.
pub fn map<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut map = [Range::default(); 32];
    let count = read_map(t, &mut map)?;
    let map = map.get(..count).unwrap_or_default();
    let mut regs = Regs::default();
    t.bios(0x12, &mut regs);
    let base_memory = u32::from(regs.ax());
    if let Some(why) = find_fault(map, base_memory) {
        return t.fail(why);
    }
    let end = end_of_memory(map);
    let ram = map.iter().find(|range| range.base == MIB).map_or(0, |range| range.length);
    let mut regs = regs! { eax: 0xe801 };
    t.bios(0x15, &mut regs);
    check!(t, !regs.cf(), "INT 15h E801h fails")?;
    let reported = (u64::from(regs.ax()) << 10) + (u64::from(regs.bx()) << 16);
    check!(t, reported <= ram && ram - reported < 1 << 16, "INT 15h E801h and E820h differ")?;
    let mut regs = regs! { eax: 0x8800 };
    t.bios(0x15, &mut regs);
    let reported = u64::from(regs.ax()) << 10;
    check!(t, !regs.cf() && reported <= ram && reported >= ram.min(15 * MIB), "INT 15h 88h and E820h differ")?;
    if t.expect.memory != 0 && t.expect.memory < 3072 {
        check_equal!(t, "MiB in all", (end >> 20) as u32, t.expect.memory)?;
    }
    t.note.decimal(base_memory).put(" KiB and ").decimal(((end - MIB) >> 20) as u32).put(" MiB, ");
    t.note.decimal(count as u32).put(" ranges");
    Ok(())
}

/// Dwords of the pattern, which depends on the address.
const PATTERN: u16 = 64;

fn fill_pattern<M: Machine>(t: &mut Test<'_, M>, seed: u32) {
    let mut value = seed | 1;
    for n in 0..PATTERN {
        value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        t.m.write32(FarPtr::new(SCRATCH, n * 4), value);
    }
}

fn has_pattern<M: Machine>(t: &mut Test<'_, M>, seed: u32) -> bool {
    let mut value = seed | 1;
    (0..PATTERN).all(|n| {
        value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        t.m.read32(FarPtr::new(SCRATCH, n * 4)) == value
    })
}

/// Writes patterns near powers of two and at the end of RAM, and reads all of them back after the last write: a stuck
/// address line makes two addresses the same.
pub fn pattern<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut map = [Range::default(); 32];
    let count = read_map(t, &mut map)?;
    let ram = map.iter().take(count).find(|range| range.base == MIB).map_or(0, |range| range.length);
    let end = (MIB + ram) as u32;
    let address = |n: u32| match n {
        0 => Some(end - 4096),
        1..12 => Some(1_u32 << (n + 19)).filter(|at| *at < end - 8192),
        _ => Some((1 << 20) + (1 << n)).filter(|at| *at < end - 8192),
    };
    const WORDS: u16 = PATTERN * 2;
    const ADDRESSES: u32 = 20;
    // Saved contents, restored at the end: the BIOS may use this memory.
    const SAVED: u32 = SCRATCH_LINEAR + 0x1000;
    let mut used = 0;
    for n in 0..ADDRESSES {
        if let Some(at) = address(n) {
            t.m.block_move(at, SAVED + n * 512, WORDS);
            fill_pattern(t, at);
            t.m.block_move(SCRATCH_LINEAR, at, WORDS);
            used += 1;
        }
    }
    let mut wrong = None;
    for n in 0..ADDRESSES {
        if let Some(at) = address(n) {
            t.m.block_move(at, SCRATCH_LINEAR, WORDS);
            if !has_pattern(t, at) {
                wrong = Some(at);
            }
        }
    }
    for n in 0..ADDRESSES {
        if let Some(at) = address(n) {
            t.m.block_move(SAVED + n * 512, at, WORDS);
        }
    }
    if let Some(at) = wrong {
        let _ = t.fail("memory does not hold what is written at ");
        t.note.hex(at, 8);
        return Err(crate::NotPassed::Fail);
    }
    t.note.put("patterns at ").decimal(used).put(" places");
    Ok(())
}

/// INT 15h AH=87h copies to the memory that this program's own protected-mode copy reads (IBM AT BIOS).
pub fn block_move<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    const TABLE: u16 = 0x800;
    const TARGET: u32 = 0x11_0000;
    t.m.block_move(TARGET, SCRATCH_LINEAR + 0x400, PATTERN * 2);
    t.m.fill(FarPtr::new(SCRATCH, TABLE), 0, 48);
    for (entry, base) in [(0x10, SCRATCH_LINEAR), (0x18, TARGET)] {
        let at = |offset: u16| FarPtr::new(SCRATCH, TABLE + entry + offset);
        t.m.write16(at(0), 0xffff);
        t.m.write32(at(2), 0x9300_0000 | base);
    }
    fill_pattern(t, 0x1234_5678);
    let mut regs = regs! { eax: 0x8700, ecx: u32::from(PATTERN) * 2, es: SCRATCH, esi: u32::from(TABLE) };
    t.bios(0x15, &mut regs);
    let (failed, status) = (regs.cf(), regs.ah());
    t.m.fill(FarPtr::new(SCRATCH, 0), 0, PATTERN * 4);
    t.m.block_move(TARGET, SCRATCH_LINEAR, PATTERN * 2);
    let intact = has_pattern(t, 0x1234_5678);
    t.m.block_move(SCRATCH_LINEAR + 0x400, TARGET, PATTERN * 2);
    check!(t, !failed, "INT 15h 87h fails")?;
    check_equal!(t, "INT 15h 87h: AH", status.into(), 0)?;
    check!(t, intact, "INT 15h 87h copies other data")?;
    t.note.put("INT 15h 87h, 256 bytes to 1 MiB + 64 KiB");
    Ok(())
}
