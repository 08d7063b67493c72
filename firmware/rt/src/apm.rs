//! What the APM interfaces remember, at the end of segment E000h, where the protected-mode entries (`protected`) reach it.

use crate::Handoff;
use crate::far::Field;

/// Offset of the first.
pub const OFFSET: u16 = 0x7ff0;

/// Who is connected: 0 nobody, 1 real mode, 2 and 3 protected mode with 16 and 32 bits.
pub const CONNECTION: Field<u8> = Field::new(0xe000, OFFSET);
/// The minor version that the driver has agreed to: 1.0 to 1.2.
pub const VERSION: Field<u8> = Field::new(0xe000, OFFSET + 1);
/// Bit 0: enabled; bit 1: engaged.
pub const FLAGS: Field<u8> = Field::new(0xe000, OFFSET + 2);

/// Offsets of the protected-mode entries in segment F000h.
pub const ENTRY_16: u16 = 0xe070;
/// See [`ENTRY_16`].
pub const ENTRY_32: u16 = 0xe074;

/// Where the 32-bit PCI BIOS finds the highest bus number: segment F000h, while that can still be written.
pub const PCI_LAST_BUS: Field<u8> = Field::new(0xf000, 0xe078);

const _: () = assert!(size_of::<Handoff>() <= (OFFSET - Handoff::OFFSET) as usize);
