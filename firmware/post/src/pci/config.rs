//! PCI configuration space access by mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1).
//!
//! On a virtual machine each port access may cost a VM exit, so POST reads no register twice.

use crate::Machine;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Offsets of configuration space registers (PCI 2.1, 6.1; PCI-to-PCI Bridge Architecture 1.0, 3.2).
pub mod reg {
    /// Vendor ID and device ID.
    pub const ID: u8 = 0x00;
    /// Command.
    pub const COMMAND: u8 = 0x04;
    /// Revision, programming interface, sub-class, class.
    pub const CLASS: u8 = 0x08;
    /// Header type. Bit 7: multifunction device.
    pub const HEADER: u8 = 0x0e;
    /// First base address register.
    pub const BAR0: u8 = 0x10;
    /// Expansion ROM of a device.
    pub const ROM: u8 = 0x30;
    /// Expansion ROM of a bridge.
    pub const BRIDGE_ROM: u8 = 0x38;
    /// Interrupt line; the next byte is the interrupt pin.
    pub const INTERRUPT: u8 = 0x3c;
    /// Bridge: primary, secondary and subordinate bus number.
    pub const BUSES: u8 = 0x18;
    /// Bridge: I/O base and limit.
    pub const IO_WINDOW: u8 = 0x1c;
    /// Bridge: memory base and limit.
    pub const MEMORY_WINDOW: u8 = 0x20;
    /// Bridge: prefetchable memory base and limit.
    pub const PREFETCHABLE_WINDOW: u8 = 0x24;
    /// Bridge: high words of I/O base and limit.
    pub const IO_WINDOW_HIGH: u8 = 0x30;
    /// Bridge control.
    pub const BRIDGE_CONTROL: u8 = 0x3e;
}

/// Bits of the command register.
pub mod command {
    /// Decodes I/O.
    pub const IO: u16 = 1;
    /// Decodes memory.
    pub const MEMORY: u16 = 2;
    /// Bus master enable.
    pub const MASTER: u16 = 4;
    /// Reports system errors (SERR#).
    pub const SERR: u16 = 0x100;
}

/// Address of a function: bus << 8 | device << 3 | function.
pub type Bdf = u16;

fn select<M: Machine>(machine: &mut M, bdf: Bdf, register: u8) {
    machine.outl(ADDRESS, ENABLE | u32::from(bdf) << 8 | u32::from(register & !3));
}

const fn port(register: u8) -> u16 {
    DATA + (register & 3) as u16
}

/// Reads a dword.
pub fn read32<M: Machine>(machine: &mut M, bdf: Bdf, register: u8) -> u32 {
    select(machine, bdf, register);
    machine.inl(DATA)
}

/// Reads a byte.
pub fn read8<M: Machine>(machine: &mut M, bdf: Bdf, register: u8) -> u8 {
    select(machine, bdf, register);
    machine.inb(port(register))
}

/// Writes a dword.
pub fn write32<M: Machine>(machine: &mut M, bdf: Bdf, register: u8, value: u32) {
    select(machine, bdf, register);
    machine.outl(DATA, value);
}

/// Writes a word.
pub fn write16<M: Machine>(machine: &mut M, bdf: Bdf, register: u8, value: u16) {
    select(machine, bdf, register);
    machine.outw(port(register), value);
}

/// Writes a byte.
pub fn write8<M: Machine>(machine: &mut M, bdf: Bdf, register: u8, value: u8) {
    select(machine, bdf, register);
    machine.outb(port(register), value);
}

/// Writes a dword and reads it back.
pub fn probe32<M: Machine>(machine: &mut M, bdf: Bdf, register: u8, value: u32) -> u32 {
    select(machine, bdf, register);
    machine.outl(DATA, value);
    machine.inl(DATA)
}
