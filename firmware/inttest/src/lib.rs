//! BIOS call test: a boot disk that calls the BIOS's services with valid and invalid arguments and logs the results.
//!
//! It makes several hundred calls and writes a line for each to the debug port (402h): name, arguments, results.
//! `tests/int_calls.rs` compares the lines of two BIOSes.
//!
//! A line has fields `name=value`, separated by spaces:
//!
//! `call NAME in eax=.. .. out eax=.. ebx=.. ecx=.. edx=.. esi=.. edi=.. ebp=.. ds=.. es=.. fl=.. [mem=..] [..]`
//!
//! `fl` has the flags by which services return results: C, Z (INT 16h only), I, D. A register is written as `~` if its
//! value varies from run to run (a time) or is an address in the firmware; the call names these registers. Instead of
//! an address, the line has the bytes at it.
//!
//! The drives must be: hda the boot disk, hdb a disk to write to, hdc a CD-ROM.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

mod call;
mod disk;
mod keyboard;
mod ports;
mod system;
mod time;
mod vbe;
mod video;

use call::Calls;
use pcvm_guest::Machine;

/// Makes all calls, and powers the machine off by PM1a_CNT.
pub fn run<M: Machine>(m: &mut M) {
    let mut calls = Calls::new(m);
    calls.line("begin");
    ports::all(&mut calls);
    disk::all(&mut calls);
    system::all(&mut calls);
    keyboard::all(&mut calls);
    time::all(&mut calls);
    video::all(&mut calls);
    vbe::all(&mut calls);
    calls.end();
    // S5: SeaBIOS and pcvm's BIOS place PM1a_CNT at port 604h on this board.
    m.outw(0x604, 0x2000);
    m.outw(0x604, 0x3400);
    loop {
        m.wait_for_interrupt();
    }
}
