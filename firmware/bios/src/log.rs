//! Debug console output: port 402h, which reads as E9h if the console exists.

use pcvm_firmware_rt::Hw;

const PORT: u16 = 0x402;

/// Writes a line.
pub fn line<H: Hw>(hw: &mut H, text: &str) {
    text.bytes().chain(*b"\n").for_each(|byte| hw.outb(PORT, byte));
}

/// Writes part of a line.
pub fn text<H: Hw>(hw: &mut H, text: &str) {
    text.bytes().for_each(|byte| hw.outb(PORT, byte));
}
