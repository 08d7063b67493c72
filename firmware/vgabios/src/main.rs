//! The ROM: header, entry points, and `Hw` by real instructions. All that is unsafe is here.
//!
//! Code and tables are read through CS; DS, ES and SS are the caller's stack, so that references to locals are what
//! they seem. There are no statics that Rust code could reach by DS (the link fails if there are), and `tools/asm16.rs`
//! sees to it that no instruction is left that the interpreters of Windows and X.Org get wrong.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a ROM; firmware/vgabios/build makes it");
}

#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "the ROM's entry code, port I/O and far memory accesses are assembly")]
mod rom;
