//! Intel 440FX north bridge, 82441FX PMC (data sheet 290549-001), PCI function 00:00.0.
//!
//! No IRQ. Ports: CONFADD and CONFDATA, which [`crate::pci::bus`] implements.
//!
//! The PAM registers select how C0000h-FFFFFh is decoded; the board applies them. The DRAM timing, row boundary and
//! error registers read back what the guest writes and have no effect. SMRAM implements its lock, but system management
//! mode is not implemented, so A0000h-BFFFFh is never RAM.

use super::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::pci::{ConfigSpace, ConfigState, RegisterNames, config_register_name};
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Effect, Region, RestoreError, Shadow};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// PCI function.
pub const DEVFN: Devfn = Devfn::new(0, 0);
/// Device ID of the 82441FX.
pub const DEVICE_ID: u16 = 0x1237;
/// Class code: host bridge.
const CLASS: u32 = 0x06_0000;
const REVISION: u8 = 2;

/// PAM0: F0000h-FFFFFh. PAM1 to PAM6 follow (3.2.18).
pub const PAM0: u8 = 0x59;
/// PAM6: E8000h-EFFFFh.
pub const PAM6: u8 = 0x5f;
/// SMRAM control register (3.2.23).
pub const SMRAM: u8 = 0x72;

/// The device's registers in configuration space (3.2).
const CONFIG_NAMES: &RegisterNames = &[
    (0x50..=0x51, "PMCCFG"),
    (0x52..=0x52, "DETURBO"),
    (0x53..=0x53, "DBC"),
    (0x54..=0x54, "AXC"),
    (0x55..=0x56, "DRT"),
    (0x57..=0x57, "DRAMC"),
    (0x58..=0x58, "DRAMT"),
    (0x59..=0x59, "PAM0"),
    (0x5a..=0x5a, "PAM1"),
    (0x5b..=0x5b, "PAM2"),
    (0x5c..=0x5c, "PAM3"),
    (0x5d..=0x5d, "PAM4"),
    (0x5e..=0x5e, "PAM5"),
    (0x5f..=0x5f, "PAM6"),
    (0x60..=0x60, "DRB0"),
    (0x61..=0x61, "DRB1"),
    (0x62..=0x62, "DRB2"),
    (0x63..=0x63, "DRB3"),
    (0x64..=0x64, "DRB4"),
    (0x65..=0x65, "DRB5"),
    (0x66..=0x66, "DRB6"),
    (0x67..=0x67, "DRB7"),
    (0x68..=0x68, "FDHC"),
    (0x70..=0x70, "MTT"),
    (0x71..=0x71, "CLT"),
    (0x72..=0x72, "SMRAM"),
    (0x90..=0x90, "ERRCMD"),
    (0x91..=0x91, "ERRSTS"),
    (0x93..=0x93, "TRC"),
];

/// Registers from 50h up: offset, reset value, write mask.
const REGISTERS: [(u8, u8, u8); 35] = [
    (0x50, 0x00, 0x0f), // PMCCFG
    (0x51, 0x00, 0xff),
    (0x52, 0x00, 0xff), // DETURBO
    (0x53, 0x80, 0x83), // DBC
    (0x54, 0x00, 0xff), // AXC
    (0x55, 0x00, 0xff), // DRT
    (0x56, 0x00, 0xff),
    (0x57, 0x01, 0xff), // DRAMC
    (0x58, 0x00, 0xff), // DRAMT
    (0x59, 0x00, 0x70), // PAM0: the low nibble is reserved
    (0x5a, 0x00, 0x77), // PAM1 to PAM6
    (0x5b, 0x00, 0x77),
    (0x5c, 0x00, 0x77),
    (0x5d, 0x00, 0x77),
    (0x5e, 0x00, 0x77),
    (0x5f, 0x00, 0x77),
    (0x60, 0x01, 0xff), // DRB0 to DRB7
    (0x61, 0x01, 0xff),
    (0x62, 0x01, 0xff),
    (0x63, 0x01, 0xff),
    (0x64, 0x01, 0xff),
    (0x65, 0x01, 0xff),
    (0x66, 0x01, 0xff),
    (0x67, 0x01, 0xff),
    (0x68, 0x00, 0xc0), // FDHC
    (0x70, 0x00, 0xf8), // MTT
    (0x71, 0x10, 0xff), // CLT
    (0x72, 0x02, 0x78), // SMRAM
    (0x90, 0x00, 0xff), // ERRCMD
    (0x91, 0x00, 0x00), // ERRSTS: write 1 to clear; no error ever sets a bit
    (0x93, 0x00, 0x0e), // TRC
    (0xb4, 0x00, 0xff), // undocumented test registers, which firmware and drivers save and restore
    (0xb8, 0x00, 0xff),
    (0xb9, 0x00, 0xff),
    (0xbb, 0x00, 0xff),
];

/// One nibble of a PAM register: the attributes of one segment.
#[bitfield(u8)]
struct Pam {
    read_ram: bool,
    write_ram: bool,
    cache: bool,
    #[bits(5)]
    __: u8,
}

/// SMRAM, the SMRAM control register.
#[bitfield(u8)]
struct SmramControl {
    #[bits(3)]
    base_segment: u8,
    enable: bool,
    lock: bool,
    close: bool,
    open: bool,
    __: bool,
}

/// The north bridge.
#[derive(Debug)]
pub struct I440fx {
    config: ConfigSpace,
}

/// [`I440fx`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct I440fxState {
    config: ConfigState,
}

impl Default for I440fx {
    fn default() -> Self {
        Self::new()
    }
}

impl I440fx {
    /// The bridge at power-on.
    pub fn new() -> Self {
        // PCICMD and PCISTS are zero at reset and the enables writable, without effect, as in QEMU's `pc`. The data
        // sheet hardwires the memory and bus master enables to 1 and DEVSEL# timing to medium (3.2.3, 3.2.4).
        let mut config = ConfigSpace::new(VENDOR_INTEL, DEVICE_ID, CLASS, REVISION)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            .writable(0x04, &[0x07, 0x01]);
        for (register, reset, writable) in REGISTERS {
            config = config.preset(register.into(), &[reset]).writable(register.into(), &[writable]);
        }
        Self { config }
    }

    /// How the PAM segments are decoded: twelve of 16 KiB from C0000h up, then F0000h-FFFFFh.
    pub fn shadow(&self) -> [Shadow; 13] {
        let segment_shadow = |segment: usize| {
            let pam = match segment {
                12 => self.config.byte(PAM0) >> 4,
                even if even % 2 == 0 => self.config.byte(PAM0 + 1 + (even / 2) as u8) & 0xf,
                odd => self.config.byte(PAM0 + 1 + (odd / 2) as u8) >> 4,
            };
            let pam = Pam::from_bits(pam);
            Shadow { read_ram: pam.read_ram(), write_ram: pam.write_ram() }
        };
        std::array::from_fn(segment_shadow)
    }

    /// Applies the lock to a write of SMRAM: once D_LCK is set, D_OPEN stays clear until the next reset (3.2.23).
    fn lock_smram(&mut self, before: SmramControl) {
        let after = SmramControl::from_bits(self.config.byte(SMRAM));
        let locked = if before.lock() {
            after.with_lock(true).with_open(false).with_enable(before.enable())
        } else if after.lock() {
            after.with_open(false)
        } else {
            after
        };
        self.config.set_byte(SMRAM, locked.into_bits());
    }
}

impl Device for I440fx {
    type State = I440fxState;
    const KIND: &'static str = "i440fx";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        Vec::new()
    }

    fn pci(&self) -> Option<Devfn> {
        Some(DEVFN)
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        if at.tag == CONFIG_TAG { config_register_name(CONFIG_NAMES, at.offset) } else { None }
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        if at.tag == CONFIG_TAG {
            self.config.read(at.offset, data);
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        if at.tag != CONFIG_TAG {
            return;
        }
        let shadow = self.shadow();
        let smram = SmramControl::from_bits(self.config.byte(SMRAM));
        self.config.write(at.offset, data);
        self.lock_smram(smram);
        if self.shadow() != shadow {
            cx.effect(Effect::Shadow(self.shadow()));
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { config } = self;
        config.reset();
        self.resync(cx);
    }

    fn save(&self) -> I440fxState {
        let Self { config } = self;
        I440fxState { config: config.save() }
    }

    fn load(&mut self, state: I440fxState) -> Result<(), RestoreError> {
        let I440fxState { config } = state;
        self.config.load(Self::KIND, &config, &[])
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        cx.effect(Effect::Shadow(self.shadow()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn registers_have_their_data_sheet_names() {
        let device = I440fx::new();
        for (offset, name) in [
            (0x00, Some("VID")),
            (0x06, Some("PCISTS")),
            (0x51, Some("PMCCFG")),
            (0x57, Some("DRAMC")),
            (0x59, Some("PAM0")),
            (0x5f, Some("PAM6")),
            (0x67, Some("DRB7")),
            (0x72, Some("SMRAM")),
            (0x91, Some("ERRSTS")),
            (0xb4, None),
        ] {
            for width in [1, 2, 4] {
                let at = Access { tag: CONFIG_TAG, offset, width };
                assert_eq!(device.register_name(at), name, "{offset:02x}");
            }
        }
    }

    #[test]
    fn ids_and_reset_values_match_the_data_sheet() {
        let mut bench = Bench::new(I440fx::new());
        for (register, width, expect) in [
            (0x00, 4, 0x1237_8086),
            (0x04, 4, 0x0000_0000),
            (0x08, 4, 0x0600_0002),
            (0x0e, 1, 0),
            (0x2c, 4, 0x1100_1af4),
            (0x53, 1, 0x80),
            (0x57, 1, 0x01),
            (0x60, 4, 0x0101_0101),
            (0x71, 1, 0x10),
            (0x72, 1, 0x02),
        ] {
            assert_eq!(bench.config_read(register, width), expect, "{register:02x}");
        }
    }

    #[test]
    fn reserved_bits_read_zero_after_writes_of_ones() {
        let mut bench = Bench::new(I440fx::new());
        for register in (0x00..=0xfc).step_by(4) {
            bench.config_write(register, 4, u32::MAX);
        }
        for (register, expect) in
            [(0x00, 0x86), (0x04, 0x07), (0x05, 0x01), (0x59, 0x70), (0x5a, 0x77), (0x69, 0), (0x91, 0), (0xff, 0)]
        {
            assert_eq!(bench.config_read(register, 1), expect, "{register:02x}");
        }
    }

    #[test]
    fn each_pam_nibble_controls_its_own_segment() {
        const READ: u8 = 1;
        const WRITE: u8 = 2;
        // Register, shift, segment (3.2.18, table 3).
        let mut cases = vec![(0x59, 4, 12)];
        for pair in 0..6u8 {
            cases.push((0x5a + pair, 0, 2 * usize::from(pair)));
            cases.push((0x5a + pair, 4, 2 * usize::from(pair) + 1));
        }
        for (register, shift, segment) in cases {
            for bits in [READ, WRITE, READ | WRITE] {
                let mut bench = Bench::new(I440fx::new());
                bench.effects.clear();
                bench.config_write(register, 1, u32::from(bits << shift));
                let mut expect = [Shadow::default(); 13];
                expect[segment] = Shadow { read_ram: bits & READ != 0, write_ram: bits & WRITE != 0 };
                assert_eq!(bench.effects, [Effect::Shadow(expect)], "{register:02x} {bits}");
            }
        }
    }

    #[test]
    fn a_dword_write_changes_four_pam_registers_with_one_effect() {
        let mut bench = Bench::new(I440fx::new());
        bench.effects.clear();
        bench.config_write(0x58, 4, 0x3333_3300);
        let [Effect::Shadow(shadow)] = bench.effects[..] else { panic!("{:?}", bench.effects) };
        let both = Shadow { read_ram: true, write_ram: true };
        assert_eq!(shadow[..4], [both; 4]);
        assert_eq!(shadow[4], Shadow::default());
        assert_eq!(shadow[12], both);
        bench.effects.clear();
        bench.config_write(0x58, 4, 0x3333_3300);
        bench.config_write(0x5a, 1, 0x77);
        assert_eq!(bench.effects, [], "the cache enable bit and an unchanged value have no effect");
    }

    #[test]
    fn a_reset_decodes_rom_again() {
        let mut bench = Bench::new(I440fx::new());
        bench.config_write(0x59, 1, 0x30);
        bench.effects.clear();
        bench.call(Device::reset);
        assert_eq!(bench.effects, [Effect::Shadow([Shadow::default(); 13])]);
        assert_eq!(bench.config_read(0x59, 1), 0);
    }

    #[test]
    fn a_restored_state_applies_its_pam_registers() {
        let mut bench = Bench::new(I440fx::new());
        bench.config_write(0x5f, 1, 0x11);
        let state = bench.device.save();
        let mut other = Bench::new(I440fx::new());
        other.effects.clear();
        other.device.load(state).unwrap();
        other.call(Device::resync);
        assert_eq!(other.effects, [Effect::Shadow(bench.device.shadow())]);
    }

    #[test]
    fn a_locked_smram_register_stays_closed_until_a_reset() {
        let mut bench = Bench::new(I440fx::new());
        bench.config_write(SMRAM, 1, 0x48);
        assert_eq!(bench.config_read(SMRAM, 1), 0x4a, "D_OPEN and G_SMRAME; the base segment is fixed");
        bench.config_write(SMRAM, 1, 0x58);
        assert_eq!(bench.config_read(SMRAM, 1), 0x1a, "D_LCK clears D_OPEN");
        for value in [0x00, 0x48, 0xff] {
            bench.config_write(SMRAM, 1, value);
            assert_eq!(bench.config_read(SMRAM, 1) & 0x5f, 0x1a, "{value:02x}");
        }
        bench.call(Device::reset);
        assert_eq!(bench.config_read(SMRAM, 1), 0x02);
    }
}
