//! Configuration space by mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4.1).
//!
//! Each access to a port may cost thousands of instructions where the machine is virtual, so nothing is read twice.

use crate::Machine;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Registers of a header (PCI 2.1, 6.1; PCI-to-PCI Bridge Architecture 1.0, 3.2).
pub mod reg {
    /// Vendor and device.
    pub const ID: u8 = 0x00;
    /// Command.
    pub const COMMAND: u8 = 0x04;
    /// Revision, programming interface, sub-class, class.
    pub const CLASS: u8 = 0x08;
    /// Header type; bit 7: there are more functions.
    pub const HEADER: u8 = 0x0e;
    /// First base address register.
    pub const BAR0: u8 = 0x10;
    /// Expansion ROM of a device.
    pub const ROM: u8 = 0x30;
    /// Expansion ROM of a bridge.
    pub const BRIDGE_ROM: u8 = 0x38;
    /// Interrupt line and, above it, pin.
    pub const INTERRUPT: u8 = 0x3c;
    /// A bridge's primary, secondary and subordinate bus number.
    pub const BUSES: u8 = 0x18;
    /// A bridge's I/O window: base and limit.
    pub const IO_WINDOW: u8 = 0x1c;
    /// A bridge's memory window.
    pub const MEMORY_WINDOW: u8 = 0x20;
    /// A bridge's window for prefetchable memory.
    pub const PREFETCHABLE_WINDOW: u8 = 0x24;
    /// A bridge's I/O window: high words.
    pub const IO_WINDOW_HIGH: u8 = 0x30;
    /// A bridge's control register.
    pub const BRIDGE_CONTROL: u8 = 0x3e;
}

/// Bits of the command register.
pub mod command {
    /// Answers I/O.
    pub const IO: u16 = 1;
    /// Answers memory.
    pub const MEMORY: u16 = 2;
    /// May be a bus master.
    pub const MASTER: u16 = 4;
}

/// A function's place: bus << 8 | device << 3 | function.
pub type Place = u16;

fn select<M: Machine>(machine: &mut M, at: Place, register: u8) {
    machine.outl(ADDRESS, ENABLE | u32::from(at) << 8 | u32::from(register & !3));
}

const fn port(register: u8) -> u16 {
    DATA + (register & 3) as u16
}

/// Reads a dword.
pub fn read32<M: Machine>(machine: &mut M, at: Place, register: u8) -> u32 {
    select(machine, at, register);
    machine.inl(DATA)
}

/// Reads a byte.
pub fn read8<M: Machine>(machine: &mut M, at: Place, register: u8) -> u8 {
    select(machine, at, register);
    machine.inb(port(register))
}

/// Writes a dword.
pub fn write32<M: Machine>(machine: &mut M, at: Place, register: u8, value: u32) {
    select(machine, at, register);
    machine.outl(DATA, value);
}

/// Writes a word.
pub fn write16<M: Machine>(machine: &mut M, at: Place, register: u8, value: u16) {
    select(machine, at, register);
    machine.outw(port(register), value);
}

/// Writes a byte.
pub fn write8<M: Machine>(machine: &mut M, at: Place, register: u8, value: u8) {
    select(machine, at, register);
    machine.outb(port(register), value);
}

/// Writes a dword and reads back what became of it.
pub fn probe32<M: Machine>(machine: &mut M, at: Place, register: u8, value: u32) -> u32 {
    select(machine, at, register);
    machine.outl(DATA, value);
    machine.inl(DATA)
}
