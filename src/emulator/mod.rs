//! x86 instruction emulator for loops that read planar VGA memory.
//!
//! A program that draws in planar modes reads video memory byte by byte to fill the VGA latches. Each read exits, and an
//! exit costs about a hundred times as much as the instructions between two reads. After such an exit the vCPU's thread
//! therefore emulates the following instructions, without entering the guest: a burst. It ends at the first instruction
//! that is not implemented, would fault, or accesses anything but RAM, ROM and the display adapter. KVM executes that one.
//!
//! The emulator covers real, virtual-8086 and protected mode, not long mode. It delivers no exceptions and no interrupts,
//! and keeps no state between two bursts.

mod alu;
mod cpu;
mod exec;
mod fuzz;
mod paging;

pub use cpu::{CS, Cpu, DS, ES, FS, GS, SS, Segment};
pub use exec::{repeat_count, step};
#[doc(hidden)]
pub use fuzz::fuzz;
pub use paging::Paging;

/// The instruction is not emulated: KVM executes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEmulated;

/// Memory and ports of the machine, by physical address.
pub trait Bus {
    /// Reads RAM, ROM or the display adapter.
    ///
    /// # Errors
    /// If the address is anything else. The other methods fail for the same reason.
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated>;
    /// Writes RAM or the display adapter.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), NotEmulated>;
    /// Whether these bytes are memory of the display adapter that traps.
    fn is_device(&mut self, at: u32, len: usize) -> bool;
    /// Reads code: RAM or ROM.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated>;
    /// Reads a page table: RAM.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated>;
    /// `in` from a port of the display adapter.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), NotEmulated>;
    /// `out` to a port of the display adapter.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), NotEmulated>;
}

/// Exponential back-off after short bursts: reading and writing the vCPU's registers costs some system calls, which a burst
/// of a few instructions does not pay for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    /// Exits to skip before the next burst.
    skip: u16,
    /// Exits to skip after the next short burst.
    next_skip: u16,
}

/// Limit of a burst: instructions, plus repetitions of string instructions. During a burst the board stays locked and no
/// interrupt is delivered.
pub const BURST_MAX: u32 = 1000;
/// A burst with fewer instructions costs more than it saves.
const BURST_MIN: u32 = 24;

impl Backoff {
    /// Whether to run a burst after this exit.
    pub fn should_run(&mut self) -> bool {
        self.skip = match self.skip {
            0 => return true,
            skip => skip - 1,
        };
        false
    }

    /// Records the number of instructions of a burst.
    pub fn record(&mut self, instructions: u32) {
        self.next_skip = if instructions < BURST_MIN { (self.next_skip * 2 + 1).min(1023) } else { 0 };
        self.skip = self.next_skip;
    }
}

#[cfg(test)]
mod tests;
