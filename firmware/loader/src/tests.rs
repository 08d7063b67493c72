//! Tests of the loader on a fake machine: placement by the memory map, and the video mode that a kernel requests.

use super::*;
use crate::info::Info;
use pcvm_firmware_rt::FarPtr;
use pcvm_firmware_rt::fake::{Fake, Nothing};

const MIB: u64 = 1 << 20;

/// A machine whose INT 15h AX=E820h returns these ranges.
fn with_map(map: &'static [(u64, u64, u32)]) -> Fake<Nothing> {
    let mut hw = Fake::new(Nothing);
    hw.on_interrupt = Some(Box::new(move |memory, number, regs| {
        assert_eq!((number, regs.eax, regs.edx, regs.ecx), (0x15, 0xe820, 0x534d_4150, 20));
        let n = regs.ebx as usize;
        let (base, length, kind) = map[n];
        let at = (usize::from(regs.es) << 4) + regs.edi as usize;
        let entry = [&base.to_le_bytes()[..], &length.to_le_bytes(), &kind.to_le_bytes()].concat();
        memory[at..at + 20].copy_from_slice(&entry);
        regs.eax = 0x534d_4150;
        regs.ebx = if n + 1 < map.len() { n as u32 + 1 } else { 0 };
        regs.set_cf(false);
    }));
    hw
}

const MAP: &[(u64, u64, u32)] = &[
    (0, 639 << 10, 1),
    (MIB, 63 * MIB, 1),
    (64 * MIB, MIB, 3),
    (65 * MIB, 15 * MIB, 1),
    (80 * MIB, MIB, 2),
    (4096 * MIB, 4096 * MIB, 1),
];

#[test]
fn an_initrd_is_placed_in_the_highest_ram_below_the_limit_and_above_the_kernel() {
    let place = |bytes: u32, floor: u32, last: u64| e820::highest(&mut with_map(MAP), bytes, floor, last);
    let mib = MIB as u32;
    assert_eq!(place(mib, 2 * mib, 1 << 32), Some(79 * mib));
    assert_eq!(place(mib + 1, 2 * mib, 1 << 32), Some(79 * mib - 0x1000), "it begins at a page");
    assert_eq!(place(mib, 2 * mib, 70 * MIB), Some(69 * mib));
    assert_eq!(place(16 * mib, 2 * mib, 1 << 32), Some(48 * mib), "it does not cross the tables");
    assert_eq!(place(mib, 2 * mib, 65 * MIB + 1000), Some(63 * mib));
    assert_eq!(place(mib, 78 * mib, 1 << 32), Some(79 * mib));
    assert_eq!(place(63 * mib, mib, 1 << 32), Some(mib));
    assert_eq!(place(63 * mib, 2 * mib, 1 << 32), None);
    assert_eq!(place(64 * mib, mib, 1 << 32), None);
    assert_eq!(place(u32::MAX, mib, 1 << 32), None, "RAM above 4 GiB is out of reach");
}

#[test]
fn a_map_without_end_is_given_up() {
    let mut hw = Fake::new(Nothing);
    hw.on_interrupt = Some(Box::new(|_, _, regs| {
        (regs.eax, regs.ebx) = (0x534d_4150, 1);
        regs.set_cf(false);
    }));
    let mut count = 0;
    e820::for_each(&mut hw, |_, _| count += 1);
    assert_eq!(count, e820::MAX_ENTRIES);
}

/// Modes of the fake video BIOS: number, width, height, depth, memory model, attributes.
const MODES: [(u16, u16, u16, u8, u8, u16); 7] = [
    (0x101, 640, 480, 8, 4, 0x9b),
    (0x111, 640, 480, 16, 6, 0x9b),
    (0x112, 640, 480, 32, 6, 0x9b),
    (0x114, 800, 600, 16, 6, 0x9b),
    (0x115, 800, 600, 24, 6, 0x9b),
    (0x118, 1024, 768, 32, 6, 0x1b), // no linear frame buffer
    (0x119, 1024, 768, 4, 3, 0x9b),  // planar
];

/// A machine with a video BIOS that has VBE with these modes.
fn with_vbe() -> Fake<Nothing> {
    let mut hw = Fake::new(Nothing);
    hw.write16(FarPtr::new(0xc000, 0), 0xaa55);
    hw.write16(FarPtr::new(0x40, 0x4a), 80);
    hw.write8(FarPtr::new(0x40, 0x84), 24);
    for (n, mode) in MODES.iter().enumerate() {
        hw.write16(FarPtr::new(0xc000, 0x100 + 2 * n as u16), mode.0);
    }
    hw.write16(FarPtr::new(0xc000, 0x100 + 2 * MODES.len() as u16), 0xffff);
    let mut current = 3;
    hw.on_interrupt = Some(Box::new(move |memory, number, regs| {
        assert_eq!(number, 0x10);
        let at = (usize::from(regs.es) << 4) + regs.edi as usize;
        match regs.ax() {
            0x4f00 => {
                assert_eq!(memory[at..at + 4], *b"VBE2");
                memory[at..at + 4].copy_from_slice(b"VESA");
                memory[at + 14..at + 18].copy_from_slice(&0xc000_0100u32.to_le_bytes());
            }
            0x4f01 => {
                let Some(mode) = MODES.iter().find(|mode| mode.0 == regs.cx()) else { return };
                let block = &mut memory[at..at + 256];
                block.fill(0);
                block[0..2].copy_from_slice(&mode.5.to_le_bytes());
                block[16..18].copy_from_slice(&(mode.1 * u16::from(mode.3.div_ceil(8))).to_le_bytes());
                block[18..20].copy_from_slice(&mode.1.to_le_bytes());
                block[20..22].copy_from_slice(&mode.2.to_le_bytes());
                block[25] = mode.3;
                block[27] = mode.4;
                block[31..37].copy_from_slice(&[8, 16, 8, 8, 8, 0]);
                block[40..44].copy_from_slice(&0xfd00_0000u32.to_le_bytes());
            }
            0x4f02 => current = regs.bx(),
            0x4f03 => regs.set_bx(current),
            0x4f09 => {
                assert_eq!((regs.bx(), regs.cx(), regs.dx()), (1, 256, 0));
                memory[at..at + 8].copy_from_slice(&[0, 0, 0, 0, 0x3f, 0x20, 0x01, 0]);
            }
            _ => return,
        }
        regs.set_ax(0x004f);
    }));
    hw
}

fn set_up(
    hw: &mut Fake<Nothing>,
    width: u32,
    height: u32,
    depth: u32,
) -> (Option<video::Vbe>, Option<video::FrameBuffer>) {
    let request = video::Request { given: true, text: false, width, height, depth };
    video::set_up(hw, &mut Info::at(0x8000, 128), request).unwrap()
}

#[test]
fn the_mode_with_the_requested_size_and_depth_is_set() {
    for (request, number) in [
        ((640, 480, 16), 0x4111),
        ((640, 480, 0), 0x4112),
        ((640, 480, 24), 0x4112),
        ((640, 480, 8), 0x4101),
        ((0, 0, 0), 0x4115),
        ((800, 600, 16), 0x4114),
        // Without a usable mode it stays as it was.
        ((1024, 768, 32), 3),
        ((1280, 1024, 32), 3),
    ] {
        let (vbe, buffer) = set_up(&mut with_vbe(), request.0, request.1, request.2);
        let (vbe, buffer) = (vbe.unwrap(), buffer.unwrap());
        assert_eq!(vbe.number, number, "{request:?}");
        assert_eq!(buffer.kind, if number == 3 { 2 } else { u8::from(request.2 != 8) });
        assert_eq!(vbe.interface, [0; 3]);
    }
}

#[test]
fn the_frame_buffer_is_described_as_multiboot_does() {
    let mut hw = with_vbe();
    let (_, buffer) = set_up(&mut hw, 640, 480, 32);
    let expect = video::FrameBuffer {
        address: 0xfd00_0000,
        pitch: 2560,
        width: 640,
        height: 480,
        depth: 32,
        kind: 1,
        color: [16, 8, 8, 8, 0, 8],
    };
    assert_eq!(buffer, Some(expect));
    let (_, buffer) = set_up(&mut hw, 640, 480, 8);
    let color = buffer.unwrap().color;
    assert_eq!(color[2..], [0, 0, 0, 1], "256 colors");
    let palette = FarPtr::new(0, u16::from_le_bytes([color[0], color[1]]));
    assert_eq!([0, 1, 2, 3, 4, 5].map(|n| hw.read8(palette.add(n))), [0, 0, 0, 4, 0x82, 0xff], "red, green, blue");
    let text = set_up(&mut hw, 1, 1, 1).1.unwrap();
    assert_eq!(text.kind, 0, "a mode that does not exist leaves the last one");
}

#[test]
fn a_machine_without_video_bios_has_no_screen() {
    let mut hw = Fake::new(Nothing);
    assert_eq!(set_up(&mut hw, 640, 480, 32), (None, None));
}

#[test]
fn boot_information_ends_below_64_kib() {
    let mut hw = Fake::new(Nothing);
    let mut info = Info::at(0x8000, 100);
    assert_eq!(info.block(&mut hw, 20), Ok(FarPtr::new(0, 0x8070)));
    assert_eq!(info.block(&mut hw, 16), Ok(FarPtr::new(0, 0x8090)));
    let room = info.room();
    assert_eq!(room, 0xfff0 - 0x80a0);
    assert_eq!(info.block(&mut hw, room), Ok(FarPtr::new(0, 0x80a0)));
    assert!(info.block(&mut hw, 16).is_err());
}

#[test]
fn an_error_is_written_to_the_screen() {
    let mut hw = Fake::new(Nothing);
    let text = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let sink = text.clone();
    hw.on_interrupt = Some(Box::new(move |_, number, regs| {
        assert_eq!((number, regs.ah()), (0x10, 0x0e));
        sink.borrow_mut().push(regs.al().into());
    }));
    report(&mut hw, "no memory");
    assert_eq!(*text.borrow(), "  kernel loader: no memory\r\n");
    assert_eq!(load(&mut hw, &[9; PARAMETERS]), Err("unknown kind of kernel"));
}
