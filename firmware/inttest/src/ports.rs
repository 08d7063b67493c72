//! Calls of INT 11h, 12h, 14h and 17h: equipment, base memory, serial ports, parallel ports.

use crate::call::{Calls, REGISTERS_ONLY};
use pcvm_guest::{Machine, regs};

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "equipment",
        0x11,
        &const {
            regs! {eax: 0x1234_5678, ebx: 0xdead_beef}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "base-memory",
        0x12,
        &const {
            regs! {eax: 0x8765_4321, ecx: 0x1111_2222}
        },
        &REGISTERS_ONLY,
    );

    // COM2 exists, with nothing connected. COM3 does not exist.
    for &(name, ax, dx) in &[
        ("init-9600", 0x00e3, 1),
        ("init-110", 0x0003, 1),
        ("init-7e2", 0x009e, 1),
        ("send", 0x0141, 1),
        ("receive-timeout", 0x0200, 1),
        ("status", 0x0300, 1),
        ("extended-init", 0x0400, 1),
        ("modem-control", 0x0500, 1),
        ("extended-init-115200", 0x0400, 1),
        ("no-function", 0x0600, 1),
        ("no-function", 0xff00, 1),
        ("init-absent", 0x00e3, 2),
        ("send-absent", 0x0141, 2),
        ("receive-absent", 0x0200, 2),
        ("status-absent", 0x0300, 2),
        ("status-port-4", 0x0300, 4),
        ("status-port-65535", 0x0300, 0xffff),
    ] {
        c.call(name, 0x14, &regs! {eax: ax, edx: dx}, &REGISTERS_ONLY);
    }
    // The settings of the last call before the absent ports.
    c.call(
        "init-again",
        0x14,
        &const {
            regs! {eax: 0x00e3, edx: 1}
        },
        &REGISTERS_ONLY,
    );

    // The machine has no parallel port.
    for &(name, ax, dx) in &[
        ("print", 0x0041, 0),
        ("init", 0x0100, 0),
        ("status", 0x0200, 0),
        ("no-function", 0x0300, 0),
        ("status-port-3", 0x0200, 3),
        ("status-port-65535", 0x0200, 0xffff),
    ] {
        c.call(name, 0x17, &regs! {eax: ax, edx: dx}, &REGISTERS_ONLY);
    }
}
