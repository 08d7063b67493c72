//! RTL8139 interrupt: INTA# from ISR and IMR, with transmit interrupt moderation.
//!
//! The real chip takes 7 to 121 us to send a frame, so a driver that sends several frames at a time finds more than one
//! completed per interrupt. This model sends a frame at once, and an interrupt per frame would be the largest cost of
//! sending. While the guest sends without waiting, INTA# (not ISR, which is always exact) is therefore deferred until a
//! batch of frames is sent or [`MAX_DELAY`] has passed. If no second frame is sent during a delay, the guest waits for
//! each interrupt: moderation backs off, for a number of frames that doubles each time. Only TOK and TDU are ever
//! deferred.

use super::regs::int;
use super::{Rtl8139, TIMER_TX_INTERRUPT};
use crate::ctx::{Ctx, IrqLine};
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// The longest time that INTA# is deferred, in nanoseconds.
const MAX_DELAY: u64 = 250_000;
/// Frames that raise INTA# at once: all four slots in C mode, a quarter of a ring in C+ mode.
const BATCH_SLOTS: u8 = 4;
const BATCH_DESCRIPTORS: u8 = 16;
/// Binary logarithm of the number of frames that are not moderated after an unprofitable delay: 8 to 2048 frames.
const MIN_BACKOFF: u8 = 3;
const MAX_BACKOFF: u8 = 11;

/// State of transmit interrupt moderation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TxModeration {
    /// Frames sent since the last interrupt.
    unannounced: u8,
    /// When the deferred interrupt is due.
    deadline: Option<VmTime>,
    /// Frames that still interrupt at once before moderation is tried again.
    immediate: u16,
    /// Binary logarithm of the next back-off, in frames.
    backoff: u8,
}

impl Default for TxModeration {
    fn default() -> Self {
        Self { unannounced: 0, deadline: None, immediate: 1 << MIN_BACKOFF, backoff: MIN_BACKOFF }
    }
}

impl TxModeration {
    /// Clears the deferred frames: the guest has seen them, or was interrupted.
    pub(super) fn clear(&mut self) {
        (self.unannounced, self.deadline) = (0, None);
    }

    /// A frame was sent.
    pub(super) fn frame_sent(&mut self) {
        self.unannounced = self.unannounced.saturating_add(1);
    }

    /// Whether to defer INTA# for the frames sent so far.
    fn defers(&mut self, cx: &mut Ctx<'_>, batch: u8) -> bool {
        if self.unannounced == 0 || self.immediate > 0 {
            // No new frame (ISR was unmasked again, for example), or moderation is backing off.
            self.immediate = self.immediate.saturating_sub(self.unannounced.into());
            return false;
        }
        if self.unannounced >= batch {
            self.backoff = MIN_BACKOFF;
            return false;
        }
        if self.deadline.is_none() {
            let deadline = cx.now().plus_nanos(MAX_DELAY);
            self.deadline = Some(deadline);
            cx.arm(TIMER_TX_INTERRUPT, deadline);
        }
        true
    }
}

impl Rtl8139 {
    /// Updates INTA# from ISR and IMR.
    pub(super) fn update_irq(&mut self, cx: &mut Ctx<'_>) {
        let pending = self.regs.isr & self.regs.imr;
        if self.regs.isr & int::TOK == 0 {
            self.tx_moderation.clear();
        }
        let mut level = pending != 0 && self.in_d0();
        if level && !self.inta && pending & !(int::TOK | int::TDU) == 0 {
            let batch = if self.cplus_tx() { BATCH_DESCRIPTORS } else { BATCH_SLOTS };
            level = !self.tx_moderation.defers(cx, batch);
        }
        if level {
            self.tx_moderation.clear();
        }
        if level != self.inta {
            self.inta = level;
            self.drive_irq(cx);
        }
    }

    /// Drives INTA# to its current level.
    pub(super) fn drive_irq(&self, cx: &mut Ctx<'_>) {
        cx.set_irq(IrqLine::Pci(0), self.inta);
    }

    /// The deadline timer of a deferred interrupt.
    pub(super) fn on_tx_interrupt_timer(&mut self, cx: &mut Ctx<'_>) {
        let Some(deadline) = self.tx_moderation.deadline else { return };
        if cx.now() < deadline {
            return cx.arm(TIMER_TX_INTERRUPT, deadline);
        }
        if self.tx_moderation.unannounced > 1 {
            self.tx_moderation.backoff = MIN_BACKOFF;
        } else {
            self.tx_moderation.immediate = 1 << self.tx_moderation.backoff.min(MAX_BACKOFF);
            self.tx_moderation.backoff = (self.tx_moderation.backoff + 1).min(MAX_BACKOFF);
        }
        // With no frame deferred, `update_irq` raises INTA#.
        self.tx_moderation.clear();
    }

    /// Arms the deadline timer after a restore.
    pub(super) fn rearm_tx_interrupt_timer(&self, cx: &mut Ctx<'_>) {
        if let Some(deadline) = self.tx_moderation.deadline {
            cx.arm(TIMER_TX_INTERRUPT, deadline);
        }
    }
}
