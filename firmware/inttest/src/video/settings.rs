//! Calls of INT 10h AH=10h to 12h and 1Ah: palette, fonts, alternate select, display combination.

use super::{VIDEO, set_mode};
use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY, hide};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, regs};

pub(super) fn palette<M: Machine>(c: &mut Calls<'_, M>) {
    set_mode(c, 3);
    for n in 0..17 {
        c.m.write8(FarPtr::new(BUFFER, 0x200 + n), 0x3f - n as u8);
    }
    for n in 0..48 {
        c.m.write8(FarPtr::new(BUFFER, 0x300 + n), ((n * 5) & 0x3f) as u8);
    }
    for &(name, ref regs) in &[
        (
            "set-one",
            const {
                regs! {eax: 0x1000, ebx: 0x2a05}
            },
        ),
        (
            "set-one-wrong",
            const {
                regs! {eax: 0x1000, ebx: 0x2a15}
            },
        ),
        (
            "set-border",
            const {
                regs! {eax: 0x1001, ebx: 0x0300}
            },
        ),
        (
            "get-one",
            const {
                regs! {eax: 0x1007, ebx: 0x0005}
            },
        ),
        (
            "get-border",
            const {
                regs! {eax: 0x1008}
            },
        ),
        (
            "set-all",
            const {
                regs! {eax: 0x1002, es: BUFFER, edx: 0x200}
            },
        ),
        (
            "get-one",
            const {
                regs! {eax: 0x1007, ebx: 0x0003}
            },
        ),
        (
            "blink-off",
            const {
                regs! {eax: 0x1003, ebx: 0}
            },
        ),
        (
            "blink-on",
            const {
                regs! {eax: 0x1003, ebx: 1}
            },
        ),
        (
            "dac-one",
            const {
                regs! {eax: 0x1010, ebx: 0x0014, ecx: 0x1f2f, edx: 0x0f00}
            },
        ),
        (
            "dac-get-one",
            const {
                regs! {eax: 0x1015, ebx: 0x0014}
            },
        ),
        (
            "dac-block",
            const {
                regs! {eax: 0x1012, ebx: 0x0020, ecx: 16, es: BUFFER, edx: 0x300}
            },
        ),
        (
            "dac-get-one",
            const {
                regs! {eax: 0x1015, ebx: 0x002f}
            },
        ),
        (
            "pages-mode",
            const {
                regs! {eax: 0x1013, ebx: 0x0100}
            },
        ),
        (
            "pages-select",
            const {
                regs! {eax: 0x1013, ebx: 0x0301}
            },
        ),
        (
            "pages-get",
            const {
                regs! {eax: 0x101a}
            },
        ),
        (
            "pages-mode",
            const {
                regs! {eax: 0x1013, ebx: 0x0000}
            },
        ),
        (
            "mask-set",
            const {
                regs! {eax: 0x1018, ebx: 0x007f}
            },
        ),
        (
            "mask-get",
            const {
                regs! {eax: 0x1019}
            },
        ),
        (
            "mask-set",
            const {
                regs! {eax: 0x1018, ebx: 0x00ff}
            },
        ),
        (
            "grey",
            const {
                regs! {eax: 0x101b, ebx: 0, ecx: 64}
            },
        ),
        (
            "dac-get-one",
            const {
                regs! {eax: 0x1015, ebx: 0x0014}
            },
        ),
        (
            "no-function",
            const {
                regs! {eax: 0x1005}
            },
        ),
        (
            "no-function",
            const {
                regs! {eax: 0x10ff}
            },
        ),
        (
            "background",
            const {
                regs! {eax: 0x0b00, ebx: 0x0002}
            },
        ),
        (
            "cga-palette",
            const {
                regs! {eax: 0x0b00, ebx: 0x0101}
            },
        ),
    ] {
        c.call(name, 0x10, regs, &REGISTERS_ONLY);
    }
    let get_all = Capture { buffer: 17, ..REGISTERS_ONLY };
    c.call(
        "get-all",
        0x10,
        &const {
            regs! {eax: 0x1009, es: BUFFER}
        },
        &get_all,
    );
    let block = Capture { buffer: 96, ..REGISTERS_ONLY };
    c.call(
        "dac-get-block",
        0x10,
        &const {
            regs! {eax: 0x1017, ebx: 0x10, ecx: 32, es: BUFFER}
        },
        &block,
    );
}

pub(super) fn fonts<M: Machine>(c: &mut Calls<'_, M>) {
    set_mode(c, 3);
    let address = hide::EBP | hide::ES;
    for bh in 0..=8 {
        c.call("font-address", 0x10, &regs! {eax: 0x1130, ebx: bh << 8}, &Capture { hide: address, ..REGISTERS_ONLY });
    }
    for &(name, ref regs) in &[
        (
            "load-8x14",
            const {
                regs! {eax: 0x1111}
            },
        ),
        (
            "load-8x8",
            const {
                regs! {eax: 0x1112}
            },
        ),
        (
            "load-8x16",
            const {
                regs! {eax: 0x1114}
            },
        ),
        (
            "load-8x14-quietly",
            const {
                regs! {eax: 0x1101}
            },
        ),
        (
            "load-8x8-quietly",
            const {
                regs! {eax: 0x1102}
            },
        ),
        (
            "load-8x16-quietly",
            const {
                regs! {eax: 0x1104}
            },
        ),
        (
            "block",
            const {
                regs! {eax: 0x1103, ebx: 0x04}
            },
        ),
        (
            "block",
            const {
                regs! {eax: 0x1103, ebx: 0x00}
            },
        ),
        (
            "user-8x10",
            const {
                regs! {eax: 0x1110, ebx: 0x0a00, ecx: 1, edx: 0x41, es: BUFFER, ebp: 0x400}
            },
        ),
        (
            "user-8x10-quietly",
            const {
                regs! {eax: 0x1100, ebx: 0x0a00, ecx: 1, edx: 0x41, es: BUFFER, ebp: 0x400}
            },
        ),
        (
            "load-8x16",
            const {
                regs! {eax: 0x1114}
            },
        ),
        (
            "no-function",
            const {
                regs! {eax: 0x1140}
            },
        ),
    ] {
        c.call(name, 0x10, regs, &VIDEO);
    }
    for &(name, ref regs) in &[
        (
            "graphics-8x8",
            const {
                regs! {eax: 0x1123, ebx: 0x02}
            },
        ),
        (
            "graphics-8x14",
            const {
                regs! {eax: 0x1122, ebx: 0x02}
            },
        ),
        (
            "graphics-8x16",
            const {
                regs! {eax: 0x1124, ebx: 0x02}
            },
        ),
        (
            "graphics-rows",
            const {
                regs! {eax: 0x1124, ebx: 0x00, edx: 20}
            },
        ),
    ] {
        set_mode(c, 0x12);
        c.call(name, 0x10, regs, &VIDEO);
    }
    set_mode(c, 3);
}

/// Alternate select (AH=12h), display combination (1Ah).
pub(super) fn switches<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, ref regs) in &[
        (
            "information",
            const {
                regs! {eax: 0x1200, ebx: 0x10}
            },
        ),
        (
            "print-screen",
            const {
                regs! {eax: 0x1200, ebx: 0x20}
            },
        ),
        (
            "lines-200",
            const {
                regs! {eax: 0x1200, ebx: 0x30}
            },
        ),
        (
            "lines-350",
            const {
                regs! {eax: 0x1201, ebx: 0x30}
            },
        ),
        (
            "lines-400",
            const {
                regs! {eax: 0x1202, ebx: 0x30}
            },
        ),
        (
            "lines-wrong",
            const {
                regs! {eax: 0x1203, ebx: 0x30}
            },
        ),
        (
            "palette-load",
            const {
                regs! {eax: 0x1200, ebx: 0x31}
            },
        ),
        (
            "palette-load-wrong",
            const {
                regs! {eax: 0x1202, ebx: 0x31}
            },
        ),
        (
            "addressing",
            const {
                regs! {eax: 0x1200, ebx: 0x32}
            },
        ),
        (
            "grey-off",
            const {
                regs! {eax: 0x1201, ebx: 0x33}
            },
        ),
        (
            "cursor-emulation",
            const {
                regs! {eax: 0x1200, ebx: 0x34}
            },
        ),
        (
            "display-switch",
            const {
                regs! {eax: 0x1200, ebx: 0x35}
            },
        ),
        (
            "refresh",
            const {
                regs! {eax: 0x1200, ebx: 0x36}
            },
        ),
        (
            "no-function",
            const {
                regs! {eax: 0x1200, ebx: 0x40}
            },
        ),
        (
            "no-function",
            const {
                regs! {eax: 0x1200, ebx: 0xff}
            },
        ),
        (
            "combination-get",
            const {
                regs! {eax: 0x1a00}
            },
        ),
        (
            "combination-set",
            const {
                regs! {eax: 0x1a01, ebx: 0x0008}
            },
        ),
        (
            "combination-wrong",
            const {
                regs! {eax: 0x1a02}
            },
        ),
    ] {
        c.call(name, 0x10, regs, &VIDEO);
    }
    // The number of scan lines changes mode 3.
    for &(lines, al) in &[("200", 0), ("350", 1), ("400", 2)] {
        c.call(lines, 0x10, &regs! {eax: 0x1200 | al, ebx: 0x30}, &REGISTERS_ONLY);
        set_mode(c, 3);
    }
}
