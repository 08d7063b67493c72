//! The PIT, against the RTC's crystal, and its interrupt.

use crate::clock::{COMMAND, Deadline, HERTZ};
use crate::rtc::{self, PERIODS_PER_SECOND};
use crate::{Outcome, Stop, Test};
use pcvm_firmware_rt::bda;
use pcvm_guest::Machine;

/// Port of channel 2, and of its gate and output.
const CHANNEL_2: u16 = 0x42;
const PORT_B: u16 = 0x61;
const GATE_2: u8 = 1;
const SPEAKER: u8 = 2;
const OUTPUT_2: u8 = 0x20;
/// Channel 2, both bytes, mode 0 (interrupt on terminal count).
const ONE_SHOT: u8 = 0xb0;

/// Whether two lengths of time agree within a quarter: a guest's time is a share of its host's.
pub fn agree(got: u32, wanted: u32) -> bool {
    got.abs_diff(wanted) <= wanted / 4
}

/// Channel 0 runs at 1.193 MHz by the RTC's periodic flag, its interrupt comes 18.2 times a second, and channel 2
/// counts to its end.
pub fn pit<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    rtc::counting(t, channel_0)?;
    channel_2(t)
}

fn channel_0<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    // 125 ms.
    const PERIODS: u32 = 128;
    let wanted = HERTZ / PERIODS_PER_SECOND * PERIODS;
    let mut clocks = 0;
    // A host that was busy with something else is given another chance.
    for _ in 0..3 {
        let Some(start) = rtc::edge(t) else { return t.fail("the RTC gives no periods to measure by") };
        let first_tick = t.m.get(bda::TICKS);
        for _ in 0..PERIODS {
            if rtc::edge(t).is_none() {
                return t.fail("the RTC stops");
            }
        }
        clocks = t.now().wrapping_sub(start);
        let ticks = t.m.get(bda::TICKS).wrapping_sub(first_tick);
        need!(t, ticks.abs_diff(clocks >> 16) <= 1, "INT 08h is not called at every end of count")?;
        if agree(clocks, wanted) {
            t.note.decimal(clocks / 125).byte(b'.').decimal(clocks % 125 * 8 / 100).put(" kHz by the RTC, ");
            t.note.decimal(ticks).put(" ticks in 125 ms");
            return Ok(());
        }
    }
    let _ = t.fail("");
    t.note.decimal(clocks).put(" clocks in 125 ms of the RTC");
    Err(Stop::Fail)
}

/// 5966 clocks are 5 ms.
fn channel_2<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    const CLOCKS: u16 = 5966;
    let port_b = t.m.inb(PORT_B);
    t.m.outb(PORT_B, port_b & !SPEAKER | GATE_2);
    t.m.outb(COMMAND, ONE_SHOT);
    for byte in CLOCKS.to_le_bytes() {
        t.m.outb(CHANNEL_2, byte);
    }
    let start = t.now();
    let mut deadline = Deadline::after(t.m, 200);
    while t.m.inb(PORT_B) & OUTPUT_2 == 0 && !deadline.passed(t.m) {}
    let ended = t.m.inb(PORT_B) & OUTPUT_2 != 0;
    let took = t.now().wrapping_sub(start);
    t.m.outb(PORT_B, port_b);
    need!(t, ended, "channel 2 never ends")?;
    need!(t, took >= u32::from(CLOCKS) - 1000, "channel 2 ends early")
}
