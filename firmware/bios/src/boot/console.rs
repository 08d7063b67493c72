//! Boot console: output to the screen (INT 10h), to the first serial port (its registers: National PC16550D, section 8)
//! and to the debug console; input from the keyboard (INT 16h) and the serial port.
//!
//! The serial port carries only this module's output, not what the booted system writes to the screen.

use crate::Bios;
use core::cell::Cell;
use pcvm_firmware_rt::{FarPtr, Flags, Hw, Regs, bda};

/// The debug console's port 402h; it reads as E9h if it exists.
const DEBUG: u16 = 0x402;
/// The BIOS's code segment: an INT 10h vector into it is not a video BIOS.
const BIOS_SEGMENT: u16 = 0xf000;

/// UART register offsets.
const DATA: u16 = 0;
const DIVISOR_HIGH: u16 = 1;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const DIVISOR_ACCESS: u8 = 0x80;
const EIGHT_BITS: u8 = 0x03;
/// Modem control: DTR and RTS.
const READY: u8 = 0x03;
/// 115200 baud: 1.8432 MHz / 16 / 115200.
const DIVISOR: u8 = 1;
const DATA_READY: u8 = 0x01;
const HOLDING_EMPTY: u8 = 0x20;
/// Polls of the line status register until the port is given up. A character at 115200 baud takes 87 us, a poll 1 us on
/// a real bus.
const MAX_POLLS: u32 = 5000;

/// State of the boot console.
#[derive(Debug)]
pub struct State {
    /// Base port of the serial port; 0 if there is none.
    serial: Cell<u16>,
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self { serial: Cell::new(0) }
    }
}

/// A key from the keyboard or the serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Esc.
    Escape,
    /// F12.
    F12,
    /// A character.
    Character(u8),
    /// Any other key.
    Other,
}

/// Programs the first serial port, if it exists, to 115200 baud, 8 data bits, no parity.
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

/// Sets mode 3 (80x25 text) if the video BIOS has not set a mode: SeaVGABIOS leaves that to the system BIOS.
pub fn init_screen<H: Hw>(bios: &mut Bios<H>) {
    const TEXT_80X25: u32 = 0x0003;
    if has_screen(bios) && bios.hw.get(bda::VIDEO_COLUMNS) == 0 {
        bios.hw.call_interrupt(0x10, &mut Regs { eax: TEXT_80X25, ..Regs::default() });
    }
}

/// Whether a video BIOS serves INT 10h.
fn has_screen<H: Hw>(bios: &mut Bios<H>) -> bool {
    let handler = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x10)));
    handler.segment != BIOS_SEGMENT && handler.segment != 0
}

fn serial_ready<H: Hw>(bios: &mut Bios<H>, port: u16, bit: u8) -> bool {
    let status = bios.hw.inb(port + LINE_STATUS);
    // All ones: no UART.
    status != 0xff && status & bit != 0
}

fn put_serial<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    let port = bios.state.boot.console.serial.get();
    if port == 0 {
        return;
    }
    for _ in 0..MAX_POLLS {
        if serial_ready(bios, port, HOLDING_EMPTY) {
            bios.hw.outb(port + DATA, byte);
            return;
        }
    }
    // The port does not send, for example because of its handshake lines: disable it instead of waiting again.
    bios.state.boot.console.serial.set(0);
}

fn put_screen<H: Hw>(bios: &mut Bios<H>, byte: u8) {
    const TELETYPE: u16 = 0x0e00;
    const LIGHT_GREY: u32 = 7;
    if has_screen(bios) {
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

/// Writes a name that a device or an option ROM reports, up to the first zero byte: unprintable characters become `?`,
/// trailing spaces are dropped.
pub fn device_text<H: Hw>(bios: &mut Bios<H>, bytes: &[u8]) {
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

/// Writes a decimal number.
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

/// Returns the next key without waiting.
pub fn key<H: Hw>(bios: &mut Bios<H>) -> Option<Key> {
    const CHECK: u8 = 0x11;
    const READ: u8 = 0x10;
    let mut regs = Regs::default();
    regs.set_ah(CHECK);
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

/// Reads the rest of an escape sequence. A terminal sends one for each key without a character: `ESC [ 24 ~` is F12
/// (ECMA-48, 5.4; DEC's key numbers). The Esc key sends a lone ESC.
fn escape_sequence<H: Hw>(bios: &mut Bios<H>, port: u16) -> Key {
    let mut seen = [0u8; 8];
    let mut length = 0;
    for slot in &mut seen {
        if !(0..MAX_POLLS).any(|_| serial_ready(bios, port, DATA_READY)) {
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

/// Whether Esc or F12 was pressed on the keyboard or the serial port. Other keys stay in the keyboard buffer for the
/// booted system.
pub fn menu_key<H: Hw>(bios: &mut Bios<H>) -> bool {
    bios.hw.poll_interrupts();
    let (start, end) = (bios.hw.get(bda::KEYBOARD_START), bios.hw.get(bda::KEYBOARD_END));
    let (mut head, tail) = (bios.hw.get(bda::KEYBOARD_HEAD), bios.hw.get(bda::KEYBOARD_TAIL));
    // The most keys that a buffer in segment 40h can hold.
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

/// Waits up to `milliseconds` (`u32::MAX`: without limit) for a key, with the CPU halted.
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
