//! Interrupt vector table, and the handler of unexpected hardware interrupts.

use pcvm_firmware_rt::{FarPtr, Hw, STUBS, bda};

const SEGMENT: u16 = 0xf000;
/// Vectors from here on are zero: 60h-67h are reserved for programs.
const FIRST_FREE: u8 = 0x60;

/// Fills the vector table; vectors without a handler point to an IRET.
pub fn install<H: Hw>(hw: &mut H, entries: &[u16], iret: u16) {
    for vector in 0..=255u8 {
        let default = if (FIRST_FREE..0x68).contains(&vector) || vector >= 0x78 {
            0
        } else {
            FarPtr::new(SEGMENT, iret).to_u32()
        };
        hw.write32(FarPtr::vector(vector), default);
    }
    for (&vector, &offset) in STUBS.iter().zip(entries) {
        hw.write32(FarPtr::vector(vector), FarPtr::new(SEGMENT, offset).to_u32());
    }
}

/// Handles an unexpected IRQ (2 to 15): if the 8259A has it in service, masks it and sends EOI. The in-service bits go
/// to 40:6B, FFh if there were none (IBM AT BIOS, "temporary interrupt service routine").
pub fn unexpected<H: Hw>(hw: &mut H, irq: u8) {
    const READ_IN_SERVICE: u8 = 0x0b;
    const EOI: u8 = 0x20;
    let noted = if irq >= 8 {
        hw.outb(0xa0, READ_IN_SERVICE);
        let in_service = hw.inb(0xa0);
        if in_service != 0 {
            let mask = hw.inb(0xa1);
            hw.outb(0xa1, mask | in_service);
            hw.outb(0xa0, EOI);
        }
        hw.outb(0x20, EOI);
        in_service
    } else {
        hw.outb(0x20, READ_IN_SERVICE);
        let in_service = hw.inb(0x20);
        if in_service != 0 {
            let mask = hw.inb(0x21);
            // IRQ 2, the cascade, is never masked.
            hw.outb(0x21, mask | in_service & !4);
            hw.outb(0x20, EOI);
        }
        in_service
    };
    hw.set(bda::LAST_IRQ, if noted == 0 { 0xff } else { noted });
}
