//! Tests of the 8259 interrupt controllers and the 8237 DMA controllers (Intel 8259A and 8237A datasheets).

use crate::{Outcome, Test};
use pcvm_guest::Machine;

const PIC_1: u16 = 0x20;
const PIC_2: u16 = 0xa0;
const READ_REQUESTS: u8 = 0x0a;
const READ_IN_SERVICE: u8 = 0x0b;

/// The interrupt mask registers hold what is written, and no interrupt is in service.
pub fn pic<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut masks = [0; 2];
    for (mask, base) in masks.iter_mut().zip([PIC_1, PIC_2]) {
        let on = t.m.set_interrupts(false);
        *mask = t.m.inb(base + 1);
        let mut held = true;
        for value in [0x55, 0xaa, 0xff] {
            t.m.outb(base + 1, value);
            held &= t.m.inb(base + 1) == value;
        }
        t.m.outb(base + 1, *mask);
        t.m.outb(base, READ_IN_SERVICE);
        let in_service = t.m.inb(base);
        t.m.outb(base, READ_REQUESTS);
        t.m.set_interrupts(on);
        check!(t, held, "the mask register does not hold what is written")?;
        check_equal!(t, "in service:", in_service.into(), 0)?;
    }
    let [first, second] = masks;
    check!(t, first & 0x05 == 0, "the timer or the cascade is masked")?;
    t.note.put("masks ").hex(first.into(), 2).byte(b' ').hex(second.into(), 2).put(", none in service");
    Ok(())
}

/// Address and count registers of channels 1 and 5 to 7 hold 16 bits, page registers 8 bits. Not tested: channel 2,
/// which the floppy controller uses, and channels 0 (refresh) and 4 (cascade).
pub fn dma<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    // Channel; ports of its address, count, clear byte pointer flip-flop, mask and page registers.
    const CHANNELS: [(u8, u16, u16, u16, u16, u16); 4] = [
        (1, 0x02, 0x03, 0x0c, 0x0a, 0x83),
        (5, 0xc4, 0xc6, 0xd8, 0xd4, 0x8b),
        (6, 0xc8, 0xca, 0xd8, 0xd4, 0x89),
        (7, 0xcc, 0xce, 0xd8, 0xd4, 0x8a),
    ];
    for (n, (channel, address, count, flip_flop, mask, page)) in CHANNELS.into_iter().enumerate() {
        t.m.outb(mask, 4 | channel & 3);
        for (register, value) in [(address, 0xa55a_u16 ^ n as u16), (count, 0x1234_u16.rotate_left(n as u32))] {
            t.m.outb(flip_flop, 0);
            for byte in value.to_le_bytes() {
                t.m.outb(register, byte);
            }
            t.m.outb(flip_flop, 0);
            let read = u16::from_le_bytes([t.m.inb(register), t.m.inb(register)]);
            check_equal!(t, "a register reads", read.into(), value.into())?;
        }
        let was = t.m.inb(page);
        t.m.outb(page, 0x5a ^ n as u8);
        let read = t.m.inb(page);
        t.m.outb(page, was);
        check_equal!(t, "a page register reads", read.into(), u32::from(0x5a ^ n as u8))?;
    }
    let requests = t.m.inb(0x08);
    check!(t, requests != 0xff, "the status register reads FFh")?;
    t.note.put("channels 1, 5, 6, 7: address, count, page");
    Ok(())
}
