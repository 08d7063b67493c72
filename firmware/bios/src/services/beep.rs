//! PC speaker beep: 8254 channel 2 through port 61h. The timer interrupt ends a beep, so no caller waits for it.

use pcvm_firmware_rt::{Field, Hw};

const PORT_B: u16 = 0x61;
const ON: u8 = 0x03;
const TIMER_CONTROL: u16 = 0x43;
const CHANNEL_2: u16 = 0x42;
/// Channel 2, both bytes, mode 3.
const SQUARE_WAVE: u8 = 0xb6;
/// 900 Hz: 1193182 Hz / 1326.
const DIVISOR: u16 = 1326;
/// 40:12, otherwise unused on this machine: timer ticks until the beep ends.
const TICKS_LEFT: Field<u8> = Field::new(0x40, 0x12);

/// Starts a beep of 0.1 s.
pub fn short<H: Hw>(hw: &mut H) {
    hw.outb(TIMER_CONTROL, SQUARE_WAVE);
    let [low, high] = DIVISOR.to_le_bytes();
    hw.outb(CHANNEL_2, low);
    hw.outb(CHANNEL_2, high);
    let port = hw.inb(PORT_B);
    hw.outb(PORT_B, port | ON);
    hw.set(TICKS_LEFT, 2);
}

/// Timer tick: ends the beep when its time is over.
pub fn tick<H: Hw>(hw: &mut H) {
    let left = hw.get(TICKS_LEFT);
    if left != 0 {
        hw.set(TICKS_LEFT, left - 1);
        if left == 1 {
            let port = hw.inb(PORT_B);
            hw.outb(PORT_B, port & !ON);
        }
    }
}
