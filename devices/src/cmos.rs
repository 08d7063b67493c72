//! MC146818 real time clock with 128 bytes of CMOS RAM (Motorola MC146818A data sheet; 82371AB data sheet, 8.8), and
//! the bank of 128 more bytes that the PIIX4 has.
//!
//! Ports: 70h index (bit 7: NMI mask, kept), 71h data, 72h and 73h the same for the extended bank. IRQ 8.
//!
//! The time is a difference to virtual machine time: nothing ticks. A timer is armed only while an interrupt is
//! enabled and not yet pending, so an idle machine is not woken. Flags are brought up to date when they are looked at.
//! Periodic ticks that came while the previous one was not yet acknowledged are made up for, faster, afterwards
//! (systems that count them to keep time must not lose any). Left out: the square wave output, daylight saving (DSE
//! is a bit), dividers for other crystals (they run as 32.768 kHz does).

mod calendar;
mod contents;
mod rtc;

pub use contents::{BootDevice, CmosContents, CmosDisk, Translation};

use crate::{Access, Ctx, Device, IrqLine, Region, RestoreError, TimerId, VmTime, Wake};
use rtc::{Rtc, RtcState};
use serde::{Deserialize, Serialize};

/// Index, data, and the same for the extended bank.
pub const PORT: u16 = 0x70;
/// The RTC's interrupt.
pub const IRQ: u8 = 8;
/// The shutdown status byte.
pub const SHUTDOWN_BYTE: u8 = 0x0f;
/// The century, in BCD or binary as the time is (FADT CENTURY).
pub const CENTURY: u8 = 0x32;
/// Where PS/2 software looks for the century.
const PS2_CENTURY: u8 = 0x37;

const EVENT: TimerId = TimerId(0);
const INDEX: u64 = 0;
const DATA: u64 = 1;
const EXTENDED_INDEX: u64 = 2;
const EXTENDED_DATA: u64 = 3;
const BANK: usize = 128;

/// The RTC and its RAM.
#[derive(Debug)]
pub struct Cmos {
    /// The byte last written to 70h, NMI mask included.
    index: u8,
    extended_index: u8,
    /// The first 14 bytes and the century are the clock's.
    ram: [u8; BANK],
    extended: [u8; BANK],
    rtc: Rtc,
}

/// [`Cmos`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct CmosState {
    index: u8,
    extended_index: u8,
    ram: Vec<u8>,
    extended: Vec<u8>,
    rtc: RtcState,
}

impl Cmos {
    /// A clock that shows `epoch` (seconds since 1970 in the guest's calendar, so with the offset of local time if it
    /// is to show that) at [`VmTime::ZERO`], in BCD and 24 hours, and RAM with `contents`.
    pub fn new(epoch: i64, contents: CmosContents) -> Self {
        Self { index: 0, extended_index: 0, ram: contents.bytes(), extended: [0; BANK], rtc: Rtc::new(epoch) }
    }

    /// What software means a reset to be (byte 0Fh): 0 for a cold start.
    pub fn shutdown_byte(&self) -> u8 {
        self.ram[usize::from(SHUTDOWN_BYTE)]
    }

    /// Whether software masked NMI (bit 7 of port 70h).
    pub fn nmi_masked(&self) -> bool {
        self.index & 0x80 != 0
    }

    /// What the clock shows: seconds since 1970 in the guest's calendar.
    pub fn seconds(&self, now: VmTime) -> i64 {
        self.rtc.seconds(now)
    }

    fn at(index: u8) -> u8 {
        match index & 0x7f {
            PS2_CENTURY => CENTURY,
            at => at,
        }
    }

    fn drive(&self, cx: &mut Ctx<'_>) {
        cx.set_irq(IrqLine::Isa(IRQ), self.rtc.interrupt());
        match self.rtc.next_event() {
            Some(at) => cx.arm(EVENT, at),
            None => cx.disarm(EVENT),
        }
    }

    fn read_port(&mut self, cx: &mut Ctx<'_>, offset: u64) -> Option<u8> {
        match offset {
            DATA => {
                let at = Self::at(self.index);
                let clock = self.rtc.read(at, || cx.now());
                if at == rtc::REGISTER_C {
                    self.drive(cx);
                }
                Some(clock.unwrap_or(self.ram[usize::from(at)]))
            }
            EXTENDED_DATA => Some(self.extended[usize::from(self.extended_index & 0x7f)]),
            // The index ports cannot be read.
            _ => None,
        }
    }

    fn write_port(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u8) {
        match offset {
            INDEX => self.index = value,
            DATA => {
                let at = Self::at(self.index);
                if self.rtc.write(at, value, cx.now()) {
                    self.drive(cx);
                } else {
                    self.ram[usize::from(at)] = value;
                }
            }
            EXTENDED_INDEX => self.extended_index = value & 0x7f,
            EXTENDED_DATA => self.extended[usize::from(self.extended_index & 0x7f)] = value,
            _ => {}
        }
    }
}

impl Device for Cmos {
    type State = CmosState;
    const KIND: &'static str = "cmos";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(PORT, 4, 0).with_coalesce(0..1).with_coalesce(2..3)]
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        for (offset, byte) in (at.offset..).zip(data) {
            if let Some(value) = self.read_port(cx, offset) {
                *byte = value;
            }
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        for (offset, &value) in (at.offset..).zip(data) {
            self.write_port(cx, offset, value);
        }
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        if let Wake::Timer(EVENT) = why {
            self.rtc.catch_up(cx.now());
            self.drive(cx);
        }
    }

    /// RESET# clears interrupt enables and flags; time and RAM live from the battery.
    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { index, extended_index, ram: _, extended: _, rtc } = self;
        *index = 0;
        *extended_index = 0;
        rtc.reset(cx.now());
        self.drive(cx);
    }

    fn save(&self) -> CmosState {
        let Self { index, extended_index, ram, extended, rtc } = self;
        CmosState {
            index: *index,
            extended_index: *extended_index,
            ram: ram.to_vec(),
            extended: extended.to_vec(),
            rtc: rtc.save(),
        }
    }

    fn load(&mut self, state: CmosState) -> Result<(), RestoreError> {
        let impossible = |what| RestoreError::Impossible { kind: Self::KIND, what };
        let CmosState { index, extended_index, ram, extended, rtc } = state;
        let rtc = Rtc::load(rtc).ok_or(impossible("clock"))?;
        let ram = ram.try_into().map_err(|_| impossible("RAM"))?;
        let extended = extended.try_into().map_err(|_| impossible("extended RAM"))?;
        *self = Self { index, extended_index: extended_index & 0x7f, ram, extended, rtc };
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        self.rtc.catch_up(cx.now());
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
