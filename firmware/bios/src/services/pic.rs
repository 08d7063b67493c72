//! The two 8259A interrupt controllers (Intel 8259A datasheet 231468, "Programming the 8259A").

use pcvm_firmware_rt::{Hw, Ports};

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
/// Non-specific EOI.
const EOI: u8 = 0x20;
/// ICW1: edge triggered, cascaded, ICW4 follows.
const ICW1: u8 = 0x11;
/// ICW4: 8086 mode, normal EOI.
const ICW4: u8 = 0x01;
/// The IRQ that the slave is cascaded to.
const CASCADE: u8 = 2;

/// Programs both controllers: vectors from `master` and `slave` on, interrupt masks `masks` (IRQ 0 in bit 0).
pub fn program<H: Ports>(hw: &mut H, master: u8, slave: u8, masks: u16) {
    hw.outb(MASTER, ICW1);
    hw.outb(SLAVE, ICW1);
    hw.outb(MASTER + 1, master);
    hw.outb(SLAVE + 1, slave);
    hw.outb(MASTER + 1, 1 << CASCADE);
    hw.outb(SLAVE + 1, CASCADE);
    hw.outb(MASTER + 1, ICW4);
    hw.outb(SLAVE + 1, ICW4);
    let [low, high] = masks.to_le_bytes();
    hw.outb(MASTER + 1, low);
    hw.outb(SLAVE + 1, high);
}

/// Sends EOI for IRQ `irq` (0 to 15).
pub fn eoi<H: Hw>(hw: &mut H, irq: u8) {
    if irq >= 8 {
        hw.outb(SLAVE, EOI);
    }
    hw.outb(MASTER, EOI);
}

/// Unmasks IRQ `irq` (0 to 15).
pub fn unmask<H: Hw>(hw: &mut H, irq: u8) {
    let port = if irq >= 8 { SLAVE + 1 } else { MASTER + 1 };
    let mask = hw.inb(port);
    hw.outb(port, mask & !(1 << (irq & 7)));
}

/// Whether IRQ `irq` is masked.
pub fn masked<H: Hw>(hw: &mut H, irq: u8) -> bool {
    let port = if irq >= 8 { SLAVE + 1 } else { MASTER + 1 };
    hw.inb(port) >> (irq & 7) & 1 != 0
}
