//! Hardware access traits of the BIOS: port I/O, real-mode memory, interrupts, calls.

use crate::ebda;
use crate::far::{FarPtr, Field, Scalar};
use crate::regs::Regs;

/// Port I/O.
pub trait Ports {
    /// Reads a byte.
    fn inb(&mut self, port: u16) -> u8;
    /// Reads a word.
    fn inw(&mut self, port: u16) -> u16;
    /// Reads a dword.
    fn inl(&mut self, port: u16) -> u32;
    /// Writes a byte.
    fn outb(&mut self, port: u16, value: u8);
    /// Writes a word.
    fn outw(&mut self, port: u16, value: u16);
    /// Writes a dword.
    fn outl(&mut self, port: u16, value: u32);
}

/// The machine as BIOS services see it: ports, memory by real-mode address, interrupts and CPU modes.
pub trait Hw: Ports {
    /// Reads a byte of memory.
    fn read8(&mut self, at: FarPtr) -> u8;
    /// Reads a word of memory.
    fn read16(&mut self, at: FarPtr) -> u16;
    /// Reads a dword of memory.
    fn read32(&mut self, at: FarPtr) -> u32;
    /// Writes a byte of memory.
    fn write8(&mut self, at: FarPtr, value: u8);
    /// Writes a word of memory.
    fn write16(&mut self, at: FarPtr, value: u16);
    /// Writes a dword of memory.
    fn write32(&mut self, at: FarPtr, value: u32);

    /// `rep insw`: reads `words` words from `port` to `to`. The offset wraps at 64 KiB.
    fn insw(&mut self, port: u16, to: FarPtr, words: u16);
    /// `rep insd`: the same with dwords.
    fn insl(&mut self, port: u16, to: FarPtr, dwords: u16);
    /// `rep outsw`: writes `words` words from `from` to `port`. The offset wraps at 64 KiB.
    fn outsw(&mut self, port: u16, from: FarPtr, words: u16);
    /// `rep outsd`: the same with dwords.
    fn outsl(&mut self, port: u16, from: FarPtr, dwords: u16);
    /// Copies memory in ascending order. The offsets wrap at 64 KiB.
    fn copy(&mut self, from: FarPtr, to: FarPtr, bytes: u16);
    /// Copies memory to a slice.
    fn copy_in(&mut self, from: FarPtr, to: &mut [u8]) {
        for (n, byte) in to.iter_mut().enumerate() {
            *byte = self.read8(from.add(n as u16));
        }
    }
    /// Copies a slice to memory.
    fn copy_out(&mut self, from: &[u8], to: FarPtr) {
        for (n, byte) in from.iter().enumerate() {
            self.write8(to.add(n as u16), *byte);
        }
    }
    /// Sets `bytes` bytes of memory to `value`.
    fn fill(&mut self, to: FarPtr, value: u8, bytes: u16);

    /// Reads a variable of the BIOS data areas.
    fn get<T: Scalar>(&mut self, field: Field<T>) -> T
    where
        Self: Sized,
    {
        let at = ebda::current(self, field.at);
        T::load(self, at)
    }
    /// Writes a variable of the BIOS data areas.
    fn set<T: Scalar>(&mut self, field: Field<T>, value: T)
    where
        Self: Sized,
    {
        let at = ebda::current(self, field.at);
        value.store(self, at)
    }

    /// Halts until an interrupt has been handled: `sti; hlt; cli`.
    fn wait_for_interrupt(&mut self);
    /// Lets pending interrupts in: `sti; nop; cli`.
    fn poll_interrupts(&mut self);
    /// Sets IF to `enabled` and returns its previous value.
    fn set_interrupts(&mut self, enabled: bool) -> bool;

    /// Calls the handler of interrupt `number` through its vector. `regs` has the arguments, and the results
    /// afterwards. The handler starts with the arithmetic flags of `regs`, and with IF clear.
    fn call_interrupt(&mut self, number: u8, regs: &mut Regs);
    /// Calls a far procedure, which returns by RETF. `regs` has the arguments, and the results afterwards.
    fn call_far(&mut self, at: FarPtr, regs: &mut Regs);

    /// As [`Hw::call_far`], with `words` pushed on the stack in order. The procedure does not pop them.
    fn call_far_with(&mut self, at: FarPtr, words: [u16; 4], regs: &mut Regs);

    /// Enters protected mode (INT 15h AH=89h). Of the caller's descriptor table, descriptor 08h describes the table
    /// itself, 10h the IDT; selectors 18h, 20h, 28h and 30h become DS, ES, SS and CS. The caller continues after its
    /// INT instruction, so this does not return on hardware; a fake records the call.
    fn protected_mode(&mut self, table: FarPtr, regs: &Regs);

    /// Halts the CPU until a reset.
    fn stop(&mut self);

    /// Starts a boot sector or boot image: jumps to `at` with `regs`, SS:ESP = 0000:7C00 and IF set. Does not return on
    /// hardware; a fake records the call.
    fn enter(&mut self, at: FarPtr, regs: &Regs);
    /// Abandons the current call and restarts the boot sequence, for interrupt `vector` (18h or 19h). Does not return
    /// on hardware; a fake records the call.
    fn boot_again(&mut self, vector: u8);
    /// Resets the machine. Does not return on hardware.
    fn reset(&mut self);
    /// Copies `words` words between 32-bit physical addresses (INT 15h AH=87h), in protected mode with interrupts
    /// disabled. The CPU must be in real mode: under a memory manager (virtual-8086 mode) the caller must not use this.
    fn block_move(&mut self, from: u32, to: u32, words: u16);
    /// Whether the CPU is in virtual-8086 mode: PE is set in the machine status word.
    fn protected(&mut self) -> bool;
    /// Enables or disables the A20 gate. Only INT 15h AH=24h changes it.
    fn set_a20(&mut self, enabled: bool);
    /// Whether the A20 gate is enabled.
    fn a20(&mut self) -> bool;
}
