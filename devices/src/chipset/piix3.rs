//! Intel PIIX3 PCI-to-ISA bridge, 82371SB function 0 (data sheet 290550-002), PCI function 00:01.0.
//!
//! Ports: RC CF9h (reset control). No IRQ; PIRQRCA to PIRQRCD route PIRQA# to PIRQD# to ISA IRQs.
//!
//! Other parts of the bridge are elsewhere: DMA in [`super::isa_dma`], the RTC in [`crate::cmos`], port 92h in
//! [`super::port92`], the APM ports B2h and B3h in [`super::acpi_pm`], the IDE function 00:01.1 in [`crate::ide`], the
//! USB function 00:01.2 in [`crate::usb`]. The interrupt controllers with ELCR (4D0h, 4D1h) and the timers are KVM's.
//! Registers for recovery times, chip selects, SMI and clock control read back what the guest writes and have no
//! effect. Not implemented: SMI#.

use super::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::pci::{ConfigSpace, ConfigState, RegisterNames, config_register_name};
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, Region, ResetKind, RestoreError};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// PCI function.
pub const DEVFN: Devfn = Devfn::new(1, 0);
/// Device ID of 82371SB function 0.
pub const DEVICE_ID: u16 = 0x7000;
/// Class code: ISA bridge.
const CLASS: u32 = 0x06_0100;
const REVISION: u8 = 0;

/// PIRQRCA, route control of PIRQA#; PIRQRCB to PIRQRCD follow (2.2.9).
pub const PIRQRC: u8 = 0x60;
/// RC, reset control register (2.5.5.4).
pub const RESET_CONTROL_PORT: u16 = 0xcf9;
const TAG_RESET: u8 = 0;
/// Bit n: a PIRQ can be routed to ISA IRQ n. IRQs 0, 1, 2, 8 and 13 are reserved.
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// The device's registers in configuration space (2.2).
const CONFIG_NAMES: &RegisterNames = &[
    (0x4c..=0x4c, "IORT"),
    (0x4e..=0x4f, "XBCS"),
    (0x60..=0x60, "PIRQRCA"),
    (0x61..=0x61, "PIRQRCB"),
    (0x62..=0x62, "PIRQRCC"),
    (0x63..=0x63, "PIRQRCD"),
    (0x69..=0x69, "TOM"),
    (0x6a..=0x6b, "MSTAT"),
    (0x70..=0x70, "MBIRQ0"),
    (0x71..=0x71, "MBIRQ1"),
    (0x76..=0x76, "MBDMA0"),
    (0x77..=0x77, "MBDMA1"),
    (0x78..=0x79, "PCSC"),
    (0x80..=0x80, "APICBASE"),
    (0x82..=0x82, "DLC"),
    (0xa0..=0xa0, "SMICNTL"),
    (0xa2..=0xa3, "SMIEN"),
    (0xa4..=0xa7, "SEE"),
    (0xa8..=0xa8, "FTMR"),
    (0xaa..=0xab, "SMIREQ"),
    (0xac..=0xac, "CTLTMR"),
    (0xae..=0xae, "CTHTMR"),
];

/// Registers from 4Ch up: offset, reset value, write mask.
const REGISTERS: [(u8, u8, u8); 31] = [
    (0x4c, 0x4d, 0x7f), // IORT
    (0x4e, 0x03, 0xff), // XBCS
    (0x4f, 0x00, 0x01),
    (0x60, 0x80, 0x8f), // PIRQRCA to PIRQRCD
    (0x61, 0x80, 0x8f),
    (0x62, 0x80, 0x8f),
    (0x63, 0x80, 0x8f),
    (0x69, 0x02, 0xfe), // TOM
    (0x6a, 0x00, 0x11), // MSTAT
    (0x6b, 0x00, 0x80),
    (0x70, 0x80, 0xef), // MBIRQ0, MBIRQ1
    (0x71, 0x00, 0xef),
    (0x76, 0x0c, 0x8f), // MBDMA0, MBDMA1
    (0x77, 0x0c, 0x8f),
    (0x78, 0x02, 0xff), // PCSC
    (0x79, 0x00, 0xff),
    (0x80, 0x00, 0x7f), // APICBASE
    (0x82, 0x00, 0x0f), // DLC
    (0xa0, 0x08, 0x1f), // SMICNTL
    (0xa2, 0x00, 0xff), // SMIEN
    (0xa3, 0x00, 0x01),
    (0xa4, 0x00, 0xff), // SEE
    (0xa5, 0x00, 0xff),
    (0xa6, 0x00, 0x00),
    (0xa7, 0x00, 0xe0),
    (0xa8, 0x0f, 0xff), // FTMR
    (0xaa, 0x00, 0x7f), // SMIREQ: no SMI request ever sets a bit
    (0xab, 0x00, 0x01),
    (0xac, 0x00, 0xff), // CTLTMR
    (0xae, 0x00, 0xff), // CTHTMR
    (0xaf, 0x00, 0x00),
];

/// A PIRQ route control register.
#[bitfield(u8)]
struct Pirqrc {
    #[bits(4)]
    irq: u8,
    #[bits(3)]
    __: u8,
    disabled: bool,
}

/// RC, the reset control register.
#[bitfield(u8)]
struct ResetControl {
    __: bool,
    /// SRST: hard reset (PCIRST#); else soft reset (INIT).
    hard: bool,
    /// RCPU: a change from 0 to 1 starts the reset.
    reset_cpu: bool,
    #[bits(5)]
    __: u8,
}

/// The ISA bridge.
#[derive(Debug)]
pub struct Piix3 {
    config: ConfigSpace,
    reset_control: u8,
}

/// [`Piix3`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piix3State {
    config: ConfigState,
    reset_control: u8,
}

impl Default for Piix3 {
    fn default() -> Self {
        Self::new()
    }
}

impl Piix3 {
    /// The bridge at power-on.
    pub fn new() -> Self {
        // PCICMD is zero at reset and the enables writable, without effect, as in QEMU's `pc`. The data sheet hardwires
        // the I/O, memory and bus master enables to 1 (2.2.3).
        let mut config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, REVISION)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            .multifunction()
            .preset(0x06, &[0x00, 0x02])
            .writable(0x04, &[0x0f, 0x01]);
        for (register, reset, writable) in REGISTERS {
            config = config.preset(register.into(), &[reset]).writable(register.into(), &[writable]);
        }
        Self { config, reset_control: 0 }
    }

    /// Whether a configuration register is a PIRQRC that routes its PIRQ to a reserved IRQ.
    fn is_reserved_route(&self, register: u64) -> bool {
        let registers = u64::from(PIRQRC)..u64::from(PIRQRC) + 4;
        registers.contains(&register) && {
            let route = Pirqrc::from_bits(self.config.byte(register as u8));
            !route.disabled() && ROUTABLE >> route.irq() & 1 == 0
        }
    }

    /// The ISA IRQs of PIRQA# to PIRQD#; `None` while routing is disabled or set to a reserved IRQ.
    pub fn pirq_routes(&self) -> [Option<u8>; 4] {
        [0, 1, 2, 3].map(|n| {
            let route = Pirqrc::from_bits(self.config.byte(PIRQRC + n));
            (!route.disabled() && ROUTABLE >> route.irq() & 1 == 1).then_some(route.irq())
        })
    }
}

impl Device for Piix3 {
    type State = Piix3State;
    const KIND: &'static str = "piix3";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        vec![Region::io(RESET_CONTROL_PORT, 1, TAG_RESET)]
    }

    fn pci(&self) -> Option<Devfn> {
        Some(DEVFN)
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            CONFIG_TAG => config_register_name(CONFIG_NAMES, at.offset),
            TAG_RESET => Some("RC"),
            _ => None,
        }
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match (at.tag, data) {
            (CONFIG_TAG, data) => self.config.read(at.offset, data),
            (_, [first, ..]) => *first = self.reset_control,
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        if at.tag == CONFIG_TAG {
            let routes = self.pirq_routes();
            self.config.write(at.offset, data);
            if self.pirq_routes() != routes {
                cx.effect(Effect::PirqRoutes(self.pirq_routes()));
            }
            if (at.offset..at.offset + data.len() as u64).any(|register| self.is_reserved_route(register)) {
                cx.guest_error("PIRQRC selects a reserved IRQ");
            }
            return;
        }
        let [value, ..] = *data else { return };
        let before = ResetControl::from_bits(self.reset_control);
        let after = ResetControl::new()
            .with_hard(ResetControl::from_bits(value).hard())
            .with_reset_cpu(ResetControl::from_bits(value).reset_cpu());
        self.reset_control = after.into_bits();
        if after.reset_cpu() && !before.reset_cpu() {
            cx.effect(Effect::Reset(if after.hard() { ResetKind::Hard } else { ResetKind::Init }));
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { config, reset_control } = self;
        config.reset();
        *reset_control = 0;
        self.resync(cx);
    }

    fn save(&self) -> Piix3State {
        let Self { config, reset_control } = self;
        Piix3State { config: config.save(), reset_control: *reset_control }
    }

    fn load(&mut self, state: Piix3State) -> Result<(), RestoreError> {
        let Piix3State { config, reset_control } = state;
        let known = ResetControl::new().with_hard(true).with_reset_cpu(true).into_bits();
        if reset_control & !known != 0 {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "reset control" });
        }
        self.config.load(Self::KIND, &config, &[])?;
        self.reset_control = reset_control;
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::PirqRoutes(self.pirq_routes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn registers_have_their_data_sheet_names() {
        let device = Piix3::new();
        for (tag, offset, name) in [
            (CONFIG_TAG, 0x0e, Some("HEDT")),
            (CONFIG_TAG, 0x4c, Some("IORT")),
            (CONFIG_TAG, 0x4f, Some("XBCS")),
            (CONFIG_TAG, 0x60, Some("PIRQRCA")),
            (CONFIG_TAG, 0x63, Some("PIRQRCD")),
            (CONFIG_TAG, 0x6b, Some("MSTAT")),
            (CONFIG_TAG, 0xae, Some("CTHTMR")),
            (CONFIG_TAG, 0xb0, None),
            (TAG_RESET, 0, Some("RC")),
        ] {
            for width in [1, 2, 4] {
                assert_eq!(device.register_name(Access { tag, offset, width }), name, "{offset:02x}");
            }
        }
    }

    #[test]
    fn ids_and_reset_values_match_the_data_sheet() {
        let mut bench = Bench::new(Piix3::new());
        for (register, width, expect) in [
            (0x00, 4, 0x7000_8086),
            (0x04, 4, 0x0200_0000),
            (0x08, 4, 0x0601_0000),
            (0x0e, 1, 0x80),
            (0x2c, 4, 0x1100_1af4),
            (0x4c, 4, 0x0003_004d),
            (0x60, 4, 0x8080_8080),
            (0x69, 1, 0x02),
            (0x70, 1, 0x80),
            (0x76, 2, 0x0c0c),
            (0x78, 2, 0x0002),
            (0xa0, 1, 0x08),
            (0xa8, 1, 0x0f),
        ] {
            assert_eq!(bench.config_read(register, width), expect, "{register:02x}");
        }
        assert_eq!(bench.effects, [Effect::PirqRoutes([None; 4])], "all routes are disabled at power-on");
    }

    #[test]
    fn a_pirq_is_not_routed_to_a_reserved_irq() {
        let mut bench = Bench::new(Piix3::new());
        for irq in 0..16u8 {
            bench.config_write(0x61, 1, irq.into());
            let expect = (![0, 1, 2, 8, 13].contains(&irq)).then_some(irq);
            assert_eq!(bench.device.pirq_routes(), [None, expect, None, None], "{irq}");
            assert_eq!(bench.guest_errors.drain(..).len(), usize::from(expect.is_none()), "{irq}");
            bench.config_write(0x61, 1, u32::from(irq) | 0x80);
            assert_eq!(bench.device.pirq_routes(), [None; 4], "{irq} disabled");
        }
        assert_eq!(bench.guest_errors, [""; 0], "a disabled route is no error");
        bench.effects.clear();
        bench.config_write(0x60, 4, 0x0b0a_0b0a);
        let routes = [Some(10), Some(11), Some(10), Some(11)];
        assert_eq!(bench.effects, [Effect::PirqRoutes(routes)]);
        bench.effects.clear();
        bench.config_write(0x60, 4, 0x0b0a_0b0a);
        assert_eq!(bench.effects, [], "an unchanged value has no effect");
        bench.call(Device::reset);
        assert_eq!(bench.effects, [Effect::PirqRoutes([None; 4])]);
    }

    #[test]
    fn only_a_rising_rcpu_bit_of_cf9_resets() {
        use ResetKind::{Hard, Init};
        // Values written in sequence, and the resets that they start.
        let cases: &[(&[u8], &[ResetKind])] = &[
            (&[0x02], &[]),
            (&[0x02, 0x06], &[Hard]),
            (&[0x06], &[Hard]),
            (&[0x06, 0x06], &[Hard]),
            (&[0x06, 0x02, 0x06], &[Hard, Hard]),
            (&[0x00, 0x04], &[Init]),
            (&[0x04, 0x06], &[Init]),
            (&[0xf9], &[]),
        ];
        for (writes, expect) in cases {
            let mut bench = Bench::new(Piix3::new());
            bench.effects.clear();
            for value in *writes {
                bench.outb(0xcf9, *value);
                assert_eq!(bench.inb(0xcf9), value & 0x06);
            }
            let resets: Vec<_> = expect.iter().map(|&kind| Effect::Reset(kind)).collect();
            assert_eq!(bench.effects, resets, "{writes:02x?}");
            bench.call(Device::reset);
            assert_eq!(bench.inb(0xcf9), 0);
        }
    }
}
