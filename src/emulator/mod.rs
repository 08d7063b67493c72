//! Running ahead: instructions that pcvm carries out itself after an access that stopped the guest.
//!
//! A program that draws in planes reads video memory to fill the latches, byte by byte, and each read stops the processor:
//! what the kernel and the world switches cost is a hundred times what the program does in between. So once such a read has
//! stopped it, the instructions behind the read are carried out here, as long as they are of the kinds that such loops are
//! made of and touch nothing but RAM, the planes and the adapter's ports. The first one that is anything else is left to the
//! processor, which goes on there and never notices.
//!
//! All of it is outside long mode, and none of it faults: what would fault is left to the processor too. Nothing here is
//! remembered from one time to the next.

mod alu;
mod cpu;
mod exec;
mod fuzz;
mod paging;

pub use cpu::{CS, Cpu, DS, ES, FS, GS, SS, Segment};
pub use exec::step;
#[doc(hidden)]
pub use fuzz::fuzz;
pub use paging::Paging;

/// The instruction is left to the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// What is around the processor, by physical addresses.
pub trait Bus {
    /// Reads RAM, ROM, or the display adapter.
    ///
    /// # Errors
    /// If it is anything else, like all of these.
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop>;
    /// Writes RAM or the display adapter.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Stop>;
    /// Whether these bytes are the display adapter's.
    fn is_device(&mut self, at: u32, len: usize) -> bool;
    /// Reads code: RAM or ROM.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop>;
    /// Reads a page table: RAM.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), Stop>;
    /// `in` from a port of the display adapter.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), Stop>;
    /// `out` to one.
    ///
    /// # Errors
    /// See [`Bus::read`].
    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), Stop>;
}

/// When it is worth it: handing a processor over costs some system calls, which a few instructions do not bring in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// So many chances are let go by.
    skip: u16,
    /// And after the next that is not worth it.
    next_skip: u16,
}

/// Instructions, and repetitions of a string instruction, at one time: nobody else reaches the board meanwhile, and no
/// interrupt comes through.
pub const MOST: u32 = 1000;
/// Fewer are not worth it.
const FEW: u32 = 24;

impl Pace {
    /// Whether to take this chance.
    pub fn wants(&mut self) -> bool {
        self.skip = match self.skip {
            0 => return true,
            skip => skip - 1,
        };
        false
    }

    /// So many instructions were carried out.
    pub fn took(&mut self, instructions: u32) {
        self.next_skip = if instructions < FEW { (self.next_skip * 2 + 1).min(1023) } else { 0 };
        self.skip = self.next_skip;
    }
}

#[cfg(test)]
mod tests;
