//! Calls a BIOS's services several hundred times, with right and with wrong arguments, and writes a line for each on port
//! 402h: its name, what went in, what came back. Two BIOSes are compared by comparing these lines (`tests/int_calls.rs`).
//!
//! A line has fields, `name=value`, with spaces between:
//! `call NAME in eax=.. .. out eax=.. ebx=.. ecx=.. edx=.. esi=.. edi=.. ebp=.. ds=.. es=.. fl=.. [mem=..] [..]`.
//! `fl` has the flags that a service tells with: C, Z (INT 16h only), I, D. What differs from run to run (a time), or is an
//! address of the firmware's own, is written as `~`: each call says which of its registers that is, and, of an address, the
//! bytes that lie there are written instead.
//!
//! It counts on drives: hda the disk that it is booted from, hdb a disk to write on, hdc a CD-ROM.

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

/// All of them; then the machine is switched off or reset, whatever it does.
pub fn run<M: Machine>(m: &mut M) {
    let mut calls = Calls::new(m);
    calls.say("begin");
    ports::all(&mut calls);
    disk::all(&mut calls);
    system::all(&mut calls);
    keyboard::all(&mut calls);
    time::all(&mut calls);
    video::all(&mut calls);
    vbe::all(&mut calls);
    calls.end();
    // Where SeaBIOS and our BIOS put PM1a control on this board: S5.
    m.outw(0x604, 0x2000);
    m.outw(0x604, 0x3400);
    loop {
        m.wait_for_interrupt();
    }
}
