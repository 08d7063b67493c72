//! VGA BIOS: INT 10h for the IBM VGA (IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference)
//! and VESA BIOS Extension (VBE) 3.0 on the Bochs display interface (PCI 1234:1111 of pcvm, QEMU and Bochs), or
//! with the feature `cirrus` on the Cirrus Logic CL-GD5446 (PCI 1013:00B8).
//!
//! It runs in real mode, in V86 mode and in the x86 interpreters of Windows and X.Org, on a stack in the EBDA if the system
//! BIOS reserves one ([`stack`]), else on the caller's. All other state is in the BIOS data area and in the adapter's
//! registers. All code is generic over
//! [`Hw`], so that it also runs on the host in tests; `main.rs` and `rom.rs` are the ROM around it.
//!
//! Deliberately missing: the light pen, which a VGA does not have (INT 10h AH=04h answers "not triggered"), and a
//! second adapter (AH=12h BL=35h, display switch, is refused, as on a machine with one adapter).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod bda;
pub mod cirrus;
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
pub mod stack;
pub mod state;
pub mod tables;
pub mod teletype;
pub mod vbe;
pub mod vga;

pub use hw::{Far, Hw, far};
pub use regs::Regs;
