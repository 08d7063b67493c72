//! The power-on code: what a machine needs before its BIOS can run, in 32-bit flat mode because tables and option ROMs
//! lie anywhere below 4 GiB. It runs once after each reset, from the ROM below 4 GiB.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

mod shadow;

use pcvm_firmware_rt::{Handoff, Ports};

/// The machine in 32-bit flat mode: ports, and memory by physical address.
pub trait Machine: Ports {
    /// Reads a byte of memory.
    fn read8(&mut self, at: u32) -> u8;
    /// Reads a word of memory.
    fn read16(&mut self, at: u32) -> u16;
    /// Reads a dword of memory.
    fn read32(&mut self, at: u32) -> u32;
    /// Writes a byte of memory.
    fn write8(&mut self, at: u32, value: u8);
    /// Writes a word of memory.
    fn write16(&mut self, at: u32, value: u16);
    /// Writes a dword of memory.
    fn write32(&mut self, at: u32, value: u32);
    /// Copies memory, ascending.
    fn copy(&mut self, from: u32, to: u32, bytes: u32);
    /// Sets memory to one value.
    fn fill(&mut self, to: u32, value: u8, bytes: u32);
    /// The time stamp counter.
    fn timestamp(&mut self) -> u64;
}

/// Makes the machine ready for its BIOS.
pub fn power_on<M: Machine>(machine: &mut M) -> Handoff {
    let handoff = Handoff::EMPTY;
    shadow::copy_rom(machine);
    handoff
}
