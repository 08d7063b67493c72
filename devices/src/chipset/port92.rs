//! Port 92h, system control port A: fast reset and A20 gate (IBM PS/2; adopted by PC chipsets).
//!
//! A change of bit 0 from 0 to 1 resets the CPU (INIT). Bit 1 is the A20 gate, shared with the keyboard controller.
//! Bits 3 (password lock), 6 and 7 (activity light) are latches without effect. No IRQ.

use crate::{Access, Ctx, Device, Effect, Region, ResetKind, RestoreError};
use serde::{Deserialize, Serialize};

/// System control port A.
pub const PORT: u16 = 0x92;
const FAST_RESET: u8 = 1 << 0;
const A20_GATE: u8 = 1 << 1;
/// Bits that this device latches. The A20 gate is in [`Ctx`]; the other bits are reserved.
const LATCHED: u8 = 1 << 7 | 1 << 6 | 1 << 3 | FAST_RESET;

/// Port 92h.
#[derive(Debug, Default)]
pub struct Port92 {
    latched: u8,
}

/// [`Port92`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Port92State {
    latched: u8,
}

impl Port92 {
    /// The port at power-on.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for Port92 {
    type State = Port92State;
    const KIND: &'static str = "port92";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(PORT, 1, 0)]
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        (at.offset == 0).then_some("System Control Port A")
    }

    fn read(&mut self, cx: &mut Ctx<'_>, _at: Access, data: &mut [u8]) {
        if let [first, ..] = data {
            *first = self.latched | if cx.a20() { A20_GATE } else { 0 };
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, _at: Access, data: &[u8]) {
        let [value, ..] = *data else { return };
        let rising = value & !self.latched;
        self.latched = value & LATCHED;
        cx.set_a20(value & A20_GATE != 0);
        if rising & FAST_RESET != 0 {
            cx.effect(Effect::Reset(ResetKind::Init));
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { latched } = self;
        *latched = 0;
        // A KVM guest's address line 20 is never masked, so the gate reads as open from reset.
        cx.set_a20(true);
    }

    fn save(&self) -> Port92State {
        let Self { latched } = self;
        Port92State { latched: *latched }
    }

    fn load(&mut self, state: Port92State) -> Result<(), RestoreError> {
        let Port92State { latched } = state;
        if latched & !LATCHED != 0 {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "port 92h" });
        }
        self.latched = latched;
        Ok(())
    }

    fn resync(&mut self, _cx: &mut Ctx<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_register_is_named_at_every_width() {
        let port = Port92::new();
        for width in [1, 2, 4] {
            assert_eq!(port.register_name(Access { tag: 0, offset: 0, width }), Some("System Control Port A"));
        }
    }

    #[test]
    fn bit_1_shows_the_a20_gate_that_the_keyboard_controller_shares() {
        let mut bench = Bench::new(Port92::new());
        assert_eq!(bench.inb(0x92), 0x02);
        bench.outb(0x92, 0x00);
        assert_eq!(bench.inb(0x92), 0x00);
        assert!(!bench.call(|_, cx| cx.a20()));
        bench.call(|_, cx| cx.set_a20(true));
        assert_eq!(bench.inb(0x92), 0x02, "the keyboard controller opened the gate");
    }

    #[test]
    fn only_a_rising_bit_0_resets() {
        let mut bench = Bench::new(Port92::new());
        let reset = Effect::Reset(ResetKind::Init);
        bench.outb(0x92, 0x02);
        assert_eq!(bench.effects, []);
        bench.outb(0x92, 0x03);
        assert_eq!(bench.effects, vec![reset.clone()]);
        bench.outb(0x92, 0x03);
        assert_eq!(bench.effects, vec![reset.clone()], "bit 0 does not change");
        bench.outb(0x92, 0x02);
        bench.outb(0x92, 0xff);
        assert_eq!(bench.effects, [reset.clone(), reset]);
        assert_eq!(bench.inb(0x92), 0xcb, "reserved bits read zero");
        bench.call(Device::reset);
        assert_eq!(bench.inb(0x92), 0x02);
    }
}
