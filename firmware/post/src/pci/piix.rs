//! PIIX3 and PIIX4 set-up: PCI interrupt routing, IDE, power management, SMBus.
//!
//! Data sheets: Intel 82371SB (290550) and 82371AB (290562).

use super::config::{self, write8, write16, write32};
use super::{Function, Pci};
use crate::Machine;

const INTEL: u16 = 0x8086;
const PIIX3_ISA: u16 = 0x7000;
const PIIX4_ISA: u16 = 0x7110;
const PIIX3_IDE: u16 = 0x7010;
const PIIX4_IDE: u16 = 0x7111;
const PIIX4_PM: u16 = 0x7113;

/// PIRQRCA to PIRQRCD (82371SB, 2.2.9).
const PIRQRC: u8 = 0x60;
/// IRQs of PIRQA# to PIRQD#: two IRQs for the four, because ISA sound cards and the SCI use IRQs 5 and 9.
pub const LINES: [u8; 4] = [10, 10, 11, 11];
/// Edge/level control registers ELCR1 for IRQs 0 to 7, ELCR2 for IRQs 8 to 15 (82371SB, 2.5.3.9).
const ELCR: u16 = 0x4d0;
/// IDETIM of both channels (82371SB, 2.3.9).
const IDETIM: u8 = 0x40;
/// IDETIM bit 15 of both channels: IDE decode enable.
const IDE_DECODE: u32 = 0x8000_8000;
/// PMBASE (82371AB, 7.1.12).
const PMBASE: u8 = 0x40;
/// PMREGMISC (82371AB, 7.1.17). Bit 0: PM I/O space enable.
const PMREGMISC: u8 = 0x80;
/// SMBBASE (82371AB, 7.1.18).
const SMBBASE: u8 = 0x90;
/// SMBHSTCFG (82371AB, 7.1.19).
const SMBHSTCFG: u8 = 0xd2;
/// SMBHSTCFG: host controller enabled, interrupt by IRQ 9.
const SMBUS_ON_IRQ9: u8 = 4 << 1 | 1;
/// Base port of the power management registers.
pub const PM_PORT: u16 = 0x600;
/// Offset of PM1a_CNT.
const PM1_CONTROL: u16 = 4;
/// Offset of the PM timer.
const PM_TIMER: u16 = 8;
/// Base port of the SMBus registers.
const SMBUS_PORT: u16 = 0xb100;
/// IRQ of the system control interrupt (SCI), the interrupt line of the power management function.
pub const SCI: u8 = 9;

/// Result of the set-up for the handoff structure and the routing table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chipset {
    /// IRQs of PIRQA# to PIRQD#, 0 without a router.
    pub pirq: [u8; 4],
    /// The interrupt router: the ISA bridge.
    pub router: Option<Function>,
    /// Port of the PM timer, or 0.
    pub pm_timer: u16,
    /// Port of PM1a_CNT, or 0.
    pub pm1a_control: u16,
}

/// The PIRQ (0 for PIRQA#) to which a pin (0 for INTA#) of a slot of bus 0 is wired: slot 1's INTA# to PIRQA#, the next
/// PIRQ for each further slot and pin.
pub const fn pirq(slot: u8, pin: u8) -> u8 {
    slot.wrapping_add(pin).wrapping_sub(1) & 3
}

/// Sets up the chipset's functions and routes all PCI interrupts.
pub fn set_up<M: Machine>(machine: &mut M, pci: &mut Pci) -> Chipset {
    let mut chipset = Chipset::default();
    let router = pci.find(INTEL, PIIX3_ISA).or_else(|| pci.find(INTEL, PIIX4_ISA)).copied();
    if let Some(isa) = router {
        let levels = LINES.iter().fold(0u16, |bits, &line| bits | 1 << line);
        write32(machine, isa.bdf, PIRQRC, u32::from_le_bytes(LINES));
        machine.outb(ELCR, levels as u8);
        machine.outb(ELCR + 1, (levels >> 8) as u8);
        chipset.pirq = LINES;
        chipset.router = router;
    }
    if let Some(ide) = pci.find(INTEL, PIIX3_IDE).or_else(|| pci.find(INTEL, PIIX4_IDE)) {
        write32(machine, ide.bdf, IDETIM, IDE_DECODE);
    }
    if let Some(pm) = pci.find(INTEL, PIIX4_PM).copied() {
        write32(machine, pm.bdf, PMBASE, u32::from(PM_PORT) | 1);
        write8(machine, pm.bdf, PMREGMISC, 1);
        write32(machine, pm.bdf, SMBBASE, u32::from(SMBUS_PORT) | 1);
        write8(machine, pm.bdf, SMBHSTCFG, SMBUS_ON_IRQ9);
        write16(machine, pm.bdf, config::reg::COMMAND, config::command::IO);
        chipset.pm_timer = PM_PORT + PM_TIMER;
        chipset.pm1a_control = PM_PORT + PM1_CONTROL;
    }
    let lines = chipset.pirq;
    pci.route(machine, lines, |function| (function.id == u32::from(INTEL) | u32::from(PIIX4_PM) << 16).then_some(SCI));
    chipset
}
