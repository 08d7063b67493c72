//! The VGA adapter on a test bench: CPU window, write modes, text, VBE and rendering.

use super::regs::*;
use super::vbe::*;
use super::*;
use crate::memory::Memory;
use crate::testing::{Bench, Rng};

mod addressing;
mod canvas;
mod registers;

const LFB: u64 = 0xfd00_0000;
const PAGE: u64 = 0xfebe_0000;

fn rom() -> Vec<u8> {
    (0..0x9800u32).map(|n| (n * 7) as u8).collect()
}

fn bench() -> Bench<Vga> {
    Bench::new(Vga::new(Vga::DEFAULT_VRAM, rom()))
}

/// An adapter with its BARs mapped as firmware would map them.
fn mapped() -> Bench<Vga> {
    let mut vga = bench();
    vga.config_write(0x10, 4, LFB as u32);
    vga.config_write(0x18, 4, PAGE as u32);
    vga.config_write(0x04, 2, 3);
    vga
}

fn write_sr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(SR_INDEX, u16::from_le_bytes([index, value]));
}

fn write_gr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(GR_INDEX, u16::from_le_bytes([index, value]));
}

fn write_cr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(CR_INDEX, u16::from_le_bytes([index, value]));
}

fn write_dispi(vga: &mut Bench<Vga>, index: u16, value: u16) {
    vga.outw(DISPI_IOPORT_INDEX, index);
    vga.outw(DISPI_IOPORT_DATA, value);
}

fn read_dispi(vga: &mut Bench<Vga>, index: u16) -> u16 {
    vga.outw(DISPI_IOPORT_INDEX, index);
    vga.inw(DISPI_IOPORT_DATA)
}

/// Register values of a standard mode (technical reference, mode tables).
struct Mode {
    misc: u8,
    sr: [u8; 5],
    cr: [u8; 25],
    gr: [u8; 9],
    ar10: u8,
    ar13: u8,
}

const MODE_3: Mode = Mode {
    misc: 0x67,
    sr: [3, 0x00, 0x03, 0x00, 0x02],
    cr: [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
        0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x10, 0x0e, 0x00, 0xff],
    ar10: 0x0c,
    ar13: 8,
};
const MODE_12: Mode = Mode {
    misc: 0xe3,
    sr: [3, 0x01, 0x0f, 0x00, 0x06],
    cr: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00,
        0xe7, 0x04, 0xe3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff],
    ar10: 0x01,
    ar13: 0,
};
const MODE_13: Mode = Mode {
    misc: 0x63,
    sr: [3, 0x01, 0x0f, 0x00, 0x0e],
    cr: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40,
        0x96, 0xb9, 0xa3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff],
    ar10: 0x41,
    ar13: 0,
};

fn set_mode(vga: &mut Bench<Vga>, mode: &Mode) {
    vga.outb(MISC_WRITE, mode.misc);
    for (n, value) in (0..).zip(mode.sr) {
        write_sr(vga, n, value);
    }
    write_cr(vga, 0x11, 0);
    for (n, value) in (0..).zip(mode.cr) {
        write_cr(vga, n, value);
    }
    for (n, value) in (0..).zip(mode.gr) {
        write_gr(vga, n, value);
    }
    vga.inb(ST1);
    for n in 0..16 {
        vga.outb(AR_INDEX, n);
        vga.outb(AR_INDEX, n);
    }
    for (n, value) in [(0x10, mode.ar10), (0x12, 0x0f), (0x13, mode.ar13), (0x14, 0)] {
        vga.outb(AR_INDEX, n);
        vga.outb(AR_INDEX, value);
    }
    vga.outb(AR_INDEX, 0x20);
    vga.outb(DAC_WRITE_INDEX, 0);
    for n in 0..=255 {
        for component in [n, n / 2, 0] {
            vga.outb(DAC_DATA, component & 0x3f);
        }
    }
}

fn window(vga: &Bench<Vga>) -> Option<Region> {
    Device::regions(&vga.device).into_iter().find(|r| r.tag == WINDOW_TAG)
}

#[test]
fn the_pci_function_has_its_ids_and_bar_sizes() {
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
fn the_expansion_rom_is_read_at_its_bar() {
    let mut vga = mapped();
    vga.config_write(0x30, 4, 0xfebd_0001);
    let mut back = [0; 4];
    vga.mem_read(0xfebd_0100, &mut back);
    assert_eq!(back, rom()[0x100..0x104]);
    vga.config_write(0x30, 4, 0xfebd_0000);
    vga.mem_read(0xfebd_0100, &mut back);
    assert_eq!(back, [0xff; 4], "the ROM BAR is disabled");
}

#[test]
fn the_cpu_window_follows_gr6_and_is_linear_only_for_unmodified_chain_4() {
    let mut vga = bench();
    assert_eq!(window(&vga), None, "MISC disables video memory after a reset");
    set_mode(&mut vga, &MODE_13);
    assert_eq!(window(&vga), Some(Region::video(0xa_0000, 0x1_0000, WINDOW_TAG, 0)));
    for (map, base, len) in [(0, 0xa_0000, 0x2_0000), (2, 0xb_0000, 0x8000), (3, 0xb_8000, 0x8000)] {
        write_gr(&mut vga, 6, 1 | map << 2);
        assert_eq!(window(&vga), Some(Region::video(base, len, WINDOW_TAG, 0)));
    }
    write_gr(&mut vga, 6, 5);
    let off: [fn(&mut Bench<Vga>); 8] = [
        |v| write_sr(v, 4, 0x06),
        |v| write_sr(v, 2, 0x07),
        |v| write_gr(v, 1, 1),
        |v| write_gr(v, 3, 1),
        |v| write_gr(v, 3, 0x18),
        |v| write_gr(v, 5, 0x41),
        |v| write_gr(v, 5, 0x48),
        |v| write_gr(v, 8, 0x7f),
    ];
    for (n, off) in off.iter().enumerate() {
        set_mode(&mut vga, &MODE_13);
        vga.effects.clear();
        off(&mut vga);
        assert_eq!(window(&vga).unwrap().video, None, "case {n}");
        assert_eq!(vga.effects, [Effect::Remap], "case {n}");
    }
}

#[test]
fn only_a_changed_mapping_requests_a_remap() {
    let mut vga = mapped();
    set_mode(&mut vga, &MODE_12);
    vga.effects.clear();
    set_mode(&mut vga, &MODE_12);
    for index in 0..9 {
        if index != 6 {
            write_gr(&mut vga, index, 0x05);
        }
    }
    vga.mem_write(0xa_0000, &[1, 2, 3, 4]);
    vga.config_write(0x3c, 1, 5);
    vga.config_write(0x10, 4, LFB as u32);
    assert_eq!(vga.effects, []);
    vga.config_write(0x10, 4, 0xfc00_0000);
    assert_eq!(vga.effects, [Effect::Remap]);
}

/// GR5 (write mode), GR3, GR0, GR1, GR8, SR2, data, and the four planes after the write.
type WriteRow = (u8, u8, u8, u8, u8, u8, u8, [u8; 4]);

/// The bytes of the four planes at an offset.
fn planes(memory: &Memory, offset: u64) -> [u8; 4] {
    let mut bytes = [0; 4];
    memory.read_video(offset * 4, &mut bytes);
    bytes
}

#[test]
fn write_modes_follow_the_technical_reference() {
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
        set_mode(&mut vga, &MODE_12);
        vga.memory.write_video(0x100 * 4, &LATCH);
        let mut byte = [0];
        vga.mem_read(0xa_0100, &mut byte);
        for (index, value) in [(5, mode), (3, rotate), (0, set_reset), (1, enable), (8, mask)] {
            write_gr(&mut vga, index, value);
        }
        write_sr(&mut vga, 2, map);
        vga.mem_write(0xa_0200, &[data]);
        assert_eq!(planes(&vga.memory, 0x200), expect, "row {n}");
    }
}

#[test]
fn read_modes_select_a_plane_or_compare_colours() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_12);
    vga.memory.write_video(0, &[0xf0, 0x0f, 0xaa, 0x55]);
    let mut byte = [0];
    for (plane, expect) in [(0, 0xf0), (1, 0x0f), (2, 0xaa), (3, 0x55)] {
        write_gr(&mut vga, 4, plane);
        vga.mem_read(0xa_0000, &mut byte);
        assert_eq!(byte[0], expect);
    }
    write_gr(&mut vga, 5, 0x08);
    for (compare, care, expect) in
        [(0x5, 0xf, 0xa0), (0x5, 0x1, 0xf0), (0x0, 0x0, 0xff), (0xa, 0xf, 0x05), (6, 6, 0x0a)]
    {
        write_gr(&mut vga, 2, compare);
        write_gr(&mut vga, 7, care);
        vga.mem_read(0xa_0000, &mut byte);
        assert_eq!(byte[0], expect, "colour {compare:x}, care {care:x}");
    }
}

#[test]
fn wide_accesses_are_split_into_bytes_and_cut_at_the_windows_end() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_12);
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
fn the_text_screen_shows_what_was_written() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
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
    // Scrolled by two rows through the start address.
    write_cr(&mut vga, 0x0d, 160);
    print(&mut vga, 160, b"third");
    assert!(vga.device.text_screen(&vga.memory)[0].starts_with("third"));
    // Cells of eight lines: 50 rows.
    write_cr(&mut vga, 9, 0x47);
    assert_eq!(vga.device.text_screen(&vga.memory).len(), 50);
    set_mode(&mut vga, &MODE_12);
    assert!(!vga.device.is_text());
    assert_eq!(vga.device.text_screen(&vga.memory), Vec::<String>::new());
}

#[test]
fn text_cells_have_attributes_and_the_cursor() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    print(&mut vga, 81, b"A");
    vga.mem_write(0xb_8000 + 82 * 2, &[b'B', 0x9e]);
    write_cr(&mut vga, 0x0e, 0);
    write_cr(&mut vga, 0x0f, 83);
    let cells = |vga: &Bench<Vga>| vga.device.text_cells(&vga.memory);
    let screen = cells(&vga).unwrap();
    assert_eq!((screen.columns, screen.rows, screen.cells.len(), screen.blink_enabled), (80, 25, 2000, true));
    assert_eq!(screen.cells[81..83], [[b'A', 0x07], [b'B', 0x9e]]);
    assert_eq!(screen.cursor, Some(TextCursor { column: 3, row: 1, first: 13, last: 14, height: 16 }));
    // A cursor that ends past the cell is cut; one that ends before it starts, is disabled or off-screen is not
    // visible.
    write_cr(&mut vga, 0x0b, 0x1f);
    assert_eq!(cells(&vga).unwrap().cursor.map(|cursor| cursor.last), Some(15));
    for (index, value) in [(0x0b, 3), (0x0a, 0x2d), (0x0e, 0x40)] {
        let mut vga = bench();
        set_mode(&mut vga, &MODE_3);
        write_cr(&mut vga, index, value);
        assert_eq!(cells(&vga).unwrap().cursor, None, "{index:x}");
    }
    // SR1: screen off.
    write_sr(&mut vga, 1, 0x20);
    let dark = cells(&vga).unwrap();
    assert!(dark.cells.iter().all(|cell| *cell == [b' ', 0]) && dark.cursor.is_none());
    set_mode(&mut vga, &MODE_12);
    assert_eq!(cells(&vga), None);
    for code in 1..=0xfe {
        assert_eq!(cp437_code(cp437(code)), Some(code));
    }
    assert_eq!(cp437_code('€'), None);
}

#[test]
fn bar_0_is_as_large_as_video_memory() {
    for mib in [1, 2, 16, 64, 256] {
        let mut vga = Bench::new(Vga::new(mib << 20, Vec::new()));
        assert_eq!(read_dispi(&mut vga, DISPI_INDEX_VIDEO_MEMORY_64K), (mib * 16) as u16);
        vga.config_write(0x10, 4, u32::MAX);
        assert_eq!(!(vga.config_read(0x10, 4) & !0xf) + 1, mib << 20);
    }
}

#[test]
fn text_is_drawn_with_the_font_in_plane_2() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    print(&mut vga, 81, b"A");
    for (index, value) in [(2, 4), (4, 7)] {
        write_sr(&mut vga, index, value);
    }
    for (index, value) in [(4, 2), (5, 0), (6, 4)] {
        write_gr(&mut vga, index, value);
    }
    vga.mem_write(0xa_0000 + u64::from(b'A') * 32 + 3, &[0x81]);
    for (index, value) in [(2, 3), (4, 3)] {
        write_sr(&mut vga, index, value);
    }
    for (index, value) in [(4, 0), (5, 0x10), (6, 0x0e)] {
        write_gr(&mut vga, index, value);
    }
    write_cr(&mut vga, 0x0a, 0x20);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (720, 400));
    let lit: Vec<_> = (0..720 * 400).filter(|&n| frame.pixels[n] != 0).map(|n| (n % 720, n / 720)).collect();
    assert_eq!(lit, [(9, 19), (16, 19)], "row 1, column 1, line 3");
    assert_eq!(frame.rgb()[(19 * 720 + 9) * 3..][..3], [7 << 2, 3 << 2, 0]);
}

#[test]
fn mode_13h_shows_the_same_pixels_chained_and_unchained() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_13);
    vga.mem_write(0xa_0000 + 320 * 199 + 319, &[0x2a]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (640, 400), "two dots and two scan lines per pixel");
    let last = [0xaa, 0x55, 0].repeat(2);
    assert_eq!(frame.rgb()[640 * 399 * 3 - 6..][..6], last);
    assert_eq!(frame.rgb()[640 * 400 * 3 - 6..], last);
    write_sr(&mut vga, 4, 0x06);
    write_sr(&mut vga, 2, 0x02);
    vga.mem_write(0xa_0000, &[0x3f]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!(frame.rgb()[..6], [0; 6]);
    assert_eq!(frame.rgb()[6..15], [0xff, 0x7d, 0, 0xff, 0x7d, 0, 0, 0, 0], "plane 1 is the second pixel");
}

#[test]
fn mode_12h_shows_its_planes() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_12);
    write_sr(&mut vga, 2, 0x0a);
    vga.mem_write(0xa_0000 + 80 * 479, &[0x80]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (640, 480));
    assert_eq!(frame.rgb()[640 * 479 * 3..][..6], [10 << 2, 5 << 2, 0, 0, 0, 0]);
    // A split screen: from line 240 on, address 0 again.
    vga.mem_write(0xa_0000, &[0x80]);
    write_cr(&mut vga, 0x18, 239);
    write_cr(&mut vga, 0x11, 0);
    write_cr(&mut vga, 7, 0x2e);
    write_cr(&mut vga, 9, 0x00);
    let frame = vga.device.render(&vga.memory);
    assert_eq!(frame.rgb()[640 * 240 * 3..][..3], [10 << 2, 5 << 2, 0]);
    assert_eq!(frame.rgb()[640 * 479 * 3..][..3], [0; 3]);
}

#[test]
fn vbe_modes_are_set_by_the_dispi_registers() {
    let mut vga = mapped();
    assert_eq!(read_dispi(&mut vga, DISPI_INDEX_ID), 0xb0c5);
    assert_eq!(read_dispi(&mut vga, DISPI_INDEX_VIDEO_MEMORY_64K), 256, "16 MiB in units of 64 KiB");
    write_dispi(&mut vga, DISPI_INDEX_ID, 0xb0c0);
    assert_eq!(read_dispi(&mut vga, DISPI_INDEX_ID), 0xb0c0);
    write_dispi(&mut vga, DISPI_INDEX_ENABLE, 2);
    assert_eq!((read_dispi(&mut vga, DISPI_INDEX_XRES), read_dispi(&mut vga, DISPI_INDEX_BPP)), (16_000, 32));
    vga.memory.write_video(0, &[0x55; 64]);
    for (index, value) in [
        (DISPI_INDEX_ENABLE, 0),
        (DISPI_INDEX_XRES, 1024),
        (DISPI_INDEX_YRES, 768),
        (DISPI_INDEX_BPP, 32),
        (DISPI_INDEX_ENABLE, 0xc1),
    ] {
        write_dispi(&mut vga, index, value);
    }
    assert_eq!(planes(&vga.memory, 0), [0x55; 4], "NOCLEARMEM keeps video memory");
    write_dispi(&mut vga, DISPI_INDEX_ENABLE, 0);
    write_dispi(&mut vga, DISPI_INDEX_ENABLE, 0x41);
    assert_eq!(planes(&vga.memory, 0), [0; 4]);
    for (index, value) in [
        (DISPI_INDEX_XRES, 1024),
        (DISPI_INDEX_YRES, 768),
        (DISPI_INDEX_BPP, 32),
        (DISPI_INDEX_VIRT_WIDTH, 1024),
        (DISPI_INDEX_VIRT_HEIGHT, 4096),
        (DISPI_INDEX_X_OFFSET, 0),
        (DISPI_INDEX_Y_OFFSET, 0),
    ] {
        assert_eq!(read_dispi(&mut vga, index), value, "{index}");
    }
    assert!(!vga.device.is_text());
    vga.mem_write(LFB + (1024 * 767 + 1023) * 4, &[1, 2, 3, 0]);
    assert!(vga.device.render(&vga.memory).rgb().iter().all(|b| *b == 0), "the palette address source is off");
    vga.outb(AR_INDEX, 0x20);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (1024, 768));
    assert_eq!(frame.rgb()[1024 * 768 * 3 - 3..], [3, 2, 1]);
    write_dispi(&mut vga, DISPI_INDEX_Y_OFFSET, 768);
    assert_eq!(vga.device.render(&vga.memory).rgb().iter().find(|b| **b != 0), None, "the second page is clear");
}

#[test]
fn the_dispi_bank_moves_the_window_within_video_memory() {
    let mut vga = mapped();
    for (index, value) in
        [(DISPI_INDEX_XRES, 640), (DISPI_INDEX_YRES, 480), (DISPI_INDEX_BPP, 8), (DISPI_INDEX_ENABLE, 1)]
    {
        write_dispi(&mut vga, index, value);
    }
    for (bank, offset) in [(0, 0), (3, 0x3_0000), (255, 0xff_0000), (256, 0), (0xffff, 0xff_0000)] {
        write_dispi(&mut vga, DISPI_INDEX_BANK, bank);
        assert_eq!(window(&vga), Some(Region::video(0xa_0000, 0x1_0000, WINDOW_TAG, offset)), "{bank}");
    }
    write_dispi(&mut vga, DISPI_INDEX_ENABLE, 0);
    assert_eq!(read_dispi(&mut vga, DISPI_INDEX_BANK), 0);
}

#[test]
fn a_4_bit_vbe_mode_reaches_past_256_kib_by_banks() {
    let mut vga = mapped();
    set_mode(&mut vga, &MODE_12);
    for (index, value) in [
        (DISPI_INDEX_XRES, 1024),
        (DISPI_INDEX_YRES, 768),
        (DISPI_INDEX_BPP, 4),
        (DISPI_INDEX_ENABLE, 1),
        (DISPI_INDEX_BANK, 1),
    ] {
        write_dispi(&mut vga, index, value);
    }
    vga.mem_write(0xa_0000, &[0xff]);
    assert_eq!(planes(&vga.memory, 0x1_0000), [0xff; 4]);
    let frame = vga.device.render(&vga.memory);
    assert_eq!((frame.width, frame.height), (1024, 768));
    assert_ne!(frame.rgb()[(512 * 1024) * 3..][..3], [0; 3], "byte 65536 of a plane is the first of line 512");
}

#[test]
fn the_mmio_register_page_mirrors_the_ports() {
    let mut vga = mapped();
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
    assert_eq!(vga.inb(MISC_READ), 0x63);
    for (register, value) in
        [(DISPI_INDEX_XRES, 800_u16), (DISPI_INDEX_YRES, 600), (DISPI_INDEX_BPP, 16), (DISPI_INDEX_ENABLE, 0x41)]
    {
        vga.mem_write(PAGE + 0x500 + 2 * u64::from(register), &value.to_le_bytes());
    }
    vga.mem_write(LFB, &0xf81f_u16.to_le_bytes());
    // Drivers unblank VBE modes by the AR index in the register page.
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
            write_dispi(&mut vga, index, if index == 4 { value | 0x80 } else { value });
            let vbe = &vga.device.vbe;
            assert!(u64::from(vbe.bank_offset()) + 0x1_0000 <= u64::from(vram));
            if vbe.enabled() {
                let last = u64::from(vbe.y_offset) + u64::from(vbe.yres) - 1;
                // A pixel has at most 4 bytes, and half a byte in planar modes.
                let pixels = (u64::from(vbe.x_offset) + u64::from(vbe.xres)) * u64::from(vbe.bpp.max(4)) / 8;
                assert!(last * u64::from(vbe.line_bytes()) + pixels <= u64::from(vram), "{vbe:?}");
                assert!(vbe.xres > 0 && vbe.yres > 0);
            }
        }
    }
}

#[test]
fn rendering_accepts_any_register_values() {
    let mut rng = Rng(6);
    let mut vga = bench();
    for round in 0..150 {
        set_mode(&mut vga, [&MODE_3, &MODE_12, &MODE_13][round % 3]);
        write_cr(&mut vga, 0x11, 0);
        for _ in 0..1 + rng.below(12) {
            let value = [0, 0xff, rng.next_u64() as u8][rng.below(3) as usize];
            match rng.below(3) {
                0 => write_cr(&mut vga, rng.below(25) as u8, value),
                1 => write_sr(&mut vga, 1 + rng.below(4) as u8, value & !0x20),
                _ => write_gr(&mut vga, rng.below(9) as u8, value),
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
fn an_impossible_saved_state_is_rejected() {
    let mut vga = mapped();
    for (index, value) in
        [(DISPI_INDEX_XRES, 640), (DISPI_INDEX_YRES, 480), (DISPI_INDEX_BPP, 8), (DISPI_INDEX_ENABLE, 1)]
    {
        write_dispi(&mut vga, index, value);
    }
    let good = Device::save(&vga.device);
    let bad: [fn(&mut VgaState); 4] =
        [|s| s.vbe.yres = 0xffff, |s| s.vbe.virt_width = 0, |s| s.regs.dac.table.truncate(10), |s| s.regs.gr[6] = 0xff];
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
fn a_dispi_register_is_a_word_at_either_data_port() {
    let mut vga = Bench::new(Vga::new(Vga::DEFAULT_VRAM, Vec::new()));
    for port in [DISPI_IOPORT_DATA, 0x1d0] {
        vga.outw(DISPI_IOPORT_INDEX, DISPI_INDEX_XRES);
        vga.outw(port, 0x0320);
        assert_eq!(vga.inw(DISPI_IOPORT_DATA), 0x0320);
        assert_eq!(vga.inw(0x1d0), 0x0320);
        vga.outw(port, 0);
    }
}

#[test]
fn plain_text_is_a_linear_window_and_returns_to_the_planes_on_planar_access() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    print(&mut vga, 3, b"ab");
    let windows = |vga: &Bench<Vga>| {
        let regions = Device::regions(&vga.device);
        regions.iter().find(|r| r.base == 0xb_8000).map(|r| r.video)
    };
    assert_eq!(windows(&vga), Some(Some(Vga::DEFAULT_VRAM.into())));
    // Load a font: plane 2 at A0000h, then text again.
    let (sr, gr) = ([(2, 4), (4, 7)], [(4, 2), (5, 0), (6, 4)]);
    for (index, value) in sr {
        vga.outw(SR_INDEX, u16::from_le_bytes([index, value]));
    }
    for (index, value) in gr {
        vga.outw(GR_INDEX, u16::from_le_bytes([index, value]));
    }
    assert_eq!(windows(&vga), None);
    // Cell n is at byte 2n of planes 0 and 1, as on IBM's adapter.
    assert_eq!(planes(&vga.memory, 6), [b'a', 7, 0, 0]);
    assert_eq!(planes(&vga.memory, 8), [b'b', 7, 0, 0]);
    assert_eq!(planes(&vga.memory, 7), [0; 4]);
    vga.mem_write(0xa_0006, &[0x55]);
    vga.memory.write_video(8 * 4, b"x");
    for (index, value) in [(2, 3), (4, 2)] {
        vga.outw(SR_INDEX, u16::from_le_bytes([index, value]));
    }
    for (index, value) in [(4, 0), (5, 0x10), (6, 0x0e)] {
        vga.outw(GR_INDEX, u16::from_le_bytes([index, value]));
    }
    assert!(vga.device.text_screen(&vga.memory)[0][3..].starts_with("ax"));
    // A copy for rendering has the text in the same place.
    assert!(vga.device.render_state().text_screen(&vga.memory)[0][3..].starts_with("ax"));
    let mut cells = [0; 4];
    vga.mem_read(0xb_8006, &mut cells);
    assert_eq!(cells, [b'a', 7, b'x', 7]);
    assert_eq!(planes(&vga.memory, 6)[2], 0x55);
    // CGA graphics use the same addressing but are displayed from the planes.
    vga.outw(GR_INDEX, 0x0f06);
    assert_eq!(windows(&vga), Some(None));
    // A VBE mode set that clears video memory clears the text as well.
    vga.outw(GR_INDEX, 0x0e06);
    for (register, value) in [
        (DISPI_INDEX_XRES, 640),
        (DISPI_INDEX_YRES, 480),
        (DISPI_INDEX_BPP, 8),
        (DISPI_INDEX_ENABLE, 1),
        (DISPI_INDEX_ENABLE, 0),
    ] {
        vga.outw(DISPI_IOPORT_INDEX, register);
        vga.outw(DISPI_IOPORT_DATA, value);
    }
    vga.mem_read(0xb_8006, &mut cells);
    assert_eq!(cells, [0; 4]);
}
