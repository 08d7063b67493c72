//! Test of the fw_cfg device (QEMU, docs/specs/fw_cfg.rst).

use crate::{NotPassed, Outcome, SCRATCH, SCRATCH_LINEAR, Test};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::Machine;

const SELECT: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA: u16 = 0x514;
const SIGNATURE: u16 = 0;
const FEATURES: u16 = 1;
const DIRECTORY: u16 = 0x19;
const HAS_DMA: u8 = 2;
/// DMA control word: read and select.
const READ_SELECTED: u32 = 0x02 | 0x08;
/// DMA control word: error.
const ERROR: u32 = 0x01;

/// The signature is present, and the directory reads the same through the data port and by DMA.
pub fn directory<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    t.m.outw(SELECT, SIGNATURE);
    let signature = [0; 4].map(|_: u8| t.m.inb(DATA));
    if &signature != b"QEMU" {
        return if t.expect.pcvm { t.fail("no signature at port 511h") } else { Err(NotPassed::Absent) };
    }
    t.m.outw(SELECT, FEATURES);
    let features = t.m.inb(DATA);
    t.m.outw(SELECT, DIRECTORY);
    let count = u32::from_be_bytes([0; 4].map(|_: u8| t.m.inb(DATA)));
    check!(t, (1..=200).contains(&count), "the directory has no files, or too many")?;
    t.note.decimal(count).put(" files");
    if features & HAS_DMA == 0 {
        return Ok(());
    }
    // The first entry by port: size, key, reserved, name.
    let first = [0; 64].map(|_: u8| t.m.inb(DATA));
    const TARGET: u16 = 0x100;
    let at = |offset| FarPtr::new(SCRATCH, offset);
    t.m.write32(at(0), (u32::from(DIRECTORY) << 16 | READ_SELECTED).swap_bytes());
    t.m.write32(at(4), 68_u32.swap_bytes());
    t.m.write32(at(8), 0);
    t.m.write32(at(12), (SCRATCH_LINEAR + u32::from(TARGET)).swap_bytes());
    t.m.outl(DMA, 0);
    t.m.outl(DMA + 4, SCRATCH_LINEAR.swap_bytes());
    let mut control = u32::MAX;
    for _ in 0..10_000 {
        control = t.m.read32(at(0)).swap_bytes();
        if control & !ERROR == 0 {
            break;
        }
    }
    check_equal!(t, "DMA control:", control, 0)?;
    let same = t.m.read32(at(TARGET)).swap_bytes() == count
        && first.iter().enumerate().all(|(n, byte)| t.m.read8(at(TARGET + 4 + n as u16)) == *byte);
    check!(t, same, "DMA reads other data than the port")?;
    t.note.clear();
    t.note.decimal(count).put(" files, the same by port and by DMA");
    Ok(())
}
