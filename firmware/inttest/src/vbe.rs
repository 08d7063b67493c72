//! Calls of VBE 3.0: INT 10h AH=4Fh.

use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY, hide};
use pcvm_firmware_rt::{FarPtr, Regs};
use pcvm_guest::{Machine, regs};

/// VESA's mode numbers, some OEM mode numbers, and some that do not exist.
const MODES: [u32; 36] = [
    0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x10b, 0x10c, 0x10d, 0x10e, 0x10f,
    0x110, 0x111, 0x112, 0x113, 0x114, 0x115, 0x116, 0x117, 0x118, 0x119, 0x11a, 0x11b, 0x11c, 0x13f, 0x140, 0x141,
    0x1ff, 0x7ff, 0x003, 0x013,
];

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    information(c);
    modes(c);
    banks_and_lines(c);
    rest(c);
}

fn information<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, signature) in &[("controller-vbe2", b"VBE2"), ("controller-vesa", b"VESA")] {
        let at = |offset| FarPtr::new(BUFFER, offset);
        c.m.fill(at(0), 0, 512);
        c.m.write32(at(0), u32::from_le_bytes(*signature));
        let regs = &const {
            regs! {eax: 0x4f00, es: BUFFER}
        };
        c.call(name, 0x10, regs, &REGISTERS_ONLY);
        // The block without its far pointers.
        c.memory("signature-version", at(0), 6);
        c.memory("capabilities", at(10), 4);
        c.memory("memory", at(18), 2);
        let oem = FarPtr::from_u32(c.m.read32(at(6)));
        c.memory("oem-has-text", oem, 1);
    }
    for mode in MODES {
        let capture = Capture { buffer: 64, ..REGISTERS_ONLY };
        c.call("mode-information", 0x10, &regs! {eax: 0x4f01, ecx: mode, es: BUFFER}, &capture);
        // Fields of the ModeInfoBlock.
        for &(name, offset, bytes) in &[
            ("attributes", 0, 2),
            ("window", 2, 14 - 4),
            ("line", 16, 2),
            ("size", 18, 4),
            ("character", 22, 2),
            ("format", 24, 7),
            ("masks", 31, 9),
            ("linear", 40, 4),
            ("linear-line", 50, 12),
        ] {
            c.memory(name, FarPtr::new(BUFFER, offset), bytes);
        }
    }
}

fn modes<M: Machine>(c: &mut Calls<'_, M>) {
    for mode in MODES {
        for flags in [0x8000, 0xc000] {
            c.call("set", 0x10, &regs! {eax: 0x4f02, ebx: mode | flags}, &Capture { video: true, ..REGISTERS_ONLY });
            c.call(
                "get",
                0x10,
                &const {
                    regs! {eax: 0x4f03}
                },
                &REGISTERS_ONLY,
            );
        }
    }
    // With a CRTCInfoBlock, which the buffer does not contain.
    c.call(
        "set-crtc",
        0x10,
        &const {
            regs! {eax: 0x4f02, ebx: 0x4801 + 0x100, es: BUFFER, edi: 0x100}
        },
        &REGISTERS_ONLY,
    );
}

fn banks_and_lines<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "set",
        0x10,
        &const {
            regs! {eax: 0x4f02, ebx: 0x0103}
        },
        &REGISTERS_ONLY,
    );
    let calls: &[(&str, Regs); 29] = &[
        (
            "bank-get",
            const {
                regs! {eax: 0x4f05, ebx: 0x0100}
            },
        ),
        (
            "bank-set-3",
            const {
                regs! {eax: 0x4f05, edx: 3}
            },
        ),
        (
            "bank-get",
            const {
                regs! {eax: 0x4f05, ebx: 0x0100}
            },
        ),
        (
            "bank-set-beyond",
            const {
                regs! {eax: 0x4f05, edx: 0x7fff}
            },
        ),
        (
            "bank-get",
            const {
                regs! {eax: 0x4f05, ebx: 0x0100}
            },
        ),
        (
            "bank-window-b",
            const {
                regs! {eax: 0x4f05, ebx: 0x0001, edx: 1}
            },
        ),
        (
            "bank-wrong",
            const {
                regs! {eax: 0x4f05, ebx: 0x0200}
            },
        ),
        (
            "bank-set-0",
            const {
                regs! {eax: 0x4f05}
            },
        ),
        (
            "line-get",
            const {
                regs! {eax: 0x4f06, ebx: 1}
            },
        ),
        (
            "line-most",
            const {
                regs! {eax: 0x4f06, ebx: 3}
            },
        ),
        (
            "line-set-1000",
            const {
                regs! {eax: 0x4f06, ebx: 0, ecx: 1000}
            },
        ),
        (
            "line-set-bytes-2048",
            const {
                regs! {eax: 0x4f06, ebx: 2, ecx: 2048}
            },
        ),
        (
            "line-set-short",
            const {
                regs! {eax: 0x4f06, ebx: 0, ecx: 100}
            },
        ),
        (
            "line-set-long",
            const {
                regs! {eax: 0x4f06, ebx: 0, ecx: 0xffff}
            },
        ),
        (
            "line-get",
            const {
                regs! {eax: 0x4f06, ebx: 1}
            },
        ),
        (
            "line-wrong",
            const {
                regs! {eax: 0x4f06, ebx: 9}
            },
        ),
        (
            "start-get",
            const {
                regs! {eax: 0x4f07, ebx: 1}
            },
        ),
        (
            "start-set",
            const {
                regs! {eax: 0x4f07, ebx: 0, ecx: 16, edx: 10}
            },
        ),
        (
            "start-get",
            const {
                regs! {eax: 0x4f07, ebx: 1}
            },
        ),
        (
            "start-set-at-retrace",
            const {
                regs! {eax: 0x4f07, ebx: 0x80, ecx: 0, edx: 20}
            },
        ),
        (
            "start-get",
            const {
                regs! {eax: 0x4f07, ebx: 1}
            },
        ),
        (
            "start-beyond",
            const {
                regs! {eax: 0x4f07, ebx: 0, ecx: 0, edx: 0xffff}
            },
        ),
        (
            "start-wrong",
            const {
                regs! {eax: 0x4f07, ebx: 9}
            },
        ),
        (
            "dac-get",
            const {
                regs! {eax: 0x4f08, ebx: 1}
            },
        ),
        (
            "dac-set-8",
            const {
                regs! {eax: 0x4f08, ebx: 0x0800}
            },
        ),
        (
            "dac-get",
            const {
                regs! {eax: 0x4f08, ebx: 1}
            },
        ),
        (
            "dac-set-5",
            const {
                regs! {eax: 0x4f08, ebx: 0x0500}
            },
        ),
        (
            "dac-set-6",
            const {
                regs! {eax: 0x4f08, ebx: 0x0600}
            },
        ),
        (
            "dac-wrong",
            const {
                regs! {eax: 0x4f08, ebx: 9}
            },
        ),
    ];
    for (name, regs) in calls {
        c.call(name, 0x10, regs, &REGISTERS_ONLY);
    }
    let capture = Capture { buffer: 64, ..REGISTERS_ONLY };
    for n in 0..16 {
        c.m.write32(FarPtr::new(BUFFER, 0x200 + n * 4), u32::from(n) * 0x0001_0203);
    }
    c.call(
        "palette-set",
        0x10,
        &const {
            regs! {eax: 0x4f09, ebx: 0, ecx: 16, edx: 8, es: BUFFER, edi: 0x200}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "palette-get",
        0x10,
        &const {
            regs! {eax: 0x4f09, ebx: 1, ecx: 16, edx: 8, es: BUFFER}
        },
        &capture,
    );
    c.call(
        "palette-wrong",
        0x10,
        &const {
            regs! {eax: 0x4f09, ebx: 9, ecx: 16, edx: 8, es: BUFFER}
        },
        &capture,
    );
}

fn rest<M: Machine>(c: &mut Calls<'_, M>) {
    for cx in [1, 2, 4, 8, 15, 0] {
        c.call("state-size", 0x10, &regs! {eax: 0x4f04, edx: 0, ecx: cx}, &REGISTERS_ONLY);
    }
    c.call(
        "state-save",
        0x10,
        &const {
            regs! {eax: 0x4f04, edx: 1, ecx: 15, es: BUFFER, ebx: 0x1000}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "set",
        0x10,
        &const {
            regs! {eax: 0x4f02, ebx: 0x0003}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "state-restore",
        0x10,
        &const {
            regs! {eax: 0x4f04, edx: 2, ecx: 15, es: BUFFER, ebx: 0x1000}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "get",
        0x10,
        &const {
            regs! {eax: 0x4f03}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "state-wrong",
        0x10,
        &const {
            regs! {eax: 0x4f04, edx: 9, ecx: 15, es: BUFFER}
        },
        &REGISTERS_ONLY,
    );
    let address = hide::EDI | hide::ES | hide::ECX;
    c.call(
        "protected-interface",
        0x10,
        &const {
            regs! {eax: 0x4f0a}
        },
        &Capture { hide: address, ..REGISTERS_ONLY },
    );
    c.call(
        "protected-interface-wrong",
        0x10,
        &const {
            regs! {eax: 0x4f0a, ebx: 9}
        },
        &Capture { hide: address, ..REGISTERS_ONLY },
    );
    c.call(
        "pixel-clock",
        0x10,
        &const {
            regs! {eax: 0x4f0b, ecx: 25_175_000, edx: 0x101}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "power-capabilities",
        0x10,
        &const {
            regs! {eax: 0x4f10, ebx: 0, es: 0, edi: 0}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "power-on",
        0x10,
        &const {
            regs! {eax: 0x4f10, ebx: 1}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "power-get",
        0x10,
        &const {
            regs! {eax: 0x4f10, ebx: 2}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "edid-capabilities",
        0x10,
        &const {
            regs! {eax: 0x4f15, ebx: 0}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "edid",
        0x10,
        &const {
            regs! {eax: 0x4f15, ebx: 1, es: BUFFER}
        },
        &Capture { buffer: 20, ..REGISTERS_ONLY },
    );
    c.call(
        "edid-block-1",
        0x10,
        &const {
            regs! {eax: 0x4f15, ebx: 1, edx: 1, es: BUFFER}
        },
        &Capture { buffer: 8, ..REGISTERS_ONLY },
    );
    c.call(
        "edid-wrong",
        0x10,
        &const {
            regs! {eax: 0x4f15, ebx: 9}
        },
        &REGISTERS_ONLY,
    );
    for al in [0x0c, 0x0d, 0x0f, 0x11, 0x14, 0x16, 0x20, 0xff] {
        c.call("no-function", 0x10, &regs! {eax: 0x4f00 | al}, &REGISTERS_ONLY);
    }
    c.call(
        "mode-3",
        0x10,
        &const {
            regs! {eax: 0x0003}
        },
        &REGISTERS_ONLY,
    );
}
