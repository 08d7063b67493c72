//! What the BIOS needs of the processor and of the machine, behind traits that a test can implement too.
//!
//! All of the firmware's `unsafe` is in this crate: the real machine's side of the traits, and the assembly through
//! which interrupts arrive (`entry`, `cfg(code16)` only).
//!
//! ## Memory at run time
//! | address | what |
//! |---|---|
//! | 0040:0000 | BIOS data area, see [`bda`] |
//! | 9FC0:0000 | extended BIOS data area, 1 KiB, see [`ebda`] |
//! | E000:0000 | DS, ES and SS of all Rust code: constants, statics, then the stack up to E000:6C00 (RAM) |
//! | E000:6C00 | 1 KiB of tables and a sector, see [`ebda::PRIVATE`] |
//! | E000:7000 | 2 KiB: a block of the CD that a drive is emulated from, [`CD_BLOCK`] |
//! | E000:7800 | [`Handoff`]: what the 32-bit power-on code found |
//! | E800:0000 | tables and strings that the power-on code keeps (RAM) where it needs room |
//! | F000:0000 | code (read-only RAM) |

#![cfg_attr(rom, no_std)]

pub mod apm;
pub mod bda;
pub mod ebda;
#[cfg(code16)]
pub mod entry;
mod far;
mod handoff;
mod hw;
#[cfg(rom)]
mod mem;
pub mod pnp;
#[cfg(code16)]
mod protected;
#[cfg(any(code16, guest16))]
mod real;
mod regs;
pub mod shadow;

#[cfg(not(rom))]
pub mod fake;

pub use far::{FarPtr, Field};
pub use handoff::{E820, Handoff, OptionRom};
pub use hw::{Hw, Ports};
#[cfg(any(code16, guest16))]
pub use real::Real;
pub use regs::{Flags, Regs};

/// 2 KiB that a block of a CD is read into.
pub const CD_BLOCK: FarPtr = FarPtr::new(0xe000, 0x7000);

/// Vectors with an entry of their own, in the order in which `entry` gives the entries' offsets.
pub const STUBS: &[u8] = &[
    0x00, 0x02, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
    0x17, 0x18, 0x19, 0x1a, 0x40, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77,
];
