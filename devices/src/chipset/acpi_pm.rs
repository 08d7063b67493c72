//! Intel 82371AB PIIX4, function 3: power management and SMBus host (data sheet 290562-001, chapter 7), PCI function
//! 00:01.3; and GPE block 0 as the virtual PCs of QEMU and Xen have it.
//!
//! Ports, where software puts them: 64 at PMBASE (PM1 events and control, PM timer, general purpose events, throttling,
//! outputs), 16 at SMBBASE. Fixed: B2h and B3h (APM control and status), [`GPE0_PORT`]. IRQ: SCI, ISA IRQ 9, level.
//!
//! A write of [`ACPI_ENABLE`] or [`ACPI_DISABLE`] to B2h sets or clears SCI_EN at once: there is no SMI# and no system
//! management mode, which [`NO_SMM`] tells the firmware. Of the sleep states only S5 exists. Left out: device monitors,
//! throttling's effect, the resume inputs, and anything on the SMBus.

use super::smbus::{self, Smbus};
use super::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::pci::{ConfigSpace, ConfigState};
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, IrqLine, Region, RestoreError, TimerId, VmTime, Wake};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// Where it sits.
pub const DEVFN: Devfn = Devfn::new(1, 3);
/// 82371AB function 3.
pub const DEVICE_ID: u16 = 0x7113;
/// Bridge, other.
const CLASS: u32 = 0x06_8000;
const REVISION: u8 = 3;

/// PCI register: the base of the power management ports (bits 15 to 6).
pub const PMBASE: u8 = 0x40;
/// PCI register: bit 0 makes the chip answer at PMBASE.
pub const PMREGMISC: u8 = 0x80;
/// PCI register: the base of the SMBus ports (bits 15 to 4).
pub const SMBBASE: u8 = 0x90;
/// PCI register: bit 0 makes the SMBus host answer; bits 3 to 1 choose its interrupt (4: IRQ 9).
pub const SMBHSTCFG: u8 = 0xd2;
/// PCI register 5Bh, bit 1 (APMC_EN of DEVACTB): preset, which tells firmware that SMIs are already taken care of, so
/// that it installs no SMM handler and waits for none.
pub const NO_SMM: (u8, u8) = (0x5b, 0x02);

/// Where SeaBIOS puts PMBASE on this board, as the FADT says; the chip itself starts with none.
pub const PM_PORT: u16 = 0x600;
/// PM1 status and enable, from PMBASE (FADT PM1a_EVT_BLK).
pub const PM1_EVENT: u16 = 0x00;
/// Bytes of the PM1 event block.
pub const PM1_EVENT_LEN: u8 = 4;
/// PM1 control, from PMBASE (FADT PM1a_CNT_BLK).
pub const PM1_CONTROL: u16 = 0x04;
/// Bytes of the PM1 control block.
pub const PM1_CONTROL_LEN: u8 = 2;
/// The PM timer, from PMBASE (FADT PM_TMR_BLK); 4 bytes, 24 bits.
pub const PM_TIMER: u16 = 0x08;
/// Bytes of the PM timer block.
pub const PM_TIMER_LEN: u8 = 4;
/// The PM timer's clock.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// General purpose event block 0 (FADT GPE0_BLK), frozen, a fixed port: two bytes of status, then two of enables.
pub const GPE0_PORT: u16 = 0xafe0;
/// Bytes of GPE block 0.
pub const GPE0_LEN: u8 = 4;
/// SCI (FADT SCI_INT): level, active high at the ISA input.
pub const SCI_IRQ: u8 = 9;
/// The APM control port (FADT SMI_CMD).
pub const SMI_COMMAND_PORT: u16 = 0xb2;
/// FADT ACPI_ENABLE.
pub const ACPI_ENABLE: u8 = 0xf1;
/// FADT ACPI_DISABLE.
pub const ACPI_DISABLE: u8 = 0xf0;
/// SLP_TYP of S5, for the DSDT's \_S5. No other sleep state is offered.
pub const SLP_TYP_S5: u8 = 0;

const PM_LEN: u16 = 64;
const TAG_PM: u8 = 0;
const TAG_SMBUS: u8 = 1;
const TAG_APM: u8 = 2;
const TAG_GPE0: u8 = 3;
const OVERFLOW: TimerId = TimerId(0);
/// The PM timer's overflow status is set whenever bit 23 toggles.
const HALF_WRAP_SHIFT: u32 = 23;

/// PMSTS and PMEN share one layout (7.2.1, 7.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
struct Pm1 {
    timer: bool,
    #[bits(4)]
    __: u8,
    global: bool,
    #[bits(2)]
    __: u8,
    power_button: bool,
    __: bool,
    rtc: bool,
    #[bits(4)]
    __: u8,
    /// Status only.
    resume: bool,
}

const PM1_ENABLES: u16 =
    Pm1::new().with_timer(true).with_global(true).with_power_button(true).with_rtc(true).into_bits();
const PM1_STATUSES: u16 = PM1_ENABLES | Pm1::new().with_resume(true).into_bits();

/// PMCNTRL (7.2.3).
#[bitfield(u16)]
struct PmControl {
    sci_enable: bool,
    bus_master_reload: bool,
    /// Write only.
    release: bool,
    #[bits(7)]
    __: u8,
    #[bits(3)]
    sleep_type: u8,
    /// Write only.
    sleep_enable: bool,
    #[bits(2)]
    __: u8,
}

const PM_CONTROL_KEPT: u16 =
    PmControl::new().with_sci_enable(true).with_bus_master_reload(true).with_sleep_type(7).into_bits();

/// GLBCTL: BIOS_RLS, which raises the global lock's event.
const BIOS_RELEASE: u32 = 1 << 1;
const GPO_RESET: u32 = 0x7fff_bfff;

/// A general purpose event block: nothing on this board raises an event yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Gpe {
    status: u16,
    enable: u16,
}

impl Gpe {
    fn bytes(self) -> [u8; 4] {
        let [a, b] = self.status.to_le_bytes();
        let [c, d] = self.enable.to_le_bytes();
        [a, b, c, d]
    }

    fn write(&mut self, at: usize, value: u8) {
        match at {
            0 | 1 => self.status &= !(u16::from(value) << (8 * at)),
            2 | 3 => put_byte(&mut self.enable, at - 2, value),
            _ => {}
        }
    }

    fn pending(self) -> bool {
        self.status & self.enable != 0
    }
}

/// Registers that are kept without an effect: power management ports from 10h on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    processor_control: u32,
    global_enable: u16,
    global_control: u32,
    device_control: u32,
    outputs: u32,
}

impl Kept {
    const RESET: Self =
        Self { processor_control: 0, global_enable: 0, global_control: 0, device_control: 0, outputs: GPO_RESET };
}

fn put_byte(word: &mut u16, n: usize, value: u8) {
    let mut bytes = word.to_le_bytes();
    if let Some(byte) = bytes.get_mut(n) {
        *byte = value;
    }
    *word = u16::from_le_bytes(bytes);
}

fn put_byte32(dword: &mut u32, n: usize, value: u8) {
    let mut bytes = dword.to_le_bytes();
    if let Some(byte) = bytes.get_mut(n) {
        *byte = value;
    }
    *dword = u32::from_le_bytes(bytes);
}

/// Power management.
#[derive(Debug)]
pub struct AcpiPm {
    config: ConfigSpace,
    registers: Registers,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    /// PMSTS without its timer bit, which follows from the time.
    status: u16,
    enable: u16,
    control: u16,
    /// How often the timer's bit 23 had toggled when its status was last cleared.
    half_wraps_seen: u64,
    /// GPSTS and GPEN.
    gp: Gpe,
    gpe0: Gpe,
    kept: Kept,
    /// B2h and B3h.
    apm: [u8; 2],
    smbus: Smbus,
}

/// [`AcpiPm`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct AcpiPmState {
    config: ConfigState,
    registers: Registers,
}

impl Default for AcpiPm {
    fn default() -> Self {
        Self::new()
    }
}

impl AcpiPm {
    /// The function at power-on: no ports but the fixed ones until software sets and enables the bases.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, REVISION)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            .interrupt_pin(1)
            .preset(0x06, &[0x80, 0x02])
            .preset(PMBASE.into(), &[0x01])
            .writable(PMBASE.into(), &[0xc0, 0xff])
            .writable(0x44, &[0xff; 0x80 - 0x44])
            .preset(NO_SMM.0.into(), &[NO_SMM.1])
            .writable(PMREGMISC.into(), &[0x01])
            .preset(SMBBASE.into(), &[0x01])
            .writable(SMBBASE.into(), &[0xf0, 0xff])
            .writable(SMBHSTCFG.into(), &[0x0f, 0xff, 0xff, 0xff]);
        // PCICMD: no SERR#, no memory (7.1.3).
        config = config.writable(0x04, &[0x05, 0x00]);
        Self { config, registers: Registers::RESET }
    }

    fn pm_base(&self) -> Option<u16> {
        let base = self.config.word(PMBASE) & 0xffc0;
        (self.config.byte(PMREGMISC) & 1 != 0 && base != 0).then_some(base)
    }

    fn smbus_base(&self) -> Option<u16> {
        let base = self.config.word(SMBBASE) & 0xfff0;
        (self.config.byte(SMBHSTCFG) & 1 != 0 && base != 0).then_some(base)
    }

    /// Drives SCI, and the timer that watches for the PM timer's overflow: only while software waits for it.
    fn drive(&self, cx: &mut Ctx<'_>) {
        let registers = &self.registers;
        let now = cx.now();
        // INTERSEL 4 is IRQ 9; the SMBus does not need SCI_EN for it.
        let smbus = registers.smbus.interrupt() && self.config.byte(SMBHSTCFG) >> 1 & 7 == 4;
        cx.set_irq(IrqLine::Isa(SCI_IRQ), registers.sci(now) || smbus);
        let waiting = PmControl::from_bits(registers.control).sci_enable()
            && Pm1::from_bits(registers.enable).timer()
            && !registers.status(now).timer();
        if waiting {
            let next = half_wraps(now).saturating_add(1);
            cx.arm(OVERFLOW, VmTime::of_tick(next << HALF_WRAP_SHIFT, PM_TIMER_HZ));
        } else {
            cx.disarm(OVERFLOW);
        }
    }
}

fn half_wraps(now: VmTime) -> u64 {
    now.ticks(PM_TIMER_HZ) >> HALF_WRAP_SHIFT
}

impl Registers {
    const RESET: Self = Self {
        status: 0,
        enable: 0,
        control: 0,
        half_wraps_seen: 0,
        gp: Gpe { status: 0, enable: 0 },
        gpe0: Gpe { status: 0, enable: 0 },
        kept: Kept::RESET,
        apm: [0; 2],
        smbus: Smbus::RESET,
    };

    fn status(&self, now: VmTime) -> Pm1 {
        Pm1::from_bits(self.status).with_timer(half_wraps(now) != self.half_wraps_seen)
    }

    fn sci(&self, now: VmTime) -> bool {
        let pm1 = self.status(now).into_bits() & self.enable != 0;
        PmControl::from_bits(self.control).sci_enable() && (pm1 || self.gp.pending() || self.gpe0.pending())
    }

    /// All the power management ports as they read now.
    fn image(&self, now: VmTime) -> [u8; PM_LEN as usize] {
        let mut image = [0; PM_LEN as usize];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &self.status(now).into_bits().to_le_bytes());
        put(0x02, &self.enable.to_le_bytes());
        put(0x04, &self.control.to_le_bytes());
        put(0x08, &((now.ticks(PM_TIMER_HZ) & 0xff_ffff) as u32).to_le_bytes());
        put(0x0c, &self.gp.bytes());
        put(0x10, &self.kept.processor_control.to_le_bytes());
        put(0x20, &self.kept.global_enable.to_le_bytes());
        put(0x28, &self.kept.global_control.to_le_bytes());
        put(0x2c, &self.kept.device_control.to_le_bytes());
        put(0x34, &self.kept.outputs.to_le_bytes());
        image
    }

    /// A byte is written to a power management port.
    fn write_pm(&mut self, cx: &mut Ctx<'_>, at: usize, value: u8) {
        match at {
            0x00 | 0x01 => {
                let cleared = u16::from(value) << (8 * at);
                self.status &= !cleared;
                if Pm1::from_bits(cleared).timer() {
                    self.half_wraps_seen = half_wraps(cx.now());
                }
            }
            0x02 | 0x03 => {
                put_byte(&mut self.enable, at - 2, value);
                self.enable &= PM1_ENABLES;
            }
            0x04 | 0x05 => {
                let mut written = self.control;
                put_byte(&mut written, at - 4, value);
                self.control = written & PM_CONTROL_KEPT;
                let control = PmControl::from_bits(written);
                if control.sleep_enable() && control.sleep_type() == SLP_TYP_S5 {
                    cx.effect(Effect::PowerOff);
                }
            }
            0x0c..=0x0f => self.gp.write(at - 0x0c, value),
            0x10..=0x13 => put_byte32(&mut self.kept.processor_control, at - 0x10, value),
            0x20 | 0x21 => put_byte(&mut self.kept.global_enable, at - 0x20, value),
            0x28..=0x2b => {
                put_byte32(&mut self.kept.global_control, at - 0x28, value);
                if self.kept.global_control & BIOS_RELEASE != 0 {
                    self.kept.global_control &= !BIOS_RELEASE;
                    self.status |= Pm1::new().with_global(true).into_bits();
                }
            }
            0x2c..=0x2f => put_byte32(&mut self.kept.device_control, at - 0x2c, value),
            0x34..=0x37 => put_byte32(&mut self.kept.outputs, at - 0x34, value),
            _ => {}
        }
    }

    fn write_apm(&mut self, at: usize, value: u8) {
        if let Some(latch) = self.apm.get_mut(at) {
            *latch = value;
        }
        if at == 0 && (value == ACPI_ENABLE || value == ACPI_DISABLE) {
            self.control = PmControl::from_bits(self.control).with_sci_enable(value == ACPI_ENABLE).into_bits();
        }
    }

    fn is_possible(&self) -> bool {
        self.status & !PM1_STATUSES == 0
            && !Pm1::from_bits(self.status).timer()
            && self.enable & !PM1_ENABLES == 0
            && self.control & !PM_CONTROL_KEPT == 0
            && self.kept.global_control & BIOS_RELEASE == 0
            && self.smbus.is_possible()
    }
}

impl Device for AcpiPm {
    type State = AcpiPmState;
    const KIND: &'static str = "acpi-pm";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        let mut regions =
            vec![Region::io(SMI_COMMAND_PORT, 2, TAG_APM), Region::io(GPE0_PORT, GPE0_LEN.into(), TAG_GPE0)];
        regions.extend(self.pm_base().map(|base| Region::io(base, PM_LEN, TAG_PM)));
        regions.extend(self.smbus_base().map(|base| Region::io(base, smbus::LEN, TAG_SMBUS)));
        regions
    }

    fn pci(&self) -> Option<Devfn> {
        Some(DEVFN)
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        let registers = &mut self.registers;
        let mut copy = |image: &[u8]| {
            for (byte, value) in data.iter_mut().zip(image.iter().skip(at.offset as usize)) {
                *byte = *value;
            }
        };
        match at.tag {
            CONFIG_TAG => self.config.read(at.offset, data),
            TAG_PM => copy(&registers.image(cx.now())),
            TAG_APM => copy(&registers.apm),
            TAG_GPE0 => copy(&registers.gpe0.bytes()),
            _ => {
                for (offset, byte) in (at.offset..u64::from(smbus::LEN)).zip(data) {
                    *byte = registers.smbus.read(offset);
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        if at.tag == CONFIG_TAG {
            let bases = (self.pm_base(), self.smbus_base());
            self.config.write(at.offset, data);
            if (self.pm_base(), self.smbus_base()) != bases {
                cx.effect(Effect::Remap);
            }
        }
        for (offset, &value) in (at.offset..).zip(data) {
            match at.tag {
                TAG_PM => self.registers.write_pm(cx, offset as usize, value),
                TAG_APM => self.registers.write_apm(offset as usize, value),
                TAG_GPE0 => self.registers.gpe0.write(offset as usize, value),
                TAG_SMBUS => self.registers.smbus.write(offset, value),
                _ => {}
            }
        }
        self.drive(cx);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        if let Wake::PowerButton = why {
            self.registers.status |= Pm1::new().with_power_button(true).into_bits();
        }
        self.drive(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { config, registers } = self;
        config.reset();
        *registers = Registers { half_wraps_seen: half_wraps(cx.now()), ..Registers::RESET };
        self.resync(cx);
    }

    fn save(&self) -> AcpiPmState {
        let Self { config, registers } = self;
        AcpiPmState { config: config.save(), registers: registers.clone() }
    }

    fn load(&mut self, state: AcpiPmState) -> Result<(), RestoreError> {
        let AcpiPmState { config, registers } = state;
        if !registers.is_possible() {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "power management registers" });
        }
        self.config.load(Self::KIND, &config, &[])?;
        self.registers = registers;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Remap);
        self.drive(cx);
    }
}

#[cfg(test)]
mod tests;
