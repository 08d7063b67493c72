//! MC146818 real-time clock with 128 bytes of CMOS RAM (Motorola MC146818A data sheet; 82371AB data sheet, 8.8), and
//! the PIIX4's extended bank of 128 bytes.
//!
//! Ports: RTCI 70h (index; bit 7 is the NMI mask, which is stored without effect), RTCD 71h (data), RTCEI 72h and RTCED
//! 73h (index and data of the extended bank). IRQ 8.
//!
//! The clock is an offset from virtual machine time and does not tick. A timer is armed only while an enabled interrupt
//! is not yet pending, so an idle machine is not woken. Register C's flags are updated when the guest reads it.
//! Periodic ticks that fall due while the previous one is not acknowledged are lost ticks; they are reinjected at a
//! higher rate after the acknowledgement, because guests count them to keep time. Not implemented: the square wave
//! output, daylight saving (DSE is only stored), and dividers for other crystals (they run like 32.768 kHz).

mod contents;
mod rtc;

pub use contents::{BootDevice, CmosContents, CmosDisk, Translation};

use crate::{Access, Ctx, Device, IrqLine, Region, RestoreError, TimerId, VmTime, Wake};
use rtc::{Rtc, RtcState};
use serde::{Deserialize, Serialize};

/// RTCI, the first of the four ports.
pub const PORT: u16 = 0x70;
/// ISA IRQ of the RTC.
pub const IRQ: u8 = 8;
/// Index of the shutdown status byte.
pub const SHUTDOWN_BYTE: u8 = 0x0f;
/// Index of the century, in BCD or binary like the time (FADT CENTURY).
pub const CENTURY: u8 = 0x32;
/// The century's index on the PS/2; an alias of [`CENTURY`].
const PS2_CENTURY: u8 = 0x37;

const EVENT: TimerId = TimerId(0);
// Port offsets (82371AB data sheet, 8.8).
const RTCI: u64 = 0;
const RTCD: u64 = 1;
const RTCEI: u64 = 2;
const RTCED: u64 = 3;
/// Bytes per bank.
const BANK: usize = 128;

/// The RTC and its CMOS RAM.
#[derive(Debug)]
pub struct Cmos {
    /// The byte last written to RTCI, including the NMI mask.
    index: u8,
    extended_index: u8,
    /// The first 14 bytes and the century are unused: the RTC provides them.
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
    /// An RTC that reads `epoch` at [`VmTime::ZERO`], in BCD and 24-hour mode, and CMOS RAM with `contents`. `epoch` is
    /// in seconds since 1970 in the guest's time zone: add the zone's offset for a clock in local time.
    pub fn new(epoch: i64, contents: CmosContents) -> Self {
        Self { index: 0, extended_index: 0, ram: contents.bytes(), extended: [0; BANK], rtc: Rtc::new(epoch) }
    }

    /// The shutdown status byte (0Fh), with which the guest selects what firmware does after a reset: 0 is a cold
    /// start.
    pub fn shutdown_byte(&self) -> u8 {
        self.ram[usize::from(SHUTDOWN_BYTE)]
    }

    /// Whether the guest set the NMI mask (bit 7 of RTCI).
    pub fn nmi_masked(&self) -> bool {
        self.index & 0x80 != 0
    }

    /// The clock's time: seconds since 1970 in the guest's time zone.
    pub fn seconds(&self, now: VmTime) -> i64 {
        self.rtc.seconds(now)
    }

    /// The CMOS address that an index byte selects.
    fn address(index: u8) -> u8 {
        match index & 0x7f {
            PS2_CENTURY => CENTURY,
            address => address,
        }
    }

    /// Drives IRQ 8 and arms the timer for the next interrupt.
    fn drive(&self, cx: &mut Ctx<'_>) {
        cx.set_irq(IrqLine::Isa(IRQ), self.rtc.interrupt());
        match self.rtc.next_event() {
            Some(at) => cx.arm(EVENT, at),
            None => cx.disarm(EVENT),
        }
    }

    fn read_port(&mut self, cx: &mut Ctx<'_>, offset: u64) -> Option<u8> {
        match offset {
            RTCD => {
                let address = Self::address(self.index);
                let clock = self.rtc.read(address, || cx.now());
                if address == rtc::REGISTER_C {
                    self.drive(cx);
                }
                Some(clock.unwrap_or(self.ram[usize::from(address)]))
            }
            RTCED => Some(self.extended[usize::from(self.extended_index & 0x7f)]),
            // RTCI and RTCEI are write-only.
            _ => None,
        }
    }

    fn write_port(&mut self, cx: &mut Ctx<'_>, offset: u64, value: u8) {
        match offset {
            RTCI => self.index = value,
            RTCD => {
                let address = Self::address(self.index);
                if self.rtc.write(address, value, cx.now()) {
                    self.drive(cx);
                } else {
                    self.ram[usize::from(address)] = value;
                }
            }
            RTCEI => self.extended_index = value & 0x7f,
            RTCED => self.extended[usize::from(self.extended_index & 0x7f)] = value,
            _ => {}
        }
    }
}

impl Device for Cmos {
    type State = CmosState;
    const KIND: &'static str = "cmos";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(PORT, 4, 0).with_coalesce(RTCI..RTCI + 1).with_coalesce(RTCEI..RTCEI + 1)]
    }

    /// At RTCD, the name of the selected clock register.
    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.offset {
            RTCI => Some("RTCI"),
            RTCD => Some(rtc::register_name(Self::address(self.index)).unwrap_or("RTCD")),
            RTCEI => Some("RTCEI"),
            RTCED => Some("RTCED"),
            _ => None,
        }
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
            self.rtc.update_flags(cx.now());
            self.drive(cx);
        }
    }

    /// RESET# clears interrupt enables and flags. The time and the RAM are battery-backed and keep their values.
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
        self.rtc.update_flags(cx.now());
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
