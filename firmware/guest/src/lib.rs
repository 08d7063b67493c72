//! Runtime of bootable 16-bit test programs: boot sector, BIOS calls, IRQ counters, text formatting.
//!
//! The programs call the BIOS by interrupts and access the hardware themselves. Code, data and stack share segment
//! 1000h. Memory from 2000:0000 to the end of base memory is free, and accessed by far pointers.
//!
//! All `unsafe` of these programs is in this crate and in `pcvm_firmware_rt`.

#![cfg_attr(rom, no_std)]

#[cfg(guest16)]
mod real;
#[cfg(guest16)]
mod start;
mod text;

pub use text::Text;

use pcvm_firmware_rt::Hw;

/// Segment of code, data and stack.
pub const SEGMENT: u16 = 0x1000;
/// Size of the parameter block, which the host may patch into the program's disk image.
pub const PARAMETERS: usize = 32;

/// Registers for a BIOS call: the named ones, and 0 in all others.
#[macro_export]
macro_rules! regs {
    ($($name:ident: $value:expr),* $(,)?) => {{
        let mut regs = ::pcvm_firmware_rt::Regs::ZERO;
        $(regs.$name = $value;)*
        regs
    }};
}

/// The machine as a boot program sees it.
pub trait Machine: Hw {
    /// EAX, EBX, ECX and EDX of a CPUID leaf; `None` on a CPU without CPUID.
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]>;
    /// The time stamp counter. CPUID must report one.
    fn timestamp(&mut self) -> u64;
    /// Points the vector of `irq` (0 to 15) to a handler that counts, and returns the old vector. The handler sends the
    /// EOI to the 8259s, but does not acknowledge the device.
    fn count_irq(&mut self, irq: u8) -> u32;
    /// How often the handler of `irq` has run.
    fn irqs(&mut self, irq: u8) -> u16;
    /// Linear address, for DMA, of the byte at `offset` in the program's segment.
    fn linear(&self, offset: u16) -> u32 {
        (u32::from(SEGMENT) << 4) + u32::from(offset)
    }
}

/// Interrupt vector of `irq`, as the BIOS programs the 8259s.
pub const fn irq_vector(irq: u8) -> u8 {
    if irq < 8 { 8 + irq } else { 0x70 - 8 + irq }
}

#[cfg(guest16)]
pub use real::{die, parameters};
