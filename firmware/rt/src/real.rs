//! Implementation of [`Hw`] by machine instructions, for 16-bit code.

#![allow(unsafe_code, reason = "port I/O, far memory accesses and calls of the BIOS are assembly")]

use crate::far::FarPtr;
use crate::hw::{Hw, Ports};
use crate::regs::{Flags, Regs};
use core::arch::asm;

// SAFETY: `entry.rs` (in boot programs `call.rs` and `guest/src/start.rs`) defines them with the C calling convention and
// these arguments.
unsafe extern "C" {
    /// Calls a far pointer, see `entry.rs`. `interrupt` is 1 if the callee returns by IRET; `words` points to four
    /// words for its stack, or is null.
    fn rt_call(regs: *mut Regs, target: u32, interrupt: u32, words: *const u16);
    fn rt_protected_mode(table: u32, regs: *const Regs) -> !;
    fn rt_wait(halt: u32);
    fn rt_boot_again(vector: u32) -> !;
    fn rt_enter(regs: *const Regs, target: u32) -> !;
    fn rt_block_move(from: u32, to: u32, words: u32);
}

/// The machine that this code runs on. It has no state, so there may be several values of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

/// System control port A. Bit 1: A20 gate; bit 0: CPU reset.
const PORT_92: u16 = 0x92;
/// Reset control register (RC) of the PIIX3.
const RESET_CONTROL: u16 = 0xcf9;
/// Command port of the keyboard controller.
const KEYBOARD_COMMAND: u16 = 0x64;
/// Keyboard controller command: pulse output port bit 0, the CPU's reset line.
const PULSE_RESET: u8 = 0xfe;

macro_rules! port {
    ($input:ident, $output:ident, $t:ty, $register:tt) => {
        fn $input(&mut self, port: u16) -> $t {
            let value: $t;
            // SAFETY: a port read accesses no memory of Rust's.
            unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        fn $output(&mut self, port: u16, value: $t) {
            // SAFETY: the firmware programs all devices itself, and only for DMA to buffers that Rust code accesses
            // through far pointers.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nostack, preserves_flags)) };
        }
    };
}

impl Ports for Real {
    port!(inb, outb, u8, "al");
    port!(inw, outw, u16, "ax");
    port!(inl, outl, u32, "eax");
}

macro_rules! memory {
    ($read:ident, $write:ident, $t:ty, $class:ident, $value:tt) => {
        fn $read(&mut self, at: FarPtr) -> $t {
            let value: $t;
            // SAFETY: reads an integer through FS, which rustc's code does not use.
            unsafe {
                asm!("mov fs, {segment:x}", concat!("mov ", $value, ", fs:[{offset:e}]"), segment = in(reg) at.segment,
                    offset = in(reg) u32::from(at.offset), value = out($class) value, options(nostack, preserves_flags, readonly))
            };
            value
        }
        fn $write(&mut self, at: FarPtr, value: $t) {
            // SAFETY: callers pass far pointers to their own callers' buffers, BIOS data areas or video memory. Memory
            // that Rust has references to is in segment E000h.
            unsafe {
                asm!("mov fs, {segment:x}", concat!("mov fs:[{offset:e}], ", $value), segment = in(reg) at.segment,
                    offset = in(reg) u32::from(at.offset), value = in($class) value, options(nostack, preserves_flags))
            };
        }
    };
}

macro_rules! string {
    ($name:ident, $t:ident, input $instruction:tt) => {
        fn $name(&mut self, port: u16, to: FarPtr, count: u16) {
            // SAFETY: as for memory writes and port reads. ES is restored.
            unsafe {
                asm!("push es", "mov es, {segment:x}", $instruction, "pop es", segment = in(reg) to.segment,
                    inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(count) => _, in("dx") port, options(preserves_flags))
            };
        }
    };
    ($name:ident, $t:ident, output $instruction:tt) => {
        fn $name(&mut self, port: u16, from: FarPtr, count: u16) {
            // SAFETY: as for memory reads and port writes. DS and ESI are restored.
            unsafe {
                asm!("push ds", "xchg esi, {offset:e}", "mov ds, ax", $instruction, "xchg esi, {offset:e}", "pop ds",
                    in("ax") from.segment, offset = inout(reg) u32::from(from.offset) => _,
                    inout("ecx") u32::from(count) => _, in("dx") port, options(preserves_flags))
            };
        }
    };
}

impl Hw for Real {
    memory!(read8, write8, u8, reg_byte, "{value}");
    memory!(read16, write16, u16, reg, "{value:x}");
    memory!(read32, write32, u32, reg, "{value:e}");
    string!(insw, u16, input "rep insw");
    string!(insl, u32, input "rep insd");
    string!(outsw, u16, output "rep outsw");
    string!(outsl, u32, output "rep outsd");

    fn copy(&mut self, from: FarPtr, to: FarPtr, bytes: u16) {
        // SAFETY: as for memory reads and writes. DS, ES and ESI are restored.
        unsafe {
            asm!("push ds", "push es", "mov es, {segment:x}", "xchg esi, {offset:e}", "mov ds, ax",
                "shr cx, 1", "rep movsw", "adc cx, cx", "rep movsb",
                "xchg esi, {offset:e}", "pop es", "pop ds",
                in("ax") from.segment, offset = inout(reg) u32::from(from.offset) => _, segment = in(reg) to.segment,
                inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(bytes) => _)
        };
    }

    fn fill(&mut self, to: FarPtr, value: u8, bytes: u16) {
        // SAFETY: as for memory writes. ES is restored.
        unsafe {
            asm!("push es", "mov es, {segment:x}", "rep stosb", "pop es", segment = in(reg) to.segment, in("al") value,
                inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(bytes) => _, options(preserves_flags))
        };
    }

    fn wait_for_interrupt(&mut self) {
        // SAFETY: the data of interrupt handlers is in far memory and in `Cell`s, and the call is a compiler barrier.
        unsafe { rt_wait(1) };
    }

    fn poll_interrupts(&mut self) {
        // SAFETY: as in `wait_for_interrupt`.
        unsafe { rt_wait(0) };
    }

    fn set_interrupts(&mut self, enabled: bool) -> bool {
        let flags: u32;
        // SAFETY: PUSHFD and POP leave the stack and the flags as they were.
        unsafe { asm!("pushfd", "pop {flags:e}", flags = out(reg) flags) };
        match enabled {
            // SAFETY: as in `wait_for_interrupt`; the instruction is a compiler barrier.
            true => unsafe { asm!("sti") },
            // SAFETY: masking interrupts accesses no memory.
            false => unsafe { asm!("cli") },
        }
        flags & u32::from(Flags::IF) != 0
    }

    fn call_interrupt(&mut self, number: u8, regs: &mut Regs) {
        let target = self.read32(FarPtr::vector(number));
        // SAFETY: `rt_call` preserves the registers that the ABI requires, whatever the callee does to them. Handlers
        // do not write to segment E000h, which belongs to the BIOS.
        unsafe { rt_call(regs, target, 1, core::ptr::null()) };
    }

    fn call_far(&mut self, at: FarPtr, regs: &mut Regs) {
        // SAFETY: as in `call_interrupt`.
        unsafe { rt_call(regs, at.to_u32(), 0, core::ptr::null()) };
    }

    fn call_far_with(&mut self, at: FarPtr, words: [u16; 4], regs: &mut Regs) {
        // SAFETY: as in `call_interrupt`; `words` has four words.
        unsafe { rt_call(regs, at.to_u32(), 0, words.as_ptr()) };
    }

    fn protected_mode(&mut self, table: FarPtr, regs: &Regs) {
        // SAFETY: does not return to Rust code: the caller of INT 15h AH=89h continues, with its own segments.
        unsafe { rt_protected_mode(table.to_u32(), regs) }
    }

    fn stop(&mut self) {
        loop {
            // SAFETY: CLI and HLT access no memory.
            unsafe { asm!("cli", "hlt") };
        }
    }

    fn enter(&mut self, at: FarPtr, regs: &Regs) {
        // SAFETY: does not return to Rust code. The next BIOS call starts at the top of the stack.
        unsafe { rt_enter(regs, at.to_u32()) }
    }

    fn boot_again(&mut self, vector: u8) {
        // SAFETY: does not return to this stack, which starts anew. Statics are `Cell`s, which abandoned code leaves
        // valid.
        unsafe { rt_boot_again(u32::from(vector)) }
    }

    fn reset(&mut self) {
        self.set_interrupts(false);
        self.outb(RESET_CONTROL, 0x02);
        self.outb(RESET_CONTROL, 0x06);
        self.outb(KEYBOARD_COMMAND, PULSE_RESET);
        self.stop();
    }

    fn block_move(&mut self, from: u32, to: u32, words: u16) {
        // SAFETY: the caller of INT 15h AH=87h passes the physical addresses and owns the memory there.
        unsafe { rt_block_move(from, to, u32::from(words)) };
    }

    fn protected(&mut self) -> bool {
        let status: u32;
        // SAFETY: SMSW only reads the machine status word.
        unsafe { asm!("smsw {status:e}", status = out(reg) status, options(nomem, nostack, preserves_flags)) };
        status & 1 != 0
    }

    fn set_a20(&mut self, enabled: bool) {
        let value = self.inb(PORT_92);
        let wanted = if enabled { value | 2 } else { value & !2 };
        // Bit 0 resets the CPU: never set it.
        self.outb(PORT_92, wanted & !1);
    }

    fn a20(&mut self) -> bool {
        self.inb(PORT_92) & 2 != 0
    }
}
