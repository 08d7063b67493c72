//! Tables for operating systems: where there is room for them, and what is in them.

pub mod loader;
pub mod mp;
pub mod pir;
mod room;
pub mod smbios;

use crate::Machine;
pub use room::Room;

/// The sum of bytes: zero for what is whole.
pub fn sum<M: Machine>(machine: &mut M, at: u32, bytes: u32) -> u8 {
    // Two sums of 16 bits at once, by bytes 0 and 2 and by bytes 1 and 3: eight dwords do not overflow them.
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

/// Makes the bytes from `start` on sum up to zero by the byte at `checksum`, one of them.
pub fn fix_sum<M: Machine>(machine: &mut M, checksum: u32, start: u32, bytes: u32) {
    machine.write8(checksum, 0);
    let sum = sum(machine, start, bytes);
    machine.write8(checksum, sum.wrapping_neg());
}

/// Writes bytes.
pub fn put<M: Machine>(machine: &mut M, at: u32, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        machine.write8(at + n as u32, *byte);
    }
}
