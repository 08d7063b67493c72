//! INTA#: ISR and IMR, and when a frame that was sent is worth an interrupt.
//!
//! The real chip takes 7 to 121 us to send a frame, and a driver that sends several at a time finds more than one sent when
//! it is interrupted. Here a frame is sent at once, and one interrupt for each would be the dearest part of sending. So,
//! where the guest is seen to send on without waiting, INTA# (not ISR, which is always exact) is held back until a few
//! frames are sent or [`DELAY`] has passed. A guest that sends one frame and waits for its interrupt is found out by the
//! first delay in which no second frame came, and gets its interrupts at once for some time then, longer each time.
//! Nothing but TOK and TDU is ever held back.

use super::regs::int;
use super::{Rtl8139, TIMER_SENT};
use crate::ctx::{Ctx, IrqLine};
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// How long INTA# is held back at most, in nanoseconds.
const DELAY: u64 = 250_000;
/// Frames that are worth an interrupt: all slots, or a good part of a ring.
const ENOUGH_SLOTS: u8 = 4;
const ENOUGH_DESCRIPTORS: u8 = 16;
/// Frames announced at once after a guest was found to wait for each: 8 to 2048.
const FEWEST: u8 = 3;
const MOST: u8 = 11;

/// What was sent and not announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moderation {
    /// Frames.
    frames: u8,
    /// Until when they may wait.
    deadline: Option<VmTime>,
    /// So many frames are announced at once before waiting is tried again.
    at_once: u16,
    /// How often trying did not pay, as an exponent.
    vain: u8,
}

impl Default for Moderation {
    fn default() -> Self {
        Self { frames: 0, deadline: None, at_once: 1 << FEWEST, vain: FEWEST }
    }
}

impl Moderation {
    /// The guest knows of all.
    pub(super) fn forget(&mut self) {
        (self.frames, self.deadline) = (0, None);
    }

    /// A frame was sent.
    pub(super) fn note(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    /// Whether INTA# may wait.
    fn waits(&mut self, cx: &mut Ctx<'_>, enough: u8) -> bool {
        if self.frames == 0 || self.at_once > 0 {
            // Announced before, and still or again to be seen; or not to be held back.
            self.at_once = self.at_once.saturating_sub(self.frames.into());
            return false;
        }
        if self.frames >= enough {
            self.vain = FEWEST;
            return false;
        }
        if self.deadline.is_none() {
            let deadline = cx.now().plus_nanos(DELAY);
            self.deadline = Some(deadline);
            cx.arm(TIMER_SENT, deadline);
        }
        true
    }
}

impl Rtl8139 {
    /// Sets INTA# as ISR and IMR say.
    pub(super) fn update_irq(&mut self, cx: &mut Ctx<'_>) {
        let pending = self.regs.isr & self.regs.imr;
        if self.regs.isr & int::TOK == 0 {
            self.sent.forget();
        }
        let mut level = pending != 0 && self.awake();
        if level && !self.irq && pending & !(int::TOK | int::TDU) == 0 {
            let enough = if self.sends_descriptors() { ENOUGH_DESCRIPTORS } else { ENOUGH_SLOTS };
            level = !self.sent.waits(cx, enough);
        }
        if level {
            self.sent.forget();
        }
        if level != self.irq {
            self.irq = level;
            self.drive_irq(cx);
        }
    }

    /// Drives INTA# to what it is.
    pub(super) fn drive_irq(&self, cx: &mut Ctx<'_>) {
        cx.set_irq(IrqLine::Pci(0), self.irq);
    }

    /// Frames have waited long enough to be announced.
    pub(super) fn announce_late(&mut self, cx: &mut Ctx<'_>) {
        let Some(deadline) = self.sent.deadline else { return };
        if cx.now() < deadline {
            return cx.arm(TIMER_SENT, deadline);
        }
        if self.sent.frames > 1 {
            self.sent.vain = FEWEST;
        } else {
            self.sent.at_once = 1 << self.sent.vain.min(MOST);
            self.sent.vain = (self.sent.vain + 1).min(MOST);
        }
        // From now on there is nothing to wait for.
        self.sent.forget();
    }

    /// The timer of a restored machine.
    pub(super) fn announce_again(&self, cx: &mut Ctx<'_>) {
        if let Some(deadline) = self.sent.deadline {
            cx.arm(TIMER_SENT, deadline);
        }
    }
}
