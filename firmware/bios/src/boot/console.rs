//! What the user sees and types before anything is booted: the screen by INT 10h, the keyboard by INT 16h, the first
//! serial port by its registers (National PC16550D, section 8), and the debug console.
//!
//! The serial port only carries what is said from here: what the booted system writes to the screen does not go there.

use crate::Bios;
use core::cell::Cell;
use pcvm_firmware_rt::{FarPtr, Flags, Hw, Regs, bda};

/// The debug console: port 402h, which reads E9h where there is one.
const DEBUG: u16 = 0x402;
/// Our own segment: a vector that points there is nobody's BIOS but ours.
const BIOS_SEGMENT: u16 = 0xf000;

/// UART registers, as offsets.
const DATA: u16 = 0;
const DIVISOR_HIGH: u16 = 1;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const DIVISOR_ACCESS: u8 = 0x80;
const EIGHT_BITS: u8 = 0x03;
/// DTR and RTS.
const READY: u8 = 0x03;
/// 1.8432 MHz / 16 / 115200.
const DIVISOR: u8 = 1;
const DATA_READY: u8 = 0x01;
const HOLDING_EMPTY: u8 = 0x20;
/// Looks at the line status until a character is given up: one at 115200 baud takes 87 us, and a look 1 us on a real bus.
const PATIENCE: u32 = 5000;

/// What is remembered.
#[derive(Debug)]
pub struct State {
    /// The serial port's base, 0 when there is none.
    serial: Cell<u16>,
}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self { serial: Cell::new(0) }
    }
}

/// A key, from wherever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Esc.
    Escape,
    /// F12.
    F12,
    /// A character.
    Character(u8),
    /// Anything else.
    Other,
}

/// Programs the first serial port, if there is one, to 115200 baud, 8 bits, no parity.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    let port = bios.hw.get(bda::COM1);
    bios.state.boot.console.serial.set(port);
    if port != 0 {
        bios.hw.outb(port + LINE_CONTROL, EIGHT_BITS | DIVISOR_ACCESS);
        bios.hw.outb(port + DATA, DIVISOR);
        bios.hw.outb(port + DIVISOR_HIGH, 0);
        bios.hw.outb(port + LINE_CONTROL, EIGHT_BITS);
        bios.hw.outb(port + MODEM_CONTROL, READY);
    }
}

fn serial_ready<H: Hw>(bios: &mut Bios<H>, port: u16, bit: u8) -> bool {
    let status = bios.hw.inb(port + LINE_STATUS);
    // All ones: nobody is there.
    status != 0xff && status & bit != 0
}

fn put_serial<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    let port = bios.state.boot.console.serial.get();
    if port == 0 {
        return;
    }
    for _ in 0..PATIENCE {
        if serial_ready(bios, port, HOLDING_EMPTY) {
            bios.hw.outb(port + DATA, byte);
            return;
        }
    }
    // Handshake lines of a port that sends nothing: no further waits for it.
    bios.state.boot.console.serial.set(0);
}

fn put_screen<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    const TELETYPE: u16 = 0x0e00;
    const LIGHT_GREY: u32 = 7;
    let handler = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x10)));
    if handler.segment != BIOS_SEGMENT && handler.segment != 0 {
        let mut regs = Regs { eax: u32::from(TELETYPE) | u32::from(byte), ebx: LIGHT_GREY, ..Regs::default() };
        bios.hw.call_interrupt(0x10, &mut regs);
    }
}

/// Writes a character; a line feed starts a new line.
pub fn put<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    bios.hw.outb(DEBUG, byte);
    if byte == b'\n' {
        put_screen(bios, b'\r');
        put_serial(bios, b'\r');
    }
    put_screen(bios, byte);
    put_serial(bios, byte);
}

/// Writes text.
pub fn text<H: Hw>(bios: &mut Bios<H>, text: &str) {
    text.bytes().for_each(|byte| put(bios, byte));
}

/// Writes what a device or a ROM says of itself: printable characters only, up to a zero, no spaces at the end.
pub fn foreign<H: Hw>(bios: &mut Bios<H>, bytes: &[u8]) {
    let mut spaces = 0u8;
    for &byte in bytes.iter().take_while(|&&byte| byte != 0) {
        if byte == b' ' {
            spaces = spaces.saturating_add(1);
            continue;
        }
        for _ in 0..core::mem::take(&mut spaces) {
            put(bios, b' ');
        }
        put(bios, if byte.is_ascii_graphic() { byte } else { b'?' });
    }
}

/// Writes a number.
pub fn number<H: Hw>(bios: &mut Bios<H>, value: u32) {
    let mut digits = [0u8; 10];
    let mut rest = value;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    digits.iter().skip(10 - used).for_each(|&digit| put(bios, digit));
}

/// Takes the next key that was pressed, without waiting.
pub fn key<H: Hw>(bios: &mut Bios<H>) -> Option<Key> {
    const LOOK: u8 = 0x11;
    const READ: u8 = 0x10;
    let mut regs = Regs::default();
    regs.set_ah(LOOK);
    regs.set_flag(Flags::ZF, true);
    bios.hw.call_interrupt(0x16, &mut regs);
    if !regs.flag(Flags::ZF) {
        regs.set_ax(0);
        regs.set_ah(READ);
        bios.hw.call_interrupt(0x16, &mut regs);
        return Some(from_keyboard(regs.ax()));
    }
    let port = bios.state.boot.console.serial.get();
    if port == 0 || !serial_ready(bios, port, DATA_READY) {
        return None;
    }
    let byte = bios.hw.inb(port + DATA);
    Some(if byte == ESCAPE { escape_sequence(bios, port) } else { Key::Character(byte) })
}

const ESCAPE: u8 = 0x1b;
const F12: u16 = 0x8600;

fn from_keyboard(code: u16) -> Key {
    match (code, code as u8) {
        (F12, _) => Key::F12,
        (_, ESCAPE) => Key::Escape,
        (_, 0 | 0xe0) => Key::Other,
        (_, character) => Key::Character(character),
    }
}

/// What a terminal sends for a key without a character begins with an Esc: `ESC [ 24 ~` is F12 (ECMA-48, 5.4; DEC's
/// numbers). The Esc key sends nothing more.
fn escape_sequence<H: Hw>(bios: &mut Bios<H>, port: u16) -> Key {
    let mut seen = [0u8; 8];
    let mut length = 0;
    for slot in &mut seen {
        if !(0..PATIENCE).any(|_| serial_ready(bios, port, DATA_READY)) {
            break;
        }
        *slot = bios.hw.inb(port + DATA);
        length += 1;
        let introducer = length == 1 && matches!(*slot, b'[' | b'O');
        if !introducer && (0x40..=0x7e).contains(slot) {
            break;
        }
    }
    match seen.get(..length).unwrap_or(&[]) {
        [] => Key::Escape,
        b"[24~" => Key::F12,
        _ => Key::Other,
    }
}

/// Whether Esc or F12 was pressed, on the keyboard or the serial port. Other keys on the keyboard stay for whoever is
/// booted.
pub fn menu_key<H: Hw>(bios: &mut Bios<H>) -> bool {
    bios.hw.poll_interrupts();
    let (start, end) = (bios.hw.get(bda::KEYBOARD_START), bios.hw.get(bda::KEYBOARD_END));
    let (mut head, tail) = (bios.hw.get(bda::KEYBOARD_HEAD), bios.hw.get(bda::KEYBOARD_TAIL));
    // As many keys as a buffer in this segment can hold at most.
    for _ in 0..128 {
        if head == tail {
            break;
        }
        let code = bios.hw.read16(FarPtr::new(bda::KEYBOARD_HEAD.at.segment, head));
        if matches!(from_keyboard(code), Key::Escape | Key::F12) {
            bios.hw.set(bda::KEYBOARD_HEAD, tail);
            return true;
        }
        head = head.wrapping_add(2);
        if head >= end {
            head = start;
        }
    }
    let port = bios.state.boot.console.serial.get();
    port != 0
        && serial_ready(bios, port, DATA_READY)
        && bios.hw.inb(port + DATA) == ESCAPE
        && matches!(escape_sequence(bios, port), Key::Escape | Key::F12)
}

/// Waits for a key, `milliseconds` at most (`u32::MAX`: for ever), with the processor halted.
pub fn wait_key<H: Hw>(bios: &mut Bios<H>, milliseconds: u32) -> Option<Key> {
    let mut left = milliseconds;
    let mut before = bios.hw.get(bda::TICKS);
    loop {
        if let Some(key) = key(bios) {
            return Some(key);
        }
        if left == 0 {
            return None;
        }
        bios.hw.wait_for_interrupt();
        let now = bios.hw.get(bda::TICKS);
        if now != before && milliseconds != u32::MAX {
            left = left.saturating_sub(MILLISECONDS_PER_TICK);
        }
        before = now;
    }
}

const MILLISECONDS_PER_TICK: u32 = 55;
