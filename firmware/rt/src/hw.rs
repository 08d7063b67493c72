//! The machine as the firmware sees it.

use crate::far::{FarPtr, Field, Scalar};
use crate::regs::Regs;

/// I/O ports.
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

/// What a BIOS service does its work with: ports, real-mode memory, and the processor's few services.
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

    /// `rep insw`: `words` words from `port` to `to`. The offset wraps at 64 KiB.
    fn insw(&mut self, port: u16, to: FarPtr, words: u16);
    /// `rep insd`.
    fn insl(&mut self, port: u16, to: FarPtr, dwords: u16);
    /// `rep outsw`.
    fn outsw(&mut self, port: u16, from: FarPtr, words: u16);
    /// `rep outsd`.
    fn outsl(&mut self, port: u16, from: FarPtr, dwords: u16);
    /// Copies memory to memory, ascending. Offsets wrap.
    fn copy(&mut self, from: FarPtr, to: FarPtr, bytes: u16);
    /// Copies memory into the firmware's own.
    fn copy_in(&mut self, from: FarPtr, to: &mut [u8]) {
        for (n, byte) in to.iter_mut().enumerate() {
            *byte = self.read8(from.add(n as u16));
        }
    }
    /// Copies the firmware's own memory out.
    fn copy_out(&mut self, from: &[u8], to: FarPtr) {
        for (n, byte) in from.iter().enumerate() {
            self.write8(to.add(n as u16), *byte);
        }
    }
    /// Sets memory to one value.
    fn fill(&mut self, to: FarPtr, value: u8, bytes: u16);

    /// The variable's value.
    fn get<T: Scalar>(&mut self, field: Field<T>) -> T
    where
        Self: Sized,
    {
        T::load(self, field.at)
    }
    /// Sets the variable.
    fn set<T: Scalar>(&mut self, field: Field<T>, value: T)
    where
        Self: Sized,
    {
        value.store(self, field.at)
    }

    /// Enables interrupts, halts until one has been served, and disables them: `sti; hlt; cli`.
    fn wait_for_interrupt(&mut self);
    /// Serves what interrupts are pending: `sti; nop; cli`.
    fn poll_interrupts(&mut self);
    /// Sets IF to `enabled`, and returns what it was.
    fn set_interrupts(&mut self, enabled: bool) -> bool;

    /// Calls interrupt `number`'s handler, through its vector, with `regs`, which takes its results. The handler
    /// sees the flags of `regs` (arithmetic ones), with IF clear.
    fn call_interrupt(&mut self, number: u8, regs: &mut Regs);
    /// Calls a far procedure (which ends by RETF) with `regs`, which takes its results.
    fn call_far(&mut self, at: FarPtr, regs: &mut Regs);

    /// The same, with `words` on the stack, the first of them pushed first. The procedure leaves them there.
    fn call_far_with(&mut self, at: FarPtr, words: [u16; 4], regs: &mut Regs);

    /// Goes to protected mode for INT 15h AH=89h, with the caller's descriptor table: 08h describes the table itself, 10h the
    /// interrupt table, 18h, 20h and 28h become DS, ES and SS, 30h CS; the caller goes on after its INT instruction. On the
    /// real machine it does not return; a fake records it.
    fn protected_mode(&mut self, table: FarPtr, regs: &Regs);

    /// Stops the processor for good.
    fn stop(&mut self);

    /// Enters what was booted: jumps to `at` with `regs` and a stack at 0000:7C00, interrupts enabled. On the real machine it does not
    /// return; a fake records it.
    fn enter(&mut self, at: FarPtr, regs: &Regs);
    /// Drops what the firmware is doing and goes on with the way to a boot sector, for interrupt `vector` (18h or 19h). On the real machine it
    /// does not return; a fake records it.
    fn boot_again(&mut self, vector: u8);
    /// Resets the machine. On the real machine it does not return.
    fn reset(&mut self);
    /// Moves `words` words between physical addresses of 32 bits by protected mode (INT 15h AH=87h), with interrupts off. Under a memory manager this is not
    /// ours to do: the caller has made sure of real mode.
    fn block_move(&mut self, from: u32, to: u32, words: u16);
    /// Whether the processor is in virtual-8086 mode (PE is set in the machine status word).
    fn protected(&mut self) -> bool;
    /// The A20 line's state is not changed by any service but INT 15h AH=24h and this.
    fn set_a20(&mut self, enabled: bool);
    /// See [`Hw::set_a20`].
    fn a20(&mut self) -> bool;
}
