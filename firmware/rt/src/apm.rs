//! State of the APM BIOS, at the end of segment E000h: the protected-mode entry points (`protected`) share it.

use crate::Handoff;
use crate::far::Field;

/// Offset of the first variable.
pub const OFFSET: u16 = 0x7ff0;

/// Connected interface: 0 none, 1 real mode, 2 16-bit protected mode, 3 32-bit protected mode.
pub const CONNECTION: Field<u8> = Field::new(0xe000, OFFSET);
/// Minor version of the connection: 0 to 2, for APM 1.0 to 1.2.
pub const VERSION: Field<u8> = Field::new(0xe000, OFFSET + 1);
/// Bit 0: enabled; bit 1: engaged.
pub const FLAGS: Field<u8> = Field::new(0xe000, OFFSET + 2);

/// Offset of the 16-bit protected-mode entry point in segment F000h.
pub const ENTRY_16: u16 = 0xe070;
/// Offset of the 32-bit protected-mode entry point in segment F000h.
pub const ENTRY_32: u16 = 0xe074;

/// Highest PCI bus number, for the 32-bit PCI BIOS. The BIOS writes it before it write-protects segment F000h.
pub const PCI_LAST_BUS: Field<u8> = Field::new(0xf000, 0xe078);

const _: () = assert!(size_of::<Handoff>() <= (OFFSET - Handoff::OFFSET) as usize);
