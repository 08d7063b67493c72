//! Time by the PIT's channel 0 and the BIOS's count of its interrupts.

use pcvm_firmware_rt::bda;
use pcvm_guest::Machine;

/// Clocks of the PIT a second (Intel 8254 datasheet; 105/88 MHz on every PC).
pub const HERTZ: u32 = 1_193_182;
/// The PIT's command port and channel 0.
pub const COMMAND: u16 = 0x43;
const CHANNEL_0: u16 = 0x40;
/// Channel 0, both bytes, mode 2 (rate generator).
const RATE_GENERATOR: u8 = 0x34;

/// The time in PIT clocks; it wraps after an hour.
pub struct Clock;

impl Clock {
    /// Makes channel 0 count down by ones: a BIOS may have left it in mode 3, where it counts by twos.
    pub fn start<M: Machine>(m: &mut M) {
        m.outb(COMMAND, RATE_GENERATOR);
        m.outb(CHANNEL_0, 0);
        m.outb(CHANNEL_0, 0);
    }

    /// Now. Interrupts must be on, and channel 0's be served by the BIOS.
    pub fn now<M: Machine>(m: &mut M) -> u32 {
        for _ in 0..4 {
            let before = m.get(bda::TICKS);
            m.outb(COMMAND, 0);
            let left = u16::from_le_bytes([m.inb(CHANNEL_0), m.inb(CHANNEL_0)]);
            // An interrupt that is due comes here.
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

/// The end of patience: by the clock, and by the number of looks, should the clock stand still.
pub struct Deadline {
    end: u32,
    looks: u32,
}

impl Deadline {
    /// `millis` (up to 1000) from now.
    pub fn after<M: Machine>(m: &mut M, millis: u32) -> Self {
        Self { end: Clock::now(m).wrapping_add(Clock::millis(millis)), looks: millis * 1000 }
    }

    /// Whether it is over.
    pub fn passed<M: Machine>(&mut self, m: &mut M) -> bool {
        self.looks = self.looks.saturating_sub(1);
        self.looks == 0 || (Clock::now(m).wrapping_sub(self.end) as i32) >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_of_milliseconds() {
        for (clocks, tenths) in [(0, 0), (1194, 10), (HERTZ, 10_000), (HERTZ * 60, 600_000), (u32::MAX, 35_995_900)] {
            let got = Clock::tenths(clocks);
            assert!(got.abs_diff(tenths) <= 1 + tenths / 1000, "{clocks}: {got}, not {tenths}");
        }
    }
}
