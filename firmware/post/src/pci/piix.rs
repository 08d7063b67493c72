//! The PIIX3 and PIIX4 functions that every board here has (Intel 82371SB data sheet 290550, 82371AB data sheet
//! 290562): interrupt routing, IDE, power management, SMBus.

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
/// IRQs of PIRQA# to PIRQD#: two lines for the four, as 5 and 9 may be somebody else's.
pub const LINES: [u8; 4] = [10, 10, 11, 11];
/// Edge or level control registers (82371SB, 2.5.3.9): IRQ 0 to 7, IRQ 8 to 15.
const ELCR: u16 = 0x4d0;
/// IDETIM of both channels (82371SB, 2.3.9): decode enable.
const IDETIM: u8 = 0x40;
const IDE_DECODE: u32 = 0x8000_8000;
/// PMBASE (82371AB, 7.1.12) and PMREGMISC (7.1.17).
const PMBASE: u8 = 0x40;
const PMREGMISC: u8 = 0x80;
/// SMBBASE (82371AB, 7.1.18), SMBHSTCFG (7.1.19): enabled, interrupt by IRQ 9.
const SMBBASE: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;
const SMBUS_ON_IRQ9: u8 = 4 << 1 | 1;
/// Where the power management ports go.
pub const PM_PORT: u16 = 0x600;
/// PM1a control, from there.
const PM1_CONTROL: u16 = 4;
/// Power management timer, from there.
const PM_TIMER: u16 = 8;
/// Where the SMBus ports go.
const SMBUS_PORT: u16 = 0xb100;
/// The system control interrupt, which INTA# of the power management function stands for.
pub const SCI: u8 = 9;

/// What of it the BIOS needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chipset {
    /// IRQ lines of PIRQ A-D, 0 when there is no router.
    pub pirq: [u8; 4],
    /// The router.
    pub router: Option<Function>,
    /// PM timer's port, or 0.
    pub pm_timer: u16,
    /// PM1a control's port, or 0.
    pub pm1a_control: u16,
}

/// The PIRQ (0 to 3) that a pin (0 for INTA#) of a slot of bus 0 is wired to: slot 1's INTA# to PIRQA#, and on by one
/// with each slot and pin.
pub const fn pirq(slot: u8, pin: u8) -> u8 {
    slot.wrapping_add(pin).wrapping_sub(1) & 3
}

/// Sets the functions up, and routes all interrupts.
pub fn set_up<M: Machine>(machine: &mut M, pci: &mut Pci) -> Chipset {
    let mut chipset = Chipset::default();
    let router = pci.find(INTEL, PIIX3_ISA).or_else(|| pci.find(INTEL, PIIX4_ISA)).copied();
    if let Some(isa) = router {
        let levels = LINES.iter().fold(0u16, |bits, &line| bits | 1 << line);
        write32(machine, isa.place, PIRQRC, u32::from_le_bytes(LINES));
        machine.outb(ELCR, levels as u8);
        machine.outb(ELCR + 1, (levels >> 8) as u8);
        chipset.pirq = LINES;
        chipset.router = router;
    }
    if let Some(ide) = pci.find(INTEL, PIIX3_IDE).or_else(|| pci.find(INTEL, PIIX4_IDE)) {
        write32(machine, ide.place, IDETIM, IDE_DECODE);
    }
    if let Some(pm) = pci.find(INTEL, PIIX4_PM).copied() {
        write32(machine, pm.place, PMBASE, u32::from(PM_PORT) | 1);
        write8(machine, pm.place, PMREGMISC, 1);
        write32(machine, pm.place, SMBBASE, u32::from(SMBUS_PORT) | 1);
        write8(machine, pm.place, SMBHSTCFG, SMBUS_ON_IRQ9);
        write16(machine, pm.place, config::reg::COMMAND, config::command::IO);
        chipset.pm_timer = PM_PORT + PM_TIMER;
        chipset.pm1a_control = PM_PORT + PM1_CONTROL;
    }
    let lines = chipset.pirq;
    pci.route(machine, lines, |function| (function.id == u32::from(INTEL) | u32::from(PIIX4_PM) << 16).then_some(SCI));
    chipset
}
