//! When writes to TSD, by which frames are sent in C mode, may be kept back too.
//!
//! A driver that looks at a register right after each such write (8139too does, to flush the bridges' buffers, and whoever
//! polls for TOK) stops twice for a frame, and the second stop alone would do: what was kept back is handed over before the
//! read is answered. So where the guest is seen to look promptly for some time, TSD joins the registers that only latch, and
//! leaves them when it does not look for once, or sends nothing for a while. A timer bounds how long a frame may lie there
//! meanwhile.

use super::{Rtl8139, TIMER_KEPT, regs};
use crate::ctx::{Ctx, Effect};
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

/// What counts as promptly, from the first write on, in nanoseconds: four frames by registers in memory on a slow host.
const PROMPT: u64 = 300_000;
/// How long a frame may be kept back at most, in nanoseconds.
const PERIOD: u64 = 500_000;
/// Looks in time before writes are kept back; twice as many each time that a driver disappointed us.
const FIRST_TRIAL: u16 = 32;
const LONGEST_TRIAL: u16 = 4096;
/// Periods in which nothing was sent after which they are not.
const IDLE: u8 = 2;

/// What the guest does after it has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keeping {
    /// Writes are kept back.
    on: bool,
    /// The first write after which it has not looked.
    since: Option<VmTime>,
    /// It has not looked when the timer came.
    late: bool,
    /// Looks in time, one after another.
    prompt: u16,
    /// How many it takes.
    trial: u16,
    /// It has sent since the timer came.
    used: bool,
    /// Periods in which it has not.
    idle: u8,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { on: false, since: None, late: false, prompt: 0, trial: FIRST_TRIAL, used: false, idle: 0 }
    }
}

impl Keeping {
    /// Whether writes to TSD may be kept back.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }
}

impl Rtl8139 {
    /// TSD was written.
    pub(super) fn note_write(&mut self, cx: &Ctx<'_>) {
        if self.keeping.since.is_none() {
            // Of what is kept back nobody knows since when.
            self.keeping.since = Some(if self.keeping.on { VmTime::ZERO } else { cx.now() });
        }
    }

    /// The guest stops at the register at `offset`. (Nearly always there is nothing to be seen to.)
    #[inline]
    pub(super) fn note_look(&mut self, cx: &mut Ctx<'_>, offset: u64) {
        if let Some(since) = self.keeping.since.take() {
            self.note_look_after(cx, offset, since);
        }
    }

    fn note_look_after(&mut self, cx: &mut Ctx<'_>, offset: u64, since: VmTime) {
        let keeping = &mut self.keeping;
        keeping.late = false;
        keeping.used = true;
        if keeping.on {
            return;
        }
        // Whoever looks at ISR may do so because of the interrupt that sending made, and that would not have come.
        if (regs::ISR..regs::ISR + 2).contains(&(offset as u8)) || cx.now() > since.plus_nanos(PROMPT) {
            keeping.prompt = 0;
            return;
        }
        keeping.prompt = keeping.prompt.saturating_add(1);
        if keeping.prompt >= keeping.trial {
            (keeping.on, keeping.prompt, keeping.idle) = (true, 0, 0);
            cx.arm(TIMER_KEPT, cx.now().plus_nanos(PERIOD));
            cx.effect(Effect::Remap);
        }
    }

    /// The timer. What was kept back has been handed over just before.
    pub(super) fn look_at_writes(&mut self, cx: &mut Ctx<'_>) {
        let keeping = &mut self.keeping;
        if !keeping.on {
            return;
        }
        keeping.idle = if keeping.used { 0 } else { keeping.idle.saturating_add(1) };
        keeping.used = false;
        // The timer may come between a write and the look after it, but hardly twice between the same two.
        let disappointed = keeping.since.is_some() && std::mem::replace(&mut keeping.late, keeping.since.is_some());
        if disappointed {
            keeping.trial = keeping.trial.saturating_mul(2).min(LONGEST_TRIAL);
        }
        if disappointed || keeping.idle >= IDLE {
            return self.keep_no_more(cx);
        }
        cx.arm(TIMER_KEPT, cx.now().plus_nanos(PERIOD));
    }

    /// From now on every write to TSD stops the guest.
    pub(super) fn keep_no_more(&mut self, cx: &mut Ctx<'_>) {
        let keeping = &mut self.keeping;
        (keeping.since, keeping.late, keeping.prompt) = (None, false, 0);
        if std::mem::take(&mut keeping.on) {
            cx.disarm(TIMER_KEPT);
            cx.effect(Effect::Remap);
        }
    }

    /// The timer of a restored machine.
    pub(super) fn keep_again(&self, cx: &mut Ctx<'_>) {
        if self.keeping.on {
            cx.arm(TIMER_KEPT, cx.now().plus_nanos(PERIOD));
        }
    }
}
