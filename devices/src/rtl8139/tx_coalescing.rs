//! RTL8139 transmit coalescing: TSD writes, which send frames in C mode, join the coalesced registers.
//!
//! Every TSD write costs a VM exit. Many drivers access another register right after it: Linux's 8139too reads back to
//! flush posted writes, others poll TSD for TOK. That second access exits anyway, and KVM's coalescing ring is drained
//! before it is handled, so the exit at TSD is wasted. When the guest has made enough such prompt accesses in a row,
//! TSD becomes coalesced. It stops being coalesced when a frame waits for two timer periods, or when the guest sends
//! nothing. The timer bounds the time that a frame can stay in the ring.

use super::{Rtl8139, TIMER_TX_COALESCING, regs};
use crate::ctx::{Ctx, Effect};
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// The longest time from the first TSD write to the next register access that counts as prompt, in nanoseconds: four
/// frames by MMIO on a slow host.
const PROMPT_ACCESS: u64 = 300_000;
/// The longest time that a frame stays in the coalescing ring, in nanoseconds.
const TIMER_PERIOD: u64 = 500_000;
/// Consecutive prompt accesses before TSD is coalesced. The number doubles, up to `MAX_TRIAL`, each time that a frame
/// waited too long.
const MIN_TRIAL: u16 = 32;
const MAX_TRIAL: u16 = 4096;
/// Timer periods without a transmitted frame after which coalescing stops.
const MAX_IDLE_PERIODS: u8 = 2;

/// State of TSD coalescing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TxCoalescing {
    /// TSD writes are coalesced.
    active: bool,
    /// The first TSD write since the last register access by the guest.
    unsynced_since: Option<VmTime>,
    /// The last timer found a TSD write without an access after it.
    late: bool,
    /// Consecutive prompt accesses.
    prompt_accesses: u16,
    /// Prompt accesses that it takes to start coalescing.
    trial: u16,
    /// The guest has sent a frame in this timer period.
    sent_in_period: bool,
    /// Timer periods in which the guest sent nothing.
    idle_periods: u8,
}

impl Default for TxCoalescing {
    fn default() -> Self {
        Self {
            active: false,
            unsynced_since: None,
            late: false,
            prompt_accesses: 0,
            trial: MIN_TRIAL,
            sent_in_period: false,
            idle_periods: 0,
        }
    }
}

impl TxCoalescing {
    /// Whether TSD writes may be coalesced.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }
}

impl Rtl8139 {
    /// The guest wrote TSD.
    pub(super) fn note_tsd_write(&mut self, cx: &Ctx<'_>) {
        if self.tx_coalescing.unsynced_since.is_none() {
            // The time of a coalesced write is unknown.
            self.tx_coalescing.unsynced_since = Some(if self.tx_coalescing.active { VmTime::ZERO } else { cx.now() });
        }
    }

    /// The guest accesses a register that is not coalesced. Usually no TSD write is outstanding.
    #[inline]
    pub(super) fn note_synchronous_access(&mut self, cx: &mut Ctx<'_>, offset: u64) {
        if let Some(since) = self.tx_coalescing.unsynced_since.take() {
            self.note_access_after_tsd(cx, offset, since);
        }
    }

    fn note_access_after_tsd(&mut self, cx: &mut Ctx<'_>, offset: u64, since: VmTime) {
        let coalescing = &mut self.tx_coalescing;
        coalescing.late = false;
        coalescing.sent_in_period = true;
        if coalescing.active {
            return;
        }
        // An access to ISR may be the handler of the transmit interrupt, which would not have come without the exit at
        // TSD.
        if (regs::ISR..regs::ISR + 2).contains(&(offset as u8)) || cx.now() > since.plus_nanos(PROMPT_ACCESS) {
            coalescing.prompt_accesses = 0;
            return;
        }
        coalescing.prompt_accesses = coalescing.prompt_accesses.saturating_add(1);
        if coalescing.prompt_accesses >= coalescing.trial {
            (coalescing.active, coalescing.prompt_accesses, coalescing.idle_periods) = (true, 0, 0);
            cx.arm(TIMER_TX_COALESCING, cx.now().plus_nanos(TIMER_PERIOD));
            cx.effect(Effect::Remap);
        }
    }

    /// The timer. The board drains the coalescing ring before it delivers the timer.
    pub(super) fn on_tx_coalescing_timer(&mut self, cx: &mut Ctx<'_>) {
        let coalescing = &mut self.tx_coalescing;
        if !coalescing.active {
            return;
        }
        coalescing.idle_periods = if coalescing.sent_in_period { 0 } else { coalescing.idle_periods.saturating_add(1) };
        coalescing.sent_in_period = false;
        // One timer may fall between a write and its access; two for the same write mean that no access follows.
        let timed_out = coalescing.unsynced_since.is_some()
            && std::mem::replace(&mut coalescing.late, coalescing.unsynced_since.is_some());
        if timed_out {
            coalescing.trial = coalescing.trial.saturating_mul(2).min(MAX_TRIAL);
        }
        if timed_out || coalescing.idle_periods >= MAX_IDLE_PERIODS {
            return self.stop_tx_coalescing(cx);
        }
        cx.arm(TIMER_TX_COALESCING, cx.now().plus_nanos(TIMER_PERIOD));
    }

    /// Stops coalescing: every TSD write exits again.
    pub(super) fn stop_tx_coalescing(&mut self, cx: &mut Ctx<'_>) {
        let coalescing = &mut self.tx_coalescing;
        (coalescing.unsynced_since, coalescing.late, coalescing.prompt_accesses) = (None, false, 0);
        if std::mem::take(&mut coalescing.active) {
            cx.disarm(TIMER_TX_COALESCING);
            cx.effect(Effect::Remap);
        }
    }

    /// Arms the timer after a restore.
    pub(super) fn rearm_tx_coalescing_timer(&self, cx: &mut Ctx<'_>) {
        if self.tx_coalescing.active {
            cx.arm(TIMER_TX_COALESCING, cx.now().plus_nanos(TIMER_PERIOD));
        }
    }
}
