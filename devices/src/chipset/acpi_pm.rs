//! ACPI power management: Intel 82371AB PIIX4, function 3, with its SMBus host (data sheet 290562-001, chapter 7), PCI
//! function 00:01.3; and ACPI GPE block 0 of QEMU and Xen.
//!
//! Ports that the guest maps: 64 at PMBA (PM1 events and control, PM timer, general purpose events, throttling, general
//! purpose outputs), 16 at SMBBA. Fixed ports: APMC B2h and APMS B3h, [`GPE0_PORT`]. IRQ: SCI, ISA IRQ 9, level.
//!
//! A write of [`ACPI_ENABLE`] or [`ACPI_DISABLE`] to APMC sets or clears SCI_EN at once, without SMI#: system
//! management mode is not implemented, and [`NO_SMM`] shows that to firmware. S5 is the only sleep state. Not
//! implemented: device monitors, the effect of throttling, the resume inputs, and devices on the SMBus.

use super::smbus::{self, Smbus};
use super::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::pci::{ConfigSpace, ConfigState, RegisterNames, config_register_name, register_name};
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, IrqLine, Region, RestoreError, TimerId, VmTime, Wake};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// PCI function.
pub const DEVFN: Devfn = Devfn::new(1, 3);
/// Device ID of 82371AB function 3.
pub const DEVICE_ID: u16 = 0x7113;
/// Class code: bridge, other.
const CLASS: u32 = 0x06_8000;
const REVISION: u8 = 3;

/// Configuration register: base of the power management ports (bits 15 to 6).
pub const PMBA: u8 = 0x40;
/// Configuration register: bit 0 enables the power management ports.
pub const PMREGMISC: u8 = 0x80;
/// Configuration register: base of the SMBus ports (bits 15 to 4).
pub const SMBBA: u8 = 0x90;
/// Configuration register: bit 0 enables the SMBus host; bits 3 to 1 select its interrupt (4 is IRQ 9).
pub const SMBHSTCFG: u8 = 0xd2;
/// Configuration register 5Bh, bit 1: APMC_EN of DEVACTB. It is set at reset, so firmware takes SMM for initialized,
/// installs no SMM handler and waits for no SMI.
pub const NO_SMM: (u8, u8) = (0x5b, 0x02);

/// The device's registers in configuration space (7.1).
const CONFIG_NAMES: &RegisterNames = &[
    (0x40..=0x43, "PMBA"),
    (0x44..=0x47, "CNTA"),
    (0x48..=0x4b, "CNTB"),
    (0x4c..=0x4f, "GPICTL"),
    (0x50..=0x53, "DEVRESD"),
    (0x54..=0x57, "DEVACTA"),
    (0x58..=0x5b, "DEVACTB"),
    (0x5c..=0x5f, "DEVRESA"),
    (0x60..=0x63, "DEVRESB"),
    (0x64..=0x67, "DEVRESC"),
    (0x68..=0x6b, "DEVRESE"),
    (0x6c..=0x6f, "DEVRESF"),
    (0x70..=0x73, "DEVRESG"),
    (0x74..=0x77, "DEVRESH"),
    (0x78..=0x7b, "DEVRESI"),
    (0x7c..=0x7f, "DEVRESJ"),
    (0x80..=0x80, "PMREGMISC"),
    (0x90..=0x93, "SMBBA"),
    (0xd2..=0xd2, "SMBHSTCFG"),
    (0xd3..=0xd3, "SMBSLVC"),
    (0xd4..=0xd4, "SMBSHDW1"),
    (0xd5..=0xd5, "SMBSHDW2"),
    (0xd6..=0xd6, "SMBREV"),
];

// Power management registers, as offsets from PMBA (7.2).
/// FADT PM1a_EVT_BLK, status.
const PMSTS: usize = 0x00;
/// FADT PM1a_EVT_BLK, enable.
const PMEN: usize = 0x02;
/// FADT PM1a_CNT_BLK.
const PMCNTRL: usize = 0x04;
/// FADT PM_TMR_BLK: a counter of 24 bits in 4 bytes.
const PMTMR: usize = 0x08;
const GPSTS: usize = 0x0c;
const PCNTRL: usize = 0x10;
const GLBEN: usize = 0x20;
const GLBCTL: usize = 0x28;
const DEVCTL: usize = 0x2c;
const GPOREG: usize = 0x34;

/// The power management ports' registers.
const PM_NAMES: &RegisterNames = &[
    (0x00..=0x01, "PMSTS"),
    (0x02..=0x03, "PMEN"),
    (0x04..=0x05, "PMCNTRL"),
    (0x08..=0x0b, "PMTMR"),
    (0x0c..=0x0d, "GPSTS"),
    (0x0e..=0x0f, "GPEN"),
    (0x10..=0x13, "PCNTRL"),
    (0x14..=0x14, "PLVL2"),
    (0x15..=0x15, "PLVL3"),
    (0x18..=0x19, "GLBSTS"),
    (0x1c..=0x1f, "DEVSTS"),
    (0x20..=0x21, "GLBEN"),
    (0x28..=0x2b, "GLBCTL"),
    (0x2c..=0x2f, "DEVCTL"),
    (0x30..=0x33, "GPIREG"),
    (0x34..=0x37, "GPOREG"),
];

/// The value of PMBA that SeaBIOS sets and the FADT holds. PMBA is 0 at reset.
pub const PM_PORT: u16 = 0x600;
/// Clock of the PM timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Fixed port of general purpose event block 0 (FADT GPE0_BLK). Frozen. GPE0_STS is 2 bytes, GPE0_EN 2 bytes.
pub const GPE0_PORT: u16 = 0xafe0;
/// Bytes of GPE block 0.
pub const GPE0_LEN: u8 = 4;
/// ISA IRQ of SCI (FADT SCI_INT): level-triggered, active high.
pub const SCI_IRQ: u8 = 9;
/// APMC, the APM control port (FADT SMI_CMD).
pub const SMI_COMMAND_PORT: u16 = 0xb2;
/// Value for APMC that sets SCI_EN (FADT ACPI_ENABLE).
pub const ACPI_ENABLE: u8 = 0xf1;
/// Value for APMC that clears SCI_EN (FADT ACPI_DISABLE).
pub const ACPI_DISABLE: u8 = 0xf0;
/// SLP_TYP of S5, for the DSDT's `\_S5`.
pub const SLP_TYP_S5: u8 = 0;

const PM_LEN: u16 = 64;
const TAG_PM: u8 = 0;
const TAG_SMBUS: u8 = 1;
const TAG_APM: u8 = 2;
const TAG_GPE0: u8 = 3;
const OVERFLOW: TimerId = TimerId(0);
/// TMROF_STS is set whenever bit 23 of the PM timer toggles: every half period.
const HALF_WRAP_SHIFT: u32 = 23;

/// The common layout of PMSTS and PMEN (7.2.1, 7.2.2).
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
    /// PMSTS only.
    resume: bool,
}

const PM1_ENABLES: u16 =
    Pm1::new().with_timer(true).with_global(true).with_power_button(true).with_rtc(true).into_bits();
const PM1_STATUSES: u16 = PM1_ENABLES | Pm1::new().with_resume(true).into_bits();

/// PMCNTRL (7.2.3).
#[bitfield(u16)]
struct Pmcntrl {
    sci_en: bool,
    /// Bus master reload enable.
    brld_en: bool,
    /// Global release; write-only.
    gbl_rls: bool,
    #[bits(7)]
    __: u8,
    #[bits(3)]
    slp_typ: u8,
    /// Write-only.
    slp_en: bool,
    #[bits(2)]
    __: u8,
}

const PMCNTRL_READABLE: u16 = Pmcntrl::new().with_sci_en(true).with_brld_en(true).with_slp_typ(7).into_bits();

/// GLBCTL: BIOS_RLS sets GBL_STS, the global lock's event.
const BIOS_RLS: u32 = 1 << 1;
/// Reset value of GPOREG.
const GPOREG_RESET: u32 = 0x7fff_bfff;

/// A general purpose event block. No device of this machine raises an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct EventBlock {
    status: u16,
    enable: u16,
}

impl EventBlock {
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

/// Power management registers from 10h up, which read back what the guest writes but have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PassiveRegisters {
    pcntrl: u32,
    glben: u16,
    glbctl: u32,
    devctl: u32,
    gporeg: u32,
}

impl PassiveRegisters {
    const RESET: Self = Self { pcntrl: 0, glben: 0, glbctl: 0, devctl: 0, gporeg: GPOREG_RESET };
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

/// The power management function.
#[derive(Debug)]
pub struct AcpiPm {
    config: ConfigSpace,
    registers: Registers,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    /// PMSTS without TMROF_STS, which is computed from the time.
    status: u16,
    /// PMEN.
    enable: u16,
    /// PMCNTRL.
    control: u16,
    /// The number of toggles of the PM timer's bit 23 when TMROF_STS was last cleared.
    half_wraps_seen: u64,
    /// GPSTS and GPEN.
    gp: EventBlock,
    gpe0: EventBlock,
    passive: PassiveRegisters,
    /// APMC and APMS.
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
    /// The function at power-on. It decodes only the fixed ports until the guest sets and enables the bases.
    pub fn new() -> Self {
        let mut config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, REVISION)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            .interrupt_pin(1)
            .preset(0x06, &[0x80, 0x02])
            .preset(PMBA.into(), &[0x01])
            .writable(PMBA.into(), &[0xc0, 0xff])
            .writable(0x44, &[0xff; 0x80 - 0x44])
            .preset(NO_SMM.0.into(), &[NO_SMM.1])
            .writable(PMREGMISC.into(), &[0x01])
            .preset(SMBBA.into(), &[0x01])
            .writable(SMBBA.into(), &[0xf0, 0xff])
            .writable(SMBHSTCFG.into(), &[0x0f, 0xff, 0xff, 0xff]);
        // PCICMD: the enables are writable; memory and SERR#, which the data sheet hardwires to 0 (7.1.3), as in QEMU's
        // `pc`.
        config = config.writable(0x04, &[0x07, 0x01]);
        Self { config, registers: Registers::RESET }
    }

    fn pm_base(&self) -> Option<u16> {
        let base = self.config.word(PMBA) & 0xffc0;
        (self.config.byte(PMREGMISC) & 1 != 0 && base != 0).then_some(base)
    }

    fn smbus_base(&self) -> Option<u16> {
        let base = self.config.word(SMBBA) & 0xfff0;
        (self.config.byte(SMBHSTCFG) & 1 != 0 && base != 0).then_some(base)
    }

    /// Drives SCI, and arms the timer for the next PM timer overflow only if that would raise SCI.
    fn drive(&self, cx: &mut Ctx<'_>) {
        let registers = &self.registers;
        let now = cx.now();
        // SMBHSTCFG INTERSEL 4 is IRQ 9, independent of SCI_EN.
        let smbus = registers.smbus.interrupt() && self.config.byte(SMBHSTCFG) >> 1 & 7 == 4;
        cx.set_irq(IrqLine::Isa(SCI_IRQ), registers.sci(now) || smbus);
        let overflow_raises_sci = Pmcntrl::from_bits(registers.control).sci_en()
            && Pm1::from_bits(registers.enable).timer()
            && !registers.status(now).timer();
        if overflow_raises_sci {
            let next = half_wraps(now).saturating_add(1);
            cx.arm(OVERFLOW, VmTime::of_tick(next << HALF_WRAP_SHIFT, PM_TIMER_HZ));
        } else {
            cx.disarm(OVERFLOW);
        }
    }
}

/// How often the PM timer's bit 23 has toggled since power-on.
fn half_wraps(now: VmTime) -> u64 {
    now.ticks(PM_TIMER_HZ) >> HALF_WRAP_SHIFT
}

impl Registers {
    const RESET: Self = Self {
        status: 0,
        enable: 0,
        control: 0,
        half_wraps_seen: 0,
        gp: EventBlock { status: 0, enable: 0 },
        gpe0: EventBlock { status: 0, enable: 0 },
        passive: PassiveRegisters::RESET,
        apm: [0; 2],
        smbus: Smbus::RESET,
    };

    fn status(&self, now: VmTime) -> Pm1 {
        Pm1::from_bits(self.status).with_timer(half_wraps(now) != self.half_wraps_seen)
    }

    fn sci(&self, now: VmTime) -> bool {
        let pm1 = self.status(now).into_bits() & self.enable != 0;
        Pmcntrl::from_bits(self.control).sci_en() && (pm1 || self.gp.pending() || self.gpe0.pending())
    }

    /// The contents of all power management ports at `now`.
    fn image(&self, now: VmTime) -> [u8; PM_LEN as usize] {
        let mut image = [0; PM_LEN as usize];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(PMSTS, &self.status(now).into_bits().to_le_bytes());
        put(PMEN, &self.enable.to_le_bytes());
        put(PMCNTRL, &self.control.to_le_bytes());
        put(PMTMR, &((now.ticks(PM_TIMER_HZ) & 0xff_ffff) as u32).to_le_bytes());
        put(GPSTS, &self.gp.bytes());
        put(PCNTRL, &self.passive.pcntrl.to_le_bytes());
        put(GLBEN, &self.passive.glben.to_le_bytes());
        put(GLBCTL, &self.passive.glbctl.to_le_bytes());
        put(DEVCTL, &self.passive.devctl.to_le_bytes());
        put(GPOREG, &self.passive.gporeg.to_le_bytes());
        image
    }

    /// Writes a byte of a power management register.
    fn write_pm(&mut self, cx: &mut Ctx<'_>, at: usize, value: u8) {
        match at {
            // PMSTS
            0x00 | 0x01 => {
                let cleared = u16::from(value) << (8 * at);
                self.status &= !cleared;
                if Pm1::from_bits(cleared).timer() {
                    self.half_wraps_seen = half_wraps(cx.now());
                }
            }
            // PMEN
            0x02 | 0x03 => {
                put_byte(&mut self.enable, at - PMEN, value);
                self.enable &= PM1_ENABLES;
            }
            // PMCNTRL
            0x04 | 0x05 => {
                let mut written = self.control;
                put_byte(&mut written, at - PMCNTRL, value);
                self.control = written & PMCNTRL_READABLE;
                let control = Pmcntrl::from_bits(written);
                if control.slp_en() && control.slp_typ() == SLP_TYP_S5 {
                    cx.effect(Effect::PowerOff);
                }
            }
            // GPSTS, GPEN
            0x0c..=0x0f => self.gp.write(at - GPSTS, value),
            0x10..=0x13 => put_byte32(&mut self.passive.pcntrl, at - PCNTRL, value),
            0x20 | 0x21 => put_byte(&mut self.passive.glben, at - GLBEN, value),
            // GLBCTL
            0x28..=0x2b => {
                put_byte32(&mut self.passive.glbctl, at - GLBCTL, value);
                if self.passive.glbctl & BIOS_RLS != 0 {
                    self.passive.glbctl &= !BIOS_RLS;
                    self.status |= Pm1::new().with_global(true).into_bits();
                }
            }
            0x2c..=0x2f => put_byte32(&mut self.passive.devctl, at - DEVCTL, value),
            0x34..=0x37 => put_byte32(&mut self.passive.gporeg, at - GPOREG, value),
            _ => {}
        }
    }

    /// Writes APMC (0) or APMS (1).
    fn write_apm(&mut self, at: usize, value: u8) {
        if let Some(latch) = self.apm.get_mut(at) {
            *latch = value;
        }
        if at == 0 && (value == ACPI_ENABLE || value == ACPI_DISABLE) {
            self.control = Pmcntrl::from_bits(self.control).with_sci_en(value == ACPI_ENABLE).into_bits();
        }
    }

    fn is_valid(&self) -> bool {
        self.status & !PM1_STATUSES == 0
            && !Pm1::from_bits(self.status).timer()
            && self.enable & !PM1_ENABLES == 0
            && self.control & !PMCNTRL_READABLE == 0
            && self.passive.glbctl & BIOS_RLS == 0
            && self.smbus.is_valid()
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

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            CONFIG_TAG => config_register_name(CONFIG_NAMES, at.offset),
            TAG_PM => register_name(PM_NAMES, at.offset),
            TAG_SMBUS => register_name(smbus::NAMES, at.offset),
            TAG_APM => register_name(&[(0..=0, "APMC"), (1..=1, "APMS")], at.offset),
            TAG_GPE0 => register_name(&[(0..=1, "GPE0_STS"), (2..=3, "GPE0_EN")], at.offset),
            _ => None,
        }
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
        if !registers.is_valid() {
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
