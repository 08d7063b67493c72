//! The VGA BIOS for the Cirrus Logic CL-GD5446 as Rust functions on the host, on the model of the `devices` crate.

mod common;

use common::{FRAME_BUFFER, Machine, linear};
use vgabios::tables::{ROM_SEGMENT, TABLES, TABLES_OFFSET};
use vgabios::{Far, Hw, Regs, bda, cirrus, far, init, int10, vga};

const BUFFER: Far = far(0x2000, 0);

fn machine() -> Machine<true> {
    let mut rom = vec![0; usize::from(TABLES_OFFSET)];
    rom.extend_from_slice(&TABLES);
    let mut machine = Machine::new(&rom);
    init::init(&mut machine, far(ROM_SEGMENT, 0xff20));
    machine
}

fn call(machine: &mut Machine<true>, ax: u16, bx: u16, cx: u16, dx: u16) -> Regs {
    let mut regs = Regs { eax: ax.into(), ebx: bx.into(), ecx: cx.into(), edx: dx.into(), ..Regs::default() };
    regs.es = BUFFER.seg;
    int10::int10(machine, &mut regs);
    regs
}

/// Numbers, sizes and depths of the listed modes.
fn modes(machine: &mut Machine<true>) -> Vec<(u16, u16, u16, u8)> {
    assert_eq!(call(machine, 0x4f00, 0, 0, 0).ax(), 0x004f);
    assert_eq!(machine.word(BUFFER.at(0x12)), 64, "4 MiB");
    assert_eq!(machine.word(BUFFER.at(0x0a)), 0, "the DAC has six bits");
    let numbers: Vec<u16> =
        (0..).map(|n| machine.word(BUFFER.at(0x22 + 2 * n))).take_while(|&mode| mode != 0xffff).collect();
    numbers
        .into_iter()
        .map(|number| {
            assert_eq!(call(machine, 0x4f01, 0, number, 0).ax(), 0x004f, "{number:x}");
            let base = u32::from(machine.word(BUFFER.at(0x28))) | u32::from(machine.word(BUFFER.at(0x2a))) << 16;
            assert_eq!(base, FRAME_BUFFER);
            let (width, height) = (machine.word(BUFFER.at(0x12)), machine.word(BUFFER.at(0x14)));
            (number, width, height, machine.byte(BUFFER.at(0x19)))
        })
        .collect()
}

#[test]
fn the_modes_are_those_that_the_chip_has() {
    let mut machine = machine();
    let modes = modes(&mut machine);
    for (size, depths) in [
        ((640, 400), &[8, 15, 16, 24, 32][..]),
        ((640, 480), &[8, 15, 16, 24, 32]),
        ((800, 600), &[8, 15, 16, 24, 32]),
        ((1024, 768), &[8, 15, 16, 24]),
        ((1280, 1024), &[8, 15, 16, 24]),
    ] {
        let mut found: Vec<u8> = modes.iter().filter(|(_, w, h, _)| (*w, *h) == size).map(|mode| mode.3).collect();
        found.sort_unstable();
        assert_eq!(found, depths, "{size:?}");
    }
    assert_eq!(modes.len(), 23);
    assert_eq!(call(&mut machine, 0x4f02, 0x147, 0, 0).ax(), 0x014f, "1600x1200");
    assert_eq!(call(&mut machine, 0x4f01, 0, 0x147, 0).ax(), 0x014f);
}

#[test]
fn every_mode_shows_its_frame_buffer_at_its_size() {
    let mut machine = machine();
    for (number, width, height, bpp) in modes(&mut machine) {
        let bytes = u32::from(bpp).div_ceil(8);
        let last = u64::from(FRAME_BUFFER) + u64::from(bytes) * (u64::from(width) * u64::from(height) - 1);
        assert_eq!(call(&mut machine, 0x4f02, number | 0x4000, 0, 0).ax(), 0x004f, "{number:x}");
        assert_eq!(call(&mut machine, 0x4f03, 0, 0, 0).bx(), number | 0x4000);
        let frame = machine.bench.device.render(&machine.bench.memory);
        assert_eq!((frame.width, frame.height), (width.into(), height.into()), "{number:x}");
        assert!(frame.pixels.iter().all(|&pixel| pixel == 0), "{number:x} is not clear");
        machine.bench.mem_write(last, &[0xff; 4][..bytes as usize]);
        let frame = machine.bench.device.render(&machine.bench.memory);
        let lit: Vec<usize> = (0..frame.pixels.len()).filter(|&n| frame.pixels[n] != 0).collect();
        // DAC entry FFh is black in mode 13h's palette.
        assert!(bpp == 8 || lit == [frame.pixels.len() - 1], "{number:x}: {lit:?}");
        // The CRT controller's frequency is the monitor's.
        let (_, half) = machine.bench.device.blink_phase(0);
        let hertz = 8e9 / half as f64;
        let expected = if height == 400 { 70.0 } else { 60.0 };
        assert!((hertz - expected).abs() < 1.2, "{number:x}: {hertz} Hz");
    }
    assert_eq!(call(&mut machine, 0x0003, 0, 0, 0).al(), 0x30);
    assert_eq!(machine.bench.device.text_screen(&machine.bench.memory).len(), 25);
    assert_eq!(call(&mut machine, 0x4f03, 0, 0, 0).bx(), 3);
}

#[test]
fn a_mode_set_clears_video_memory_unless_told_not_to() {
    let mut machine = machine();
    for (flags, expect) in [(0x4000, 0), (0xc000, 0x77)] {
        call(&mut machine, 0x4f02, 0x4105, 0, 0);
        machine.bench.memory.write_video(1024 * 768 - 1, &[0x77]);
        call(&mut machine, 0x4f02, 0x105 | flags, 0, 0);
        let mut byte = [0];
        machine.bench.memory.read_video(1024 * 768 - 1, &mut byte);
        assert_eq!(byte, [expect]);
    }
    machine.bench.memory.write_video(0x3_fffc, &[0x77; 4]);
    call(&mut machine, 0x0012, 0, 0, 0);
    let mut bytes = [0; 4];
    machine.bench.memory.read_video(0x3_fffc, &mut bytes);
    assert_eq!(bytes, [0; 4], "the planes");
}

#[test]
fn banks_line_lengths_and_starts_are_set_and_returned() {
    let mut machine = machine();
    call(&mut machine, 0x4f02, 0x117, 0, 0);
    for bank in [0, 1, 23, 63] {
        assert_eq!(call(&mut machine, 0x4f05, 0, 0, bank).ax(), 0x004f);
        assert_eq!(call(&mut machine, 0x4f05, 0x100, 0, 0).dx(), bank);
        machine.write(0xa_0010, &[bank as u8 + 1]);
        let mut byte = [0];
        machine.bench.memory.read_video(u64::from(bank) << 16 | 0x10, &mut byte);
        assert_eq!(byte[0], bank as u8 + 1);
    }
    assert_eq!(call(&mut machine, 0x4f05, 0, 0, 64).ax(), 0x014f);
    let regs = call(&mut machine, 0x4f06, 0, 1200, 0);
    assert_eq!((regs.ax(), regs.bx(), regs.cx(), regs.dx()), (0x004f, 2400, 1200, 1747));
    assert_eq!(call(&mut machine, 0x4f06, 0, 2048, 0).ax(), 0x024f, "the pitch has nine bits");
    let regs = call(&mut machine, 0x4f06, 3, 0, 0);
    assert_eq!((regs.bx(), regs.cx()), (4080, 2040));
    assert_eq!(call(&mut machine, 0x4f07, 0, 100, 800).ax(), 0x004f);
    let regs = call(&mut machine, 0x4f07, 1, 0, 0);
    assert_eq!((regs.cx(), regs.dx()), (100, 800));
    machine.bench.memory.write_video(2400 * 800 + 200, &[0xff, 0xff]);
    assert_eq!(machine.bench.device.render(&machine.bench.memory).pixels[0], 0xff_ffff);
    assert_eq!(call(&mut machine, 0x4f08, 0x0800, 0, 0).ax(), 0x034f, "no palette in a 16-bit mode");
    call(&mut machine, 0x4f02, 0x101, 0, 0);
    let regs = call(&mut machine, 0x4f08, 0x0800, 0, 0);
    assert_eq!((regs.ax(), regs.bh()), (0x004f, 6));
    assert_eq!(call(&mut machine, 0x4f0a, 0, 0, 0).ax(), 0x4f0a, "no protected-mode interface");
}

#[test]
fn a_saved_mode_is_restored() {
    let mut machine = machine();
    call(&mut machine, 0x4f02, 0x4112, 0, 0);
    call(&mut machine, 0x4f07, 0, 0, 16);
    let regs = call(&mut machine, 0x4f04, 0, 0xf, 0);
    assert_eq!(regs.ax(), 0x004f);
    call(&mut machine, 0x4f04, 0x100, 0xf, 1);
    call(&mut machine, 0x0003, 0, 0, 0);
    call(&mut machine, 0x4f04, 0x100, 0xf, 2);
    assert_eq!(call(&mut machine, 0x4f03, 0, 0, 0).bx() & 0x1ff, 0x112);
    assert_eq!(call(&mut machine, 0x4f07, 1, 0, 0).dx(), 16);
    let frame = machine.bench.device.render(&machine.bench.memory);
    assert_eq!((frame.width, frame.height), (640, 480));
}

#[test]
fn modes_of_cirrus_bios_are_vbe_modes() {
    let mut machine = machine();
    for (mode, number) in cirrus::MODES {
        call(&mut machine, mode.into(), 0, 0, 0);
        assert_eq!(call(&mut machine, 0x4f03, 0, 0, 0).bx(), number, "{mode:x}");
        assert_eq!(call(&mut machine, 0x0f00, 0, 0, 0).al(), mode);
        assert_eq!(call(&mut machine, 0x1200 | u16::from(mode), 0xa0, 0, 0).ah(), 1);
    }
    assert_eq!(call(&mut machine, 0x1203, 0xa0, 0, 0).ah(), 1);
    assert_eq!(call(&mut machine, 0x1277, 0xa0, 0, 0).ah(), 0);
    // Programs write pixels and characters in them.
    call(&mut machine, 0x005f, 0, 0, 0);
    call(&mut machine, 0x0c0c, 0, 3, 2);
    let mut byte = [0];
    machine.bench.memory.read_video(2 * 640 + 3, &mut byte);
    assert_eq!(byte, [0x0c]);
}

#[test]
fn inquiries_of_cirrus_bios_are_answered() {
    let mut machine = machine();
    assert_eq!(call(&mut machine, 0x1200, 0x80, 0, 0).ax(), 0x0039, "a CL-GD5446");
    assert_eq!(call(&mut machine, 0x1200, 0x81, 0, 0).ax(), 0x0100);
    assert_eq!(call(&mut machine, 0x1200, 0x82, 0, 0).ax(), 0xaf00);
    assert_eq!(call(&mut machine, 0x1200, 0x85, 0, 0).al(), 64);
    let regs = call(&mut machine, 0x1200, 0x9a, 0, 0);
    assert_eq!((regs.ax(), regs.cx()), (0x4060, 0x1132));
    assert_eq!(call(&mut machine, 0x1200, 0xa1, 0, 0).bx(), 0x0e00);
    assert_eq!(call(&mut machine, 0x1200, 0x99, 0, 0).ax(), 0x1200, "unknown");
    assert_eq!(call(&mut machine, 0x1200, 0x10, 0, 0).bl(), 3, "the VGA's functions");
}

#[test]
fn the_extensions_are_unlocked_and_reset_by_a_mode_set() {
    let mut machine = machine();
    assert_eq!(vga::read(&mut machine, vga::SEQUENCER, 6), 0x12);
    call(&mut machine, 0x4f02, 0x114, 0, 0);
    for (index, value) in [(0x12, 5), (0x17, 0x44)] {
        vga::write(&mut machine, vga::SEQUENCER, index, value);
    }
    call(&mut machine, 0x0003, 0, 0, 0);
    assert_eq!([7, 0x12, 0x17].map(|n| vga::read(&mut machine, vga::SEQUENCER, n)), [0, 0, 0x20]);
    assert_eq!([9, 0x0a, 0x0b, 0x31].map(|n| vga::read(&mut machine, vga::GRAPHICS, n)), [0; 4]);
    assert_eq!(machine.bda8(bda::MODE), 3);
    assert_eq!(linear(BUFFER), 0x2_0000);
}
