//! Tests of the real-time clock and CMOS memory (Motorola MC146818A datasheet; IBM AT Technical Reference).

use crate::clock::Deadline;
use crate::{Outcome, Test};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, irq_vector, regs};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;
/// Register A as the BIOS sets it: 32.768 kHz time base, periodic rate 1024 Hz.
const RATE_1024: u8 = 0x26;
/// Registers B and C: periodic interrupt.
const PERIODIC: u8 = 0x40;
/// Register B: updates are stopped.
const SET: u8 = 0x80;
/// Register D: RAM and time are valid.
const VALID: u8 = 0x80;
/// Frequency of the edges that [`edge`] waits for.
pub const PERIODS_PER_SECOND: u32 = 1024;
const IRQ: u8 = 8;
const PIC_2_MASK: u16 = 0xa1;

fn read<M: Machine>(t: &mut Test<'_, M>, register: u8) -> u8 {
    t.m.outb(INDEX, register);
    t.m.inb(DATA)
}

fn write<M: Machine>(t: &mut Test<'_, M>, register: u8, value: u8) {
    t.m.outb(INDEX, register);
    t.m.outb(DATA, value);
}

/// Runs `inner` with the periodic interrupt enabled for [`edge`], and masked at the 8259: some emulators set the
/// periodic flag only while the interrupt is enabled.
pub fn with_periodic_flag<M: Machine>(t: &mut Test<'_, M>, inner: fn(&mut Test<'_, M>) -> Outcome) -> Outcome {
    let mask = t.m.inb(PIC_2_MASK);
    t.m.outb(PIC_2_MASK, mask | 1);
    let control = read(t, REGISTER_B);
    write(t, REGISTER_B, control | PERIODIC);
    let outcome = inner(t);
    write(t, REGISTER_B, control);
    read(t, REGISTER_C);
    t.m.outb(PIC_2_MASK, mask);
    outcome
}

/// Waits for the end of a period of the RTC, and returns its time.
pub fn edge<M: Machine>(t: &mut Test<'_, M>) -> Option<u32> {
    let mut deadline = Deadline::after(t.m, 100);
    while read(t, REGISTER_C) & PERIODIC == 0 {
        if deadline.passed(t.m) {
            return None;
        }
    }
    Some(t.now())
}

/// Whether a register's value is a BCD or binary number from `least` to `most`.
pub fn in_range(value: u8, binary: bool, least: u8, most: u8) -> bool {
    if !binary && (value & 15 > 9 || value >> 4 > 9) {
        return false;
    }
    let number = if binary { value } else { (value >> 4) * 10 + (value & 15) };
    (least..=most).contains(&number)
}

/// The RTC has a valid date, agrees with INT 1Ah, and raises IRQ 8.
pub fn rtc<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let control = read(t, REGISTER_B);
    check!(t, control & SET == 0, "the clock is stopped")?;
    check_equal!(t, "register A is", u32::from(read(t, REGISTER_A) & 0x7f), RATE_1024.into())?;
    check!(t, read(t, REGISTER_D) & VALID != 0, "the clock has lost power")?;
    let binary = control & 4 != 0;
    let fields = [(0, 0, 59), (2, 0, 59), (4, 0, 23), (6, 1, 7), (7, 1, 31), (8, 1, 12), (9, 0, 99), (0x32, 19, 99)];
    for (register, least, most) in fields {
        // An update may be in progress.
        let ok = (0..200).any(|_| in_range(read(t, register), binary, least, most));
        check!(t, ok, "the clock shows no date")?;
    }
    let hours = read(t, 4);
    let mut regs = regs! { eax: 0x0200 };
    t.bios(0x1a, &mut regs);
    check!(t, !regs.cf() && (regs.ch() == hours || regs.ch() == read(t, 4)), "INT 1Ah 02h shows another hour")?;

    // Periodic interrupts at 1024 Hz.
    let old = t.m.count_irq(IRQ);
    let before = t.m.irqs(IRQ);
    let mask = t.m.inb(PIC_2_MASK);
    t.m.outb(PIC_2_MASK, mask & !1);
    read(t, REGISTER_C);
    write(t, REGISTER_B, control | PERIODIC);
    let mut deadline = Deadline::after(t.m, 500);
    let mut seen = before;
    while t.m.irqs(IRQ).wrapping_sub(before) < 8 && !deadline.passed(t.m) {
        if t.m.irqs(IRQ) != seen {
            seen = t.m.irqs(IRQ);
            read(t, REGISTER_C);
        }
    }
    write(t, REGISTER_B, control);
    read(t, REGISTER_C);
    t.m.outb(PIC_2_MASK, mask);
    let came = t.m.irqs(IRQ).wrapping_sub(before);
    t.m.write32(FarPtr::vector(irq_vector(IRQ)), old);
    check!(t, came >= 8, "its periodic interrupt does not come")?;
    let mut part = |register: u8| read(t, register);
    let (century, year, month, day) = (part(0x32), part(9), part(8), part(7));
    let (hour, minute) = (part(4), part(2));
    t.note.hex(century.into(), 2).hex(year.into(), 2).byte(b'-').hex(month.into(), 2).byte(b'-').hex(day.into(), 2);
    t.note.byte(b' ').hex(hour.into(), 2).byte(b':').hex(minute.into(), 2).put(", IRQ 8 at 1024 Hz");
    Ok(())
}

/// A CMOS byte holds what is written, and the memory sizes are right.
pub fn cmos<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    // No known BIOS uses this byte.
    const FREE: u8 = 0x6e;
    let was = read(t, FREE);
    for value in [0x55, 0xaa, 0x00, 0xff] {
        write(t, FREE, value);
        let held = read(t, FREE);
        if held != value {
            write(t, FREE, was);
            return check_equal!(t, "CMOS 6Eh holds", held.into(), value.into());
        }
    }
    write(t, FREE, was);
    check_equal!(t, "CMOS 0Fh (shutdown) is", read(t, 0x0f).into(), 0)?;
    let base = u32::from(u16::from_le_bytes([read(t, 0x15), read(t, 0x16)]));
    check_equal!(t, "base memory:", base, 640)?;
    let above_16 = u32::from(u16::from_le_bytes([read(t, 0x34), read(t, 0x35)]));
    if t.expect.memory > 16 && t.expect.memory < 3072 {
        check_equal!(t, "64 KiB units above 16 MiB:", above_16, (t.expect.memory - 16) * 16)?;
    }
    t.note.put("640 KiB base, ").decimal(above_16 / 16).put(" MiB above 16 MiB");
    Ok(())
}
