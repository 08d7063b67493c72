//! Time for waits: the timer's channel 0 counting (Intel 8254 datasheet 231164, "Counter Latch Command").

use pcvm_firmware_rt::Hw;

const CHANNEL_0: u16 = 0x40;
const CONTROL: u16 = 0x43;
/// Latch channel 0.
const LATCH: u8 = 0x00;
/// Reads of a counter that does not count, after which there is no clock.
const STUCK: u16 = 2_000;

/// Measures how long a wait lasts. Not for interrupt handlers: whom they interrupt may be reading the timer.
///
/// In mode 3 the counter falls by two each 838 ns, and passes 0 every 27 ms: it has to be looked at more often than that, as
/// polling loops do. Under a program's own count it runs fast, never slow.
#[derive(Debug)]
pub struct Stopwatch {
    last: Option<u16>,
    /// Counts gone: 2,386,364 a second.
    counts: u32,
    stuck: u16,
}

impl Stopwatch {
    /// Starts at its first reading.
    pub const fn start() -> Self {
        Self { last: None, counts: 0, stuck: 0 }
    }

    /// Whether `micros` (up to 1,700 s) have passed. Also true if the timer stands still.
    pub fn passed<H: Hw>(&mut self, hw: &mut H, micros: u32) -> bool {
        hw.outb(CONTROL, LATCH);
        let now = u16::from_le_bytes([hw.inb(CHANNEL_0), hw.inb(CHANNEL_0)]);
        match self.last.replace(now) {
            Some(last) if last == now => {
                self.stuck = self.stuck.saturating_add(1);
                return self.stuck >= STUCK;
            }
            Some(last) => {
                self.stuck = 0;
                self.counts = self.counts.saturating_add(u32::from(last.wrapping_sub(now)));
            }
            None => {}
        }
        // 2.386 counts a microsecond.
        self.counts >= micros.saturating_mul(2).saturating_add(micros / 5 * 2)
    }
}
