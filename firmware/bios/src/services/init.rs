//! Initialisation of the BIOS data areas, the 8259As, the 8254 and the serial and parallel ports at power-on (IBM PS/2
//! and PC BIOS Interface Technical Reference, section 3).

use super::{apm, pic, rtc};
use crate::Bios;
use pcvm_firmware_rt::apm::PCI_LAST_BUS;
use pcvm_firmware_rt::{FarPtr, Hw, bda, ebda};

const TIMER_CONTROL: u16 = 0x43;
const CHANNEL_0: u16 = 0x40;
const CHANNEL_1: u16 = 0x41;
const PORT_B: u16 = 0x61;

/// Base ports of serial ports, in probing order.
const COM: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// Base ports of parallel ports, in probing order.
const LPT: [u16; 3] = [0x378, 0x278, 0x3bc];
/// CMOS register: types of the two floppy drives, 4 bits each.
const FLOPPY_TYPES: u8 = 0x10;

/// Fills the BIOS data areas and programs interrupt controllers, timer and RTC.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    let hw = &mut *bios.hw;
    let reset_flag = hw.get(bda::RESET_FLAG);
    hw.fill(FarPtr::new(0x40, 0), 0, 0x102);
    hw.fill(FarPtr::new(ebda::SEGMENT, 0), 0, u16::from(ebda::SIZE) * 1024);
    hw.set(bda::RESET_FLAG, reset_flag);
    hw.set(bda::EBDA, ebda::SEGMENT);
    hw.set(ebda::LENGTH, ebda::SIZE);
    hw.set(ebda::VIDEO_STACK, ebda::VIDEO_STACK_MARK);
    hw.set(bda::MEMORY, ebda::BASE_MEMORY);
    for field in [bda::KEYBOARD_HEAD, bda::KEYBOARD_TAIL, bda::KEYBOARD_START] {
        hw.set(field, bda::KEYBOARD_BUFFER.at.offset);
    }
    hw.set(bda::KEYBOARD_END, bda::KEYBOARD_BUFFER.at.offset + 32);

    // IRQ 0, 2 (cascade), 8 and 13 always have handlers.
    pic::program(hw, 0x08, 0x70, !(1 << 0 | 1 << 2 | 1 << 8 | 1 << 13));
    // Channel 0: mode 3, divisor 65536, 18.2 Hz. Channel 1: mode 2, divisor 18, memory refresh every 15 us.
    hw.outb(TIMER_CONTROL, 0x36);
    hw.outb(CHANNEL_0, 0);
    hw.outb(CHANNEL_0, 0);
    hw.outb(TIMER_CONTROL, 0x54);
    hw.outb(CHANNEL_1, 18);
    // Speaker off; parity check and channel check off.
    let port = hw.inb(PORT_B);
    hw.outb(PORT_B, port & 0xf0 | 0x0c);

    rtc::init(hw);
    apm::init(hw);
    hw.set(PCI_LAST_BUS, bios.handoff.last_bus);

    let floppies = rtc::read(hw, FLOPPY_TYPES);
    let count = u16::from(floppies & 0xf0 != 0) + u16::from(floppies & 0x0f != 0);
    let floppy_bits = if count == 0 { 0 } else { 1 | (count - 1) << 6 };
    let (serial, parallel) = (find_serial(hw), find_parallel(hw));
    // Bit 1: coprocessor; bits 4-5: 80 columns in colour.
    hw.set(bda::EQUIPMENT, 0x0022 | floppy_bits | serial << 9 | parallel << 14);
}

/// Fills the table of serial ports and returns their number.
fn find_serial<H: Hw>(hw: &mut H) -> u16 {
    const INTERRUPT_ENABLE: u16 = 1;
    const IDENTIFICATION: u16 = 2;
    let mut found = 0;
    for base in COM {
        // IER keeps what is written, and the pending interrupt in IIR is then "transmitter empty".
        hw.outb(base + INTERRUPT_ENABLE, 0x02);
        if hw.inb(base + INTERRUPT_ENABLE) == 0x02 && hw.inb(base + IDENTIFICATION) & 0x3f == 0x02 {
            hw.outb(base + INTERRUPT_ENABLE, 0);
            hw.write16(bda::COM1.at.add(2 * found), base);
            found += 1;
        }
    }
    for n in 0..4 {
        hw.write8(bda::COM_TIMEOUT.at.add(n), 1);
    }
    found
}

/// Fills the table of parallel ports and returns their number.
fn find_parallel<H: Hw>(hw: &mut H) -> u16 {
    const CONTROL: u16 = 2;
    let mut found = 0;
    for base in LPT {
        hw.outb(base, 0xaa);
        if hw.inb(base) == 0xaa {
            // Control register: selected, not in reset, no strobe, no interrupt.
            hw.outb(base + CONTROL, 0x0c);
            hw.write16(bda::LPT1.at.add(2 * found), base);
            found += 1;
        }
    }
    for n in 0..3 {
        hw.write8(bda::LPT_TIMEOUT.at.add(n), 20);
    }
    found
}
