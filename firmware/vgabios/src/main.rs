//! VGA BIOS ROM: header, entry points, and `Hw` implemented with machine instructions. All unsafe code is in `rom.rs`.
//!
//! Code and tables are read through CS; DS, ES and SS are the caller's stack segment, so that references to locals
//! work. No static may be accessed through DS (the link fails if one is), and `tools/asm16.rs` rejects every
//! instruction that the x86 interpreters of Windows and X.Org get wrong.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("vgabios-rom is a ROM for 16-bit x86: build it with firmware/vgabios/build");
}

#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "the ROM's entry code, port I/O and far memory accesses are assembly")]
mod rom;
