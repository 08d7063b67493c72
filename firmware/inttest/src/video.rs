//! Calls of INT 10h without VBE: modes and their VGA registers, cursor, characters, palette, fonts, state.

mod settings;

use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, Text, regs};

const VIDEO: Capture = Capture { video: true, ..REGISTERS_ONLY };
/// Offset in the buffer of the VGA registers.
const REGISTERS_AT: u16 = 0xd000;

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    modes(c);
    text(c);
    graphics(c);
    settings::palette(c);
    settings::fonts(c);
    settings::switches(c);
    state(c);
    functions(c);
    set_mode(c, 3);
}

fn set_mode<M: Machine>(c: &mut Calls<'_, M>, mode: u32) {
    c.call("mode", 0x10, &regs! {eax: mode, ebx: 0x1111_2222, ecx: 0x3333_4444, edx: 0x5555_6666}, &VIDEO);
}

/// Logs the VGA registers: miscellaneous output, sequencer, CRTC, graphics controller, attribute controller, DAC.
fn registers<M: Machine>(c: &mut Calls<'_, M>, mode: u32) {
    let mut at = REGISTERS_AT;
    let mut put = |m: &mut M, value: u8| {
        m.write8(FarPtr::new(BUFFER, at), value);
        at += 1;
    };
    let crtc = if c.m.inb(0x3cc) & 1 != 0 { 0x3d4 } else { 0x3b4 };
    let misc = c.m.inb(0x3cc);
    put(c.m, misc);
    for &(port, count) in &[(0x3c4, 5), (crtc, 25), (0x3ce, 9)] {
        for n in 0..count {
            c.m.outb(port, n);
            let value = c.m.inb(port + 1);
            // Without the cursor location (CRTC 0Eh and 0Fh).
            put(c.m, if port == crtc && (0x0e..0x10).contains(&n) { 0 } else { value });
        }
    }
    for n in 0..21 {
        c.m.inb(crtc + 6);
        c.m.outb(0x3c0, n | 0x20);
        let value = c.m.inb(0x3c1);
        put(c.m, value);
    }
    c.m.inb(crtc + 6);
    c.m.outb(0x3c0, 0x20);
    let mut name = Text::<32>::new();
    name.put("mode-").hex(mode, 2);
    for &(what, offset, bytes) in
        &[("-misc", 0, 1), ("-sequencer", 1, 5), ("-crtc", 6, 25), ("-graphics", 31, 9), ("-attributes", 40, 21)]
    {
        let mut full = name;
        full.put(what);
        c.memory(
            core::str::from_utf8(full.bytes()).unwrap_or("mode"),
            FarPtr::new(BUFFER, REGISTERS_AT + offset),
            bytes,
        );
    }
    dac(c, &name);
}

fn dac<M: Machine>(c: &mut Calls<'_, M>, name: &Text<32>) {
    c.m.outb(0x3c7, 0);
    for n in 0..768 {
        let value = c.m.inb(0x3c9);
        c.m.write8(FarPtr::new(BUFFER, REGISTERS_AT + n), value);
    }
    for &(what, offset, bytes) in &[("-dac16", 0, 48), ("-dac64", 48, 144), ("-dac256", 192, 576)] {
        let mut full = *name;
        full.put(what);
        c.memory(
            core::str::from_utf8(full.bytes()).unwrap_or("dac"),
            FarPtr::new(BUFFER, REGISTERS_AT + offset),
            bytes,
        );
    }
}

fn modes<M: Machine>(c: &mut Calls<'_, M>) {
    for mode in (0..=0x13).filter(|mode| !(8..=0x0c).contains(mode)) {
        set_mode(c, mode);
        registers(c, mode);
        c.call(
            "get-mode",
            0x10,
            &const {
                regs! {eax: 0x0f00}
            },
            &REGISTERS_ONLY,
        );
    }
    for mode in [0x08, 0x0c, 0x14, 0x54, 0x6a, 0x7f] {
        set_mode(c, mode);
        c.call(
            "get-mode",
            0x10,
            &const {
                regs! {eax: 0x0f00}
            },
            &REGISTERS_ONLY,
        );
    }
    set_mode(c, 3);
    // Mode set without clearing memory.
    c.m.write16(FarPtr::new(0xb800, 0x100), 0x1f41);
    set_mode(c, 0x83);
    c.memory("kept", FarPtr::new(0xb800, 0x100), 4);
    set_mode(c, 3);
    c.memory("cleared", FarPtr::new(0xb800, 0x100), 4);
}

fn text<M: Machine>(c: &mut Calls<'_, M>) {
    set_mode(c, 3);
    for &(name, ref regs) in &[
        (
            "cursor-shape",
            const {
                regs! {eax: 0x0100, ecx: 0x0607}
            },
        ),
        (
            "cursor-shape-block",
            const {
                regs! {eax: 0x0100, ecx: 0x000f}
            },
        ),
        (
            "cursor-off",
            const {
                regs! {eax: 0x0100, ecx: 0x2000}
            },
        ),
        (
            "cursor-shape",
            const {
                regs! {eax: 0x0100, ecx: 0x0607}
            },
        ),
        (
            "cursor-set",
            const {
                regs! {eax: 0x0200, edx: 0x0510}
            },
        ),
        (
            "cursor-get",
            const {
                regs! {eax: 0x0300}
            },
        ),
        (
            "cursor-set-page-1",
            const {
                regs! {eax: 0x0200, ebx: 0x0100, edx: 0x0102}
            },
        ),
        (
            "cursor-get-page-1",
            const {
                regs! {eax: 0x0300, ebx: 0x0100}
            },
        ),
        (
            "cursor-get-page-9",
            const {
                regs! {eax: 0x0300, ebx: 0x0900}
            },
        ),
        (
            "cursor-set-page-9",
            const {
                regs! {eax: 0x0200, ebx: 0x0900, edx: 0x0102}
            },
        ),
        (
            "light-pen",
            const {
                regs! {eax: 0x0400, ebx: 0x1111, ecx: 0x2222, edx: 0x3333}
            },
        ),
        (
            "page-1",
            const {
                regs! {eax: 0x0501}
            },
        ),
        (
            "page-9",
            const {
                regs! {eax: 0x0509}
            },
        ),
        (
            "page-0",
            const {
                regs! {eax: 0x0500}
            },
        ),
        (
            "write-character",
            const {
                regs! {eax: 0x0941, ebx: 0x001e, ecx: 5}
            },
        ),
        (
            "read-character",
            const {
                regs! {eax: 0x0800}
            },
        ),
        (
            "write-character-only",
            const {
                regs! {eax: 0x0a42, ebx: 0x0070, ecx: 2}
            },
        ),
        (
            "read-character",
            const {
                regs! {eax: 0x0800}
            },
        ),
        (
            "write-none",
            const {
                regs! {eax: 0x0943, ebx: 0x0007, ecx: 0}
            },
        ),
        (
            "read-character-page-1",
            const {
                regs! {eax: 0x0800, ebx: 0x0100}
            },
        ),
        (
            "teletype",
            const {
                regs! {eax: 0x0e5a, ebx: 0x0007}
            },
        ),
        (
            "teletype-bell",
            const {
                regs! {eax: 0x0e07, ebx: 0x0007}
            },
        ),
        (
            "teletype-backspace",
            const {
                regs! {eax: 0x0e08, ebx: 0x0007}
            },
        ),
        (
            "teletype-cr",
            const {
                regs! {eax: 0x0e0d, ebx: 0x0007}
            },
        ),
        (
            "teletype-backspace-at-0",
            const {
                regs! {eax: 0x0e08, ebx: 0x0007}
            },
        ),
        (
            "teletype-lf",
            const {
                regs! {eax: 0x0e0a, ebx: 0x0007}
            },
        ),
        (
            "teletype-tab",
            const {
                regs! {eax: 0x0e09, ebx: 0x0007}
            },
        ),
        (
            "cursor-set-end",
            const {
                regs! {eax: 0x0200, edx: 0x184f}
            },
        ),
        (
            "teletype-at-end",
            const {
                regs! {eax: 0x0e45, ebx: 0x0007}
            },
        ),
        (
            "cursor-get",
            const {
                regs! {eax: 0x0300}
            },
        ),
        (
            "scroll-up",
            const {
                regs! {eax: 0x0602, ebx: 0x4f00, ecx: 0x0205, edx: 0x0a20}
            },
        ),
        (
            "scroll-down",
            const {
                regs! {eax: 0x0701, ebx: 0x2e00, ecx: 0x0205, edx: 0x0a20}
            },
        ),
        (
            "scroll-all",
            const {
                regs! {eax: 0x0600, ebx: 0x1700, ecx: 0x0b00, edx: 0x0c4f}
            },
        ),
        (
            "scroll-too-many",
            const {
                regs! {eax: 0x0632, ebx: 0x1700, ecx: 0x0d00, edx: 0x0e4f}
            },
        ),
        (
            "scroll-beyond",
            const {
                regs! {eax: 0x0601, ebx: 0x0700, ecx: 0x1000, edx: 0xffff}
            },
        ),
        (
            "scroll-inside-out",
            const {
                regs! {eax: 0x0601, ebx: 0x0700, ecx: 0x1010, edx: 0x0505}
            },
        ),
    ] {
        c.call(name, 0x10, regs, &VIDEO);
        c.memory("screen", FarPtr::new(0xb800, 0), 4000);
    }
    // Write string: with and without attributes, with and without cursor movement.
    for (n, byte) in b"P\x1fc\x2fv\x3fm\r\n\x08!".iter().enumerate() {
        c.m.write8(FarPtr::new(BUFFER, 0x100 + n as u16), *byte);
    }
    for al in 0..6 {
        let regs = &regs! {eax: 0x1300 | al, ebx: 0x001c, ecx: 5, edx: 0x0203 + al, es: BUFFER, ebp: 0x100};
        c.call("string", 0x10, regs, &VIDEO);
        c.memory("screen", FarPtr::new(0xb800, 0), 4000);
    }
    c.call(
        "string-with-newline",
        0x10,
        &const {
            regs! {eax: 0x1301, ebx: 0x001c, ecx: 11, edx: 0x0803, es: BUFFER, ebp: 0x100}
        },
        &VIDEO,
    );
    c.memory("screen", FarPtr::new(0xb800, 0), 4000);
    // Modes with 40 columns and with the monochrome address.
    set_mode(c, 1);
    c.call(
        "cursor-set",
        0x10,
        &const {
            regs! {eax: 0x0200, edx: 0x0a27}
        },
        &VIDEO,
    );
    c.call(
        "teletype-wraps",
        0x10,
        &const {
            regs! {eax: 0x0e41, ebx: 7}
        },
        &VIDEO,
    );
    c.call(
        "scroll-up",
        0x10,
        &const {
            regs! {eax: 0x0601, ebx: 0x0700, edx: 0x1827}
        },
        &VIDEO,
    );
    c.memory("screen-40", FarPtr::new(0xb800, 0), 2000);
    set_mode(c, 7);
    c.call(
        "write-character",
        0x10,
        &const {
            regs! {eax: 0x0941, ebx: 0x0001, ecx: 5}
        },
        &VIDEO,
    );
    c.memory("screen-mono", FarPtr::new(0xb000, 0), 4000);
}

fn graphics<M: Machine>(c: &mut Calls<'_, M>) {
    for &(mode, segment) in &[
        (0x04, 0xb800),
        (0x06, 0xb800),
        (0x0d, 0xa000),
        (0x0e, 0xa000),
        (0x10, 0xa000),
        (0x11, 0xa000),
        (0x12, 0xa000),
        (0x13, 0xa000),
    ] {
        set_mode(c, mode);
        for &(name, ref regs) in &[
            (
                "pixel-set",
                const {
                    regs! {eax: 0x0c0f, ecx: 5, edx: 3}
                },
            ),
            (
                "pixel-get",
                const {
                    regs! {eax: 0x0d00, ecx: 5, edx: 3}
                },
            ),
            (
                "pixel-xor",
                const {
                    regs! {eax: 0x0c83, ecx: 5, edx: 3}
                },
            ),
            (
                "pixel-get",
                const {
                    regs! {eax: 0x0d00, ecx: 5, edx: 3}
                },
            ),
            (
                "pixel-get-page-1",
                const {
                    regs! {eax: 0x0d00, ebx: 0x0100, ecx: 5, edx: 3}
                },
            ),
            (
                "pixel-beyond",
                const {
                    regs! {eax: 0x0c01, ecx: 2000, edx: 2000}
                },
            ),
            (
                "write-solid",
                const {
                    regs! {eax: 0x09db, ebx: 0x0003, ecx: 2}
                },
            ),
            (
                "read-character",
                const {
                    regs! {eax: 0x0800}
                },
            ),
            (
                "write-xor",
                const {
                    regs! {eax: 0x09db, ebx: 0x0081, ecx: 1}
                },
            ),
            (
                "teletype",
                const {
                    regs! {eax: 0x0e20, ebx: 0x0002}
                },
            ),
            (
                "scroll-up",
                const {
                    regs! {eax: 0x0601, ebx: 0x0200, ecx: 0, edx: 0x1827}
                },
            ),
            (
                "scroll-clear",
                const {
                    regs! {eax: 0x0600, ebx: 0x0300, ecx: 0x0202, edx: 0x0404}
                },
            ),
        ] {
            c.call(name, 0x10, regs, &VIDEO);
            // In planar modes, read plane 0.
            c.m.outw(0x3ce, 0x0004);
            c.memory("pixels", FarPtr::new(segment, 0), 8000);
        }
    }
}

fn state<M: Machine>(c: &mut Calls<'_, M>) {
    let capture = Capture { buffer: 64, ..REGISTERS_ONLY };
    c.call(
        "functionality",
        0x10,
        &const {
            regs! {eax: 0x1b00, es: BUFFER}
        },
        &capture,
    );
    // The buffer starts with the address of the static functionality table.
    let at = FarPtr::from_u32(c.m.read32(FarPtr::new(BUFFER, 0)));
    c.memory("functionality-table", at, 16);
    c.call(
        "functionality-wrong",
        0x10,
        &const {
            regs! {eax: 0x1b00, ebx: 1, es: BUFFER}
        },
        &capture,
    );
    for cx in 0..8 {
        c.call("state-size", 0x10, &regs! {eax: 0x1c00, ecx: cx}, &REGISTERS_ONLY);
    }
    c.call(
        "state-save",
        0x10,
        &const {
            regs! {eax: 0x1c01, ecx: 7, es: BUFFER, ebx: 0x1000}
        },
        &REGISTERS_ONLY,
    );
    set_mode(c, 1);
    c.call(
        "state-restore",
        0x10,
        &const {
            regs! {eax: 0x1c02, ecx: 7, es: BUFFER, ebx: 0x1000}
        },
        &VIDEO,
    );
    registers(c, 0x100);
}

fn functions<M: Machine>(c: &mut Calls<'_, M>) {
    for ah in [0x14, 0x15, 0x16, 0x18, 0x1d, 0x20, 0x30, 0x40, 0x4e, 0x50, 0x70, 0xbf, 0xef, 0xf0, 0xfa, 0xfe, 0xff] {
        c.call("no-function", 0x10, &regs! {eax: ah << 8, ebx: 0x1111, ecx: 0x2222, edx: 0x3333}, &REGISTERS_ONLY);
    }
}
