//! The real machine's side of [`Hw`].

#![allow(unsafe_code, reason = "port I/O, far memory accesses and calls of the BIOS are assembly")]

use crate::far::FarPtr;
use crate::hw::{Hw, Ports};
use crate::regs::{Flags, Regs};
use core::arch::asm;

// SAFETY: `entry.rs` (in guests: their `start.rs`) defines them, with C's calling convention and these arguments.
unsafe extern "C" {
    /// See `entry.rs`. `target` is a far pointer; `interrupt` says that the callee returns by IRET; `words` are four for its
    /// stack, or null.
    fn rt_call(regs: *mut Regs, target: u32, interrupt: u32, words: *const u16);
    fn rt_protected_mode(table: u32, regs: *const Regs) -> !;
    fn rt_wait(halt: u32);
    fn rt_boot_again(vector: u32) -> !;
    fn rt_enter(regs: *const Regs, target: u32) -> !;
    fn rt_block_move(from: u32, to: u32, words: u32);
}

/// The machine that this code runs on. It has no state: each part of the firmware makes its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

/// The CPU-board's system control port A (bit 1: A20, bit 0: reset).
const PORT_92: u16 = 0x92;
/// The PIIX3's reset control.
const RESET_CONTROL: u16 = 0xcf9;
/// The keyboard controller's command port, and its command to pulse the reset line.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

macro_rules! port {
    ($input:ident, $output:ident, $t:ty, $register:tt) => {
        fn $input(&mut self, port: u16) -> $t {
            let value: $t;
            // SAFETY: reading a port touches no memory that Rust knows of.
            unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        fn $output(&mut self, port: u16, value: $t) {
            // SAFETY: the firmware owns every device, and makes none of them write to memory that Rust has references to:
            // DMA goes to buffers that are only reached through far pointers.
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
            // SAFETY: a read through FS, which compiled code does not use, has no effect but its value. Whatever bits lie
            // there are a valid integer.
            unsafe {
                asm!("mov fs, {segment:x}", concat!("mov ", $value, ", fs:[{offset:e}]"), segment = in(reg) at.segment,
                    offset = in(reg) u32::from(at.offset), value = out($class) value, options(nostack, preserves_flags, readonly))
            };
            value
        }
        fn $write(&mut self, at: FarPtr, value: $t) {
            // SAFETY: far pointers name memory outside segment E000h, where all that Rust has references to lies: the
            // caller's buffers, the BIOS data areas, video memory.
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
            // SAFETY: as for writes of memory and reads of ports; ES is put back.
            unsafe {
                asm!("push es", "mov es, {segment:x}", $instruction, "pop es", segment = in(reg) to.segment,
                    inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(count) => _, in("dx") port, options(preserves_flags))
            };
        }
    };
    ($name:ident, $t:ident, output $instruction:tt) => {
        fn $name(&mut self, port: u16, from: FarPtr, count: u16) {
            // SAFETY: as for reads of memory and writes of ports; DS and ESI are put back.
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
        // SAFETY: as for reads and writes of memory; DS, ES and ESI are put back.
        unsafe {
            asm!("push ds", "push es", "mov es, {segment:x}", "xchg esi, {offset:e}", "mov ds, ax",
                "shr cx, 1", "rep movsw", "adc cx, cx", "rep movsb",
                "xchg esi, {offset:e}", "pop es", "pop ds",
                in("ax") from.segment, offset = inout(reg) u32::from(from.offset) => _, segment = in(reg) to.segment,
                inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(bytes) => _)
        };
    }

    fn fill(&mut self, to: FarPtr, value: u8, bytes: u16) {
        // SAFETY: as for writes of memory; ES is put back.
        unsafe {
            asm!("push es", "mov es, {segment:x}", "rep stosb", "pop es", segment = in(reg) to.segment, in("al") value,
                inout("edi") u32::from(to.offset) => _, inout("ecx") u32::from(bytes) => _, options(preserves_flags))
        };
    }

    fn wait_for_interrupt(&mut self) {
        // SAFETY: what interrupt handlers change is reached through far memory or `Cell`s, and this is a compiler barrier.
        unsafe { rt_wait(1) };
    }

    fn poll_interrupts(&mut self) {
        // SAFETY: as above.
        unsafe { rt_wait(0) };
    }

    fn set_interrupts(&mut self, enabled: bool) -> bool {
        let flags: u32;
        // SAFETY: as above.
        unsafe { asm!("pushfd", "pop {flags:e}", flags = out(reg) flags) };
        match enabled {
            // SAFETY: as above.
            true => unsafe { asm!("sti") },
            // SAFETY: as above.
            false => unsafe { asm!("cli") },
        }
        flags & u32::from(Flags::IF) != 0
    }

    fn call_interrupt(&mut self, number: u8, regs: &mut Regs) {
        let target = self.read32(FarPtr::vector(number));
        // SAFETY: `rt_call` keeps what the ABI asks for whatever the callee does to registers. A callee that writes into
        // segment E000h breaks the firmware, as it would break any.
        unsafe { rt_call(regs, target, 1, core::ptr::null()) };
    }

    fn call_far(&mut self, at: FarPtr, regs: &mut Regs) {
        // SAFETY: as above.
        unsafe { rt_call(regs, at.to_u32(), 0, core::ptr::null()) };
    }

    fn call_far_with(&mut self, at: FarPtr, words: [u16; 4], regs: &mut Regs) {
        // SAFETY: as above; four words are there.
        unsafe { rt_call(regs, at.to_u32(), 0, words.as_ptr()) };
    }

    fn protected_mode(&mut self, table: FarPtr, regs: &Regs) {
        // SAFETY: the caller of INT 15h AH=89h says what the processor does from here on; nothing of ours is used any more.
        unsafe { rt_protected_mode(table.to_u32(), regs) }
    }

    fn stop(&mut self) {
        loop {
            // SAFETY: CLI and HLT access no memory.
            unsafe { asm!("cli", "hlt") };
        }
    }

    fn enter(&mut self, at: FarPtr, regs: &Regs) {
        // SAFETY: nothing of ours is live any more; the firmware's next activation starts at its stack's top.
        unsafe { rt_enter(regs, at.to_u32()) }
    }

    fn boot_again(&mut self, vector: u8) {
        // SAFETY: nothing of ours is live any more: the stack starts anew, and statics are `Cell`s.
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
        // SAFETY: the caller of INT 15h AH=87h names the physical memory; what it may harm is its own.
        unsafe { rt_block_move(from, to, u32::from(words)) };
    }

    fn protected(&mut self) -> bool {
        let status: u32;
        // SAFETY: SMSW only reads.
        unsafe { asm!("smsw {status:e}", status = out(reg) status, options(nomem, nostack, preserves_flags)) };
        status & 1 != 0
    }

    fn set_a20(&mut self, enabled: bool) {
        let value = self.inb(PORT_92);
        let wanted = if enabled { value | 2 } else { value & !2 };
        // Bit 0 resets the processor.
        self.outb(PORT_92, wanted & !1);
    }

    fn a20(&mut self) -> bool {
        self.inb(PORT_92) & 2 != 0
    }
}
