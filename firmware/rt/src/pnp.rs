//! Plug and Play BIOS installation structure ($PnP) and device nodes (Plug and Play BIOS Specification 1.0A, 4.4).
//!
//! The functions that read the nodes are in `entry`.

use crate::far::FarPtr;

/// Address of the structure. The BIOS passes it to option ROMs and boot sectors in ES:DI.
pub const AT: FarPtr = FarPtr::new(0xf000, 0xe020);
/// Address of the device nodes: size of the largest node (u16), number of nodes (u8), then the nodes. The BIOS writes
/// them before it write-protects segment F000h.
pub const NODES: FarPtr = FarPtr::new(0xf000, 0xe990);
/// Bytes available for the device nodes.
pub const NODES_SIZE: usize = 0xec59 - 0xe990;

const REAL_ENTRY: u16 = 0xe044;
const PROTECTED_ENTRY: u16 = 0xe048;

/// The structure: no event notification, both entry points in segment F000h.
pub const STRUCTURE: [u8; 0x21] = {
    let [real, real_high] = REAL_ENTRY.to_le_bytes();
    let [protected, protected_high] = PROTECTED_ENTRY.to_le_bytes();
    let mut bytes = [
        b'$',
        b'P',
        b'n',
        b'P',
        0x10,
        0x21,
        0,
        0,
        0,
        0,
        0,
        0,
        0, // version 1.0, length, control, checksum, event flag
        real,
        real_high,
        0,
        0xf0, // real mode: offset, segment
        protected,
        protected_high,
        0,
        0,
        0x0f,
        0, // protected mode: offset, base of the code segment
        0,
        0,
        0,
        0, // no OEM device identifier
        0,
        0xe0,
        0,
        0,
        0x0e,
        0, // data segment: segment, base
    ];
    let mut sum = 0u8;
    let mut n = 0;
    while n < bytes.len() {
        sum = sum.wrapping_add(bytes[n]);
        n += 1;
    }
    bytes[8] = 0u8.wrapping_sub(sum);
    bytes
};
