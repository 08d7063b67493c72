//! Tests of the ACPI tables and the PM timer, and power-off (ACPI specification 2.0, sections 5.2, 4.7.3.3, 7.3.4).

use crate::clock::Deadline;
use crate::timer::agree;
use crate::{NotPassed, Outcome, SCRATCH, SCRATCH_LINEAR, Test, pir};
use pcvm_firmware_rt::{FarPtr, bda};
use pcvm_guest::Machine;

const HEADER: u32 = 36;
/// Bytes of a table that are copied to scratch memory at once.
const CHUNK: u32 = 4096;
/// Maximum length of a table.
const MAX_LENGTH: u32 = 1 << 20;
/// Clocks of the PM timer (3.579545 MHz) in one clock of the PIT.
const CLOCKS: u32 = 3;

fn name(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

/// Copies memory to the start of scratch memory.
fn fetch<M: Machine>(t: &mut Test<'_, M>, at: u32, bytes: u32) {
    t.m.block_move(at, SCRATCH_LINEAR, bytes.div_ceil(2) as u16);
}

fn dword<M: Machine>(t: &mut Test<'_, M>, offset: u16) -> u32 {
    t.m.read32(FarPtr::new(SCRATCH, offset))
}

/// SLP_TYP of the package that follows the name `_S5_`, given as AML from its PackageOp (section 20.2.5.4).
pub fn sleep_type(aml: &[u8]) -> Option<u8> {
    const PACKAGE: u8 = 0x12;
    const BYTE: u8 = 0x0a;
    let [op, length, rest @ ..] = aml else { return None };
    let rest = rest.get(usize::from(length >> 6)..)?;
    let [_elements, first, second, ..] = rest else { return None };
    match (*op, *first) {
        (PACKAGE, BYTE) => Some(*second),
        (PACKAGE, 0 | 1) => Some(*first),
        _ => None,
    }
}

/// Checks the checksum of a table and returns its signature and length. Leaves its start in scratch memory. Searches
/// the DSDT for `_S5_`.
fn table<M: Machine>(t: &mut Test<'_, M>, at: u32) -> Result<(u32, u32), NotPassed> {
    fetch(t, at, HEADER);
    let (signature, length) = (dword(t, 0), dword(t, 4));
    check!(t, (HEADER..=MAX_LENGTH).contains(&length), "a table has a wrong length")?;
    let mut sum = 0_u8;
    let mut done = 0;
    while done < length {
        let bytes = (length - done).min(CHUNK);
        // 16 bytes more, for a name that crosses the end of the chunk.
        fetch(t, at + done, bytes + 16);
        sum = sum.wrapping_add(pir::sum(t.m, FarPtr::new(SCRATCH, 0), bytes as u16));
        if signature == name(b"DSDT") {
            for n in 0..bytes as u16 {
                if t.m.read8(FarPtr::new(SCRATCH, n)) == b'_' && dword(t, n) == name(b"_S5_") {
                    let mut aml = [0; 8];
                    t.m.copy_in(FarPtr::new(SCRATCH, n + 4), &mut aml);
                    if let Some(value) = sleep_type(&aml) {
                        t.findings.sleep_type = 0x80 | value & 7;
                    }
                }
            }
        }
        done += bytes;
    }
    if sum != 0 {
        let _ = t.fail("sum of ");
        t.note.put_bytes(&signature.to_le_bytes()).put(" is ").hex(sum.into(), 2);
        return Err(NotPassed::Fail);
    }
    fetch(t, at, length.min(CHUNK));
    Ok((signature, length))
}

/// The RSDP is found, and the checksums of all tables that it leads to are right.
pub fn tables<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let extended = t.m.get(bda::EBDA);
    let places = [(extended, 0x400), (0xe000, 0x1_0000), (0xf000, 0x1_0000)];
    let found = places.into_iter().find_map(|(segment, bytes)| pir::find(t.m, segment, bytes, b"RSD PTR "));
    let Some(rsdp) = found else {
        return if t.expect.pcvm { t.fail("there is no RSDP") } else { Err(NotPassed::Absent) };
    };
    check_equal!(t, "sum of the RSDP:", pir::sum(t.m, rsdp, 20).into(), 0)?;
    let rsdt = t.m.read32(rsdp.add(16));
    let (signature, length) = table(t, rsdt)?;
    check_equal!(t, "the RSDT's signature:", signature, name(b"RSDT"))?;
    let mut entries = [0; 24];
    let count = ((length - HEADER) / 4).min(entries.len() as u32) as u16;
    for (n, entry) in entries.iter_mut().take(count.into()).enumerate() {
        *entry = dword(t, HEADER as u16 + n as u16 * 4);
    }
    let mut seen = pcvm_guest::Text::<50>::new();
    seen.put("RSDT");
    let mut fixed = false;
    for entry in entries.into_iter().take(count.into()) {
        let (signature, length) = table(t, entry)?;
        seen.byte(b' ').put_bytes(&signature.to_le_bytes());
        if signature != name(b"FACP") {
            continue;
        }
        check!(t, length >= 116, "the FADT is too short")?;
        fixed = true;
        let (facs, dsdt) = (dword(t, 36), dword(t, 40));
        t.findings.pm1a_control = dword(t, 64) as u16;
        t.findings.pm_timer = dword(t, 76) as u16;
        let (signature, length) = table(t, dsdt)?;
        check_equal!(t, "the DSDT's signature:", signature, name(b"DSDT"))?;
        seen.put(" DSDT(").decimal(length).byte(b')');
        // The FACS has no checksum.
        fetch(t, facs, 64);
        let (signature, length) = (dword(t, 0), dword(t, 4));
        check!(t, signature == name(b"FACS") && length >= 64 && facs & 63 == 0, "there is no FACS, 64-byte aligned")?;
        seen.put(" FACS");
    }
    check!(t, fixed, "there is no FADT")?;
    t.note = seen;
    Ok(())
}

/// The PM timer of the FADT counts at 3.58 MHz.
pub fn pm_timer<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let port = t.findings.pm_timer;
    if port == 0 {
        return if t.expect.pcvm { t.fail("no FADT names its port") } else { Err(NotPassed::Absent) };
    }
    let (mut clocks, mut wanted) = (0, 0);
    for _ in 0..3 {
        let (start, first) = (t.now(), t.m.inl(port));
        let mut deadline = Deadline::after(t.m, 20);
        while !deadline.passed(t.m) {}
        let (end, last) = (t.now(), t.m.inl(port));
        clocks = last.wrapping_sub(first) & 0xff_ffff;
        wanted = end.wrapping_sub(start).wrapping_mul(CLOCKS);
        if agree(clocks, wanted) {
            t.note.decimal(clocks).put(" clocks in 20 ms at port ").hex(port.into(), 4);
            return Ok(());
        }
    }
    let _ = t.fail("");
    t.note.decimal(clocks).put(" clocks, by the PIT ").decimal(wanted);
    Err(NotPassed::Fail)
}

/// FADT and DSDT have the port and the sleep type for power-off. Does not power off.
pub fn power_off_known<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let (port, sleep_type) = (t.findings.pm1a_control, t.findings.sleep_type);
    if port == 0 || sleep_type == 0 {
        return if t.expect.pcvm { t.fail("no FADT with PM1a control, or no _S5_") } else { Err(NotPassed::Absent) };
    }
    t.note.put("PM1a control at ").hex(port.into(), 4).put(", _S5_ is ").decimal(u32::from(sleep_type & 7));
    Ok(())
}

/// Powers off, if port and sleep type are known.
pub fn power_off<M: Machine>(t: &mut Test<'_, M>) {
    const SLEEP_ENABLE: u16 = 1 << 13;
    if t.findings.pm1a_control != 0 && t.findings.sleep_type != 0 {
        t.m.outw(t.findings.pm1a_control, SLEEP_ENABLE | u16::from(t.findings.sleep_type & 7) << 10);
    }
}
