//! Calls of INT 16h. Keys are injected as scan codes of set 1 by the 8042's command D2h (write keyboard output buffer).

use crate::call::{Calls, Capture, REGISTERS_ONLY};
use pcvm_firmware_rt::bda;
use pcvm_guest::{Machine, Text, regs};

const DATA: u16 = 0x60;
const STATUS: u16 = 0x64;
const INPUT_FULL: u8 = 2;
const OUTPUT_FULL: u8 = 1;
/// Command "write keyboard output buffer": the 8042 returns the next byte as one from the keyboard.
const WRITE_OUTPUT_BUFFER: u8 = 0xd2;
const KEYS: Capture = Capture { keys: true, ..REGISTERS_ONLY };

/// Sends scan codes and waits until INT 09h has read each.
fn send<M: Machine>(c: &mut Calls<'_, M>, codes: &[u8]) {
    for code in codes {
        ready(c);
        c.m.outb(STATUS, WRITE_OUTPUT_BUFFER);
        ready(c);
        c.m.outb(DATA, *code);
        for _ in 0..2000 {
            c.m.poll_interrupts();
            c.m.set_interrupts(true);
            if c.m.inb(STATUS) & (OUTPUT_FULL | INPUT_FULL) == 0 {
                break;
            }
        }
        // A lock key changes the LEDs: the BIOS may still send commands to the keyboard after INT 09h has returned.
        if [0x3a, 0x45, 0x46].contains(code) {
            for _ in 0..500 {
                c.m.poll_interrupts();
                c.m.set_interrupts(true);
                c.m.inb(STATUS);
            }
        }
    }
}

fn ready<M: Machine>(c: &mut Calls<'_, M>) {
    for _ in 0..2000 {
        if c.m.inb(STATUS) & INPUT_FULL == 0 {
            break;
        }
    }
}

fn empty<M: Machine>(c: &mut Calls<'_, M>) {
    let head = c.m.get(bda::KEYBOARD_HEAD);
    c.m.set(bda::KEYBOARD_TAIL, head);
}

/// Number of keys in the buffer.
fn waiting<M: Machine>(c: &mut Calls<'_, M>) -> u16 {
    let (head, tail) = (c.m.get(bda::KEYBOARD_HEAD), c.m.get(bda::KEYBOARD_TAIL));
    (tail.wrapping_sub(head) & 0x1f) / 2
}

/// Sends a key, and calls both peek functions and the extended read function, with the keyboard flags.
fn key<M: Machine>(c: &mut Calls<'_, M>, name: &str, codes: &[u8], release: &[u8]) {
    empty(c);
    send(c, codes);
    c.call(
        name,
        0x16,
        &const {
            regs! {eax: 0x1100}
        },
        &KEYS,
    );
    c.call(
        name,
        0x16,
        &const {
            regs! {eax: 0x0100}
        },
        &REGISTERS_ONLY,
    );
    // Function 01h removes extended keys from the buffer.
    if waiting(c) > 0 {
        c.call(
            name,
            0x16,
            &const {
                regs! {eax: 0x1000}
            },
            &REGISTERS_ONLY,
        );
    }
    send(c, release);
}

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    empty(c);
    for &(name, ax) in &[
        ("peek-nothing", 0x0100),
        ("peek-nothing", 0x1100),
        ("shift", 0x0200),
        ("shift-extended", 0x1200),
        ("functions", 0x0900),
        ("id", 0x0a00),
        ("rate-get", 0x0306),
        ("rate-default", 0x0300),
        ("rate-wrong", 0x0307),
        ("click", 0x0400),
        ("capabilities", 0x9200),
        ("capabilities", 0xa200),
        ("no-function", 0x0600),
        ("no-function", 0x0b00),
        ("no-function", 0x1300),
        ("no-function", 0x6f08),
        ("no-function", 0xff00),
    ] {
        c.call(name, 0x16, &regs! {eax: ax}, &REGISTERS_ONLY);
    }
    c.call(
        "rate-set",
        0x16,
        &const {
            regs! {eax: 0x0305, ebx: 0x000b}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "rate-set-wrong",
        0x16,
        &const {
            regs! {eax: 0x0305, ebx: 0xffff}
        },
        &REGISTERS_ONLY,
    );

    // The buffer holds 15 keys.
    empty(c);
    for n in 0..17 {
        c.call("stuff", 0x16, &regs! {eax: 0x0500, ecx: 0x1e61 + n}, &REGISTERS_ONLY);
    }
    for _ in 0..3 {
        c.call(
            "read-stuffed",
            0x16,
            &const {
                regs! {eax: 0x0000}
            },
            &REGISTERS_ONLY,
        );
        c.call(
            "read-stuffed",
            0x16,
            &const {
                regs! {eax: 0x1000}
            },
            &REGISTERS_ONLY,
        );
    }
    empty(c);
    // Keys that only the extended functions return.
    for &(name, key) in
        &[("extended-f11", 0x8500), ("extended-arrow", 0x48e0), ("extended-enter", 0xe00d), ("f0", 0x00f0)]
    {
        for ax in [0x0100, 0x1100] {
            c.call("stuff", 0x16, &regs! {eax: 0x0500, ecx: key}, &REGISTERS_ONLY);
            c.call(name, 0x16, &regs! {eax: ax}, &REGISTERS_ONLY);
            if waiting(c) > 0 {
                c.call(name, 0x16, &regs! {eax: ax & 0x1000}, &REGISTERS_ONLY);
            }
            empty(c);
        }
    }

    every_key(c);
    special(c);
    empty(c);
}

/// Each key without a prefix, alone and with each shift key.
fn every_key<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, down, up) in &[("plain", 0, 0), ("shift", 0x2a, 0xaa), ("ctrl", 0x1d, 0x9d), ("alt", 0x38, 0xb8)] {
        if down != 0 {
            send(c, &[down]);
        }
        for code in 0x01..=0x58_u8 {
            // Shift and lock keys, and keys with interrupts of their own: Print Screen, Ctrl-Break, Ctrl-Alt-Del,
            // SysRq.
            if [0x1d, 0x2a, 0x36, 0x37, 0x38, 0x3a, 0x45, 0x46, 0x53, 0x54].contains(&code) {
                continue;
            }
            // Alt with the keypad enters a character code: tested in `special`.
            if down == 0x38 && (0x47..=0x53).contains(&code) {
                continue;
            }
            empty(c);
            send(c, &[code, code | 0x80]);
            let mut text = Text::<16>::new();
            text.put(name).byte(b'-').hex(code.into(), 2);
            let name = core::str::from_utf8(text.bytes()).unwrap_or("key");
            c.call(
                name,
                0x16,
                &const {
                    regs! {eax: 0x1100}
                },
                &REGISTERS_ONLY,
            );
        }
        if up != 0 {
            send(c, &[up]);
        }
    }
}

/// Lock keys, prefixes, Alt with the keypad, codes that give no key.
fn special<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, codes, release) in &[
        ("e0-home", &[0xe0, 0x47][..], &[0xe0, 0xc7][..]),
        ("e0-up", &[0xe0, 0x48], &[0xe0, 0xc8]),
        ("e0-delete", &[0xe0, 0x53], &[0xe0, 0xd3]),
        ("e0-insert", &[0xe0, 0x52], &[0xe0, 0xd2]),
        ("e0-enter", &[0xe0, 0x1c], &[0xe0, 0x9c]),
        ("e0-slash", &[0xe0, 0x35], &[0xe0, 0xb5]),
        ("e0-shift-fake", &[0xe0, 0x2a, 0xe0, 0x4b], &[0xe0, 0xcb, 0xe0, 0xaa]),
        ("e0-windows", &[0xe0, 0x5b], &[0xe0, 0xdb]),
        ("right-ctrl", &[0xe0, 0x1d], &[0xe0, 0x9d]),
        ("right-alt", &[0xe0, 0x38], &[0xe0, 0xb8]),
        ("right-ctrl-c", &[0xe0, 0x1d, 0x2e], &[0xae, 0xe0, 0x9d]),
        ("right-alt-x", &[0xe0, 0x38, 0x2d], &[0xad, 0xe0, 0xb8]),
        ("ctrl-e0-left", &[0x1d, 0xe0, 0x4b], &[0xe0, 0xcb, 0x9d]),
        ("alt-e0-up", &[0x38, 0xe0, 0x48], &[0xe0, 0xc8, 0xb8]),
        ("shift-e0-end", &[0x2a, 0xe0, 0x4f], &[0xe0, 0xcf, 0xaa]),
        ("left-shift", &[0x2a], &[0xaa]),
        ("right-shift", &[0x36], &[0xb6]),
        ("both-shifts-a", &[0x2a, 0x36, 0x1e], &[0x9e, 0xaa, 0xb6]),
        ("caps-on", &[0x3a, 0xba], &[]),
        ("caps-a", &[0x1e], &[0x9e]),
        ("caps-shift-a", &[0x2a, 0x1e], &[0x9e, 0xaa]),
        ("caps-1", &[0x02], &[0x82]),
        ("caps-off", &[0x3a, 0xba], &[]),
        ("num-on", &[0x45, 0xc5], &[]),
        ("num-keypad-5", &[0x4c], &[0xcc]),
        ("num-keypad-7", &[0x47], &[0xc7]),
        ("num-keypad-dot", &[0x53], &[0xd3]),
        ("num-shift-keypad-7", &[0x2a, 0x47], &[0xc7, 0xaa]),
        ("num-e0-home", &[0xe0, 0x47], &[0xe0, 0xc7]),
        ("num-off", &[0x45, 0xc5], &[]),
        ("keypad-5", &[0x4c], &[0xcc]),
        ("keypad-dot", &[0x53], &[0xd3]),
        ("scroll-on", &[0x46, 0xc6], &[]),
        ("scroll-off", &[0x46, 0xc6], &[]),
        ("alt-065", &[0x38, 0x52, 0xd2, 0x4d, 0xcd, 0x4c, 0xcc, 0xb8], &[]),
        ("alt-255", &[0x38, 0x50, 0xd0, 0x4c, 0xcc, 0x4c, 0xcc, 0xb8], &[]),
        ("alt-300", &[0x38, 0x51, 0xd1, 0x52, 0xd2, 0x52, 0xd2, 0xb8], &[]),
        ("alt-nothing", &[0x38, 0xb8], &[]),
        ("insert-toggles", &[0x52, 0xd2], &[]),
        ("insert-toggles", &[0x52, 0xd2], &[]),
        ("ctrl-alt-a", &[0x1d, 0x38, 0x1e], &[0x9e, 0xb8, 0x9d]),
        ("f11-shift", &[0x2a, 0x57], &[0xd7, 0xaa]),
        ("f12-alt", &[0x38, 0x58], &[0xd8, 0xb8]),
        ("key-102", &[0x56], &[0xd6]),
        ("unknown-59", &[0x59], &[0xd9]),
        ("unknown-7f", &[0x7f], &[0xff]),
        ("acknowledge", &[0xfa], &[]),
        ("resend", &[0xfe], &[]),
        ("overrun", &[0x00], &[]),
        ("release-only", &[0x9e], &[]),
    ] {
        key(c, name, codes, release);
    }
    // More keys than the buffer holds: the BIOS beeps and keeps the first 15.
    empty(c);
    for n in 0..18_u8 {
        send(c, &[0x02 + n % 9, 0x82 + n % 9]);
    }
    for _ in 0..16 {
        if waiting(c) == 0 {
            break;
        }
        c.call(
            "full-buffer",
            0x16,
            &const {
                regs! {eax: 0x1000}
            },
            &REGISTERS_ONLY,
        );
    }
}
