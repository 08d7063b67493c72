//! PCI interrupt swizzle: the wiring of each slot's INTA# to INTD# to PIRQA# to PIRQD#, as on 440FX boards and on
//! QEMU's `pc`.
//!
//! The wiring is frozen: the ACPI, MP and $PIR tables describe it too.

use crate::Devfn;

/// The PIRQ (0 for PIRQA#, 3 for PIRQD#) to which interrupt pin `pin` of a function is wired. Pin 0 is INTA#, 3 is
/// INTD#; only the low two bits count.
pub const fn pirq_of(function: Devfn, pin: u8) -> u8 {
    // (slot - 1 + pin) modulo 4, without an underflow at slot 0.
    (function.slot() + 3 + (pin & 3)) & 3
}

/// Levels of PIRQA# to PIRQD#: the OR of all `asserted` pins that are wired to each.
pub fn pirq_levels(asserted: impl IntoIterator<Item = (Devfn, u8)>) -> [bool; 4] {
    let mut levels = [false; 4];
    for (function, pin) in asserted {
        levels[usize::from(pirq_of(function, pin))] = true;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_1_starts_the_swizzle_at_pirqa() {
        for (slot, pin, pirq) in
            [(1, 0, 0), (1, 3, 3), (2, 0, 1), (3, 0, 2), (4, 0, 3), (5, 0, 0), (3, 2, 0), (0, 0, 3), (31, 3, 1)]
        {
            assert_eq!(pirq_of(Devfn::new(slot, 0), pin), pirq, "slot {slot} pin {pin}");
            assert_eq!(pirq_of(Devfn::new(slot, 7), pin), pirq, "all functions of a slot share its wiring");
        }
        for devfn in 0..=255 {
            for pin in 0..=255 {
                assert!(pirq_of(Devfn(devfn), pin) < 4);
            }
        }
    }

    #[test]
    fn functions_that_share_a_pirq_are_ored() {
        assert_eq!(pirq_levels([]), [false; 4]);
        let sharing = [(Devfn::new(3, 0), 0), (Devfn::new(7, 0), 0), (Devfn::new(4, 0), 0)];
        assert_eq!(pirq_levels(sharing), [false, false, true, true]);
    }
}
