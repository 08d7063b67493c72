//! How the slots' interrupt pins are wired to PIRQA# to PIRQD#: swizzled, from slot 1 on, as on boards with the
//! 440FX and on the virtual PCs that took after them.
//!
//! The wiring is frozen: it is also in the ACPI, MP and $PIR tables.

use crate::Devfn;

/// The PIRQ (0 for PIRQA#, 3 for PIRQD#) that pin `pin` (0 for INTA#, 3 for INTD#; higher ones wrap) of a function is
/// wired to.
pub const fn pirq_of(function: Devfn, pin: u8) -> u8 {
    // (slot - 1 + pin) modulo 4; slot 0 counts as slot 4.
    (function.slot() + 3 + (pin & 3)) & 3
}

/// Levels of the PIRQs, given every function's asserted pins: sharers are ORed.
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
    fn slots_are_swizzled_from_slot_1_on() {
        for (slot, pin, pirq) in
            [(1, 0, 0), (1, 3, 3), (2, 0, 1), (3, 0, 2), (4, 0, 3), (5, 0, 0), (3, 2, 0), (0, 0, 3), (31, 3, 1)]
        {
            assert_eq!(pirq_of(Devfn::new(slot, 0), pin), pirq, "slot {slot} pin {pin}");
            assert_eq!(pirq_of(Devfn::new(slot, 7), pin), pirq, "the function does not matter");
        }
        for devfn in 0..=255 {
            for pin in 0..=255 {
                assert!(pirq_of(Devfn(devfn), pin) < 4);
            }
        }
    }

    #[test]
    fn sharers_are_ored() {
        assert_eq!(pirq_levels([]), [false; 4]);
        let sharing = [(Devfn::new(3, 0), 0), (Devfn::new(7, 0), 0), (Devfn::new(4, 0), 0)];
        assert_eq!(pirq_levels(sharing), [false, false, true, true]);
    }
}
