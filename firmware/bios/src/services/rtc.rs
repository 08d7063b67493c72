//! Real-time clock and timer tick (Motorola MC146818A datasheet): INT 08h, INT 1Ah AH=00h to 07h, INT 70h, and the
//! waits of INT 15h AH=83h and 86h (IBM PS/2 and PC BIOS Interface Technical Reference, the same interrupts).

use super::clock::Stopwatch;
use super::pic;
use crate::{Bios, disk};
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

const SECONDS: u8 = 0x00;
const SECONDS_ALARM: u8 = 0x01;
const MINUTES: u8 = 0x02;
const MINUTES_ALARM: u8 = 0x03;
const HOURS: u8 = 0x04;
const HOURS_ALARM: u8 = 0x05;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// Register A: 32,768 Hz crystal, 1024 periodic interrupts per second.
const DIVIDER_AND_RATE: u8 = 0x26;
const UPDATING: u8 = 0x80;
const DAYLIGHT: u8 = 0x01;
const HOURS_24: u8 = 0x02;
const BINARY: u8 = 0x04;
const ALARM: u8 = 0x20;
const PERIODIC: u8 = 0x40;
const SET: u8 = 0x80;
const PM: u8 = 0x80;
/// Register D: RAM and time are valid, the battery has not failed.
const VALID: u8 = 0x80;

/// Microseconds between periodic interrupts.
const PERIOD: u32 = 976;
/// Timer ticks per day.
pub const DAY_TICKS: u32 = 0x1800b0;
/// Microseconds per timer tick.
const TICK: u32 = 54_925;

/// Bits of 40:A0.
const WAITING: u8 = 0x01;
const WAIT_OVER: u8 = 0x80;

/// Reads a CMOS register; NMI stays enabled.
pub fn read<H: Hw>(hw: &mut H, register: u8) -> u8 {
    hw.outb(INDEX, register);
    hw.inb(DATA)
}

fn write<H: Hw>(hw: &mut H, register: u8, value: u8) {
    hw.outb(INDEX, register);
    hw.outb(DATA, value);
}

/// Starts the RTC if it is stopped, disables its interrupts, and sets the tick count to the time of day.
pub fn init<H: Hw>(hw: &mut H) {
    write(hw, STATUS_A, DIVIDER_AND_RATE);
    // The format bits are kept: the time registers are in that format.
    let b = read(hw, STATUS_B);
    write(hw, STATUS_B, b & (DAYLIGHT | HOURS_24 | BINARY));
    read(hw, STATUS_C);
    let ticks = time(hw).map_or(0, |[hours, minutes, seconds]| {
        let from_bcd = |byte: u8| u32::from(byte >> 4) * 10 + u32::from(byte & 0xf);
        ticks((from_bcd(hours) * 60 + from_bcd(minutes)) * 60 + from_bcd(seconds))
    });
    hw.set(bda::TICKS, ticks);
}

/// Timer ticks (1193182 / 65536 per second) in this many seconds of a day.
fn ticks(seconds: u32) -> u32 {
    let seconds = seconds.min(86_399);
    seconds * 18 + ((seconds * 13_534) >> 16)
}

/// Waits until no update is in progress. Returns false if the RTC is broken.
fn steady<H: Hw>(hw: &mut H) -> bool {
    let mut watch = Stopwatch::start();
    // An update takes 2 ms.
    while read(hw, STATUS_A) & UPDATING != 0 {
        if watch.passed(hw, 5_000) {
            return false;
        }
    }
    true
}

/// Reads a register as BCD, whatever the RTC's format.
fn bcd<H: Hw>(hw: &mut H, register: u8, b: u8) -> u8 {
    let value = read(hw, register);
    if b & BINARY != 0 { to_bcd(value) } else { value }
}

fn to_bcd(value: u8) -> u8 {
    let value = value % 100;
    value / 10 * 16 + value % 10
}

fn from_bcd(value: u8) -> u8 {
    (value >> 4) * 10 + (value & 0xf)
}

/// Hours (0 to 23), minutes and seconds in BCD.
fn time<H: Hw>(hw: &mut H) -> Option<[u8; 3]> {
    if !steady(hw) {
        return None;
    }
    let b = read(hw, STATUS_B);
    let raw = read(hw, HOURS);
    let hours = if b & HOURS_24 != 0 {
        if b & BINARY != 0 { to_bcd(raw) } else { raw }
    } else {
        let of_half = if b & BINARY != 0 { raw & !PM } else { from_bcd(raw & !PM) };
        to_bcd(of_half % 12 + if raw & PM != 0 { 12 } else { 0 })
    };
    Some([hours, bcd(hw, MINUTES, b), bcd(hw, SECONDS, b)])
}

/// Converts a BCD number to the RTC's format.
fn native(value: u8, b: u8) -> u8 {
    if b & BINARY != 0 { from_bcd(value) } else { value }
}

/// Converts BCD hours (0 to 23) to the RTC's format.
fn native_hours(hours: u8, b: u8) -> u8 {
    if b & HOURS_24 != 0 || hours >= 0xc0 {
        return native(hours, b);
    }
    let hours = from_bcd(hours);
    let of_half = if hours.is_multiple_of(12) { 12 } else { hours % 12 };
    let value = if b & BINARY != 0 { of_half } else { to_bcd(of_half) };
    value | if hours >= 12 { PM } else { 0 }
}

/// INT 1Ah AH=00h to 07h. Returns false for other functions.
pub fn int1a<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    let hw = &mut *bios.hw;
    let mut failed = false;
    match regs.ah() {
        0x00 => {
            let ticks = hw.get(bda::TICKS);
            regs.set_cx((ticks >> 16) as u16);
            regs.set_dx(ticks as u16);
            regs.set_al(hw.get(bda::TICKS_OVERFLOW));
            hw.set(bda::TICKS_OVERFLOW, 0);
        }
        0x01 => {
            hw.set(bda::TICKS, u32::from(regs.cx()) << 16 | u32::from(regs.dx()));
            hw.set(bda::TICKS_OVERFLOW, 0);
        }
        0x02 => match running_time(hw) {
            Some([hours, minutes, seconds]) => {
                regs.set_ch(hours);
                regs.set_cl(minutes);
                regs.set_dh(seconds);
                regs.set_dl(read(hw, STATUS_B) & DAYLIGHT);
                regs.set_ah(0);
                regs.set_al(hours);
            }
            None => failed = true,
        },
        0x03 => {
            let b = started(hw);
            write(hw, STATUS_B, b | SET);
            write(hw, HOURS, native_hours(regs.ch(), b));
            write(hw, MINUTES, native(regs.cl(), b));
            write(hw, SECONDS, native(regs.dh(), b));
            let b = b & !(SET | DAYLIGHT) | regs.dl() & DAYLIGHT;
            write(hw, STATUS_B, b);
            regs.set_ah(0);
            regs.set_al(b);
        }
        0x04 => {
            if running(hw) && steady(hw) {
                let b = read(hw, STATUS_B);
                let century = bcd(hw, CENTURY, b);
                regs.set_ch(century);
                regs.set_cl(bcd(hw, YEAR, b));
                regs.set_dh(bcd(hw, MONTH, b));
                regs.set_dl(bcd(hw, DAY, b));
                regs.set_ah(0);
                regs.set_al(century);
            } else {
                failed = true;
            }
        }
        0x05 => {
            let b = started(hw);
            write(hw, STATUS_B, b | SET);
            write(hw, YEAR, native(regs.cl(), b));
            write(hw, MONTH, native(regs.dh(), b));
            write(hw, DAY, native(regs.dl(), b));
            write(hw, CENTURY, native(regs.ch(), b));
            write(hw, STATUS_B, b & !SET);
            regs.set_ah(0);
            regs.set_al(b & !SET);
        }
        0x06 => {
            let b = started(hw);
            if b & ALARM != 0 {
                failed = true;
                regs.set_ax(0);
            } else {
                write(hw, SECONDS_ALARM, alarm(regs.dh(), b));
                write(hw, MINUTES_ALARM, alarm(regs.cl(), b));
                write(hw, HOURS_ALARM, if regs.ch() >= 0xc0 { regs.ch() } else { native_hours(regs.ch(), b) });
                pic::unmask(hw, 8);
                write(hw, STATUS_B, b & !SET | ALARM);
                regs.set_ah(0);
            }
        }
        0x07 => {
            let b = read(hw, STATUS_B);
            write(hw, STATUS_B, b & !ALARM);
            regs.set_ah(0);
            regs.set_al(b & !ALARM);
        }
        _ => return false,
    }
    regs.set_cf(failed);
    true
}

/// Converts one field of an alarm time; C0h and above mean "any".
fn alarm(value: u8, b: u8) -> u8 {
    if value >= 0xc0 { value } else { native(value, b) }
}

fn running<H: Hw>(hw: &mut H) -> bool {
    read(hw, STATUS_D) & VALID != 0 && read(hw, STATUS_B) & SET == 0
}

fn running_time<H: Hw>(hw: &mut H) -> Option<[u8; 3]> {
    if running(hw) { time(hw) } else { None }
}

/// Starts the RTC if it is stopped, and returns register B.
fn started<H: Hw>(hw: &mut H) -> u8 {
    if read(hw, STATUS_A) & 0x60 != 0 || !steady(hw) {
        write(hw, STATUS_A, DIVIDER_AND_RATE);
    }
    read(hw, STATUS_B)
}

/// IRQ 8.
pub fn int70<H: Hw>(bios: &mut Bios<H>) {
    let hw = &mut *bios.hw;
    let b = read(hw, STATUS_B);
    let causes = read(hw, STATUS_C) & b;
    if causes & PERIODIC != 0 {
        let left = hw.get(bda::WAIT_COUNT);
        hw.set(bda::WAIT_COUNT, left.saturating_sub(PERIOD));
        if left <= PERIOD {
            write(hw, STATUS_B, b & !PERIODIC);
            let flag = FarPtr::from_u32(hw.get(bda::WAIT_FLAG));
            hw.set(bda::WAIT_ACTIVE, 0);
            let value = hw.read8(flag);
            hw.write8(flag, value | WAIT_OVER);
        }
    }
    if causes & ALARM != 0 {
        hw.call_interrupt(0x4a, &mut Regs::default());
    }
    pic::eoi(hw, 8);
}

/// Starts a wait: bit 7 of `flag` is set after `micros` us. Returns false if a wait is already active.
fn start_wait<H: Hw>(hw: &mut H, flag: FarPtr, micros: u32) -> bool {
    if hw.get(bda::WAIT_ACTIVE) & WAITING != 0 {
        return false;
    }
    hw.set(bda::WAIT_FLAG, flag.to_u32());
    hw.set(bda::WAIT_COUNT, micros);
    hw.set(bda::WAIT_ACTIVE, WAITING);
    write(hw, STATUS_A, DIVIDER_AND_RATE);
    // An unacknowledged interrupt would block the next one.
    read(hw, STATUS_C);
    pic::unmask(hw, 8);
    let b = read(hw, STATUS_B);
    write(hw, STATUS_B, b | PERIODIC);
    true
}

/// Cancels a wait.
fn cancel_wait<H: Hw>(hw: &mut H) {
    hw.set(bda::WAIT_ACTIVE, 0);
    let b = read(hw, STATUS_B);
    write(hw, STATUS_B, b & !PERIODIC);
}

fn interval(regs: &Regs) -> u32 {
    u32::from(regs.cx()) << 16 | u32::from(regs.dx())
}

/// INT 15h AH=83h: sets a flag after a time, or cancels that. Returns whether it succeeded.
pub fn event_wait<H: Hw>(bios: &mut Bios<H>, regs: &Regs) -> bool {
    match regs.al() {
        0 => start_wait(bios.hw, FarPtr::new(regs.es, regs.bx()), interval(regs)),
        1 => {
            cancel_wait(bios.hw);
            true
        }
        _ => false,
    }
}

/// INT 15h AH=86h: waits. Returns whether it succeeded.
pub fn wait<H: Hw>(bios: &mut Bios<H>, regs: &Regs) -> bool {
    let hw = &mut *bios.hw;
    let micros = interval(regs);
    // Short waits poll the timer: the RTC's interrupts are 1 ms apart.
    if micros < 2 * PERIOD || pic::masked(hw, 0) {
        let mut watch = Stopwatch::start();
        while !watch.passed(hw, micros) {
            hw.poll_interrupts();
        }
        return true;
    }
    // One period more, since the first one has already begun.
    if !start_wait(hw, bda::WAIT_ACTIVE.at, micros.saturating_add(PERIOD)) {
        return false;
    }
    let start = hw.get(bda::TICKS);
    let enough = micros / TICK + 2;
    while hw.get(bda::WAIT_ACTIVE) & WAIT_OVER == 0 {
        hw.wait_for_interrupt();
        // A program may have hooked INT 70h without chaining to this BIOS.
        let now = hw.get(bda::TICKS);
        let passed = if now >= start { now - start } else { now + DAY_TICKS - start };
        if passed >= enough {
            break;
        }
    }
    cancel_wait(hw);
    true
}

/// IRQ 0: timer tick.
pub fn int08<H: Hw>(bios: &mut Bios<H>) {
    let hw = &mut *bios.hw;
    let ticks = hw.get(bda::TICKS).wrapping_add(1);
    if ticks >= DAY_TICKS {
        hw.set(bda::TICKS, 0);
        let days = hw.get(bda::TICKS_OVERFLOW);
        hw.set(bda::TICKS_OVERFLOW, days.wrapping_add(1));
    } else {
        hw.set(bda::TICKS, ticks);
    }
    super::beep::tick(hw);
    disk::motor_tick(bios);
    let hw = &mut *bios.hw;
    hw.call_interrupt(0x1c, &mut Regs::default());
    pic::eoi(hw, 0);
}
