//! The two 8259A interrupt controllers (Intel 8259A datasheet 231468, "Programming the 8259A").

use pcvm_firmware_rt::{Hw, Ports};

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
/// Non-specific end of interrupt.
const END: u8 = 0x20;
/// Edge triggered, cascaded, ICW4 follows.
const ICW1: u8 = 0x11;
/// 8086 mode, normal end of interrupt.
const ICW4: u8 = 0x01;
/// The slave is on IRQ 2.
const CASCADE: u8 = 2;

/// Programs both: vectors from `master` and `slave` on, everything masked but what `masks` (IRQ 0 in bit 0) leaves.
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

/// Ends interrupt `irq` (0 to 15).
pub fn end<H: Hw>(hw: &mut H, irq: u8) {
    if irq >= 8 {
        hw.outb(SLAVE, END);
    }
    hw.outb(MASTER, END);
}

/// Lets interrupt `irq` (0 to 15) through.
pub fn unmask<H: Hw>(hw: &mut H, irq: u8) {
    let port = if irq >= 8 { SLAVE + 1 } else { MASTER + 1 };
    let mask = hw.inb(port);
    hw.outb(port, mask & !(1 << (irq & 7)));
}

/// Whether interrupt `irq` is masked.
pub fn masked<H: Hw>(hw: &mut H, irq: u8) -> bool {
    let port = if irq >= 8 { SLAVE + 1 } else { MASTER + 1 };
    hw.inb(port) >> (irq & 7) & 1 != 0
}
