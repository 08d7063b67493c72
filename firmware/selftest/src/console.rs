//! Output of results: VGA text memory, COM1, and the debug port (402h) for the host.

use crate::{NotPassed, Outcome};
use pcvm_firmware_rt::{FarPtr, bda};
use pcvm_guest::{Machine, Text, regs};

const TEXT_MEMORY: u16 = 0xb800;
const ROWS: u16 = 25;
const COLUMNS: u16 = 80;
const GREY: u8 = 0x07;
const WHITE: u8 = 0x0f;
const GREEN: u8 = 0x0a;
const RED: u8 = 0x0c;
/// Debug port, which the host logs.
const DEBUG: u16 = 0x402;
/// Columns of result, time and note.
const RESULT: usize = 17;
const TIME: usize = 24;
const NOTE: usize = 32;

/// LSR of a 16550: transmitter holding register empty (THRE).
const LSR_READY: u8 = 0x20;

/// Output to screen and COM1.
pub struct Console {
    row: u16,
    port: u16,
}

impl Console {
    /// Clears the screen, and sets COM1 to 115200 baud, 8 data bits, no parity.
    pub fn new<M: Machine>(m: &mut M) -> Self {
        let mut regs = regs! { eax: 3, flags: 0x202 };
        m.call_interrupt(0x10, &mut regs);
        let port = m.get(bda::COM1);
        if port != 0 {
            m.outb(port + 3, 0x83);
            m.outb(port, 1);
            m.outb(port + 1, 0);
            m.outb(port + 3, 0x03);
            m.outb(port + 4, 0x03);
        }
        Self { row: 0, port }
    }

    /// Prints a line. With an outcome, the word for it is coloured.
    pub fn line<M: Machine>(&mut self, m: &mut M, text: &[u8], outcome: Option<Outcome>) {
        if self.row == ROWS {
            m.copy(FarPtr::new(TEXT_MEMORY, COLUMNS * 2), FarPtr::new(TEXT_MEMORY, 0), (ROWS - 1) * COLUMNS * 2);
            self.row -= 1;
        }
        let colour = match outcome {
            Some(Ok(())) => GREEN,
            Some(Err(NotPassed::Fail)) => RED,
            _ => GREY,
        };
        for column in 0..COLUMNS {
            let byte = text.get(usize::from(column)).copied().unwrap_or(b' ');
            let attribute = match usize::from(column) {
                RESULT..TIME => colour,
                _ if outcome.is_none() && self.row == 0 => WHITE,
                _ => GREY,
            };
            let at = FarPtr::new(TEXT_MEMORY, (self.row * COLUMNS + column) * 2);
            m.write16(at, u16::from_le_bytes([byte, attribute]));
        }
        self.row += 1;
        let mut regs = regs! { eax: 0x0200, edx: u32::from(self.row.min(ROWS - 1)) << 8, flags: 0x202 };
        m.call_interrupt(0x10, &mut regs);
        for byte in text.iter().chain(b"\r\n") {
            self.serial(m, *byte);
        }
    }

    fn serial<M: Machine>(&self, m: &mut M, byte: u8) {
        if self.port == 0 {
            return;
        }
        for _ in 0..10_000 {
            if m.inb(self.port + 5) & LSR_READY != 0 {
                break;
            }
        }
        m.outb(self.port, byte);
    }

    /// Prints the result of a test. `took` is in tenths of a millisecond.
    pub fn result<M: Machine>(&mut self, m: &mut M, name: &str, outcome: Outcome, took: u32, note: &[u8]) {
        let word = match outcome {
            Ok(()) => "PASS",
            Err(NotPassed::Fail) => "FAIL",
            Err(NotPassed::Absent) => "absent",
        };
        let mut text = Text::<80>::new();
        text.put(name).pad(RESULT).put(word).pad(TIME);
        text.decimal_wide(took / 10, 4).byte(b'.').decimal(took % 10).pad(NOTE).put_bytes(note);
        self.line(m, text.bytes(), Some(outcome));
        let mut text = Text::<96>::new();
        text.put("selftest: ").put(word).byte(b' ').put(name).put(": ").put_bytes(note).byte(b'\n');
        debug(m, text.bytes());
    }

    /// Prints the summary. `took` is in tenths of a millisecond.
    pub fn summary<M: Machine>(&mut self, m: &mut M, passed: u32, failed: u32, took: u32) {
        let mut text = Text::<80>::new();
        text.decimal(passed).put(" PASS, ").decimal(failed).put(" FAIL in ");
        text.decimal(took / 10_000).byte(b'.').decimal(took / 1000 % 10).decimal(took / 100 % 10).put(" s");
        self.line(m, text.bytes(), None);
        let mut text = Text::<80>::new();
        text.put("selftest: end ").decimal(passed).byte(b' ').decimal(failed).byte(b'\n');
        debug(m, text.bytes());
    }
}

fn debug<M: Machine>(m: &mut M, bytes: &[u8]) {
    for byte in bytes {
        m.outb(DEBUG, *byte);
    }
}
