//! Test of the SMBIOS entry point and structures (DMTF DSP0134, section 5.2).

use crate::{NotPassed, Outcome, SCRATCH_LINEAR, Test, pir};
use pcvm_guest::Machine;

const ROM: u16 = 0xf000;
/// Maximum length of the structures in bytes.
const MAX_LENGTH: u16 = 0x8000;
const END: u8 = 127;

/// The checksums are right, and number and length of the structures agree with the entry point.
pub fn tables<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let Some(at) = pir::find(t.m, ROM, 0x1_0000, b"_SM_") else {
        return if t.expect.pcvm { t.fail("there is no entry point in segment F000h") } else { Err(NotPassed::Absent) };
    };
    let length = t.m.read8(at.add(5));
    check!(t, (0x1e..=0x20).contains(&length), "the entry point has a wrong length")?;
    check_equal!(t, "sum of the entry point:", pir::sum(t.m, at, length.into()).into(), 0)?;
    check!(t, t.m.read32(at.add(0x10)) == u32::from_le_bytes(*b"_DMI"), "the entry point has no _DMI_")?;
    check_equal!(t, "sum of its second part:", pir::sum(t.m, at.add(0x10), u16::from(length) - 0x10).into(), 0)?;
    let (bytes, address) = (t.m.read16(at.add(0x16)), t.m.read32(at.add(0x18)));
    let structures = t.m.read16(at.add(0x1c));
    let (major, minor) = (t.m.read8(at.add(6)), t.m.read8(at.add(7)));
    check!(t, bytes <= MAX_LENGTH, "the structures are too long")?;
    t.m.block_move(address, SCRATCH_LINEAR, bytes.div_ceil(2));
    let (mut count, mut at, mut ended) = (0, 0, false);
    while at + 4 <= bytes && !ended {
        ended = t.scratch(at) == END;
        let formatted = t.scratch(at + 1);
        check!(t, formatted >= 4, "a structure is shorter than its header")?;
        at += u16::from(formatted);
        // Zero-terminated strings, and another zero after the last one.
        while at < bytes && (t.scratch(at) != 0 || t.scratch(at + 1) != 0) {
            at += 1;
        }
        at += 2;
        count += 1;
    }
    check!(t, ended, "there is no end-of-table structure")?;
    check_equal!(t, "bytes of structures:", at.into(), bytes.into())?;
    check_equal!(t, "structures:", count, structures.into())?;
    t.note.put("version ").decimal(major.into()).byte(b'.').decimal(minor.into()).put(", ");
    t.note.decimal(count).put(" structures, ").decimal(bytes.into()).put(" bytes");
    Ok(())
}
