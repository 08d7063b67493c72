//! Calls of INT 13h: hard disks 80h and 81h, EDD functions, the CD-ROM, absent floppy and hard disk drives.

use crate::call::{BUFFER, Calls, Capture, REGISTERS_ONLY, buffer, hide};
use pcvm_firmware_rt::{FarPtr, bda};
use pcvm_guest::{Machine, regs};

/// Segment of the disk address packet.
const PACKETS: u16 = 0x3000;
/// Offset of the disk address packet.
const PACKET: u16 = 0xf000;
/// Drive number of hdb, which the calls write to.
const SCRATCH_DISK: u32 = 0x81;

/// Writes a disk address packet (EDD 3.0, section 8.2) at [`PACKET`].
fn packet<M: Machine>(c: &mut Calls<'_, M>, size: u8, blocks: u16, to: (u16, u16), lba: u64) {
    let at = |offset| FarPtr::new(PACKETS, PACKET + offset);
    c.m.fill(at(0), 0, 32);
    c.m.write8(at(0), size);
    c.m.write16(at(2), blocks);
    c.m.write16(at(4), to.0);
    c.m.write16(at(6), to.1);
    c.m.write32(at(8), lba as u32);
    c.m.write32(at(12), (lba >> 32) as u32);
}

/// Makes a call with DS:SI at the packet.
fn extended<M: Machine>(c: &mut Calls<'_, M>, name: &str, ax: u32, drive: u32, capture: &Capture) {
    let regs = &regs! {eax: ax, edx: drive, esi: PACKET as u32, ds: PACKETS};
    c.call(name, 0x13, regs, capture);
    c.memory("packet", FarPtr::new(PACKETS, PACKET), 16);
}

pub fn all<M: Machine>(c: &mut Calls<'_, M>) {
    plain(c);
    reads(c);
    writes(c);
    edd(c);
    absent(c);
    functions(c);
}

/// Reset, status, parameters, seek.
fn plain<M: Machine>(c: &mut Calls<'_, M>) {
    for drive in [0x80, 0x81] {
        for &(name, ax) in &[
            ("reset", 0x0000),
            ("status", 0x0100),
            ("reset-hard-disks", 0x0d00),
            ("ready", 0x1000),
            ("recalibrate", 0x1100),
            ("diagnose", 0x1400),
            ("type", 0x1500),
            ("alternate-reset", 0x0d00),
        ] {
            c.call(name, 0x13, &regs! {eax: ax, edx: drive}, &REGISTERS_ONLY);
        }
        // For a hard disk, AH=08h does not change ES:DI.
        c.call("parameters", 0x13, &regs! {eax: 0x0800, edx: drive, es: 0x1234, edi: 0x5678}, &REGISTERS_ONLY);
        c.call("init-parameters", 0x13, &regs! {eax: 0x0900, edx: drive}, &REGISTERS_ONLY);
        c.call("seek", 0x13, &regs! {eax: 0x0c00, ecx: 0x0201, edx: drive}, &REGISTERS_ONLY);
        c.call("seek-far", 0x13, &regs! {eax: 0x0c00, ecx: 0xffff, edx: 0xff00 | drive}, &REGISTERS_ONLY);
    }
    // Fixed disk parameter tables.
    for &(name, vector) in &[("table-41h", 0x41), ("table-46h", 0x46)] {
        let at = FarPtr::from_u32(c.m.read32(FarPtr::vector(vector)));
        c.memory(name, at, 16);
    }
    let count = bda::DISK_COUNT.at;
    c.memory("disk-count", count, 1);
}

/// Reads and verifies by CHS address.
fn reads<M: Machine>(c: &mut Calls<'_, M>) {
    for &(name, ax, cx, dx, bytes) in &[
        ("read-1", 0x0201, 0x0001, 0x80, 512),
        ("read-8", 0x0208, 0x0001, 0x80, 4096),
        ("read-last-of-track", 0x0201, 0x003f, 0x81, 512),
        ("read-across-track", 0x0204, 0x003e, 0x81, 2048),
        ("read-head-1", 0x0201, 0x0001, 0x0181, 512),
        ("read-cylinder-1", 0x0201, 0x0101, 0x81, 512),
        ("read-127", 0x027f, 0x0001, 0x81, 0xfe00),
        ("read-none", 0x0200, 0x0001, 0x80, 512),
        ("read-128", 0x0280, 0x0001, 0x81, 512),
        ("read-129", 0x0281, 0x0001, 0x81, 512),
        ("read-255", 0x02ff, 0x0001, 0x81, 512),
        ("read-sector-0", 0x0201, 0x0000, 0x80, 512),
        ("read-sector-0-cylinder-high", 0x0201, 0x00c0, 0x80, 512),
        ("read-beyond-cylinders", 0x0201, 0xffc1, 0x80, 512),
        ("read-beyond-heads", 0x0201, 0x0001, 0xff80, 512),
        ("verify-1", 0x0401, 0x0001, 0x80, 0),
        ("verify-63", 0x043f, 0x0001, 0x81, 0),
        ("verify-beyond", 0x0401, 0xffc1, 0x80, 0),
        ("verify-none", 0x0400, 0x0001, 0x80, 0),
        ("verify-sector-0", 0x0401, 0x0000, 0x80, 0),
        ("status-after-error", 0x0100, 0, 0x80, 0),
        ("read-long", 0x0a01, 0x0001, 0x80, 516),
        ("read-cd-range", 0x0201, 0x0001, 0xe0, 512),
    ] {
        c.call(name, 0x13, &regs! {eax: ax, ecx: cx, edx: dx, es: BUFFER}, &buffer(bytes));
        c.memory("status-byte", bda::DISK_STATUS.at, 1);
    }
    // The buffer by another segment:offset, and at an odd address.
    c.call(
        "read-to-offset",
        0x13,
        &const {
            regs! {eax: 0x0201, ecx: 1, edx: 0x80, es: BUFFER - 0x0fff, ebx: 0xfff0}
        },
        &const { buffer(512) },
    );
    c.call(
        "read-to-odd",
        0x13,
        &const {
            regs! {eax: 0x0201, ecx: 1, edx: 0x80, es: BUFFER, ebx: 1}
        },
        &const { buffer(520) },
    );
    c.call("read-with-high-halves", 0x13, &const { regs! {eax: 0xaaaa_0201, ebx: 0xbbbb_0000, ecx: 0xcccc_0001, edx: 0xdddd_0080, es: BUFFER, esi: 0x5555_6666, edi: 0x7777_8888, ebp: 0x9999_aaaa} }, &const { buffer(512) });
}

/// Writes to the scratch disk, and reads it back.
fn writes<M: Machine>(c: &mut Calls<'_, M>) {
    for n in 0..512_u16 {
        c.m.write32(FarPtr::new(BUFFER, n * 4), u32::from(n).wrapping_mul(0x9e37_79b9));
    }
    let given = Capture { prefilled: true, ..REGISTERS_ONLY };
    c.call(
        "write-4",
        0x13,
        &const {
            regs! {eax: 0x0304, ecx: 0x0002, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "read-back-4",
        0x13,
        &const {
            regs! {eax: 0x0204, ecx: 0x0002, edx: SCRATCH_DISK, es: BUFFER}
        },
        &const { buffer(2048) },
    );
    c.call(
        "write-none",
        0x13,
        &const {
            regs! {eax: 0x0300, ecx: 0x0002, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "write-sector-0",
        0x13,
        &const {
            regs! {eax: 0x0301, ecx: 0x0000, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "write-beyond",
        0x13,
        &const {
            regs! {eax: 0x0301, ecx: 0xffc1, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "write-129",
        0x13,
        &const {
            regs! {eax: 0x0381, ecx: 0x0001, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "write-long",
        0x13,
        &const {
            regs! {eax: 0x0b01, ecx: 0x0001, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
    c.call(
        "format",
        0x13,
        &const {
            regs! {eax: 0x0501, ecx: 0x0301, edx: SCRATCH_DISK, es: BUFFER}
        },
        &given,
    );
}

/// Extensions (EDD 3.0).
fn edd<M: Machine>(c: &mut Calls<'_, M>) {
    for drive in [0x80, 0x81, 0x82, 0xe0, 0x00, 0x7f, 0xff] {
        c.call("installed", 0x13, &regs! {eax: 0x4100, ebx: 0x55aa, edx: drive}, &REGISTERS_ONLY);
    }
    c.call(
        "installed-wrong-bx",
        0x13,
        &const {
            regs! {eax: 0x4100, ebx: 0x1234, edx: 0x80}
        },
        &REGISTERS_ONLY,
    );

    let to = (0, BUFFER);
    for &(name, size, blocks, lba, bytes) in &[
        ("read-1", 16, 1, 0, 512),
        ("read-16", 16, 16, 1, 8192),
        ("read-127", 16, 127, 0, 0xfe00 / 2),
        ("read-128", 16, 128, 0, 512),
        ("read-none", 16, 0, 0, 512),
        ("read-last", 16, 1, SCRATCH_SECTORS - 1, 512),
        ("read-beyond", 16, 1, SCRATCH_SECTORS, 512),
        ("read-across-end", 16, 2, SCRATCH_SECTORS - 1, 1024),
        ("read-far-beyond", 16, 1, 1 << 40, 512),
        ("read-wrapped", 16, 2, u64::MAX, 512),
        ("packet-too-short", 15, 1, 0, 512),
        ("packet-empty", 0, 1, 0, 512),
        ("packet-long", 24, 1, 0, 512),
    ] {
        c.m.fill(FarPtr::new(BUFFER, 0), 0xcc, bytes);
        packet(c, size, blocks, to, lba);
        extended(c, name, 0x4200, SCRATCH_DISK, &Capture { buffer: bytes, prefilled: true, ..REGISTERS_ONLY });
    }
    // Not tested: a packet with a flat 64-bit address (FFFF:FFFF). SeaBIOS does not implement it and overwrites this
    // program.
    for &(name, ax, blocks, lba) in &[
        ("write-1", 0x4300, 1, 100),
        ("write-and-verify", 0x4302, 1, 101),
        ("write-bad-option", 0x4303, 1, 102),
        ("write-beyond", 0x4300, 1, SCRATCH_SECTORS),
        ("verify-1", 0x4400, 1, 100),
        ("verify-beyond", 0x4400, 1, SCRATCH_SECTORS),
        ("verify-none", 0x4400, 0, 0),
        ("seek", 0x4700, 0, 1000),
        ("seek-beyond", 0x4700, 0, SCRATCH_SECTORS),
    ] {
        packet(c, 16, blocks, to, lba);
        extended(c, name, ax, SCRATCH_DISK, &Capture { prefilled: true, ..REGISTERS_ONLY });
    }
    for &(name, ax) in &[
        ("lock", 0x4501),
        ("lock-status", 0x4502),
        ("unlock", 0x4500),
        ("lock-bad", 0x4503),
        ("eject", 0x4600),
        ("media-change", 0x4900),
    ] {
        c.call(name, 0x13, &regs! {eax: ax, edx: SCRATCH_DISK}, &REGISTERS_ONLY);
    }
    for size in [0, 25, 26, 27, 29, 30, 31, 65, 66, 73, 74, 80, 0xffff_u16] {
        for drive in [0x80, SCRATCH_DISK] {
            c.m.fill(FarPtr::new(BUFFER, 0), 0, 80);
            c.m.write16(FarPtr::new(BUFFER, 0), size);
            let capture = Capture { buffer: 80, prefilled: true, ..REGISTERS_ONLY };
            c.call("parameters", 0x13, &regs! {eax: 0x4800, edx: drive, ds: BUFFER}, &capture);
        }
    }
    for al in [0, 1, 2, 3, 4, 5, 6, 7, 0xff] {
        c.call("set-configuration", 0x13, &regs! {eax: 0x4e00 | al, edx: 0x80}, &REGISTERS_ONLY);
    }
    for ax in [0x4a00, 0x4b00, 0x4b01, 0x4c00, 0x4d00] {
        c.m.fill(FarPtr::new(BUFFER, 0), 0, 32);
        c.m.write8(FarPtr::new(BUFFER, 0), 0x13);
        let capture = Capture { buffer: 32, prefilled: true, ..REGISTERS_ONLY };
        c.call("cd-emulation", 0x13, &regs! {eax: ax, edx: 0x80, ds: BUFFER}, &capture);
    }
}

/// Size of hdb in sectors.
pub const SCRATCH_SECTORS: u64 = 65_536;

/// Absent drives: a third hard disk, floppies.
fn absent<M: Machine>(c: &mut Calls<'_, M>) {
    for drive in [0x82, 0xff, 0x7f, 0x00, 0x01, 0x02] {
        for &(name, ax) in &[
            ("reset", 0x0000),
            ("status", 0x0100),
            ("read", 0x0201),
            ("write", 0x0301),
            ("verify", 0x0401),
            ("parameters", 0x0800),
            ("type", 0x1500),
            ("change", 0x1600),
            ("ready", 0x1000),
            ("edd-read", 0x4200),
            ("edd-parameters", 0x4800),
        ] {
            let regs = &regs! {eax: ax, ecx: 1, edx: drive, es: BUFFER, ds: PACKETS, esi: PACKET as u32};
            let capture = if drive < 0x80 && ax == 0x0800 {
                Capture { hide: hide::ES | hide::EDI, ..REGISTERS_ONLY }
            } else {
                REGISTERS_ONLY
            };
            c.call(name, 0x13, regs, &capture);
        }
    }
}

/// Functions that no BIOS has.
fn functions<M: Machine>(c: &mut Calls<'_, M>) {
    for ah in [
        0x06, 0x07, 0x0e, 0x0f, 0x12, 0x13, 0x17, 0x18, 0x19, 0x1a, 0x20, 0x22, 0x30, 0x40, 0x4f, 0x50, 0x7f, 0x80,
        0xfe,
    ] {
        c.call("no-function", 0x13, &regs! {eax: ah << 8 | 1, ecx: 1, edx: 0x80, es: BUFFER}, &REGISTERS_ONLY);
    }
}
