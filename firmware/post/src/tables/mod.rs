//! Firmware tables for operating systems: ACPI, SMBIOS, MP configuration, PCI interrupt routing, and space for them.

pub mod loader;
pub mod mp;
pub mod pir;
pub mod smbios;
mod space;

use crate::Machine;
pub use space::TableSpace;

/// The checksum of bytes: 0 if they are intact.
pub fn sum<M: Machine>(machine: &mut M, at: u32, bytes: u32) -> u8 {
    // Two 16-bit lanes add four bytes of a dword in two steps. Eight dwords do not overflow a lane.
    const LANES: u32 = 0x00ff_00ff;
    const BLOCK: u32 = 32;
    let mut total = 0u32;
    let mut at = at;
    let mut left = bytes;
    while left >= BLOCK {
        total &= LANES;
        for n in 0..BLOCK / 4 {
            let word = machine.read32(at + 4 * n);
            total += (word & LANES) + (word >> 8 & LANES);
        }
        at += BLOCK;
        left -= BLOCK;
    }
    let mut sum = (total as u8).wrapping_add((total >> 16) as u8);
    for n in 0..left {
        sum = sum.wrapping_add(machine.read8(at + n));
    }
    sum
}

/// Sets the byte at `checksum` so that the `bytes` bytes from `start`, of which it is one, add up to 0.
pub fn fix_sum<M: Machine>(machine: &mut M, checksum: u32, start: u32, bytes: u32) {
    machine.write8(checksum, 0);
    let sum = sum(machine, start, bytes);
    machine.write8(checksum, sum.wrapping_neg());
}

/// Writes bytes to memory.
pub fn put<M: Machine>(machine: &mut M, at: u32, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        machine.write8(at + n as u32, *byte);
    }
}
