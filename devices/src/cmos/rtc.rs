//! The clock: time registers, divider chain, alarm, and the three interrupts.

use super::CENTURY;
use super::calendar::{Calendar, DAY};
use crate::VmTime;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

pub(super) const REGISTER_A: u8 = 0x0a;
pub(super) const REGISTER_B: u8 = 0x0b;
pub(super) const REGISTER_C: u8 = 0x0c;
pub(super) const REGISTER_D: u8 = 0x0d;

/// Register indices of the time and of the alarm.
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
/// How long before an update UIP warns of it (tBUC).
const UPDATE_WARNING: i128 = 244_000;
/// The first update comes this long after the divider leaves its reset.
const DIVIDER_START: i128 = 500_000_000;
const CRYSTAL_HZ: i128 = 32_768;
/// Register D: the battery is good.
const VALID: u8 = 0x80;
/// Alarm bytes from here on match everything.
const DONT_CARE: u8 = 0xc0;
const PM: u8 = 0x80;
/// Years and more than anything the registers can say (0 to 255 centuries), in seconds.
const SECONDS_LIMIT: i64 = 30_000 * 366 * DAY;
/// Periodic ticks to make up for, at most: 4 s at 1024 Hz.
const BACKLOG_LIMIT: u32 = 4096;
/// Ticks that are made up for come this much faster.
const CATCH_UP_RATE: u64 = 8;

#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterA {
    #[bits(4)]
    rate: u8,
    #[bits(3)]
    divider: u8,
    /// UIP; kept 0 here, as it follows from the time.
    update_in_progress: bool,
}

impl RegisterA {
    fn divider_in_reset(self) -> bool {
        self.divider() & 0b110 == 0b110
    }

    /// Cycles of the crystal from one periodic tick to the next.
    fn period(self) -> Option<i128> {
        match self.rate() {
            0 => None,
            // The first two taps of the divider are missing at 32.768 kHz: these repeat 8 and 9.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }
}

#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterB {
    daylight: bool,
    hours_24: bool,
    binary: bool,
    square_wave: bool,
    update_interrupt: bool,
    alarm_interrupt: bool,
    periodic_interrupt: bool,
    set: bool,
}

#[bitfield(u8)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct RegisterC {
    #[bits(4)]
    __: u8,
    update: bool,
    alarm: bool,
    periodic: bool,
    /// IRQF; kept 0 here, as it follows from the others.
    interrupt: bool,
}

/// Time registers as they are kept while the clock stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    /// Registers 0, 2, 4, 6, 7, 8, 9 and the century.
    bytes: [u8; 8],
}

const TIME_REGISTERS: [u8; 8] = [SECONDS, MINUTES, HOURS, WEEKDAY, DAY_OF_MONTH, MONTH, YEAR, CENTURY];

#[derive(Clone, Debug)]
pub(super) struct Rtc {
    a: RegisterA,
    b: RegisterB,
    c: RegisterC,
    /// Seconds, minutes, hours.
    alarm: [u8; 3],
    /// What the clock shows is this plus the whole seconds of the divider, while it runs.
    base: i64,
    /// The divider is this many nanoseconds (less than a second) ahead of virtual machine time.
    phase: u32,
    standing: Standing,
    /// Up to when flags have been set.
    seen: VmTime,
    /// Periodic ticks to make up for.
    backlog: u32,
    /// When the next of them comes.
    make_up_at: Option<VmTime>,
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
    standing: [u8; 8],
    seen: VmTime,
    backlog: u32,
    make_up_at: Option<VmTime>,
}

impl Rtc {
    pub(super) fn new(epoch: i64) -> Self {
        Self {
            // 32.768 kHz, 1024 Hz: what every BIOS programs.
            a: RegisterA::new().with_divider(2).with_rate(6),
            b: RegisterB::new().with_hours_24(true),
            c: RegisterC::new(),
            alarm: [0; 3],
            base: epoch.clamp(-SECONDS_LIMIT, SECONDS_LIMIT),
            phase: 0,
            standing: Standing::default(),
            seen: VmTime::ZERO,
            backlog: 0,
            make_up_at: None,
        }
    }

    /// Nanoseconds that the divider has counted.
    fn divider(&self, now: VmTime) -> i128 {
        i128::from(now.0) + i128::from(self.phase)
    }

    /// When the divider has counted so many nanoseconds.
    fn when(&self, divider: i128) -> VmTime {
        VmTime((divider - i128::from(self.phase)).clamp(0, u64::MAX.into()) as u64)
    }

    fn whole_seconds(&self, now: VmTime) -> i64 {
        (self.divider(now) / SECOND) as i64
    }

    /// Whether time registers advance.
    fn runs(&self) -> bool {
        !self.b.set() && !self.a.divider_in_reset()
    }

    pub(super) fn seconds(&self, now: VmTime) -> i64 {
        if self.runs() { self.base + self.whole_seconds(now) } else { self.parse(self.standing) }
    }

    fn updating(&self, now: VmTime) -> bool {
        self.runs() && SECOND - self.divider(now) % SECOND <= UPDATE_WARNING
    }

    fn encode(&self, value: i64) -> u8 {
        let value = (value % 100) as u8;
        if self.b.binary() { value } else { value + 6 * (value / 10) }
    }

    fn decode(&self, byte: u8) -> i64 {
        i64::from(if self.b.binary() { byte } else { (byte >> 4) * 10 + (byte & 0xf) })
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.b.hours_24() {
            return self.encode(hour);
        }
        let of_half = if hour % 12 == 0 { 12 } else { hour % 12 };
        self.encode(of_half) | if hour >= 12 { PM } else { 0 }
    }

    fn decode_hour(&self, byte: u8) -> i64 {
        if self.b.hours_24() {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    /// The time registers at `seconds`.
    fn registers(&self, seconds: i64) -> Standing {
        let calendar = Calendar::from_seconds(seconds);
        Standing {
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

    fn parse(&self, registers: Standing) -> i64 {
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

    /// Lets the clock stand, go or go on from another time, with `change` in between.
    fn change(&mut self, now: VmTime, change: impl FnOnce(&mut Self)) {
        self.catch_up(now);
        if self.runs() {
            self.standing = self.registers(self.seconds(now));
        }
        let before = (self.runs(), self.standing, self.a.divider_in_reset());
        change(self);
        if before.2 && !self.a.divider_in_reset() {
            let ahead = (DIVIDER_START - i128::from(now.0)).rem_euclid(SECOND);
            self.phase = ahead as u32;
        }
        if self.runs() && (!before.0 || self.standing != before.1) {
            self.base = self.parse(self.standing) - self.whole_seconds(now);
        }
    }

    /// A register of the clock; none if it is RAM.
    pub(super) fn read(&mut self, at: u8, now: impl FnOnce() -> VmTime) -> Option<u8> {
        Some(match at {
            REGISTER_A => self.a.with_update_in_progress(self.updating(now())).into_bits(),
            REGISTER_B => self.b.into_bits(),
            REGISTER_C => self.acknowledge(now()),
            REGISTER_D => VALID,
            SECONDS_ALARM | MINUTES_ALARM | HOURS_ALARM => self.alarm[usize::from(at / 2)],
            _ => {
                let n = TIME_REGISTERS.iter().position(|&register| register == at)?;
                if self.runs() { self.registers(self.seconds(now())) } else { self.standing }.bytes[n]
            }
        })
    }

    /// Writes a register of the clock. False if it is RAM.
    pub(super) fn write(&mut self, at: u8, value: u8, now: VmTime) -> bool {
        match at {
            REGISTER_A => {
                let a = RegisterA::from_bits(value).with_update_in_progress(false);
                let rate = self.a.rate();
                self.change(now, |rtc| rtc.a = a);
                if rate != a.rate() {
                    self.forget_backlog();
                }
            }
            REGISTER_B => {
                let mut b = RegisterB::from_bits(value);
                if b.set() {
                    // SET ends the update cycle and with it its interrupt.
                    b.set_update_interrupt(false);
                }
                let periodic = self.b.periodic_interrupt();
                if self.b.set() == b.set() {
                    self.catch_up(now);
                    self.b = b;
                } else {
                    self.change(now, |rtc| rtc.b = b);
                }
                if !periodic || !b.periodic_interrupt() {
                    self.forget_backlog();
                }
            }
            REGISTER_C | REGISTER_D => {}
            SECONDS_ALARM | MINUTES_ALARM | HOURS_ALARM => {
                self.catch_up(now);
                self.alarm[usize::from(at / 2)] = value;
            }
            _ => {
                let Some(n) = TIME_REGISTERS.iter().position(|&register| register == at) else { return false };
                self.change(now, |rtc| rtc.standing.bytes[n] = value);
            }
        }
        true
    }

    fn forget_backlog(&mut self) {
        self.backlog = 0;
        self.make_up_at = None;
    }

    /// Reading register C clears it, and lets the next tick that is owed come soon.
    fn acknowledge(&mut self, now: VmTime) -> u8 {
        self.catch_up(now);
        let c = self.c.with_interrupt(self.interrupt());
        self.c = RegisterC::new();
        if self.backlog > 0
            && let Some(period) = self.a.period()
        {
            let period = (period * SECOND / CRYSTAL_HZ) as u64;
            self.make_up_at = Some(now.plus_nanos(period / CATCH_UP_RATE));
        }
        c.into_bits()
    }

    /// Whether IRQ 8 is asserted.
    pub(super) fn interrupt(&self) -> bool {
        self.c.into_bits() & self.b.into_bits() & 0x70 != 0
    }

    /// Sets the flags of everything that happened until `now`.
    pub(super) fn catch_up(&mut self, now: VmTime) {
        let (from, to) = (self.seen, now.max(self.seen));
        self.seen = to;
        if self.a.divider_in_reset() {
            return;
        }
        if self.make_up_at.is_some_and(|at| at <= to) && !self.c.periodic() {
            self.make_up_at = None;
            self.backlog = self.backlog.saturating_sub(1);
            self.c.set_periodic(true);
        }
        if let Some(period) = self.a.period() {
            let ticks = self.periodic_ticks(to, period) - self.periodic_ticks(from, period);
            let mut ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
            if ticks > 0 && !self.c.periodic() {
                self.c.set_periodic(true);
                ticks -= 1;
            }
            if self.b.periodic_interrupt() {
                self.backlog = self.backlog.saturating_add(ticks).min(BACKLOG_LIMIT);
            }
        }
        if self.runs() && self.whole_seconds(to) > self.whole_seconds(from) {
            self.c.set_update(true);
            if self.next_alarm(from).is_some_and(|at| at <= self.base + self.whole_seconds(to)) {
                self.c.set_alarm(true);
            }
        }
    }

    fn periodic_ticks(&self, at: VmTime, period: i128) -> i128 {
        self.divider(at) * CRYSTAL_HZ / (period * SECOND)
    }

    /// The first second after that at `from` that matches the alarm.
    fn next_alarm(&self, from: VmTime) -> Option<i64> {
        let next = self.base + self.whole_seconds(from) + 1;
        let matches = |alarm: u8, shown: u8| alarm >= DONT_CARE || alarm == shown;
        let [second, minute, hour] = self.alarm;
        let first = |limit: i64, from: i64, alarm: u8, encode: &dyn Fn(i64) -> u8| {
            (from..limit).find(|&value| matches(alarm, encode(value)))
        };
        let (low, mid, high) = (|v| self.encode(v), |v| self.encode(v), |v| self.encode_hour(v));
        let day = next.div_euclid(DAY) * DAY;
        let of_day = next.rem_euclid(DAY);
        let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        // In this minute, in this hour, today, tomorrow.
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
        let of_hour = first(60, 0, minute, &mid)? * 60 + first_second;
        if let Some(h) = first(24, h + 1, hour, &high) {
            return Some(day + h * 3600 + of_hour);
        }
        Some(day + DAY + first(24, 0, hour, &high)? * 3600 + of_hour)
    }

    /// When the interrupt line may rise next: none while it is up, or no enabled interrupt can come.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        if self.interrupt() || self.a.divider_in_reset() {
            return None;
        }
        let second = |n: i128| self.when(n * SECOND);
        let whole = self.divider(self.seen) / SECOND;
        let periodic = self.a.period().filter(|_| self.b.periodic_interrupt()).map(|period| {
            let tick = (self.periodic_ticks(self.seen, period) + 1) * period * SECOND;
            let tick = self.when((tick + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
            self.make_up_at.map_or(tick, |at| at.min(tick))
        });
        let update = (self.runs() && self.b.update_interrupt()).then(|| second(whole + 1));
        let alarm = (self.runs() && self.b.alarm_interrupt())
            .then(|| self.next_alarm(self.seen))
            .flatten()
            .map(|at| second(i128::from(at) - i128::from(self.base)));
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// RESET#: interrupts off, flags cleared; the time goes on.
    pub(super) fn reset(&mut self, now: VmTime) {
        self.catch_up(now);
        let Self { a: _, b, c, alarm: _, base: _, phase: _, standing: _, seen: _, backlog: _, make_up_at: _ } = self;
        *b = b
            .with_periodic_interrupt(false)
            .with_alarm_interrupt(false)
            .with_update_interrupt(false)
            .with_square_wave(false);
        *c = RegisterC::new();
        self.forget_backlog();
    }

    pub(super) fn save(&self) -> RtcState {
        let Self { a, b, c, alarm, base, phase, standing, seen, backlog, make_up_at } = self;
        RtcState {
            a: a.into_bits(),
            b: b.into_bits(),
            c: c.into_bits(),
            alarm: *alarm,
            base: *base,
            phase: *phase,
            standing: standing.bytes,
            seen: *seen,
            backlog: *backlog,
            make_up_at: *make_up_at,
        }
    }

    pub(super) fn load(state: RtcState) -> Option<Self> {
        let RtcState { a, b, c, alarm, base, phase, standing, seen, backlog, make_up_at } = state;
        // What can run up in 584 years of virtual machine time is below the limit's other half.
        let possible = a & 0x80 == 0
            && c & !0x70 == 0
            && base.unsigned_abs() <= 2 * SECONDS_LIMIT.unsigned_abs()
            && i128::from(phase) < SECOND
            && backlog <= BACKLOG_LIMIT;
        possible.then_some(Self {
            a: RegisterA::from_bits(a),
            b: RegisterB::from_bits(b),
            c: RegisterC::from_bits(c),
            alarm,
            base,
            phase,
            standing: Standing { bytes: standing },
            seen,
            backlog,
            make_up_at,
        })
    }
}
