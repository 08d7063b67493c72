//! Time-outs by a clock that runs without interrupts.
//!
//! The clock is the ACPI power management timer where the power-on code found one (ACPI specification, section 4.8.3.3: 24 bits
//! at 3.579545 MHz), else channel 0 of the 8254 (1.193182 MHz). Software may have given that channel any divisor, and in
//! mode 3 it counts by two: a time-out is then up to twice as fast, and never more than a few times as slow. The BIOS
//! tick count is not used: a caller may have interrupts disabled or INT 08h for himself.

use crate::Bios;
use pcvm_firmware_rt::Hw;

const PM_TICKS_PER_MS: u32 = 3580;
const PM_MASK: u32 = 0xff_ffff;
const PIT_TICKS_PER_MS: u32 = 1193 * 2;
const PIT_COUNTER_0: u16 = 0x40;
const PIT_CONTROL: u16 = 0x43;
const LATCH_COUNTER_0: u8 = 0;

/// The clock is looked at once in so many polls: a look is one or three port accesses.
const POLLS_PER_LOOK: u32 = 16;
/// A clock that shows the same so many times stands.
const LOOKS_AT_A_STANDING_CLOCK: u32 = 0x1_0000;

/// A time-out under way.
#[derive(Debug)]
pub struct Timeout {
    left_ms: u32,
    left: u32,
    last: u32,
    polls: u32,
    standing: u32,
}

impl Timeout {
    /// Of this many milliseconds from now on: at most 30 minutes.
    pub const fn ms(ms: u32) -> Self {
        Self { left_ms: ms, left: 0, last: 0, polls: 0, standing: 0 }
    }

    /// Whether it has run out. To be called once for every poll of whatever is waited for.
    pub fn expired<H: Hw>(&mut self, bios: &mut Bios<H>) -> bool {
        self.polls = self.polls.wrapping_add(1);
        if !self.polls.is_multiple_of(POLLS_PER_LOOK) {
            return false;
        }
        let pm_timer = bios.handoff.pm_timer;
        let now = if pm_timer != 0 { bios.hw.inl(pm_timer) & PM_MASK } else { pit(bios.hw) };
        if self.polls == POLLS_PER_LOOK {
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
            // It has wrapped, from zero to a divisor that is not known.
            self.last
        };
        self.standing = if now == self.last { self.standing + 1 } else { 0 };
        self.last = now;
        self.left = self.left.saturating_sub(passed);
        self.left == 0 || self.standing > LOOKS_AT_A_STANDING_CLOCK
    }
}

fn pit<H: Hw>(hw: &mut H) -> u32 {
    hw.outb(PIT_CONTROL, LATCH_COUNTER_0);
    let low = hw.inb(PIT_COUNTER_0);
    u32::from(u16::from_le_bytes([low, hw.inb(PIT_COUNTER_0)]))
}

/// Lets so many milliseconds pass, with interrupts served.
pub fn wait<H: Hw>(bios: &mut Bios<H>, ms: u32) {
    let mut timeout = Timeout::ms(ms);
    while !timeout.expired(bios) {
        bios.hw.poll_interrupts();
    }
}
