//! Clock of the self-test: channel 0 of the PIT and the BIOS's tick count.

use pcvm_firmware_rt::bda;
use pcvm_guest::Machine;

/// PIT frequency in Hz (Intel 8254 datasheet; 105/88 MHz on every PC).
pub const HERTZ: u32 = 1_193_182;
/// Control word port of the PIT.
pub const COMMAND: u16 = 0x43;
const CHANNEL_0: u16 = 0x40;
/// Control word: channel 0, both bytes, mode 2 (rate generator).
const RATE_GENERATOR: u8 = 0x34;

/// Time in PIT clocks, which wraps after an hour.
pub struct Clock;

impl Clock {
    /// Sets channel 0 to mode 2: in mode 3, which the BIOS may have set, it counts in steps of 2.
    pub fn start<M: Machine>(m: &mut M) {
        m.outb(COMMAND, RATE_GENERATOR);
        m.outb(CHANNEL_0, 0);
        m.outb(CHANNEL_0, 0);
    }

    /// The current time. Interrupts must be enabled, and the BIOS must handle IRQ 0.
    pub fn now<M: Machine>(m: &mut M) -> u32 {
        for _ in 0..4 {
            let before = m.get(bda::TICKS);
            m.outb(COMMAND, 0);
            let left = u16::from_le_bytes([m.inb(CHANNEL_0), m.inb(CHANNEL_0)]);
            // A pending timer interrupt is handled here.
            m.poll_interrupts();
            m.set_interrupts(true);
            if m.get(bda::TICKS) == before {
                return (before << 16).wrapping_add(u32::from(left.wrapping_neg()));
            }
        }
        m.get(bda::TICKS) << 16
    }

    /// PIT clocks as tenths of a millisecond.
    pub const fn tenths(clocks: u32) -> u32 {
        // 1193182 / 10000 = 119.3182; in steps that do not overflow.
        clocks / 119 - clocks / 119 * 27 / 10_000
    }

    /// Milliseconds as PIT clocks.
    pub const fn millis(millis: u32) -> u32 {
        millis * (HERTZ / 1000)
    }
}

/// A time limit, and a limit of polls in case the clock does not run.
pub struct Deadline {
    end: u32,
    polls: u32,
}

impl Deadline {
    /// A deadline `millis` (up to 1000) ms from now.
    pub fn after<M: Machine>(m: &mut M, millis: u32) -> Self {
        Self { end: Clock::now(m).wrapping_add(Clock::millis(millis)), polls: millis * 1000 }
    }

    /// Whether the deadline has passed.
    pub fn passed<M: Machine>(&mut self, m: &mut M) -> bool {
        self.polls = self.polls.saturating_sub(1);
        self.polls == 0 || (Clock::now(m).wrapping_sub(self.end) as i32) >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_converted_to_tenths_of_milliseconds() {
        for (clocks, tenths) in [(0, 0), (1194, 10), (HERTZ, 10_000), (HERTZ * 60, 600_000), (u32::MAX, 35_995_900)] {
            let got = Clock::tenths(clocks);
            assert!(got.abs_diff(tenths) <= 1 + tenths / 1000, "{clocks}: {got}, not {tenths}");
        }
    }
}
