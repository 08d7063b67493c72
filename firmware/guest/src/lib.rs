//! What programs of the project's own that a BIOS boots have in common: 16-bit code that calls the BIOS by interrupts
//! and looks at the machine itself. Code, data and stack share segment 1000h; memory from 2000:0000 up to the end of base
//! memory is theirs too, by far pointers.
//!
//! All of their `unsafe` is here and in `pcvm_firmware_rt`.

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
/// Bytes of parameters that whoever starts the program may patch into its image.
pub const PARAMETERS: usize = 32;

/// Registers for a BIOS call: those that are named, the others 0.
#[macro_export]
macro_rules! regs {
    ($($name:ident: $value:expr),* $(,)?) => {{
        let mut regs = ::pcvm_firmware_rt::Regs::ZERO;
        $(regs.$name = $value;)*
        regs
    }};
}

/// The machine as a booted program sees it.
pub trait Machine: Hw {
    /// CPUID's EAX, EBX, ECX, EDX for a leaf; none on a processor without CPUID.
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]>;
    /// The time stamp counter. Only where CPUID says that there is one.
    fn timestamp(&mut self) -> u64;
    /// Points the vector of hardware interrupt `irq` (0 to 15) at a counter, and returns what it was. The handler ends
    /// the interrupt at the interrupt controllers, not at the device.
    fn count_irq(&mut self, irq: u8) -> u32;
    /// How often the counter of `irq` has run.
    fn irqs(&mut self, irq: u8) -> u16;
    /// Linear address of the byte at `offset` in the program's own segment, for DMA.
    fn linear(&self, offset: u16) -> u32 {
        (u32::from(SEGMENT) << 4) + u32::from(offset)
    }
}

/// The vector of hardware interrupt `irq`, as the BIOS programs the controllers.
pub const fn irq_vector(irq: u8) -> u8 {
    if irq < 8 { 8 + irq } else { 0x70 - 8 + irq }
}

#[cfg(guest16)]
pub use real::{die, parameters};
