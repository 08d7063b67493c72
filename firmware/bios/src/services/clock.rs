//! Stopwatch for time-limited waits: counts of 8254 channel 0 (Intel 8254 datasheet 231164, "Counter Latch Command").

use pcvm_firmware_rt::Hw;

const CHANNEL_0: u16 = 0x40;
const CONTROL: u16 = 0x43;
/// Latch channel 0.
const LATCH: u8 = 0x00;
/// Unchanged readings after which the counter is taken to be stopped.
const MAX_STUCK_READINGS: u16 = 2_000;

/// Measures elapsed time. Not for interrupt handlers: the interrupted code may be in the middle of reading the counter.
///
/// In mode 3 the counter decrements by two every 838 ns and wraps every 27 ms, so it must be polled more often than
/// that. If a program has set a smaller divisor, the stopwatch runs fast; in mode 2, at half speed.
#[derive(Debug)]
pub struct Stopwatch {
    last: Option<u16>,
    /// Counts elapsed: 2,386,364 per second.
    counts: u32,
    stuck: u16,
}

impl Stopwatch {
    /// A stopwatch that starts at the first call of [`Self::passed`].
    pub const fn start() -> Self {
        Self { last: None, counts: 0, stuck: 0 }
    }

    /// Whether `micros` (up to 1,700 s) have passed, or the counter is stopped.
    pub fn passed<H: Hw>(&mut self, hw: &mut H, micros: u32) -> bool {
        hw.outb(CONTROL, LATCH);
        let now = u16::from_le_bytes([hw.inb(CHANNEL_0), hw.inb(CHANNEL_0)]);
        match self.last.replace(now) {
            Some(last) if last == now => {
                self.stuck = self.stuck.saturating_add(1);
                return self.stuck >= MAX_STUCK_READINGS;
            }
            Some(last) => {
                self.stuck = 0;
                self.counts = self.counts.saturating_add(u32::from(last.wrapping_sub(now)));
            }
            None => {}
        }
        // 2.4 counts per microsecond; the exact value is 2.386.
        self.counts >= micros.saturating_mul(2).saturating_add(micros / 5 * 2)
    }
}
