//! Implementation of [`Machine`] by machine instructions.

#![allow(unsafe_code, reason = "CPUID and RDTSC are assembly, and `start.rs` shares symbols with Rust code")]

use crate::{Machine, PARAMETERS, SEGMENT, irq_vector};
use core::arch::asm;
use pcvm_firmware_rt::{FarPtr, Hw, Ports, Real};

// SAFETY: the assembly in `start.rs` defines the symbols with these types.
unsafe extern "C" {
    static irq_counters: [u16; 16];
    static irq_counts: [u16; 16];
    static image_parameters: [u8; PARAMETERS];
}

/// The parameter block, which the host may have patched into the image.
pub fn parameters() -> &'static [u8; PARAMETERS] {
    // SAFETY: `start.rs` defines this many bytes, and nothing writes them at run time.
    unsafe { &image_parameters }
}

impl Machine for Real {
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]> {
        const ID: u32 = 1 << 21;
        let changed: u32;
        // SAFETY: PUSHFD and POPFD restore the stack and the flags.
        unsafe {
            asm!("pushfd", "pushfd", "pop eax", "mov {old:e}, eax", "xor eax, {id}", "push eax", "popfd", "pushfd", "pop eax",
                "xor eax, {old:e}", "popfd", old = out(reg) _, id = const ID, out("eax") changed)
        };
        if changed & ID == 0 {
            return None;
        }
        let (a, b, c, d): (u32, u32, u32, u32);
        // SAFETY: CPUID changes only these four registers. EBX, which LLVM may use, is restored.
        unsafe {
            asm!("xchg ebx, {b:e}", "cpuid", "xchg ebx, {b:e}", b = inout(reg) 0 => b, inout("eax") leaf => a,
                inout("ecx") 0 => c, out("edx") d, options(nomem, nostack))
        };
        Some([a, b, c, d])
    }

    fn timestamp(&mut self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: RDTSC only reads the counter.
        unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
        u64::from(high) << 32 | u64::from(low)
    }

    fn count_irq(&mut self, irq: u8) -> u32 {
        let vector = FarPtr::vector(irq_vector(irq & 15));
        // SAFETY: `start.rs` defines 16 constants, and the index is below 16.
        let handler = unsafe { irq_counters[usize::from(irq & 15)] };
        let old = self.read32(vector);
        self.write32(vector, FarPtr::new(SEGMENT, handler).to_u32());
        old
    }

    fn irqs(&mut self, irq: u8) -> u16 {
        // SAFETY: `start.rs` defines 16 counters. The handlers write them, so the read is volatile.
        unsafe { (&raw const irq_counts[usize::from(irq & 15)]).read_volatile() }
    }
}

/// Writes `message` to the debug port (402h) and halts the CPU: after a panic.
pub fn die(message: &str) -> ! {
    message.bytes().for_each(|byte| Real.outb(0x402, byte));
    loop {
        // SAFETY: CLI and HLT access no memory.
        unsafe { asm!("cli", "hlt") };
    }
}
