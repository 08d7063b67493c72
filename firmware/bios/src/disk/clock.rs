//! Time-outs for polling loops, measured by a counter that runs without interrupts.
//!
//! The counter is the ACPI power management timer if the power-on code found one (ACPI specification, section 4.8.3.3:
//! 24 bits at 3.579545 MHz), else channel 0 of the 8254 (1.193182 MHz). Software may have changed that channel's mode
//! and divisor. The code assumes mode 3, which decrements by two; in mode 2 a time-out lasts twice as long, and the
//! counts between a wrap and the next reading are lost. The BIOS tick count is not used: the caller may have disabled
//! interrupts or replaced INT 08h.

use crate::Bios;
use pcvm_firmware_rt::Hw;

const PM_TICKS_PER_MS: u32 = 3580;
const PM_MASK: u32 = 0xff_ffff;
const PIT_TICKS_PER_MS: u32 = 1193 * 2;
const PIT_COUNTER_0: u16 = 0x40;
const PIT_CONTROL: u16 = 0x43;
const LATCH_COUNTER_0: u8 = 0;

/// Polls per reading of the counter, which costs one or three port accesses.
const POLLS_PER_READING: u32 = 16;
/// Unchanged readings after which the counter is taken to be stopped.
const MAX_UNCHANGED_READINGS: u32 = 0x1_0000;

/// A running time-out.
#[derive(Debug)]
pub struct Timeout {
    left_ms: u32,
    left: u32,
    last: u32,
    polls: u32,
    unchanged: u32,
}

impl Timeout {
    /// A time-out in `ms` milliseconds, at most 30 minutes.
    pub const fn ms(ms: u32) -> Self {
        Self { left_ms: ms, left: 0, last: 0, polls: 0, unchanged: 0 }
    }

    /// Whether the time is over. Call it once per poll of the awaited condition. It serves pending interrupts, so that
    /// the tick count advances.
    pub fn expired<H: Hw>(&mut self, bios: &mut Bios<H>) -> bool {
        bios.hw.poll_interrupts();
        self.polls = self.polls.wrapping_add(1);
        if !self.polls.is_multiple_of(POLLS_PER_READING) {
            return false;
        }
        let pm_timer = bios.handoff.pm_timer;
        let now = if pm_timer != 0 { bios.hw.inl(pm_timer) & PM_MASK } else { pit(bios.hw) };
        if self.polls == POLLS_PER_READING {
            let per_ms = if pm_timer != 0 { PM_TICKS_PER_MS } else { PIT_TICKS_PER_MS };
            self.left = self.left_ms.saturating_mul(per_ms);
            self.last = now;
            return false;
        }
        let passed = if pm_timer != 0 {
            now.wrapping_sub(self.last) & PM_MASK
        } else if now <= self.last {
            self.last - now
        } else {
            // The counter has wrapped, from zero to an unknown divisor.
            self.last
        };
        self.unchanged = if now == self.last { self.unchanged + 1 } else { 0 };
        self.last = now;
        self.left = self.left.saturating_sub(passed);
        self.left == 0 || self.unchanged > MAX_UNCHANGED_READINGS
    }
}

fn pit<H: Hw>(hw: &mut H) -> u32 {
    hw.outb(PIT_CONTROL, LATCH_COUNTER_0);
    let low = hw.inb(PIT_COUNTER_0);
    u32::from(u16::from_le_bytes([low, hw.inb(PIT_COUNTER_0)]))
}

/// Waits `ms` milliseconds with interrupts served.
pub fn wait<H: Hw>(bios: &mut Bios<H>, ms: u32) {
    let mut timeout = Timeout::ms(ms);
    while !timeout.expired(bios) {}
}
