//! Calls of INT 1Ah: ticks, RTC, alarm, PCI BIOS 2.1.

use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY, buffer, hidden, hide};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, regs};

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    clock(c);
    pci(c);
}

fn clock<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "ticks",
        0x1a,
        &const {
            regs! {eax: 0x0000}
        },
        &const { hidden(hide::ECX | hide::EDX) },
    );
    c.call(
        "set-ticks",
        0x1a,
        &const {
            regs! {eax: 0x0100, ecx: 0x0012, edx: 0x3456}
        },
        &REGISTERS_ONLY,
    );
    // The count must be within a second of the value set.
    let back = c.call(
        "ticks-as-set",
        0x1a,
        &const {
            regs! {eax: 0x0000}
        },
        &const { hidden(hide::EDX) },
    );
    let near = back.dx().wrapping_sub(0x3456) < 20;
    c.line(if near { "ticks near" } else { "ticks far" });
    c.call(
        "time",
        0x1a,
        &const {
            regs! {eax: 0x0200}
        },
        &const { hidden(hide::ECX | hide::EDX) },
    );
    c.call(
        "date",
        0x1a,
        &const {
            regs! {eax: 0x0400}
        },
        &const { hidden(hide::ECX | hide::EDX) },
    );
    c.call(
        "set-date",
        0x1a,
        &const {
            regs! {eax: 0x0500, ecx: 0x1999, edx: 0x1231}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "date-as-set",
        0x1a,
        &const {
            regs! {eax: 0x0400}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "set-time",
        0x1a,
        &const {
            regs! {eax: 0x0300, ecx: 0x1234, edx: 0x5600}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "time-as-set",
        0x1a,
        &const {
            regs! {eax: 0x0200}
        },
        &const { hidden(hide::EDX) },
    );
    c.call(
        "set-time-daylight",
        0x1a,
        &const {
            regs! {eax: 0x0300, ecx: 0x1234, edx: 0x5601}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "time-as-set",
        0x1a,
        &const {
            regs! {eax: 0x0200}
        },
        &const { hidden(hide::EDX) },
    );
    c.call(
        "set-time",
        0x1a,
        &const {
            regs! {eax: 0x0300, ecx: 0x1234, edx: 0x5600}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "alarm-set",
        0x1a,
        &const {
            regs! {eax: 0x0600, ecx: 0x2359, edx: 0x5900}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "alarm-set-twice",
        0x1a,
        &const {
            regs! {eax: 0x0600, ecx: 0x2358, edx: 0x5900}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "alarm-off",
        0x1a,
        &const {
            regs! {eax: 0x0700}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "alarm-off-twice",
        0x1a,
        &const {
            regs! {eax: 0x0700}
        },
        &REGISTERS_ONLY,
    );
    for ax in [0x0800, 0x0900, 0x0a00, 0x0b00, 0x3500, 0x8000, 0xb000, 0xff00] {
        c.call("no-function", 0x1a, &regs! {eax: ax}, &REGISTERS_ONLY);
    }
    // TCG BIOS: the machine has no TPM.
    c.call(
        "tcg",
        0x1a,
        &const {
            regs! {eax: 0xbb00}
        },
        &REGISTERS_ONLY,
    );
}

fn pci<M: Machine>(c: &mut Calls<'_, M>) {
    c.call(
        "installed",
        0x1a,
        &const {
            regs! {eax: 0xb101, edi: 0x1234_5678}
        },
        &const { hidden(hide::EDI) },
    );
    c.call(
        "installed-32-bit-function",
        0x1a,
        &const {
            regs! {eax: 0xb181}
        },
        &const { hidden(hide::EDI) },
    );
    for &(name, vendor, device, index) in &[
        ("find-host-bridge", 0x8086, 0x1237, 0),
        ("find-ide", 0x8086, 0x7010, 0),
        ("find-ide-second", 0x8086, 0x7010, 1),
        ("find-vga", 0x1234, 0x1111, 0),
        ("find-nothing", 0x1234, 0x5678, 0),
        ("find-bad-vendor", 0xffff, 0xffff, 0),
        ("find-index-65535", 0x8086, 0x1237, 0xffff),
    ] {
        c.call(name, 0x1a, &regs! {eax: 0xb102, ecx: device, edx: vendor, esi: index}, &REGISTERS_ONLY);
    }
    for &(name, class, index) in &[
        ("class-ide", 0x01_0180, 0),
        ("class-ide-second", 0x01_0180, 1),
        ("class-vga", 0x03_0000, 0),
        ("class-host", 0x06_0000, 0),
        ("class-nothing", 0x0c_0300, 0),
        ("class-high-byte", 0xff01_0180, 0),
    ] {
        c.call(name, 0x1a, &regs! {eax: 0xb103, ecx: class, esi: index}, &REGISTERS_ONLY);
    }
    c.call(
        "special-cycle",
        0x1a,
        &const {
            regs! {eax: 0xb106, ebx: 0, edx: 0}
        },
        &REGISTERS_ONLY,
    );
    for &(name, bx) in
        &[("host", 0x0000), ("isa", 0x0008), ("ide", 0x0009), ("vga", 0x0010), ("absent", 0x00f8), ("bus-5", 0x0500)]
    {
        for ax in [0xb108, 0xb109, 0xb10a] {
            for register in [0x00, 0x02, 0x04, 0x0a, 0x3c] {
                // Dword registers must be multiples of 4.
                if ax == 0xb10a && register & 3 != 0 {
                    continue;
                }
                c.call(name, 0x1a, &regs! {eax: ax, ebx: bx, ecx: 0x1111_2222, edi: register}, &REGISTERS_ONLY);
            }
        }
    }
    for &(name, ax, register) in &[
        ("word-odd", 0xb109, 0x01),
        ("dword-odd", 0xb10a, 0x02),
        ("byte-register-100h", 0xb108, 0x100),
        ("word-register-100h", 0xb109, 0x100),
        ("dword-register-ffffh", 0xb10a, 0xffff),
        ("write-word-odd", 0xb10c, 0x05),
        ("write-dword-odd", 0xb10d, 0x06),
        ("write-byte-register-100h", 0xb10b, 0x100),
    ] {
        c.call(name, 0x1a, &regs! {eax: ax, ebx: 0, ecx: 0, edi: register}, &REGISTERS_ONLY);
    }
    // The IDE controller's latency timer and command register, which is restored.
    c.call(
        "write-byte",
        0x1a,
        &const {
            regs! {eax: 0xb10b, ebx: 9, ecx: 0x40, edi: 0x0d}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "written-byte",
        0x1a,
        &const {
            regs! {eax: 0xb108, ebx: 9, edi: 0x0d}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "write-byte",
        0x1a,
        &const {
            regs! {eax: 0xb10b, ebx: 9, ecx: 0x00, edi: 0x0d}
        },
        &REGISTERS_ONLY,
    );
    let command = c.call(
        "command",
        0x1a,
        &const {
            regs! {eax: 0xb109, ebx: 9, edi: 4}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "write-word",
        0x1a,
        &const {
            regs! {eax: 0xb10c, ebx: 9, ecx: 0x0001, edi: 4}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "written-word",
        0x1a,
        &const {
            regs! {eax: 0xb109, ebx: 9, edi: 4}
        },
        &REGISTERS_ONLY,
    );
    c.call("write-dword", 0x1a, &regs! {eax: 0xb10d, ebx: 9, ecx: u32::from(command.cx()), edi: 4}, &REGISTERS_ONLY);
    c.call(
        "written-dword",
        0x1a,
        &const {
            regs! {eax: 0xb10a, ebx: 9, edi: 4}
        },
        &REGISTERS_ONLY,
    );

    // Interrupt routing options with a buffer that is long enough, too short, or empty.
    for &(name, size) in &[("routing", 0x400_u16), ("routing-too-short", 0x10), ("routing-no-room", 0)] {
        let at = |offset| FarPtr::new(BUFFER, offset);
        c.m.fill(at(0), 0, 0x400);
        c.m.write16(at(0), size);
        c.m.write16(at(2), 0x10);
        c.m.write16(at(4), BUFFER);
        let capture = Capture { buffer: 0x200, prefilled: true, ..REGISTERS_ONLY };
        c.call(
            name,
            0x1a,
            &const {
                regs! {eax: 0xb10e, es: BUFFER, ds: 0xf000, ebx: 0}
            },
            &capture,
        );
        c.memory("routing-size", at(0), 2);
        for n in 0..6 {
            c.memory("routing-slot", at(0x10 + n * 16), 16);
        }
    }
    c.call(
        "set-routing",
        0x1a,
        &const {
            regs! {eax: 0xb10f, ebx: 0x0010, ecx: 0x0b0a, ds: 0xf000}
        },
        &REGISTERS_ONLY,
    );
    c.call(
        "set-routing-wrong",
        0x1a,
        &const {
            regs! {eax: 0xb10f, ebx: 0x00f8, ecx: 0xff0a, ds: 0xf000}
        },
        &REGISTERS_ONLY,
    );
    for ax in [0xb100, 0xb104, 0xb105, 0xb107, 0xb110, 0xb17f, 0xb1ff] {
        c.call("no-function", 0x1a, &regs! {eax: ax}, &REGISTERS_ONLY);
    }
    c.call(
        "buffer-untouched",
        0x1a,
        &const {
            regs! {eax: 0xb101}
        },
        &Capture { hide: hide::EDI, ..buffer(16) },
    );
}
