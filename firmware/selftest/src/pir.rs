//! Test of PCI interrupt routing: $PIR table, PIRQRC and ELCR registers and interrupt lines must agree.
//!
//! Specifications: Microsoft, PCI IRQ Routing Table Specification 1.0; Intel 82371SB datasheet (290550).

use crate::{Outcome, Test, pci};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::Machine;

const ROM: u16 = 0xf000;
/// Vendor ID and device ID of the PIIX3.
const PIIX3: u32 = 0x7000_8086;
/// PIRQRCA, the first of four routing registers. Bit 7: not routed.
const FIRST_LINK: u8 = 0x60;
const EDGE_LEVEL: u16 = 0x4d0;
const HEADER: u16 = 32;
const SLOT: u16 = 16;

/// Checksum of bytes, 0 for an intact table.
pub fn sum<M: Machine>(m: &mut M, at: FarPtr, bytes: u16) -> u8 {
    (0..bytes).fold(0, |sum: u8, n| sum.wrapping_add(m.read8(at.add(n))))
}

/// Searches the first `bytes` bytes of `segment` for `signature`, at multiples of 16.
pub fn find<M: Machine>(m: &mut M, segment: u16, bytes: u32, signature: &[u8]) -> Option<FarPtr> {
    let first = u32::from_le_bytes(*signature.first_chunk()?);
    (0..bytes / 16).map(|n| FarPtr::new(segment, (n * 16) as u16)).find(|at| {
        m.read32(*at) == first
            && signature.iter().enumerate().skip(4).all(|(n, byte)| m.read8(at.add(n as u16)) == *byte)
    })
}

/// Every function with an interrupt pin is routed, and table, bridge and interrupt line register agree.
pub fn routing<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let Some(at) = find(t.m, ROM, 0x1_0000, b"$PIR") else {
        return if t.expect.pcvm { t.fail("there is no $PIR table") } else { Err(crate::NotPassed::Absent) };
    };
    let size = t.m.read16(at.add(6));
    check!(t, size >= HEADER && size % SLOT == 0 && size <= 1024, "the $PIR table has a wrong size")?;
    check_equal!(t, "sum of the $PIR table:", sum(t.m, at, size).into(), 0)?;
    let router = u16::from(t.m.read8(at.add(8))) << 8 | u16::from(t.m.read8(at.add(9)));
    let levels = u16::from_le_bytes([t.m.inb(EDGE_LEVEL), t.m.inb(EDGE_LEVEL + 1)]);
    let (mut from, mut pins) = (0, 0);
    check_equal!(t, "the router's id is", pci::read(t.m, router, 0) & 0xffff, PIIX3 & 0xffff)?;
    while let Some(function) = pci::next(t.m, from, 0) {
        from = u32::from(function) + 1;
        let interrupt = pci::read(t.m, function, 0x3c);
        let (irq, pin) = (interrupt as u8, (interrupt >> 8) as u8);
        // The interrupt of the power management function is the SCI, which is not routed by a PIRQ.
        if !(1..=4).contains(&pin) || function & !7 == router & !7 {
            continue;
        }
        let slots = (size - HEADER) / SLOT;
        let slot = (0..slots).map(|n| at.add(HEADER + n * SLOT)).find(|slot| {
            t.m.read8(*slot) == (function >> 8) as u8 && t.m.read8(slot.add(1)) >> 3 == (function as u8) >> 3
        });
        let Some(slot) = slot else { return t.fail("a slot is not in the $PIR table") };
        let link = t.m.read8(slot.add(2 + u16::from(pin - 1) * 3));
        let allowed = t.m.read16(slot.add(3 + u16::from(pin - 1) * 3));
        check!(
            t,
            (FIRST_LINK..FIRST_LINK + 4).contains(&link) || (1..=4).contains(&link),
            "a link value is not one of the bridge's",
        )?;
        let register = if link < FIRST_LINK { FIRST_LINK + link - 1 } else { link };
        let route = (pci::read(t.m, router, register) >> (register % 4 * 8)) as u8;
        check_equal!(t, "an interrupt's line is", irq.into(), route.into())?;
        check!(t, irq < 16 && allowed & 1 << irq != 0, "an interrupt is routed to a line that is not allowed")?;
        check!(t, levels & 1 << irq != 0, "a routed line is edge triggered")?;
        pins += 1;
        t.note.clear();
    }
    t.note.put("$PIR, ").decimal(u32::from((size - HEADER) / SLOT)).put(" slots; ");
    t.note.decimal(pins).put(" pins routed; level ").hex(levels.into(), 4);
    Ok(())
}
