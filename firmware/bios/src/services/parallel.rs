//! Parallel printer INT 17h and print screen INT 05h (IBM PS/2 and PC BIOS Interface Technical Reference, the same
//! interrupts).

use super::clock::Stopwatch;
use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs, bda};

const STATUS: u16 = 1;
const CONTROL: u16 = 2;

/// Status register: the printer is not busy.
const READY: u8 = 0x80;
/// Status bits that INT 17h returns inverted: acknowledge and error.
const INVERTED: u8 = 0x48;
/// Status bits that INT 17h returns.
const MEANINGFUL: u8 = 0xf8;
/// Control register: selected, not in reset.
const IDLE: u8 = 0x0c;
const STROBE: u8 = 0x01;
const SELECTED: u8 = 0x08;
/// Bit of the result in AH.
const TIMED_OUT: u8 = 0x01;
/// Unit of 40:78 in microseconds.
const TIMEOUT_UNIT: u32 = 250_000;

/// INT 17h.
pub fn int17<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let port = regs.dx();
    if port > 2 {
        return;
    }
    let hw = &mut *bios.hw;
    let base = hw.read16(bda::LPT1.at.add(2 * port));
    if base == 0 {
        return;
    }
    let mut timed_out = 0;
    match regs.ah() {
        0x00 => {
            let units = hw.read8(bda::LPT_TIMEOUT.at.add(port)).max(1);
            let limit = u32::from(units) * TIMEOUT_UNIT;
            hw.outb(base, regs.al());
            let mut watch = Stopwatch::start();
            loop {
                if hw.inb(base + STATUS) & READY != 0 {
                    hw.outb(base + CONTROL, IDLE | STROBE);
                    hw.outb(base + CONTROL, IDLE);
                    break;
                }
                if watch.passed(hw, limit) {
                    timed_out = TIMED_OUT;
                    break;
                }
                hw.poll_interrupts();
            }
        }
        0x01 => {
            hw.outb(base + CONTROL, SELECTED);
            // INIT must be active for at least 50 us.
            let mut watch = Stopwatch::start();
            while !watch.passed(hw, 100) {}
            hw.outb(base + CONTROL, IDLE);
        }
        0x02 => {}
        _ => return,
    }
    let status = hw.inb(base + STATUS);
    regs.set_ah((status ^ INVERTED) & MEANINGFUL | timed_out);
}

/// INT 05h: prints the text screen on the first printer.
pub fn print_screen<H: Hw>(bios: &mut Bios<H>) {
    const BUSY: u8 = 1;
    const DONE: u8 = 0;
    const FAILED: u8 = 0xff;
    let hw = &mut *bios.hw;
    if hw.get(bda::PRINT_SCREEN) == BUSY {
        return;
    }
    hw.set(bda::PRINT_SCREEN, BUSY);
    let printed = print(hw).is_some();
    hw.set(bda::PRINT_SCREEN, if printed { DONE } else { FAILED });
}

fn video<H: Hw>(hw: &mut H, ax: u16, bx: u16, dx: u16) -> Regs {
    let mut regs = Regs::with_ax(ax);
    regs.set_bx(bx);
    regs.set_dx(dx);
    hw.call_interrupt(0x10, &mut regs);
    regs
}

/// Prints a character; none if the printer fails.
fn character<H: Hw>(hw: &mut H, character: u8) -> Option<()> {
    let mut regs = Regs::with_ax(character.into());
    hw.call_interrupt(0x17, &mut regs);
    // Bits 0, 3 and 5: time-out, error, out of paper. Bit 4, "selected", is clear if there is no printer.
    (regs.ah() & 0x29 == 0 && regs.ah() & 0x10 != 0).then_some(())
}

fn print<H: Hw>(hw: &mut H) -> Option<()> {
    let mode = video(hw, 0x0f00, 0, 0);
    let (columns, page) = (mode.ah(), mode.bx() & 0xff00);
    let rows = hw.get(bda::VIDEO_ROWS).min(99) + 1;
    let cursor = video(hw, 0x0300, page, 0).dx();
    let mut print_all = || {
        for row in 0..rows {
            character(hw, b'\r')?;
            character(hw, b'\n')?;
            for column in 0..columns {
                video(hw, 0x0200, page, u16::from(row) << 8 | u16::from(column));
                let shown = video(hw, 0x0800, page, 0).al();
                character(hw, if shown == 0 { b' ' } else { shown })?;
            }
        }
        character(hw, b'\r')?;
        character(hw, b'\n')
    };
    let result = print_all();
    video(hw, 0x0200, page, cursor);
    result
}
