//! CPU exceptions and error interrupts: INT 00h and 06h (faults), 02h (NMI), 75h (coprocessor), and IRQ 9's
//! redirection.

use super::pic;
use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// The BIOS's code segment.
const CODE: u16 = 0xf000;

/// INT 00h and 06h. In the firmware they are fatal: a panic is an invalid instruction. A program's fault returns to the
/// program, as in other BIOSes.
pub fn fault<H: Hw>(bios: &mut Bios<H>, regs: &Regs) {
    let segment = bios.hw.read16(FarPtr::new(regs.ss, regs.sp().wrapping_add(2)));
    if segment == CODE {
        let offset = bios.hw.read16(FarPtr::new(regs.ss, regs.sp()));
        let mut text = *b"BIOS: panic at F000:0000";
        for (n, digit) in text.iter_mut().rev().take(4).enumerate() {
            let value = (offset >> (4 * n)) as u8 & 0xf;
            *digit = if value < 10 { b'0' + value } else { b'A' - 10 + value };
        }
        crate::log::line(bios.hw, core::str::from_utf8(&text).unwrap_or("BIOS: panic"));
        bios.hw.stop();
    }
}

/// INT 02h. Bits 6 and 7 of port 61h report memory and bus errors; any other NMI is a program's own.
pub fn nmi<H: Hw>(bios: &mut Bios<H>) {
    const PORT_B: u16 = 0x61;
    if bios.hw.inb(PORT_B) & 0xc0 != 0 {
        crate::log::line(bios.hw, "NMI: memory or bus error");
        bios.hw.stop();
    }
}

/// IRQ 13: a coprocessor error is passed on as NMI, as on the first PC (IBM AT BIOS, INT 75h).
pub fn coprocessor<H: Hw>(bios: &mut Bios<H>) {
    const CLEAR_BUSY: u16 = 0xf0;
    bios.hw.outb(CLEAR_BUSY, 0);
    pic::eoi(bios.hw, 13);
    bios.hw.call_interrupt(0x02, &mut Regs::default());
}

/// IRQ 9, which was IRQ 2 on the first PC: calls INT 0Ah if a program has hooked it (IBM AT BIOS, INT 71h); otherwise
/// returns false.
pub fn redirected<H: Hw>(bios: &mut Bios<H>) -> bool {
    const SLAVE: u16 = 0xa0;
    let handler = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x0a)));
    if handler.segment == CODE {
        return false;
    }
    bios.hw.outb(SLAVE, 0x20);
    bios.hw.call_interrupt(0x0a, &mut Regs::default());
    true
}
