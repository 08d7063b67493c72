//! Tests of CPUID and the time stamp counter, and of the A20 gate.

use crate::{Outcome, Test};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, regs};

/// CPUID leaf 1, EDX: time stamp counter (Intel SDM, volume 2A, CPUID).
const TSC: u32 = 1 << 4;

/// CPUID reports vendor and family, and the time stamp counter counts.
pub fn processor<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let Some([leaves, b, c, d]) = t.m.cpuid(0) else {
        t.note.put("a 386 or 486 without CPUID");
        return Ok(());
    };
    check!(t, (1..0x8000_0000).contains(&leaves), "CPUID has no leaf 1")?;
    for word in [b, d, c] {
        for byte in word.to_le_bytes() {
            check!(t, (0x20..0x7f).contains(&byte), "CPUID's vendor is not text")?;
            t.note.byte(byte);
        }
    }
    let [signature, _, _, features] = t.m.cpuid(1).unwrap_or_default();
    check!(t, signature & 0xf00 != 0, "CPUID gives no family")?;
    let family = (signature >> 8 & 15) + if signature >> 8 & 15 == 15 { signature >> 20 & 0xff } else { 0 };
    let note = t.note;
    if features & TSC != 0 {
        let first = t.m.timestamp();
        t.now();
        let second = t.m.timestamp();
        check!(t, second > first, "the time stamp counter stands still")?;
    }
    t.note = note;
    t.note.put(" family ").hex(family, 2);
    t.note.put(if features & TSC != 0 { ", TSC counts" } else { ", no TSC" });
    Ok(())
}

/// A20 is enabled: memory above 1 MiB is not memory at 0, and INT 15h AX=2402h reports it.
pub fn a20<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    // Interrupt vector 7Fh is unused.
    let (low, high) = (FarPtr::new(0, 0x1fc), FarPtr::new(0xffff, 0x20c));
    let (was_low, was_high) = (t.m.read32(low), t.m.read32(high));
    t.m.write32(low, 0x1234_5678);
    t.m.write32(high, 0x8765_4321);
    let apart = t.m.read32(low) == 0x1234_5678 && t.m.read32(high) == 0x8765_4321;
    t.m.write32(high, was_high);
    t.m.write32(low, was_low);
    check!(t, apart, "addresses wrap at 1 MiB")?;
    let mut regs = regs! { eax: 0x2402 };
    t.bios(0x15, &mut regs);
    check!(t, !regs.cf() && regs.ah() == 0, "INT 15h 2402h fails")?;
    check_equal!(t, "INT 15h 2402h: AL", regs.al().into(), 1)?;
    t.note.put("on, and INT 15h says so");
    Ok(())
}
