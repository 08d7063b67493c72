//! What the CMOS RAM says about the machine.

use crate::Machine;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Keeps NMIs off while the index is ours.
const NO_NMI: u8 = 0x80;

/// KiB of RAM from 1 MiB on (IBM AT: 30h and 31h).
pub const EXTENDED: u8 = 0x30;
/// 64 KiB units of RAM from 16 MiB on.
pub const ABOVE_16M: u8 = 0x34;
/// 64 KiB units of RAM from 4 GiB on, 3 bytes.
pub const ABOVE_4G: u8 = 0x5b;
/// Processors less one.
pub const PROCESSORS: u8 = 0x5f;

/// Reads a byte.
pub fn byte<M: Machine>(machine: &mut M, register: u8) -> u8 {
    machine.outb(INDEX, register | NO_NMI);
    machine.inb(DATA)
}

/// Reads a word.
pub fn word<M: Machine>(machine: &mut M, register: u8) -> u16 {
    u16::from(byte(machine, register)) | u16::from(byte(machine, register + 1)) << 8
}
