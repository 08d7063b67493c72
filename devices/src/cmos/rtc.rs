//! MC146818 clock: time registers, divider chain, alarm, and the periodic, alarm and update-ended interrupts.

use super::CENTURY;
use crate::VmTime;
use crate::calendar::{Calendar, DAY};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

pub(super) const REGISTER_A: u8 = 0x0a;
pub(super) const REGISTER_B: u8 = 0x0b;
pub(super) const REGISTER_C: u8 = 0x0c;
pub(super) const REGISTER_D: u8 = 0x0d;

// Register indices of the time and of the alarm.
const SECONDS: u8 = 0;
const SECONDS_ALARM: u8 = 1;
const MINUTES: u8 = 2;
const MINUTES_ALARM: u8 = 3;
const HOURS: u8 = 4;
const HOURS_ALARM: u8 = 5;
const WEEKDAY: u8 = 6;
const DAY_OF_MONTH: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;

const SECOND: i128 = 1_000_000_000;
/// Time from the rise of UIP to the update (tBUC), in nanoseconds.
const UIP_LEAD: i128 = 244_000;
/// Time from the end of a divider reset to the first update, in nanoseconds.
const DIVIDER_RESET_TO_UPDATE: i128 = 500_000_000;
const CRYSTAL_HZ: i128 = 32_768;
/// Register D, VRT: the battery is good, RAM and time are valid.
const VRT: u8 = 0x80;
/// Alarm bytes from C0h up match every value.
const ALARM_DONT_CARE: u8 = 0xc0;
/// Hours registers, 12-hour mode: afternoon.
const PM: u8 = 0x80;
/// Limit of the base time in seconds: more than the registers can hold (255 centuries).
const SECONDS_LIMIT: i64 = 30_000 * 366 * DAY;
/// The most lost periodic ticks that are reinjected: 4 s at 1024 Hz.
const MAX_LOST_TICKS: u32 = 4096;
/// Lost ticks are reinjected this many times faster than the periodic rate.
const REINJECT_SPEEDUP: u64 = 8;

/// The name of the clock register at CMOS address `index`; `None` if that is RAM.
pub(super) fn register_name(index: u8) -> Option<&'static str> {
    Some(match index {
        SECONDS => "Seconds",
        SECONDS_ALARM => "Seconds Alarm",
        MINUTES => "Minutes",
        MINUTES_ALARM => "Minutes Alarm",
        HOURS => "Hours",
        HOURS_ALARM => "Hours Alarm",
        WEEKDAY => "Day of the Week",
        DAY_OF_MONTH => "Date of the Month",
        MONTH => "Month",
        YEAR => "Year",
        REGISTER_A => "Register A",
        REGISTER_B => "Register B",
        REGISTER_C => "Register C",
        REGISTER_D => "Register D",
        CENTURY => "Century",
        _ => return None,
    })
}

/// Register A.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterA {
    /// Rate select.
    #[bits(4)]
    rs: u8,
    /// Divider.
    #[bits(3)]
    dv: u8,
    /// Update in progress. Stored as 0; reads compute it from the time.
    uip: bool,
}

impl RegisterA {
    fn divider_in_reset(self) -> bool {
        self.dv() & 0b110 == 0b110
    }

    /// Period of the periodic interrupt in crystal cycles; `None` if it is off.
    fn period(self) -> Option<i128> {
        match self.rs() {
            0 => None,
            // At 32.768 kHz, rates 1 and 2 equal rates 8 and 9.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }
}

/// Register B.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterB {
    /// Daylight savings enable.
    dse: bool,
    /// 24-hour mode; else 12-hour mode with a PM bit.
    hour_24: bool,
    /// Data mode: binary; else BCD.
    dm: bool,
    /// Square-wave enable.
    sqwe: bool,
    /// Update-ended interrupt enable.
    uie: bool,
    /// Alarm interrupt enable.
    aie: bool,
    /// Periodic interrupt enable.
    pie: bool,
    /// Updates are inhibited, so that the guest can set the time.
    set: bool,
}

/// Register C.
#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterC {
    #[bits(4)]
    __: u8,
    /// Update-ended flag.
    uf: bool,
    /// Alarm flag.
    af: bool,
    /// Periodic flag.
    pf: bool,
    /// Interrupt request flag. Stored as 0; reads compute it from the other flags and their enables.
    irqf: bool,
}

/// Contents of the time registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TimeRegisters {
    /// In the order of [`TIME_REGISTER_INDICES`].
    bytes: [u8; 8],
}

const TIME_REGISTER_INDICES: [u8; 8] = [SECONDS, MINUTES, HOURS, WEEKDAY, DAY_OF_MONTH, MONTH, YEAR, CENTURY];

/// The clock.
#[derive(Clone, Debug)]
pub(super) struct Rtc {
    a: RegisterA,
    b: RegisterB,
    c: RegisterC,
    /// Seconds, minutes, hours.
    alarm: [u8; 3],
    /// While the clock runs, its time in seconds is `base` plus the whole seconds that the divider has counted.
    base: i64,
    /// The divider leads virtual machine time by this many nanoseconds, less than a second.
    phase: u32,
    /// The time registers while the clock is stopped.
    held_time: TimeRegisters,
    /// Register C's flags are up to date until this time.
    flags_until: VmTime,
    /// Periodic ticks that fell due while the previous one was pending.
    lost_ticks: u32,
    /// When the next lost tick is reinjected.
    reinject_at: Option<VmTime>,
}

/// [`Rtc`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RtcState {
    a: u8,
    b: u8,
    c: u8,
    alarm: [u8; 3],
    base: i64,
    phase: u32,
    held_time: [u8; 8],
    flags_until: VmTime,
    lost_ticks: u32,
    reinject_at: Option<VmTime>,
}

impl Rtc {
    pub(super) fn new(epoch: i64) -> Self {
        Self {
            // Divider for 32.768 kHz, periodic rate 1024 Hz: the values that every BIOS programs.
            a: RegisterA::new().with_dv(2).with_rs(6),
            b: RegisterB::new().with_hour_24(true),
            c: RegisterC::new(),
            alarm: [0; 3],
            base: epoch.clamp(-SECONDS_LIMIT, SECONDS_LIMIT),
            phase: 0,
            held_time: TimeRegisters::default(),
            flags_until: VmTime::ZERO,
            lost_ticks: 0,
            reinject_at: None,
        }
    }

    /// Nanoseconds that the divider has counted at `now`.
    fn divider(&self, now: VmTime) -> i128 {
        i128::from(now.0) + i128::from(self.phase)
    }

    /// The time at which the divider has counted `divider` nanoseconds.
    fn when(&self, divider: i128) -> VmTime {
        VmTime((divider - i128::from(self.phase)).clamp(0, u64::MAX.into()) as u64)
    }

    fn whole_seconds(&self, now: VmTime) -> i64 {
        (self.divider(now) / SECOND) as i64
    }

    /// Whether the time registers advance.
    fn is_running(&self) -> bool {
        !self.b.set() && !self.a.divider_in_reset()
    }

    pub(super) fn seconds(&self, now: VmTime) -> i64 {
        if self.is_running() { self.base + self.whole_seconds(now) } else { self.parse(self.held_time) }
    }

    fn update_in_progress(&self, now: VmTime) -> bool {
        self.is_running() && SECOND - self.divider(now) % SECOND <= UIP_LEAD
    }

    fn encode(&self, value: i64) -> u8 {
        let value = (value % 100) as u8;
        if self.b.dm() { value } else { value + 6 * (value / 10) }
    }

    fn decode(&self, byte: u8) -> i64 {
        i64::from(if self.b.dm() { byte } else { (byte >> 4) * 10 + (byte & 0xf) })
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.b.hour_24() {
            return self.encode(hour);
        }
        let hour_12 = if hour % 12 == 0 { 12 } else { hour % 12 };
        self.encode(hour_12) | if hour >= 12 { PM } else { 0 }
    }

    fn decode_hour(&self, byte: u8) -> i64 {
        if self.b.hour_24() {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    /// Encodes `seconds` as time registers.
    fn registers(&self, seconds: i64) -> TimeRegisters {
        let calendar = Calendar::from_seconds(seconds);
        TimeRegisters {
            bytes: [
                self.encode(calendar.second),
                self.encode(calendar.minute),
                self.encode_hour(calendar.hour),
                self.encode(Calendar::weekday(seconds)),
                self.encode(calendar.day),
                self.encode(calendar.month),
                self.encode(calendar.year.rem_euclid(100)),
                self.encode(calendar.year.div_euclid(100).rem_euclid(100)),
            ],
        }
    }

    /// Decodes time registers to seconds.
    fn parse(&self, registers: TimeRegisters) -> i64 {
        let [second, minute, hour, _, day, month, year, century] = registers.bytes;
        Calendar {
            year: self.decode(century) * 100 + self.decode(year),
            month: self.decode(month),
            day: self.decode(day),
            hour: self.decode_hour(hour),
            minute: self.decode(minute),
            second: self.decode(second),
        }
        .seconds()
    }

    /// Applies `change`, which may stop, start or set the clock, and keeps `base`, `phase` and the held time
    /// consistent.
    fn change_clock(&mut self, now: VmTime, change: impl FnOnce(&mut Self)) {
        self.update_flags(now);
        if self.is_running() {
            self.held_time = self.registers(self.seconds(now));
        }
        let (was_running, old_time, was_in_reset) = (self.is_running(), self.held_time, self.a.divider_in_reset());
        change(self);
        if was_in_reset && !self.a.divider_in_reset() {
            let phase = (DIVIDER_RESET_TO_UPDATE - i128::from(now.0)).rem_euclid(SECOND);
            self.phase = phase as u32;
        }
        if self.is_running() && (!was_running || self.held_time != old_time) {
            self.base = self.parse(self.held_time) - self.whole_seconds(now);
        }
    }

    /// Reads the clock register at CMOS address `at`; `None` if that is RAM.
    pub(super) fn read(&mut self, at: u8, now: impl FnOnce() -> VmTime) -> Option<u8> {
        Some(match at {
            REGISTER_A => self.a.with_uip(self.update_in_progress(now())).into_bits(),
            REGISTER_B => self.b.into_bits(),
            REGISTER_C => self.acknowledge(now()),
            REGISTER_D => VRT,
            SECONDS_ALARM | MINUTES_ALARM | HOURS_ALARM => self.alarm[usize::from(at / 2)],
            _ => {
                let n = TIME_REGISTER_INDICES.iter().position(|&register| register == at)?;
                if self.is_running() { self.registers(self.seconds(now())) } else { self.held_time }.bytes[n]
            }
        })
    }

    /// Writes the clock register at CMOS address `at`. Returns false if that is RAM.
    pub(super) fn write(&mut self, at: u8, value: u8, now: VmTime) -> bool {
        match at {
            REGISTER_A => {
                let a = RegisterA::from_bits(value).with_uip(false);
                let rate = self.a.rs();
                self.change_clock(now, |rtc| rtc.a = a);
                if rate != a.rs() {
                    self.drop_lost_ticks();
                }
            }
            REGISTER_B => {
                let mut b = RegisterB::from_bits(value);
                if b.set() {
                    // SET clears UIE (data sheet, register B).
                    b.set_uie(false);
                }
                let periodic = self.b.pie();
                if self.b.set() == b.set() {
                    self.update_flags(now);
                    self.b = b;
                } else {
                    self.change_clock(now, |rtc| rtc.b = b);
                }
                if !periodic || !b.pie() {
                    self.drop_lost_ticks();
                }
            }
            REGISTER_C | REGISTER_D => {}
            SECONDS_ALARM | MINUTES_ALARM | HOURS_ALARM => {
                self.update_flags(now);
                self.alarm[usize::from(at / 2)] = value;
            }
            _ => {
                let Some(n) = TIME_REGISTER_INDICES.iter().position(|&register| register == at) else { return false };
                self.change_clock(now, |rtc| rtc.held_time.bytes[n] = value);
            }
        }
        true
    }

    fn drop_lost_ticks(&mut self) {
        self.lost_ticks = 0;
        self.reinject_at = None;
    }

    /// Reads and clears register C, and schedules the reinjection of the next lost tick.
    fn acknowledge(&mut self, now: VmTime) -> u8 {
        self.update_flags(now);
        let c = self.c.with_irqf(self.interrupt());
        self.c = RegisterC::new();
        if self.lost_ticks > 0
            && let Some(period) = self.a.period()
        {
            let period = (period * SECOND / CRYSTAL_HZ) as u64;
            self.reinject_at = Some(now.plus_nanos(period / REINJECT_SPEEDUP));
        }
        c.into_bits()
    }

    /// Whether IRQ 8 is asserted.
    pub(super) fn interrupt(&self) -> bool {
        self.c.into_bits() & self.b.into_bits() & 0x70 != 0
    }

    /// Brings register C's flags up to date: sets those of the events that fell due until `now`.
    pub(super) fn update_flags(&mut self, now: VmTime) {
        let (from, to) = (self.flags_until, now.max(self.flags_until));
        self.flags_until = to;
        if self.a.divider_in_reset() {
            return;
        }
        if self.reinject_at.is_some_and(|at| at <= to) && !self.c.pf() {
            self.reinject_at = None;
            self.lost_ticks = self.lost_ticks.saturating_sub(1);
            self.c.set_pf(true);
        }
        if let Some(period) = self.a.period() {
            let ticks = self.periodic_ticks(to, period) - self.periodic_ticks(from, period);
            let mut ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
            if ticks > 0 && !self.c.pf() {
                self.c.set_pf(true);
                ticks -= 1;
            }
            if self.b.pie() {
                self.lost_ticks = self.lost_ticks.saturating_add(ticks).min(MAX_LOST_TICKS);
            }
        }
        if self.is_running() && self.whole_seconds(to) > self.whole_seconds(from) {
            self.c.set_uf(true);
            if self.next_alarm(from).is_some_and(|at| at <= self.base + self.whole_seconds(to)) {
                self.c.set_af(true);
            }
        }
    }

    fn periodic_ticks(&self, at: VmTime, period: i128) -> i128 {
        self.divider(at) * CRYSTAL_HZ / (period * SECOND)
    }

    /// The first second after the one at `from` that matches the alarm.
    fn next_alarm(&self, from: VmTime) -> Option<i64> {
        let next = self.base + self.whole_seconds(from) + 1;
        let matches = |alarm: u8, shown: u8| alarm >= ALARM_DONT_CARE || alarm == shown;
        let [second, minute, hour] = self.alarm;
        let first = |limit: i64, from: i64, alarm: u8, encode: &dyn Fn(i64) -> u8| {
            (from..limit).find(|&value| matches(alarm, encode(value)))
        };
        let (low, mid, high) = (|v| self.encode(v), |v| self.encode(v), |v| self.encode_hour(v));
        let day = next.div_euclid(DAY) * DAY;
        let time_of_day = next.rem_euclid(DAY);
        let (h, m, s) = (time_of_day / 3600, time_of_day / 60 % 60, time_of_day % 60);
        // Tries a match in this minute, then in this hour, then today, then tomorrow.
        let this_hour = matches(hour, high(h));
        if this_hour
            && matches(minute, mid(m))
            && let Some(s) = first(60, s, second, &low)
        {
            return Some(day + h * 3600 + m * 60 + s);
        }
        let first_second = first(60, 0, second, &low)?;
        if this_hour && let Some(m) = first(60, m + 1, minute, &mid) {
            return Some(day + h * 3600 + m * 60 + first_second);
        }
        let within_hour = first(60, 0, minute, &mid)? * 60 + first_second;
        if let Some(h) = first(24, h + 1, hour, &high) {
            return Some(day + h * 3600 + within_hour);
        }
        Some(day + DAY + first(24, 0, hour, &high)? * 3600 + within_hour)
    }

    /// When IRQ 8 may rise next; `None` while it is asserted, or if no enabled interrupt can occur.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        if self.interrupt() || self.a.divider_in_reset() {
            return None;
        }
        let second = |n: i128| self.when(n * SECOND);
        let whole = self.divider(self.flags_until) / SECOND;
        let periodic = self.a.period().filter(|_| self.b.pie()).map(|period| {
            let tick = (self.periodic_ticks(self.flags_until, period) + 1) * period * SECOND;
            let tick = self.when((tick + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
            self.reinject_at.map_or(tick, |at| at.min(tick))
        });
        let update = (self.is_running() && self.b.uie()).then(|| second(whole + 1));
        let alarm = (self.is_running() && self.b.aie())
            .then(|| self.next_alarm(self.flags_until))
            .flatten()
            .map(|at| second(i128::from(at) - i128::from(self.base)));
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// RESET#: clears the interrupt enables and flags. The clock keeps running.
    pub(super) fn reset(&mut self, now: VmTime) {
        self.update_flags(now);
        let Self {
            a: _,
            b,
            c,
            alarm: _,
            base: _,
            phase: _,
            held_time: _,
            flags_until: _,
            lost_ticks: _,
            reinject_at: _,
        } = self;
        *b = b.with_pie(false).with_aie(false).with_uie(false).with_sqwe(false);
        *c = RegisterC::new();
        self.drop_lost_ticks();
    }

    pub(super) fn save(&self) -> RtcState {
        let Self { a, b, c, alarm, base, phase, held_time, flags_until, lost_ticks, reinject_at } = self;
        RtcState {
            a: a.into_bits(),
            b: b.into_bits(),
            c: c.into_bits(),
            alarm: *alarm,
            base: *base,
            phase: *phase,
            held_time: held_time.bytes,
            flags_until: *flags_until,
            lost_ticks: *lost_ticks,
            reinject_at: *reinject_at,
        }
    }

    pub(super) fn load(state: RtcState) -> Option<Self> {
        let RtcState { a, b, c, alarm, base, phase, held_time, flags_until, lost_ticks, reinject_at } = state;
        // The base may leave the limit by the 584 years that virtual machine time can count, far less than the limit.
        let valid = a & 0x80 == 0
            && c & !0x70 == 0
            && base.unsigned_abs() <= 2 * SECONDS_LIMIT.unsigned_abs()
            && i128::from(phase) < SECOND
            && lost_ticks <= MAX_LOST_TICKS;
        valid.then_some(Self {
            a: RegisterA::from_bits(a),
            b: RegisterB::from_bits(b),
            c: RegisterC::from_bits(c),
            alarm,
            base,
            phase,
            held_time: TimeRegisters { bytes: held_time },
            flags_until,
            lost_ticks,
            reinject_at,
        })
    }
}
