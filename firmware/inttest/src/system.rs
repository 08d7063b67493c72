//! Calls of INT 15h: A20, memory, block moves, waits, pointing device, APM.

use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY, buffer, hidden, hide};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, regs};

const SMAP: u32 = 0x534d_4150;

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, ax) in &[
        ("a20-status", 0x2402),
        ("a20-support", 0x2403),
        ("a20-off", 0x2400),
        ("a20-status", 0x2402),
        ("a20-on", 0x2401),
        ("a20-status", 0x2402),
        ("a20-no-function", 0x2404),
        ("a20-no-function", 0x24ff),
    ] {
        c.call(name, 0x15, &regs! {eax: ax}, &REGISTERS_ONLY);
    }
    memory(c);
    block_moves(c);
    waits(c);
    pointing_device(c);
    apm(c);
    for &(name, ax) in &[
        ("keyboard-intercept", 0x4f1e),
        ("device-open", 0x8000),
        ("device-close", 0x8100),
        ("program-end", 0x8200),
        ("sysreq", 0x8500),
        ("device-busy", 0x9000),
        ("device-done", 0x9100),
        ("cassette", 0x0000),
        ("cassette", 0x0100),
        ("cassette", 0x0200),
        ("cassette", 0x0300),
        ("joystick", 0x8400),
        ("watchdog", 0xc300),
        ("pos", 0xc400),
        ("eisa", 0xd800),
        ("eisa", 0xd880),
        ("no-function", 0x4000),
        ("no-function", 0x7700),
        ("no-function", 0xbf00),
        ("no-function", 0xe800),
        ("no-function", 0xe8ff),
        ("no-function", 0xff00),
    ] {
        c.call(name, 0x15, &regs! {eax: ax}, &REGISTERS_ONLY);
    }
    let address = hide::EBX | hide::ES;
    c.call(
        "configuration",
        0x15,
        &const {
            regs! {eax: 0xc000}
        },
        &Capture { hide: address, es_bx: 10, ..REGISTERS_ONLY },
    );
    c.call(
        "ebda",
        0x15,
        &const {
            regs! {eax: 0xc100, es: 0x1234}
        },
        &REGISTERS_ONLY,
    );
}

fn memory<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "extended-memory",
        0x15,
        &const {
            regs! {eax: 0x8800}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "e801",
        0x15,
        &const {
            regs! {eax: 0xe801}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "e801-high-halves",
        0x15,
        &const {
            regs! {eax: 0x1111_e801, ebx: 0x2222_3333, ecx: 0x4444_5555, edx: 0x6666_7777}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "e881",
        0x15,
        &const {
            regs! {eax: 0xe881}
        },
        &REGISTERS_ONLY,
    );
    // The whole map, with 20 and 24 bytes requested.
    for size in [20, 24] {
        let mut next = 0;
        for _ in 0..16 {
            let regs = &regs! {eax: 0xe820, ebx: next, ecx: size, edx: SMAP, es: BUFFER};
            let back = c.call("map", 0x15, regs, &const { buffer(24) });
            next = back.ebx;
            if back.cf() || next == 0 {
                break;
            }
        }
    }
    for &(name, ebx, ecx, edx) in &[
        ("map-wrong-signature", 0, 20, 0x1234_5678),
        ("map-short-buffer", 0, 19, SMAP),
        ("map-no-buffer", 0, 0, SMAP),
        ("map-long-buffer", 0, 0xffff_ffff, SMAP),
        ("map-beyond-end", 0x1000, 20, SMAP),
        ("map-far-beyond-end", 0x8000_0000, 20, SMAP),
        ("map-last-continuation", 0xffff_ffff, 20, SMAP),
    ] {
        c.call(name, 0x15, &regs! {eax: 0xe820, ebx: ebx, ecx: ecx, edx: edx, es: BUFFER}, &const { buffer(24) });
    }
    c.call(
        "map-high-eax",
        0x15,
        &const {
            regs! {eax: 0x1234_e820, ecx: 20, edx: SMAP, es: BUFFER}
        },
        &const { buffer(24) },
    );
    c.call(
        "map-high-edi",
        0x15,
        &const {
            regs! {eax: 0xe820, ecx: 20, edx: SMAP, es: BUFFER, edi: 0x40}
        },
        &const { buffer(100) },
    );
}

/// Block moves (AH=87h), with the descriptor table at 2000:E000.
fn block_moves<M: Machine>(c: &mut Calls<'_, M>) {
    const TABLE: u16 = 0xe000;
    for &(name, from, to, words, rights) in &[
        ("up", 0x2_1000, 0x20_0000, 256, 0x93),
        ("down", 0x20_0000, 0x2_0000, 256, 0x93),
        ("low", 0x2_1000, 0x2_0000, 128, 0x93),
        ("one-word", 0x2_1002, 0x2_0001, 1, 0x93),
        ("none", 0x2_1000, 0x2_0000, 0, 0x93),
        ("most", 0x30_0000, 0x40_0000, 0x8000, 0x93),
        ("too-many", 0x30_0000, 0x40_0000, 0x8001, 0x93),
    ] {
        for n in 0..256_u16 {
            c.m.write16(FarPtr::new(BUFFER, 0x1000 + n * 2), n.wrapping_mul(0x1357));
        }
        c.m.fill(FarPtr::new(BUFFER, TABLE), 0, 48);
        for &(entry, base) in &[(0x10, from), (0x18, to)] {
            c.m.write16(FarPtr::new(BUFFER, TABLE + entry), 0xffff);
            c.m.write32(FarPtr::new(BUFFER, TABLE + entry + 2), base | rights << 24);
        }
        let regs = &regs! {eax: 0x8700, ecx: words, es: BUFFER, esi: TABLE as u32};
        c.call("block-move", 0x15, regs, &const { buffer(512) });
        c.memory(name, FarPtr::new(BUFFER, 0), 100);
    }
}

fn waits<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "wait-1ms",
        0x15,
        &const {
            regs! {eax: 0x8600, edx: 1000}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "wait-nothing",
        0x15,
        &const {
            regs! {eax: 0x8600}
        },
        &REGISTERS_ONLY,
    );
    c.m.write8(FarPtr::new(BUFFER, 0), 0);
    c.call(
        "event-wait",
        0x15,
        &const {
            regs! {eax: 0x8300, ecx: 0x1e, edx: 0x8480, es: BUFFER}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "event-wait-again",
        0x15,
        &const {
            regs! {eax: 0x8300, ecx: 0x1e, edx: 0x8480, es: BUFFER}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "wait-during-event-wait",
        0x15,
        &const {
            regs! {eax: 0x8600, edx: 1000}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "event-wait-cancel",
        0x15,
        &const {
            regs! {eax: 0x8301}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "event-wait-no-function",
        0x15,
        &const {
            regs! {eax: 0x8302}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "event-wait-short",
        0x15,
        &const {
            regs! {eax: 0x8300, edx: 1000, es: BUFFER}
        },
        &REGISTERS_ONLY,
    );
    // Waits until the flag is set, or for 9 ticks (half a second).
    let start = c.m.get(pcvm_firmware_rt::bda::TICKS);
    while c.m.read8(FarPtr::new(BUFFER, 0)) & 0x80 == 0 && c.m.get(pcvm_firmware_rt::bda::TICKS).wrapping_sub(start) < 9
    {
        c.m.poll_interrupts();
        c.m.set_interrupts(true);
    }
    c.memory("event-flag", FarPtr::new(BUFFER, 0), 1);
}

fn pointing_device<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, ax, bx) in &[
        ("reset-before-init", 0xc201, 0),
        ("init-3-bytes", 0xc205, 0x0300),
        ("init-0-bytes", 0xc205, 0x0000),
        ("init-9-bytes", 0xc205, 0x0900),
        ("init-3-bytes", 0xc205, 0x0300),
        ("enable-without-handler", 0xc200, 0x0100),
        ("reset", 0xc201, 0),
        ("rate-10", 0xc202, 0x0000),
        ("rate-100", 0xc202, 0x0500),
        ("rate-200", 0xc202, 0x0600),
        ("rate-wrong", 0xc202, 0x0700),
        ("resolution-1", 0xc203, 0x0000),
        ("resolution-8", 0xc203, 0x0300),
        ("resolution-wrong", 0xc203, 0x0400),
        ("type", 0xc204, 0),
        ("status", 0xc206, 0x0000),
        ("scaling-2", 0xc206, 0x0200),
        ("status", 0xc206, 0x0000),
        ("scaling-1", 0xc206, 0x0100),
        ("extended-wrong", 0xc206, 0x0300),
        ("status", 0xc206, 0x0000),
    ] {
        c.call(name, 0x15, &regs! {eax: ax, ebx: bx}, &REGISTERS_ONLY);
    }
    c.call(
        "set-handler",
        0x15,
        &const {
            regs! {eax: 0xc207, es: 0x2000, ebx: 0x0100}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "enable",
        0x15,
        &const {
            regs! {eax: 0xc200, ebx: 0x0100}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "status-enabled",
        0x15,
        &const {
            regs! {eax: 0xc206}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "disable",
        0x15,
        &const {
            regs! {eax: 0xc200}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "enable-wrong",
        0x15,
        &const {
            regs! {eax: 0xc200, ebx: 0x0200}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "clear-handler",
        0x15,
        &const {
            regs! {eax: 0xc207}
        },
        &REGISTERS_ONLY,
    );
    for al in [0x08, 0x09, 0x0a, 0xff] {
        c.call("no-function", 0x15, &regs! {eax: 0xc200 | al}, &REGISTERS_ONLY);
    }
}

/// APM 1.2. Disconnects the interface at the end.
fn apm<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "apm-installed",
        0x15,
        &const {
            regs! {eax: 0x5300}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-installed-wrong-device",
        0x15,
        &const {
            regs! {eax: 0x5300, ebx: 1}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-disconnect-unconnected",
        0x15,
        &const {
            regs! {eax: 0x5304}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-idle-unconnected",
        0x15,
        &const {
            regs! {eax: 0x5305}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-real-connect",
        0x15,
        &const {
            regs! {eax: 0x5301}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-real-connect-again",
        0x15,
        &const {
            regs! {eax: 0x5301}
        },
        &REGISTERS_ONLY,
    );
    for &(name, ax, bx, cx) in &[
        ("version-1.2", 0x530e, 0, 0x0102),
        ("version-1.0", 0x530e, 0, 0x0100),
        ("version-1.2", 0x530e, 0, 0x0102),
        ("enable", 0x5308, 1, 1),
        ("disable", 0x5308, 1, 0),
        ("enable", 0x5308, 1, 1),
        ("enable-wrong", 0x5308, 1, 2),
        ("restore-defaults", 0x5309, 1, 0),
        ("status-wrong-device", 0x530a, 0x7777, 0),
        ("event", 0x530b, 0, 0),
        ("state", 0x530c, 1, 0),
        ("engage", 0x530f, 1, 1),
        ("set-state-ready", 0x5307, 1, 0),
        ("set-state-wrong-device", 0x5307, 0x7777, 1),
        ("busy", 0x5306, 0, 0),
        ("capabilities", 0x5310, 0, 0),
        ("no-function", 0x5320, 0, 0),
        ("no-function", 0x5380, 0, 0),
    ] {
        c.call(name, 0x15, &regs! {eax: ax, ebx: bx, ecx: cx}, &REGISTERS_ONLY);
    }
    c.call(
        "apm-idle",
        0x15,
        &const {
            regs! {eax: 0x5305}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-status",
        0x15,
        &const {
            regs! {eax: 0x530a, ebx: 1}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-disconnect",
        0x15,
        &const {
            regs! {eax: 0x5304}
        },
        &REGISTERS_ONLY,
    );
    let entry = hide::EAX | hide::EBX | hide::ECX | hide::EDX | 1 << 4 | hide::EDI;
    c.call(
        "apm-16-bit-connect",
        0x15,
        &const {
            regs! {eax: 0x5302}
        },
        &hidden(entry),
    );
    c.call(
        "apm-disconnect",
        0x15,
        &const {
            regs! {eax: 0x5304}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "apm-32-bit-connect",
        0x15,
        &const {
            regs! {eax: 0x5303}
        },
        &hidden(entry),
    );
    c.call(
        "apm-disconnect",
        0x15,
        &const {
            regs! {eax: 0x5304}
        },
        &REGISTERS_ONLY,
    );
}
