//! CMOS RAM (MC146818): memory sizes and processor count.

use crate::Machine;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// Index register bit 7: masks NMIs, whose handler might change the index.
const NO_NMI: u8 = 0x80;

/// KiB of RAM above 1 MiB (IBM AT, 30h and 31h).
pub const EXTENDED: u8 = 0x30;
/// 64 KiB units of RAM above 16 MiB (34h and 35h).
pub const ABOVE_16M: u8 = 0x34;
/// 64 KiB units of RAM above 4 GiB (5Bh to 5Dh).
pub const ABOVE_4G: u8 = 0x5b;
/// Number of processors minus 1.
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
