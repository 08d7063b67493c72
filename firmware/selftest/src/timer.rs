//! Test of the 8254 PIT: frequency measured by the RTC, timer interrupt, channel 2.

use crate::clock::{COMMAND, Deadline, HERTZ};
use crate::rtc::{self, PERIODS_PER_SECOND};
use crate::{NotPassed, Outcome, Test};
use pcvm_firmware_rt::bda;
use pcvm_guest::Machine;

/// Port of channel 2.
const CHANNEL_2: u16 = 0x42;
/// System control port B: gate, speaker enable and output of channel 2.
const PORT_B: u16 = 0x61;
const GATE_2: u8 = 1;
const SPEAKER: u8 = 2;
const OUTPUT_2: u8 = 0x20;
/// Channel 2, both bytes, mode 0 (interrupt on terminal count).
const ONE_SHOT: u8 = 0xb0;

/// Whether two durations agree within a quarter: the host may deschedule the vCPU at any time.
pub fn agree(got: u32, wanted: u32) -> bool {
    got.abs_diff(wanted) <= wanted / 4
}

/// Channel 0 runs at 1.193 MHz measured by the RTC's periodic flag, IRQ 0 occurs 18.2 times a second, and channel 2
/// counts to its end.
pub fn pit<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    rtc::with_periodic_flag(t, channel_0)?;
    channel_2(t)
}

/// While the host has descheduled the vCPU, the test misses edges of the RTC, and measures too long a time. So it takes
/// up to 64 short measurements, of which at least one must be right: with a wrong PIT frequency none is.
fn channel_0<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    // 15.6 ms.
    const PERIODS: u32 = 16;
    const TIMES: u32 = 64;
    let wanted = HERTZ / PERIODS_PER_SECOND * PERIODS;
    let (mut nearest, mut agreeing) = (0, 0);
    let (begin, first_tick) = (t.now(), t.m.get(bda::TICKS));
    for _ in 0..TIMES {
        let Some(start) = rtc::edge(t) else { return t.fail("the RTC gives no periods to measure by") };
        let mut end = start;
        for _ in 0..PERIODS {
            match rtc::edge(t) {
                Some(edge) => end = edge,
                None => return t.fail("the RTC stops"),
            }
        }
        let clocks = end.wrapping_sub(start);
        if clocks.abs_diff(wanted) < wanted.abs_diff(nearest) {
            nearest = clocks;
        }
        agreeing += u32::from(agree(clocks, wanted));
        if agreeing == 8 {
            break;
        }
    }
    if agreeing == 0 {
        let _ = t.fail("");
        t.note.decimal(nearest).put(" clocks in 15.6 ms of the RTC");
        return Err(NotPassed::Fail);
    }
    let ticks = t.m.get(bda::TICKS).wrapping_sub(first_tick);
    let clocks = t.now().wrapping_sub(begin);
    check!(t, ticks.abs_diff(clocks >> 16) <= 2, "INT 08h is not called at every end of count")?;
    // 15.625 ms: the frequency in kHz is clocks * 64 / 1000.
    t.note.decimal(nearest * 64 / 1000).put(" kHz by the RTC, ").decimal(ticks).put(" ticks");
    Ok(())
}

/// Channel 2 counts 5966 clocks (5 ms) in mode 0.
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
    check!(t, ended, "channel 2 never ends")?;
    check!(t, took >= u32::from(CLOCKS) - 1000, "channel 2 ends early")
}
