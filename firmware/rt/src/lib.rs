//! Runtime of the 16-bit BIOS: hardware access behind traits, BIOS data areas and interrupt entry code.
//!
//! The BIOS's drivers are generic over the traits [`Hw`] and [`Ports`], so that unit tests run them on a fake machine.
//! All of the BIOS's `unsafe` is in this crate: hardware access in `real`, the entry code in `entry` and `protected`
//! (`cfg(code16)`), the compiler's memory functions in `mem`.
//!
//! ## Memory at run time
//! | address | contents |
//! |---|---|
//! | 0040:0000 | BIOS data area, see [`bda`] |
//! | 9FC0:0000 | extended BIOS data area, 1 KiB, with the VGA BIOS's stacks, see [`ebda`] |
//! | E000:0000 | RAM, DS, ES and SS of all Rust code: constants, statics, then the stack, which ends at E000:6C00 |
//! | E000:6C00 | 1 KiB of tables and a sector buffer, see [`ebda::PRIVATE`] |
//! | E000:7000 | 2 KiB, the CD block that contains the emulated drive's sector, [`CD_BLOCK`] |
//! | E000:7800 | [`Handoff`]: what the 32-bit power-on code found |
//! | E800:0000 | option ROMs, and tables that the power-on code places below 1 MiB |
//! | F000:0000 | code (shadow RAM, read-only after POST) |

#![cfg_attr(rom, no_std)]

pub mod apm;
pub mod bda;
#[cfg(guest16)]
mod call;
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

/// Buffer for one CD block: 2 KiB.
pub const CD_BLOCK: FarPtr = FarPtr::new(0xe000, 0x7000);

/// Interrupt vectors that have an entry point. `entry::offsets` lists their offsets in this order.
pub const STUBS: &[u8] = &[
    0x00, 0x02, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
    0x17, 0x18, 0x19, 0x1a, 0x40, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77,
];
