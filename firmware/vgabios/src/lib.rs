//! A VGA BIOS: INT 10h for the IBM VGA (IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference)
//! and VESA BIOS Extension 3.0 on the Bochs display interface (PCI 1234:1111 of pcvm, QEMU and Bochs).
//!
//! It runs on its callers' stacks, in real mode, in V86 mode and in the x86 interpreters of Windows and X.Org, so it has
//! no memory of its own: what it knows is in the BIOS data area and in the adapter's registers. All of it is written
//! against [`Hw`], so that it also runs as unit tests; `main.rs` is the ROM around it.
//!
//! Deliberately missing: the light pen (INT 10h AH=04h answers that none is triggered), which a VGA has not; a second
//! adapter beside this one (AH=12h BL=35h, display switch, is refused as on a machine with one).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod bda;
pub mod cursor;
pub mod dac;
pub mod dispi;
pub mod fonts;
pub mod glyphs;
pub mod hw;
pub mod info;
pub mod init;
pub mod int10;
pub mod modes;
pub mod palette;
pub mod regs;
pub mod saved;
pub mod scroll;
pub mod select;
pub mod set_mode;
pub mod state;
pub mod tables;
pub mod teletype;
pub mod vbe;
pub mod vga;

pub use hw::{Far, Hw, far};
pub use regs::Regs;
