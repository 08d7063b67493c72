//! Test of the 16550 serial ports (National Semiconductor PC16550D datasheet): scratch registers, loopback.

use crate::clock::Deadline;
use crate::{Outcome, Test};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::Machine;

const LOOPBACK: u8 = 0x10;
const DIVISOR_ACCESS: u8 = 0x80;
const DATA_READY: u8 = 0x01;

/// Each port in the BIOS data area has a scratch register; all but COM1, the console, receive what they send in
/// loopback.
pub fn ports<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let mut found = 0_u8;
    for n in 0..4_u16 {
        let port = t.m.read16(FarPtr::new(0x40, n * 2));
        if port == 0 {
            continue;
        }
        found |= 1 << n;
        for value in [0x5a, 0xa5] {
            t.m.outb(port + 7, value);
            let held = t.m.inb(port + 7);
            check_equal!(t, "a scratch register holds", held.into(), value.into())?;
        }
        if n > 0 {
            loopback(t, port)?;
        }
        if !t.note.is_empty() {
            t.note.byte(b' ');
        }
        t.note.put("COM").decimal(u32::from(n) + 1).put(if n == 0 { " (console)" } else { "" });
    }
    if let Some(expected) = t.expect.serial {
        check_equal!(t, "ports found:", found.into(), expected.into())?;
    }
    if found == 0 {
        return Err(crate::NotPassed::Absent);
    }
    t.note.put(if found & !1 != 0 { " looped back" } else { "" });
    Ok(())
}

fn loopback<M: Machine>(t: &mut Test<'_, M>, port: u16) -> Outcome {
    let (lines, modem) = (t.m.inb(port + 3), t.m.inb(port + 4));
    // The divisor latch holds 16 bits.
    t.m.outb(port + 3, DIVISOR_ACCESS | 3);
    t.m.outb(port, 0x0c);
    t.m.outb(port + 1, 0x01);
    let divisor = u16::from_le_bytes([t.m.inb(port), t.m.inb(port + 1)]);
    t.m.outb(port, 0x01);
    t.m.outb(port + 1, 0x00);
    t.m.outb(port + 3, 3);
    check_equal!(t, "a divisor reads", divisor.into(), 0x010c)?;
    // Enable and clear the FIFOs: IIR bits 6 and 7 report them as enabled.
    t.m.outb(port + 2, 0x07);
    let fifo = t.m.inb(port + 2) & 0xc0;
    check_equal!(t, "FIFO bits:", fifo.into(), 0xc0)?;
    t.m.outb(port + 4, LOOPBACK);
    for value in [0x00_u8, 0xff, 0x55, b'p'] {
        t.m.outb(port, value);
        let mut deadline = Deadline::after(t.m, 100);
        while t.m.inb(port + 5) & DATA_READY == 0 {
            if deadline.passed(t.m) {
                return t.fail("what is sent does not come back");
            }
        }
        let got = t.m.inb(port);
        check_equal!(t, "what comes back is", got.into(), value.into())?;
    }
    // In loopback, MCR bits DTR, RTS, OUT1, OUT2 appear in MSR as DSR, CTS, RI, DCD.
    for (out, back) in [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80), (0x00, 0x00)] {
        t.m.outb(port + 4, LOOPBACK | out);
        let status = t.m.inb(port + 6) & 0xf0;
        check_equal!(t, "modem status:", status.into(), back)?;
    }
    t.m.outb(port + 2, 0x00);
    t.m.outb(port + 4, modem);
    t.m.outb(port + 3, lines);
    Ok(())
}
