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
    // Two sums at once, each with 8 bits to spare.
    const LANES: u32 = 0x00ff_00ff;
    let mut total = 0u32;
    let whole = bytes & !3;
    let mut at = at;
    let end = at + whole;
    while at != end {
        let word = machine.read32(at);
        total = (total & LANES) + (word & LANES) + (word >> 8 & LANES);
        at += 4;
    }
    let mut sum = (total as u8).wrapping_add((total >> 16) as u8);
    for n in 0..bytes & 3 {
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
