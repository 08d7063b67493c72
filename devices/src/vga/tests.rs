use super::*;
use crate::memory::Memory;
use crate::testing::{Bench, Rng, generic_tests};

mod canvas;

const LFB: u64 = 0xfd00_0000;
const PAGE: u64 = 0xfebe_0000;

fn rom() -> Vec<u8> {
    (0..0x9800u32).map(|n| (n * 7) as u8).collect()
}

fn bench() -> Bench<Vga> {
    Bench::new(Vga::new(Vga::DEFAULT_VRAM, rom()))
}

/// With its BARs where firmware would put them.
fn placed() -> Bench<Vga> {
    let mut vga = bench();
    vga.config_write(0x10, 4, LFB as u32);
    vga.config_write(0x18, 4, PAGE as u32);
    vga.config_write(0x04, 2, 3);
    vga
}

fn sequencer(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3c4, u16::from_le_bytes([index, value]));
}

fn graphics(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3ce, u16::from_le_bytes([index, value]));
}

fn crtc(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3d4, u16::from_le_bytes([index, value]));
}

fn dispi(vga: &mut Bench<Vga>, index: u16, value: u16) {
    vga.outw(0x1ce, index);
    vga.outw(0x1cf, value);
}

fn dispi_read(vga: &mut Bench<Vga>, index: u16) -> u16 {
    vga.outw(0x1ce, index);
    vga.inw(0x1cf)
}

/// Registers of a standard mode (technical reference, tables of mode values).
struct Mode {
    misc: u8,
    sequencer: [u8; 5],
    crtc: [u8; 25],
    graphics: [u8; 9],
    mode_control: u8,
    pan: u8,
}

const MODE_3: Mode = Mode {
    misc: 0x67,
    sequencer: [3, 0x00, 0x03, 0x00, 0x02],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
        0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    graphics: [0, 0, 0, 0, 0, 0x10, 0x0e, 0x00, 0xff],
    mode_control: 0x0c,
    pan: 8,
};
const MODE_12: Mode = Mode {
    misc: 0xe3,
    sequencer: [3, 0x01, 0x0f, 0x00, 0x06],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00,
        0xe7, 0x04, 0xe3, 0xff,
    ],
    graphics: [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff],
    mode_control: 0x01,
    pan: 0,
};
const MODE_13: Mode = Mode {
    misc: 0x63,
    sequencer: [3, 0x01, 0x0f, 0x00, 0x0e],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40,
        0x96, 0xb9, 0xa3, 0xff,
    ],
    graphics: [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff],
    mode_control: 0x41,
    pan: 0,
};

fn set(vga: &mut Bench<Vga>, mode: &Mode) {
    vga.outb(0x3c2, mode.misc);
    for (n, value) in (0..).zip(mode.sequencer) {
        sequencer(vga, n, value);
    }
    crtc(vga, 0x11, 0);
    for (n, value) in (0..).zip(mode.crtc) {
        crtc(vga, n, value);
    }
    for (n, value) in (0..).zip(mode.graphics) {
        graphics(vga, n, value);
    }
    vga.inb(0x3da);
    for n in 0..16 {
        vga.outb(0x3c0, n);
        vga.outb(0x3c0, n);
    }
    for (n, value) in [(0x10, mode.mode_control), (0x12, 0x0f), (0x13, mode.pan), (0x14, 0)] {
        vga.outb(0x3c0, n);
        vga.outb(0x3c0, value);
    }
    vga.outb(0x3c0, 0x20);
    vga.outb(0x3c8, 0);
    for n in 0..=255 {
        for component in [n, n / 2, 0] {
            vga.outb(0x3c9, component & 0x3f);
        }
    }
}

fn window(vga: &Bench<Vga>) -> Option<Region> {
    Device::regions(&vga.device).into_iter().find(|r| r.tag == WINDOW_TAG)
}

#[test]
fn generic() {
    generic_tests(|| Vga::new(Vga::DEFAULT_VRAM, rom()));
}

#[test]
fn the_function_is_a_vga_whose_bars_can_be_sized() {
    let mut vga = bench();
    assert_eq!(Device::pci(&vga.device), Some(Devfn::new(2, 0)));
    assert_eq!(vga.config_read(0, 4), 0x1111_1234);
    assert_eq!(vga.config_read(8, 4), 0x0300_0002);
    for (register, size) in [(0x10, 0xff00_0008), (0x14, 0), (0x18, 0xffff_f000), (0x30, 0xffff_0001)] {
        vga.config_write(register, 4, 0xffff_ffff);
        assert_eq!(vga.config_read(register, 4), size, "{register:x}");
    }
}

#[test]
fn the_rom_reads_back_where_its_bar_is() {
    let mut vga = placed();
    vga.config_write(0x30, 4, 0xfebd_0001);
    let mut back = [0; 4];
    vga.mem_read(0xfebd_0100, &mut back);
    assert_eq!(back, rom()[0x100..0x104]);
    vga.config_write(0x30, 4, 0xfebd_0000);
    vga.mem_read(0xfebd_0100, &mut back);
    assert_eq!(back, [0xff; 4], "disabled");
}

#[test]
fn the_crtc_answers_at_one_address_only() {
    let mut vga = bench();
    vga.outb(0x3c2, 0x63);
    crtc(&mut vga, 0x0f, 0x5a);
    assert_eq!((vga.inb(0x3d5), vga.inb(0x3b5)), (0x5a, 0xff));
    vga.outb(0x3c2, 0x62);
    assert_eq!((vga.inb(0x3d5), vga.inb(0x3b5)), (0xff, 0x5a));
    assert_eq!(vga.inb(0x3cc), 0x62);
}

#[test]
fn write_protection_spares_the_line_compare_bit() {
    let mut vga = bench();
    vga.outb(0x3c2, 0x63);
    crtc(&mut vga, 0x00, 0x5f);
    crtc(&mut vga, 0x11, 0x80);
    crtc(&mut vga, 0x00, 0x11);
    crtc(&mut vga, 0x07, 0xff);
    crtc(&mut vga, 0x12, 0x33);
    for (index, value) in [(0, 0x5f), (7, 0x10), (0x12, 0x33)] {
        vga.outb(0x3d4, index);
        assert_eq!(vga.inb(0x3d5), value, "{index:x}");
    }
}

#[test]
fn the_attribute_flip_flop_is_reset_by_the_status_register() {
    let mut vga = bench();
    vga.outb(0x3c2, 0x63);
    vga.inb(0x3da);
    vga.outb(0x3c0, 0x01);
    vga.inb(0x3da);
    vga.outb(0x3c0, 0x02);
    vga.outb(0x3c0, 0x3c);
    vga.outb(0x3c0, 0x22);
    assert_eq!((vga.inb(0x3c0), vga.inb(0x3c1)), (0x22, 0x3c));
    vga.inb(0x3da);
    vga.outb(0x3c0, 0x01);
    assert_eq!(vga.inb(0x3c1), 0, "register 1 was never written");
}

#[test]
fn registers_keep_only_the_bits_they_have() {
    let mut vga = bench();
    for (port, index, bits) in [
        (0x3c4, 0, 0x03),
        (0x3c4, 1, 0x3d),
        (0x3c4, 2, 0x0f),
        (0x3c4, 3, 0x3f),
        (0x3c4, 4, 0x0e),
        (0x3c4, 5, 0x00),
        (0x3ce, 0, 0x0f),
        (0x3ce, 3, 0x1f),
        (0x3ce, 5, 0x7b),
        (0x3ce, 8, 0xff),
        (0x3ce, 9, 0x00),
    ] {
        vga.outw(port, u16::from_le_bytes([index, 0xff]));
        assert_eq!(vga.inb(port + 1), bits, "{port:x} index {index}");
    }
}

#[test]
fn the_dac_commits_whole_colours_and_tells_its_state() {
    let mut vga = bench();
    vga.outb(0x3c8, 7);
    for component in [1, 2, 0xff, 4, 5, 6, 9] {
        vga.outb(0x3c9, component);
    }
    assert_eq!(vga.inb(0x3c7), 0);
    assert_eq!(vga.inb(0x3c8), 9);
    vga.outb(0x3c7, 7);
    assert_eq!(vga.inb(0x3c7), 3);
    let read: Vec<u8> = (0..9).map(|_| vga.inb(0x3c9)).collect();
    assert_eq!(read, [1, 2, 0x3f, 4, 5, 6, 0, 0, 0], "the third colour was not finished");
    vga.outb(0x3c8, 255);
    for _ in 0..6 {
        vga.outb(0x3c9, 3);
    }
    vga.outb(0x3c7, 0);
    assert_eq!(vga.inb(0x3c9), 3, "the index wraps");
}

#[test]
fn retrace_comes_sixty_or_seventy_times_a_second() {
    for (mode, hertz) in [(&MODE_12, 60), (&MODE_3, 70), (&MODE_13, 70)] {
        let mut vga = bench();
        set(&mut vga, mode);
        let (mut frames, mut last, mut blanked) = (0, false, 0);
        for _ in 0..50_000 {
            vga.advance(20_000);
            let status = vga.inb(0x3da);
            blanked += u32::from(status & 1);
            let retrace = status & 8 != 0;
            frames += u32::from(retrace && !last);
            last = retrace;
        }
        assert!((hertz - 1..=hertz + 1).contains(&frames), "{frames} frames for {hertz} Hz");
        assert!((10_000..40_000).contains(&blanked), "{blanked}");
    }
}

#[test]
fn retrace_comes_whatever_the_registers_hold() {
    for fill in [0x00, 0xff, 0x80, 0x7f] {
        let mut vga = bench();
        vga.outb(0x3c2, 0x63);
        for index in [0x11, 0, 1, 6, 7, 0x10, 0x12] {
            crtc(&mut vga, index, if index == 0x11 { fill & 0x7f } else { fill });
        }
        let mut seen = [false; 2];
        for _ in 0..200_000 {
            vga.advance(1_000);
            seen[usize::from(vga.inb(0x3da) >> 3 & 1)] = true;
        }
        assert!(seen[1], "{fill:x}");
    }
}

#[test]
fn windows_are_where_the_memory_map_says_and_linear_only_when_the_bytes_are() {
    let mut vga = bench();
    assert_eq!(window(&vga), None, "video memory is off after a reset");
    set(&mut vga, &MODE_13);
    assert_eq!(window(&vga), Some(Region::video(0xa_0000, 0x1_0000, WINDOW_TAG, 0)));
    for (map, base, len) in [(0, 0xa_0000, 0x2_0000), (2, 0xb_0000, 0x8000), (3, 0xb_8000, 0x8000)] {
        graphics(&mut vga, 6, 1 | map << 2);
        assert_eq!(window(&vga), Some(Region::video(base, len, WINDOW_TAG, 0)));
    }
    graphics(&mut vga, 6, 5);
    let off: [fn(&mut Bench<Vga>); 8] = [
        |v| sequencer(v, 4, 0x06),
        |v| sequencer(v, 2, 0x07),
        |v| graphics(v, 1, 1),
        |v| graphics(v, 3, 1),
        |v| graphics(v, 3, 0x18),
        |v| graphics(v, 5, 0x41),
        |v| graphics(v, 5, 0x48),
        |v| graphics(v, 8, 0x7f),
    ];
    for (n, off) in off.iter().enumerate() {
        set(&mut vga, &MODE_13);
        vga.effects.clear();
        off(&mut vga);
        assert_eq!(window(&vga).unwrap().video, None, "{n}");
        assert_eq!(vga.effects, [Effect::Remap], "{n}");
    }
}

#[test]
fn only_a_change_of_the_map_asks_for_one() {
    let mut vga = placed();
    set(&mut vga, &MODE_12);
    vga.effects.clear();
    set(&mut vga, &MODE_12);
    for index in 0..9 {
        if index != 6 {
            graphics(&mut vga, index, 0x05);
        }
    }
    vga.mem_write(0xa_0000, &[1, 2, 3, 4]);
    vga.config_write(0x3c, 1, 5);
    vga.config_write(0x10, 4, LFB as u32);
    assert_eq!(vga.effects, []);
    vga.config_write(0x10, 4, 0xfc00_0000);
    assert_eq!(vga.effects, [Effect::Remap]);
}

/// Write mode, rotate and function, set/reset, its enable, bit mask, map mask, data, and the four planes after it.
type WriteRow = (u8, u8, u8, u8, u8, u8, u8, [u8; 4]);

/// A byte of each plane at an offset.
fn planes(memory: &Memory, offset: u64) -> [u8; 4] {
    let mut bytes = [0; 4];
    memory.read_video(offset * 4, &mut bytes);
    bytes
}

#[test]
fn write_modes_do_what_the_reference_says() {
    const LATCH: [u8; 4] = [0xf0, 0x0f, 0xaa, 0x55];
    #[rustfmt::skip]
    let table: &[WriteRow] = &[
        (0, 0x00, 0x0, 0x0, 0xff, 0xf, 0x3c, [0x3c; 4]),
        (0, 0x00, 0x0, 0x0, 0xff, 0x5, 0x3c, [0x3c, 0x00, 0x3c, 0x00]),
        (0, 0x03, 0x0, 0x0, 0xff, 0xf, 0x81, [0x30; 4]),
        (0, 0x00, 0x5, 0x3, 0xff, 0xf, 0x3c, [0xff, 0x00, 0x3c, 0x3c]),
        (0, 0x00, 0x0, 0x0, 0x0f, 0xf, 0x33, [0xf3, 0x03, 0xa3, 0x53]),
        (0, 0x08, 0x0, 0x0, 0xff, 0xf, 0x33, [0x30, 0x03, 0x22, 0x11]),
        (0, 0x10, 0x0, 0x0, 0xff, 0xf, 0x33, [0xf3, 0x3f, 0xbb, 0x77]),
        (0, 0x18, 0x0, 0x0, 0xff, 0xf, 0x33, [0xc3, 0x3c, 0x99, 0x66]),
        (1, 0x18, 0xf, 0xf, 0x00, 0xf, 0x33, LATCH),
        (1, 0x00, 0x0, 0x0, 0xff, 0x2, 0x33, [0, 0x0f, 0, 0]),
        (2, 0x00, 0x0, 0x0, 0xff, 0xf, 0x06, [0x00, 0xff, 0xff, 0x00]),
        (2, 0x00, 0x0, 0xf, 0xf0, 0xf, 0x01, [0xf0, 0x0f, 0x0a, 0x05]),
        (2, 0x18, 0x0, 0x0, 0xff, 0xf, 0x0f, [0x0f, 0xf0, 0x55, 0xaa]),
        (3, 0x00, 0x9, 0x0, 0xff, 0xf, 0x0f, [0xff, 0x00, 0xa0, 0x5f]),
        (3, 0x04, 0x9, 0x0, 0x3c, 0xf, 0x0f, [0xf0, 0x0f, 0x8a, 0x75]),
    ];
    for (n, &(mode, rotate, set_reset, enable, mask, map, data, expect)) in table.iter().enumerate() {
        let mut vga = bench();
        set(&mut vga, &MODE_12);
        vga.memory.write_video(0x100 * 4, &LATCH);
        let mut byte = [0];
        vga.mem_read(0xa_0100, &mut byte);
        for (index, value) in [(5, mode), (3, rotate), (0, set_reset), (1, enable), (8, mask)] {
            graphics(&mut vga, index, value);
        }
        sequencer(&mut vga, 2, map);
        vga.mem_write(0xa_0200, &[data]);
        assert_eq!(planes(&vga.memory, 0x200), expect, "row {n}");
    }
}

#[test]
fn read_modes_choose_a_plane_or_compare_colours() {
    let mut vga = bench();
    set(&mut vga, &MODE_12);
    vga.memory.write_video(0, &[0xf0, 0x0f, 0xaa, 0x55]);
    let mut byte = [0];
    for (plane, expect) in [(0, 0xf0), (1, 0x0f), (2, 0xaa), (3, 0x55)] {
        graphics(&mut vga, 4, plane);
        vga.mem_read(0xa_0000, &mut byte);
        assert_eq!(byte[0], expect);
    }
    graphics(&mut vga, 5, 0x08);
    for (compare, care, expect) in
        [(0x5, 0xf, 0xa0), (0x5, 0x1, 0xf0), (0x0, 0x0, 0xff), (0xa, 0xf, 0x05), (6, 6, 0x0a)]
    {
        graphics(&mut vga, 2, compare);
        graphics(&mut vga, 7, care);
        vga.mem_read(0xa_0000, &mut byte);
        assert_eq!(byte[0], expect, "colour {compare:x}, care {care:x}");
    }
}

#[test]
fn wide_accesses_go_byte_by_byte_and_the_window_ends_where_it_ends() {
    let mut vga = bench();
    set(&mut vga, &MODE_12);
    vga.mem_write(0xa_fffe, &[1, 2, 3, 4]);
    assert_eq!(planes(&vga.memory, 0xfffe), [1; 4]);
    assert_eq!(planes(&vga.memory, 0xffff), [2; 4]);
    assert_eq!(planes(&vga.memory, 0x1_0000), [0; 4]);
    assert_eq!(planes(&vga.memory, 0), [0; 4]);
    let mut back = [0; 4];
    vga.mem_read(0xa_fffe, &mut back);
    assert_eq!(back, [1, 2, 0xff, 0xff]);
}

fn print(vga: &mut Bench<Vga>, cell: u64, text: &[u8]) {
    for (cell, &byte) in (cell..).zip(text) {
        vga.mem_write(0xb_8000 + cell * 2, &[byte, 0x07]);
    }
}

#[test]
fn the_text_screen_is_what_was_written() {
    let mut vga = bench();
    set(&mut vga, &MODE_3);
    assert!(vga.device.is_text());
    print(&mut vga, 0, b"Hello\x01\xb3\xdb");
    print(&mut vga, 24 * 80 + 79, b"!");
    let screen = vga.device.text_screen(&vga.memory);
    assert_eq!(screen.len(), 25);
    assert!(screen.iter().all(|row| row.chars().count() == 80));
    assert!(screen[0].starts_with("Hello☺│█ "), "{}", screen[0]);
    assert!(screen[24].ends_with('!'));
    let mut cell = [0; 2];
    vga.mem_read(0xb_8000, &mut cell);
    assert_eq!(cell, [b'H', 7]);
    // Scrolled by two rows, as a console does it.
    crtc(&mut vga, 0x0d, 160);
    print(&mut vga, 160, b"third");
    assert!(vga.device.text_screen(&vga.memory)[0].starts_with("third"));
    // Cells of eight lines: fifty rows.
    crtc(&mut vga, 9, 0x47);
    assert_eq!(vga.device.text_screen(&vga.memory).len(), 50);
    set(&mut vga, &MODE_12);
    assert!(!vga.device.is_text());
    assert_eq!(vga.device.text_screen(&vga.memory), Vec::<String>::new());
}

#[test]
fn text_as_cells_has_colours_and_the_cursor() {
    let mut vga = bench();
    set(&mut vga, &MODE_3);
    print(&mut vga, 81, b"A");
    vga.mem_write(0xb_8000 + 82 * 2, &[b'B', 0x9e]);
    crtc(&mut vga, 0x0e, 0);
    crtc(&mut vga, 0x0f, 83);
    let cells = |vga: &Bench<Vga>| vga.device.text_cells(&vga.memory);
    let screen = cells(&vga).unwrap();
    assert_eq!((screen.columns, screen.rows, screen.cells.len(), screen.blinks), (80, 25, 2000, true));
    assert_eq!(screen.cells[81..83], [[b'A', 0x07], [b'B', 0x9e]]);
    assert_eq!(screen.cursor, Some(TextCursor { column: 3, row: 1, first: 13, last: 14, height: 16 }));
    // A line that is longer than the cell ends with it; one that ends before it begins, or elsewhere, is not there.
    crtc(&mut vga, 0x0b, 0x1f);
    assert_eq!(cells(&vga).unwrap().cursor.map(|cursor| cursor.last), Some(15));
    for (index, value) in [(0x0b, 3), (0x0a, 0x2d), (0x0e, 0x40)] {
        let mut vga = bench();
        set(&mut vga, &MODE_3);
        crtc(&mut vga, index, value);
        assert_eq!(cells(&vga).unwrap().cursor, None, "{index:x}");
    }
    // Sequencer: screen off.
    sequencer(&mut vga, 1, 0x20);
    let dark = cells(&vga).unwrap();
    assert!(dark.cells.iter().all(|cell| *cell == [b' ', 0]) && dark.cursor.is_none());
    set(&mut vga, &MODE_12);
    assert_eq!(cells(&vga), None);
    for code in 1..=0xfe {
        assert_eq!(cp437_code(cp437(code)), Some(code));
    }
    assert_eq!(cp437_code('€'), None);
}

#[test]
fn the_frame_buffer_is_as_large_as_video_memory() {
    for mib in [1, 2, 16, 64, 256] {
        let mut vga = Bench::new(Vga::new(mib << 20, Vec::new()));
        assert_eq!(dispi_read(&mut vga, vbe::VIDEO_MEMORY), (mib * 16) as u16);
        vga.config_write(0x10, 4, u32::MAX);
        assert_eq!(!(vga.config_read(0x10, 4) & !0xf) + 1, mib << 20);
    }
}

#[test]
fn a_font_written_to_plane_2_is_what_text_is_drawn_with() {
    let mut vga = bench();
    set(&mut vga, &MODE_3);
    print(&mut vga, 81, b"A");
    for (index, value) in [(2, 4), (4, 7)] {
        sequencer(&mut vga, index, value);
    }
    for (index, value) in [(4, 2), (5, 0), (6, 4)] {
        graphics(&mut vga, index, value);
    }
    vga.mem_write(0xa_0000 + u64::from(b'A') * 32 + 3, &[0x81]);
    for (index, value) in [(2, 3), (4, 3)] {
        sequencer(&mut vga, index, value);
    }
    for (index, value) in [(4, 0), (5, 0x10), (6, 0x0e)] {
        graphics(&mut vga, index, value);
    }
    crtc(&mut vga, 0x0a, 0x20);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (720, 400));
    let lit: Vec<_> = (0..720 * 400).filter(|&n| frame.pixels[n] != 0).map(|n| (n % 720, n / 720)).collect();
    assert_eq!(lit, [(9, 19), (16, 19)], "row 1, column 1, line 3");
    assert_eq!(frame.rgb()[(19 * 720 + 9) * 3..][..3], [7 << 2, 3 << 2, 0]);
}

#[test]
fn mode_13h_and_the_unchained_modes_show_the_same_pixels() {
    let mut vga = bench();
    set(&mut vga, &MODE_13);
    vga.mem_write(0xa_0000 + 320 * 199 + 319, &[0x2a]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (640, 400), "dots and scan lines");
    let last = [0xaa, 0x55, 0].repeat(2);
    assert_eq!(frame.rgb()[640 * 399 * 3 - 6..][..6], last);
    assert_eq!(frame.rgb()[640 * 400 * 3 - 6..], last);
    sequencer(&mut vga, 4, 0x06);
    sequencer(&mut vga, 2, 0x02);
    vga.mem_write(0xa_0000, &[0x3f]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!(frame.rgb()[..6], [0; 6]);
    assert_eq!(frame.rgb()[6..15], [0xff, 0x7d, 0, 0xff, 0x7d, 0, 0, 0, 0], "plane 1 is the second pixel");
}

#[test]
fn mode_12h_shows_its_planes() {
    let mut vga = bench();
    set(&mut vga, &MODE_12);
    sequencer(&mut vga, 2, 0x0a);
    vga.mem_write(0xa_0000 + 80 * 479, &[0x80]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (640, 480));
    assert_eq!(frame.rgb()[640 * 479 * 3..][..6], [10 << 2, 5 << 2, 0, 0, 0, 0]);
    // A split screen: below line 239 address 0 again.
    vga.mem_write(0xa_0000, &[0x80]);
    crtc(&mut vga, 0x18, 239);
    crtc(&mut vga, 0x11, 0);
    crtc(&mut vga, 7, 0x2e);
    crtc(&mut vga, 9, 0x00);
    let frame = vga.device.render(&vga.memory);
    assert_eq!(frame.rgb()[640 * 240 * 3..][..3], [10 << 2, 5 << 2, 0]);
    assert_eq!(frame.rgb()[640 * 479 * 3..][..3], [0; 3]);
}

#[test]
fn vbe_modes_are_set_as_firmware_sets_them() {
    let mut vga = placed();
    assert_eq!(dispi_read(&mut vga, 0), 0xb0c5);
    assert_eq!(dispi_read(&mut vga, 0xa), 256, "16 MiB in 64 KiB");
    dispi(&mut vga, 0, 0xb0c0);
    assert_eq!(dispi_read(&mut vga, 0), 0xb0c0);
    dispi(&mut vga, 4, 2);
    assert_eq!((dispi_read(&mut vga, 1), dispi_read(&mut vga, 3)), (16_000, 32));
    vga.memory.write_video(0, &[0x55; 64]);
    for (index, value) in [(4, 0), (1, 1024), (2, 768), (3, 32), (4, 0xc1)] {
        dispi(&mut vga, index, value);
    }
    assert_eq!(planes(&vga.memory, 0), [0x55; 4], "kept as asked");
    dispi(&mut vga, 4, 0);
    dispi(&mut vga, 4, 0x41);
    assert_eq!(planes(&vga.memory, 0), [0; 4]);
    for (index, value) in [(1, 1024), (2, 768), (3, 32), (6, 1024), (7, 4096), (8, 0), (9, 0)] {
        assert_eq!(dispi_read(&mut vga, index), value, "{index}");
    }
    assert!(!vga.device.is_text());
    vga.mem_write(LFB + (1024 * 767 + 1023) * 4, &[1, 2, 3, 0]);
    assert!(vga.device.render(&vga.memory).rgb().iter().all(|b| *b == 0), "the attribute controller is off");
    vga.outb(0x3c0, 0x20);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (1024, 768));
    assert_eq!(frame.rgb()[1024 * 768 * 3 - 3..], [3, 2, 1]);
    dispi(&mut vga, 9, 768);
    assert_eq!(vga.device.render(&vga.memory).rgb().iter().find(|b| **b != 0), None, "the second page is clear");
}

#[test]
fn the_bank_moves_the_window_and_stays_inside() {
    let mut vga = placed();
    for (index, value) in [(1, 640), (2, 480), (3, 8), (4, 1)] {
        dispi(&mut vga, index, value);
    }
    for (bank, offset) in [(0, 0), (3, 0x3_0000), (255, 0xff_0000), (256, 0), (0xffff, 0xff_0000)] {
        dispi(&mut vga, 5, bank);
        assert_eq!(window(&vga), Some(Region::video(0xa_0000, 0x1_0000, WINDOW_TAG, offset)), "{bank}");
    }
    dispi(&mut vga, 4, 0);
    assert_eq!(dispi_read(&mut vga, 5), 0);
}

#[test]
fn a_planar_vbe_mode_reaches_past_the_vgas_planes_by_banks() {
    let mut vga = placed();
    set(&mut vga, &MODE_12);
    for (index, value) in [(1, 1024), (2, 768), (3, 4), (4, 1), (5, 1)] {
        dispi(&mut vga, index, value);
    }
    vga.mem_write(0xa_0000, &[0xff]);
    assert_eq!(planes(&vga.memory, 0x1_0000), [0xff; 4]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (1024, 768));
    assert_ne!(frame.rgb()[(512 * 1024) * 3..][..3], [0; 3], "byte 65536 is line 512's first");
}

#[test]
fn the_register_page_is_the_ports_again() {
    let mut vga = placed();
    let word = |vga: &mut Bench<Vga>, at: u64| {
        let mut bytes = [0; 2];
        vga.mem_read(PAGE + at, &mut bytes);
        u16::from_le_bytes(bytes)
    };
    assert_eq!(word(&mut vga, 0x500), 0xb0c5);
    assert_eq!(word(&mut vga, 0x514), 256);
    let mut dword = [0; 4];
    vga.mem_read(PAGE + 0x604, &mut dword);
    assert_eq!(dword, [0x1e; 4]);
    vga.mem_write(PAGE + 0x402, &[0x63]);
    assert_eq!(vga.inb(0x3cc), 0x63);
    for (register, value) in [(1, 800_u16), (2, 600), (3, 16), (4, 0x41)] {
        vga.mem_write(PAGE + 0x500 + 2 * register, &value.to_le_bytes());
    }
    vga.mem_write(LFB, &0xf81f_u16.to_le_bytes());
    // As drivers end a blank screen: the attribute controller's index, through the page.
    vga.mem_write(PAGE + 0x400, &[0x20]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (800, 600));
    assert_eq!(frame.rgb()[..3], [0xff, 0, 0xff]);
    let mut edid = [0xaa; 8];
    vga.mem_read(PAGE, &mut edid);
    assert_eq!(edid, [0; 8]);
}

#[test]
fn no_vbe_mode_reaches_outside_video_memory() {
    let mut rng = Rng(5);
    for vram in [1 << 20, 16 << 20] {
        let mut vga = Bench::new(Vga::new(vram, Vec::new()));
        for _ in 0..3000 {
            let index = 1 + rng.below(9) as u16;
            let value = [rng.next_u64() as u16, rng.below(2000) as u16, 0, 0xffff, 0xc1, 32][rng.below(6) as usize];
            dispi(&mut vga, index, if index == 4 { value | 0x80 } else { value });
            let vbe = &vga.device.vbe;
            assert!(u64::from(vbe.bank_offset()) + 0x1_0000 <= u64::from(vram));
            if vbe.enabled() {
                let last = u64::from(vbe.y_offset) + u64::from(vbe.yres);
                assert!(last * u64::from(vbe.line_bytes()) <= u64::from(vram), "{vbe:?}");
                assert!(vbe.x_offset + vbe.xres <= vbe.virt_width, "{vbe:?}");
                assert!(vbe.xres > 0 && vbe.yres > 0);
            }
        }
    }
}

#[test]
fn rendering_survives_every_register_value() {
    let mut rng = Rng(6);
    let mut vga = bench();
    for round in 0..150 {
        set(&mut vga, [&MODE_3, &MODE_12, &MODE_13][round % 3]);
        crtc(&mut vga, 0x11, 0);
        for _ in 0..1 + rng.below(12) {
            let value = [0, 0xff, rng.next_u64() as u8][rng.below(3) as usize];
            match rng.below(3) {
                0 => crtc(&mut vga, rng.below(25) as u8, value),
                1 => sequencer(&mut vga, 1 + rng.below(4) as u8, value & !0x20),
                _ => graphics(&mut vga, rng.below(9) as u8, value),
            }
        }
        let frame = vga.device.render(&vga.memory);
        assert_eq!(frame.rgb().len(), frame.width as usize * frame.height as usize * 3);
        assert_eq!((frame.width, frame.height), vga.device.size());
        assert!(frame.width <= 4608 && frame.height <= 1024, "{} x {}", frame.width, frame.height);
        vga.device.text_screen(&vga.memory);
    }
}

#[test]
fn an_impossible_state_is_refused() {
    let mut vga = placed();
    for (index, value) in [(1, 640), (2, 480), (3, 8), (4, 1)] {
        dispi(&mut vga, index, value);
    }
    let good = Device::save(&vga.device);
    let bad: [fn(&mut VgaState); 4] = [
        |s| s.vbe.yres = 0xffff,
        |s| s.vbe.virt_width = 0,
        |s| s.regs.dac.table.truncate(10),
        |s| s.regs.graphics[6] = 0xff,
    ];
    for (n, bad) in bad.iter().enumerate() {
        let mut state = good.clone();
        bad(&mut state);
        assert!(Device::load(&mut vga.device, state).is_err(), "{n}");
    }
    let mut other = bench();
    Device::load(&mut other.device, good).unwrap();
    assert_eq!(Device::regions(&other.device), Device::regions(&vga.device));
}

#[test]
fn a_vbe_register_is_a_word_at_either_data_port() {
    let mut vga = Bench::new(Vga::new(Vga::DEFAULT_VRAM, Vec::new()));
    for port in [0x1cf, 0x1d0] {
        vga.outw(0x1ce, 1);
        vga.outw(port, 0x0320);
        assert_eq!(vga.inw(0x1cf), 0x0320);
        assert_eq!(vga.inw(0x1d0), 0x0320);
        vga.outw(port, 0);
    }
}

#[test]
fn text_does_not_trap_and_is_in_the_planes_when_somebody_looks_there() {
    let mut vga = bench();
    set(&mut vga, &MODE_3);
    print(&mut vga, 3, b"ab");
    let windows = |vga: &Bench<Vga>| {
        let regions = Device::regions(&vga.device);
        regions.iter().find(|r| r.base == 0xb_8000).map(|r| r.video)
    };
    assert_eq!(windows(&vga), Some(Some(Vga::DEFAULT_VRAM.into())));
    // A font is loaded: plane 2 alone at A0000h, then text again.
    let (sequencer, graphics) = ([(2, 4), (4, 7)], [(4, 2), (5, 0), (6, 4)]);
    for (index, value) in sequencer {
        vga.outw(0x3c4, u16::from_le_bytes([index, value]));
    }
    for (index, value) in graphics {
        vga.outw(0x3ce, u16::from_le_bytes([index, value]));
    }
    assert_eq!(windows(&vga), None);
    assert_eq!(planes(&vga.memory, 3), [b'a', 7, 0, 0]);
    vga.mem_write(0xa_0003, &[0x55]);
    vga.memory.write_video(4 * 4, b"x");
    for (index, value) in [(2, 3), (4, 2)] {
        vga.outw(0x3c4, u16::from_le_bytes([index, value]));
    }
    for (index, value) in [(4, 0), (5, 0x10), (6, 0x0e)] {
        vga.outw(0x3ce, u16::from_le_bytes([index, value]));
    }
    assert!(vga.device.text_screen(&vga.memory)[0][3..].starts_with("ax"));
    // A copy that is drawn elsewhere finds it where it is.
    assert!(vga.device.shown().text_screen(&vga.memory)[0][3..].starts_with("ax"));
    let mut cells = [0; 4];
    vga.mem_read(0xb_8006, &mut cells);
    assert_eq!(cells, [b'a', 7, b'x', 7]);
    assert_eq!(planes(&vga.memory, 3)[2], 0x55);
    // CGA graphics have the same addressing, but the screen takes them from the planes.
    vga.outw(0x3ce, 0x0f06);
    assert_eq!(windows(&vga), Some(None));
    // A mode of the extensions that clears memory clears the text too.
    vga.outw(0x3ce, 0x0e06);
    for (register, value) in [(1, 640), (2, 480), (3, 8), (4, 1), (4, 0)] {
        vga.outw(0x1ce, register);
        vga.outw(0x1cf, value);
    }
    vga.mem_read(0xb_8006, &mut cells);
    assert_eq!(cells, [0; 4]);
}
