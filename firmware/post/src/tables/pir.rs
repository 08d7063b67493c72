//! PCI interrupt routing table, $PIR (Microsoft, "PCI IRQ Routing Table Specification" 1.0).
//!
//! For each slot, it lists the PIRQs of the four interrupt pins, and the IRQs to which a PIRQ may be routed.

use super::{TableSpace, fix_sum, put};
use crate::Machine;
use crate::pci::Pci;
use crate::pci::piix::{Chipset, pirq};

const HEADER_LEN: u32 = 32;
const ENTRY_LEN: u32 = 16;
/// Link values are the offsets of the router's registers PIRQRCA to PIRQRCD.
const FIRST_LINK: u8 = 0x60;
/// IRQs to which a PIRQ may be routed: 3 to 7, 9 to 12, 14, 15 (82371SB, 2.2.9).
const LINES: u16 = 0xdef8;
/// First device number of a card slot: card slots are numbered from 1, on-board devices have slot number 0.
const FIRST_CARD: u8 = 3;
const SLOTS: usize = 32;
/// Compatible router: the PIIX, which has the same routing registers.
const PIIX: u32 = 0x122e_8086;

/// Writes the table, with an entry for each occupied slot of bus 0. `None` without a router.
pub fn install<M: Machine>(machine: &mut M, pci: &Pci, chipset: &Chipset, space: &mut TableSpace) -> Option<u32> {
    let router = chipset.router?;
    let mut slots = [false; SLOTS];
    for function in pci.functions().iter().filter(|function| function.bus == 0) {
        if let Some(slot) = slots.get_mut(usize::from(function.bdf >> 3 & 31)) {
            *slot = true;
        }
    }
    // The host bridge has no interrupt pin.
    slots[0] = false;
    let count = slots.iter().filter(|&&slot| slot).count() as u32;
    let bytes = HEADER_LEN + count * ENTRY_LEN;
    let at = space.code(bytes, 16)?;
    machine.fill(at, 0, bytes);
    put(machine, at, b"$PIR");
    // Version 1.0.
    machine.write16(at + 4, 0x0100);
    machine.write16(at + 6, bytes as u16);
    machine.write8(at + 8, (router.bdf >> 8) as u8);
    machine.write8(at + 9, router.bdf as u8);
    // No IRQs exclusive to PCI (word at 10).
    machine.write32(at + 12, PIIX);
    let mut next = at + HEADER_LEN;
    for slot in (0..SLOTS as u8).filter(|&slot| slots.get(usize::from(slot)).is_some_and(|&occupied| occupied)) {
        machine.write8(next + 1, slot << 3);
        for pin in 0..4u8 {
            let link = next + 2 + 3 * u32::from(pin);
            machine.write8(link, FIRST_LINK + pirq(slot, pin));
            machine.write16(link + 1, LINES);
        }
        machine.write8(next + 14, (slot + 1).saturating_sub(FIRST_CARD));
        next += ENTRY_LEN;
    }
    fix_sum(machine, at + 31, at, bytes);
    Some(at)
}
