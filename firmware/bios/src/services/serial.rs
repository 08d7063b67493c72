//! Serial ports INT 14h (IBM PS/2 and PC BIOS Interface Technical Reference, INT 14h; National Semiconductor PC16550D
//! datasheet).

use super::clock::Stopwatch;
use crate::Bios;
use pcvm_firmware_rt::{Hw, Regs, bda};

const INTERRUPT_ENABLE: u16 = 1;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const MODEM_STATUS: u16 = 6;

const DIVISOR_ACCESS: u8 = 0x80;
/// Line control: break.
const SEND_BREAK: u8 = 0x40;
const DTR: u8 = 0x01;
const RTS: u8 = 0x02;
const DATA_READY: u8 = 0x01;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// Bit of the result in AH.
const TIMED_OUT: u8 = 0x80;
/// Line status bits that belong to a received byte: errors and break.
const RECEIVE_ERRORS: u8 = 0x1e;
/// Unit of 40:7C in microseconds.
const TIMEOUT_UNIT: u32 = 500_000;

/// Divisors for 110, 150, 300, 600, 1200, 2400, 4800, 9600 and 19200 baud.
const DIVISORS: [u16; 9] = [1047, 768, 384, 192, 96, 48, 24, 12, 6];

/// INT 14h.
pub fn int14<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let port = regs.dx();
    if port > 3 {
        return;
    }
    let hw = &mut *bios.hw;
    let base = hw.read16(bda::COM1.at.add(2 * port));
    if base == 0 {
        return;
    }
    let limit = u32::from(hw.read8(bda::COM_TIMEOUT.at.add(port)).max(1)) * TIMEOUT_UNIT;
    match regs.ah() {
        0x00 => {
            let al = regs.al();
            // Bits 5-7: baud rate; bits 0-4: parity, stop bits and word length as in the line control register.
            configure(hw, base, usize::from(al >> 5), al & 0x1f);
            status(hw, base, regs);
        }
        0x01 => {
            hw.outb(base + MODEM_CONTROL, DTR | RTS);
            let sent = wait_for(hw, base, TRANSMITTER_EMPTY, limit);
            match sent {
                Ok(line) => {
                    hw.outb(base, regs.al());
                    regs.set_ah(line);
                }
                Err(line) => regs.set_ah(line | TIMED_OUT),
            }
        }
        0x02 => {
            hw.outb(base + MODEM_CONTROL, DTR);
            match wait_for(hw, base, DATA_READY, limit) {
                Ok(line) => {
                    regs.set_al(hw.inb(base));
                    regs.set_ah(line & RECEIVE_ERRORS);
                }
                Err(line) => regs.set_ah(line | TIMED_OUT),
            }
        }
        0x03 => status(hw, base, regs),
        0x04 => {
            let (parity, stop, length) = (regs.bh(), regs.bl(), regs.ch());
            // None, odd, even, stick odd, stick even.
            let Some(&parity) = [0x00, 0x08, 0x18, 0x28, 0x38].get(usize::from(parity)) else { return };
            if stop > 1 || length > 3 || usize::from(regs.cl()) >= DIVISORS.len() || regs.al() > 1 {
                return;
            }
            let send_break = if regs.al() == 1 { SEND_BREAK } else { 0 };
            configure(hw, base, regs.cl().into(), parity | stop << 2 | length | send_break);
            status(hw, base, regs);
        }
        0x05 => match regs.al() {
            0 => {
                let control = hw.inb(base + MODEM_CONTROL);
                regs.set_bl(control);
                status(hw, base, regs);
            }
            1 => {
                hw.outb(base + MODEM_CONTROL, regs.bl() & 0x1f);
                status(hw, base, regs);
            }
            _ => {}
        },
        _ => {}
    }
}

fn configure<H: Hw>(hw: &mut H, base: u16, rate: usize, line: u8) {
    let [low, high] = DIVISORS.get(rate).copied().unwrap_or(12).to_le_bytes();
    hw.outb(base + LINE_CONTROL, line | DIVISOR_ACCESS);
    hw.outb(base, low);
    hw.outb(base + INTERRUPT_ENABLE, high);
    hw.outb(base + LINE_CONTROL, line);
    hw.outb(base + INTERRUPT_ENABLE, 0);
}

/// Returns the line status in AH and the modem status in AL.
fn status<H: Hw>(hw: &mut H, base: u16, regs: &mut Regs) {
    regs.set_ah(hw.inb(base + LINE_STATUS));
    regs.set_al(hw.inb(base + MODEM_STATUS));
}

/// Waits for a bit of the line status. Returns the line status on success and on time-out.
fn wait_for<H: Hw>(hw: &mut H, base: u16, bit: u8, micros: u32) -> Result<u8, u8> {
    let mut watch = Stopwatch::start();
    loop {
        let line = hw.inb(base + LINE_STATUS);
        if line & bit != 0 {
            return Ok(line);
        }
        if watch.passed(hw, micros) {
            return Err(line & !TIMED_OUT);
        }
        hw.poll_interrupts();
    }
}
