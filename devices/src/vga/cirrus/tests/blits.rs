//! BitBLT operations of every kind.

use super::super::rop::Rop;
use super::*;

/// Registers of an operation in BAR 1's layout.
#[derive(Clone, Copy, Default)]
pub(super) struct Op {
    pub width: u16,
    pub height: u16,
    pub dest_pitch: u16,
    pub source_pitch: u16,
    pub dest: u32,
    pub source: u32,
    pub mode: u8,
    pub rop: u8,
    pub extensions: u8,
    pub key: u16,
    pub clip: u8,
    pub foreground: u32,
    pub background: u32,
}

pub(super) const SOURCE: u8 = 0x0d;

/// Writes the registers and starts the operation.
pub(super) fn start(vga: &mut Bench<Vga>, op: Op) {
    let at = MMIO + 0x100;
    vga.mem_write(at, &op.background.to_le_bytes());
    vga.mem_write(at + 4, &op.foreground.to_le_bytes());
    for (offset, value) in [
        (0x08, op.width.wrapping_sub(1)),
        (0x0a, op.height.wrapping_sub(1)),
        (0x0c, op.dest_pitch),
        (0x0e, op.source_pitch),
        (0x1c, op.key),
    ] {
        vga.mem_write(at + offset, &value.to_le_bytes());
    }
    vga.mem_write(at + 0x10, &op.dest.to_le_bytes());
    vga.mem_write(at + 0x14, &op.source.to_le_bytes()[..3]);
    for (offset, value) in [(0x17, op.clip), (0x18, op.mode), (0x1a, op.rop), (0x1b, op.extensions), (0x40, 2)] {
        vga.mem_write(at + offset, &[value]);
    }
}

pub(super) fn bytes(vga: &Bench<Vga>, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    vga.memory.read_video(at, &mut bytes);
    bytes
}

pub(super) fn packed() -> Bench<Vga> {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x11, 0);
    vga
}

fn status(vga: &mut Bench<Vga>) -> u8 {
    read_gr(vga, 0x31)
}

#[test]
fn all_16_raster_operations_combine_source_and_destination() {
    const S: u8 = 0b1100;
    const D: u8 = 0b1010;
    let table: [(u8, u8); 16] = [
        (0x00, 0),
        (0x05, S & D),
        (0x06, D),
        (0x09, S & !D),
        (0x0b, !D),
        (0x0d, S),
        (0x0e, 0xff),
        (0x50, !S & D),
        (0x59, S ^ D),
        (0x6d, S | D),
        (0x90, !(S | D)),
        (0x95, !(S ^ D)),
        (0xad, S | !D),
        (0xd0, !S),
        (0xd6, !S | D),
        (0xda, !(S & D)),
    ];
    for (code, expect) in table {
        assert_eq!(Rop::from_code(code).byte(S, D), expect, "{code:x}");
        let mut vga = packed();
        vga.memory.write_video(0x100, &[S; 3]);
        vga.memory.write_video(0x200, &[D; 4]);
        let op = Op { width: 3, height: 1, dest: 0x200, source: 0x100, rop: code, ..Op::default() };
        start(&mut vga, op);
        assert_eq!(bytes(&vga, 0x200, 4), [expect, expect, expect, D], "{code:x}");
    }
    assert_eq!(Rop::from_code(0x33).byte(S, D), D, "an undefined code");
}

#[test]
fn a_copy_moves_a_rectangle_forwards_and_backwards() {
    let mut vga = packed();
    let picture: Vec<u8> = (0..64 * 16).map(|n| n as u8).collect();
    vga.memory.write_video(0x1000, &picture);
    // Up and to the left by one.
    let op = Op { width: 10, height: 4, dest_pitch: 64, source_pitch: 64, rop: SOURCE, ..Op::default() };
    start(&mut vga, Op { dest: 0x1000, source: 0x1041, ..op });
    for y in 0..4 {
        assert_eq!(bytes(&vga, 0x1000 + y * 64, 10), picture[(y as usize + 1) * 64 + 1..][..10]);
        assert_eq!(bytes(&vga, 0x100a + y * 64, 1), picture[y as usize * 64 + 10..][..1]);
    }
    // Down and to the right: the addresses are those of the last byte.
    vga.memory.write_video(0x1000, &picture);
    start(&mut vga, Op { dest: 0x1000 + 4 * 64 + 10, source: 0x1000 + 3 * 64 + 9, mode: 1, ..op });
    for y in 0..4 {
        assert_eq!(bytes(&vga, 0x1041 + y * 64, 10), picture[y as usize * 64..][..10]);
    }
    assert_eq!(status(&mut vga), 0);
}

#[test]
fn an_overlapping_copy_reads_what_it_has_written() {
    let mut vga = packed();
    vga.memory.write_video(0x100, b"abcdefgh");
    let op = Op { width: 6, height: 1, dest: 0x102, source: 0x100, rop: SOURCE, ..Op::default() };
    start(&mut vga, op);
    assert_eq!(bytes(&vga, 0x100, 8), b"abababab");
    vga.memory.write_video(0x100, b"abcdefgh");
    start(&mut vga, Op { dest: 0x105, source: 0x107, mode: 1, ..op });
    assert_eq!(bytes(&vga, 0x100, 8), b"ghghghgh");
}

#[test]
fn a_transparent_copy_leaves_pixels_of_the_key_colour() {
    let mut vga = packed();
    vga.memory.write_video(0x100, b"a.b..c");
    vga.memory.write_video(0x200, b"123456");
    let op = Op { width: 6, height: 1, dest: 0x200, source: 0x100, rop: SOURCE, mode: 8, ..Op::default() };
    start(&mut vga, Op { key: u16::from(b'.'), ..op });
    assert_eq!(bytes(&vga, 0x200, 6), b"a2b45c");
    vga.memory.write_video(0x200, b"123456");
    start(&mut vga, Op { key: u16::from_le_bytes(*b"b."), mode: 0x18, ..op });
    assert_eq!(bytes(&vga, 0x200, 6), b"a.34.c", "16-bit pixels");
    vga.memory.write_video(0x200, b"123456");
    start(&mut vga, Op { dest: 0x205, source: 0x105, key: u16::from(b'.'), mode: 9, ..op });
    assert_eq!(bytes(&vga, 0x200, 6), b"a2b45c", "backwards");
    vga.memory.write_video(0x200, b"123456");
    start(&mut vga, Op { mode: 0x28, ..op });
    assert_eq!(bytes(&vga, 0x200, 6), b"123456", "the key has no third byte");
}

#[test]
fn a_solid_fill_draws_the_foreground_colour_in_every_depth() {
    for (n, pixel) in [(0, 1), (1, 2), (2, 3), (3, 4_usize)] {
        let mut vga = packed();
        let op =
            Op { width: 12, height: 3, dest_pitch: 20, dest: 0x300, mode: 0xc0 | n << 4, rop: SOURCE, ..Op::default() };
        start(&mut vga, Op { extensions: 4, foreground: 0x4433_2211, ..op });
        let row = [0x11, 0x22, 0x33, 0x44][..pixel].repeat(12 / pixel);
        assert_eq!(bytes(&vga, 0x300, 60), [row.as_slice(), &[0; 8]].concat().repeat(3));
    }
}

#[test]
fn monochrome_sources_are_expanded_to_pixels() {
    let mut vga = packed();
    vga.memory.write_video(0x100, &[0b1010_0000, 0b1000_0000, 0b0110_0000, 0]);
    vga.memory.write_video(0x200, &[7; 40]);
    let op = Op {
        width: 9,
        height: 2,
        dest_pitch: 20,
        dest: 0x200,
        source: 0x100,
        mode: 0x80,
        rop: SOURCE,
        ..Op::default()
    };
    let op = Op { foreground: 1, background: 2, ..op };
    start(&mut vga, op);
    assert_eq!(bytes(&vga, 0x200, 10), [1, 2, 1, 2, 2, 2, 2, 2, 1, 7]);
    assert_eq!(bytes(&vga, 0x214, 10), [2, 1, 1, 2, 2, 2, 2, 2, 2, 7]);
    vga.memory.write_video(0x200, &[7; 40]);
    start(&mut vga, Op { mode: 0x88, clip: 2, height: 1, ..op });
    assert_eq!(bytes(&vga, 0x200, 10), [7, 7, 1, 7, 7, 7, 7, 7, 1, 7], "transparent, two pixels clipped");
    vga.memory.write_video(0x200, &[7; 40]);
    start(&mut vga, Op { mode: 0x88, extensions: 2, height: 1, ..op });
    assert_eq!(bytes(&vga, 0x200, 10), [7, 2, 7, 2, 2, 2, 2, 2, 7, 7], "the clear bits in the background colour");
    start(&mut vga, Op { mode: 0xa0, foreground: 0x0030_2010, width: 9, height: 1, ..op });
    assert_eq!(bytes(&vga, 0x200, 9), [0x10, 0x20, 0x30, 2, 0, 0, 0x10, 0x20, 0x30], "24-bit pixels");
}

#[test]
fn patterns_repeat_every_8_pixels_from_the_line_in_the_source_address() {
    let mut vga = packed();
    let pattern: Vec<u8> = (0..64).collect();
    vga.memory.write_video(0x400, &pattern);
    let op = Op {
        width: 10,
        height: 3,
        dest_pitch: 16,
        dest: 0x800,
        source: 0x406,
        mode: 0x40,
        rop: SOURCE,
        ..Op::default()
    };
    start(&mut vga, op);
    for (y, line) in [(0, 6), (1, 7), (2, 0)] {
        let row = &pattern[line * 8..][..8];
        assert_eq!(bytes(&vga, 0x800 + y * 16, 10), [row, &row[..2]].concat());
    }
    // 24-bit pixels: a line of the pattern has 32 bytes, of which 24 are used.
    let pattern: Vec<u8> = (0..=255).collect();
    vga.memory.write_video(0x400, &pattern);
    start(&mut vga, Op { width: 30, height: 1, mode: 0x60, source: 0x401, ..op });
    assert_eq!(bytes(&vga, 0x800, 30), [&pattern[32..56], &pattern[32..38]].concat());
    // Monochrome.
    vga.memory.write_video(0x400, &[0x81, 0x40, 0, 0, 0, 0, 0, 0]);
    start(&mut vga, Op { mode: 0xc0, source: 0x400, foreground: 9, background: 4, height: 2, ..op });
    assert_eq!(bytes(&vga, 0x800, 10), [9, 4, 4, 4, 4, 4, 4, 9, 9, 4]);
    assert_eq!(bytes(&vga, 0x810, 10), [4, 9, 4, 4, 4, 4, 4, 4, 4, 9]);
}

#[test]
fn the_cpu_writes_the_source_through_any_aperture() {
    let mut vga = packed();
    let op = Op { width: 5, height: 2, dest_pitch: 16, dest: 0x500, mode: 4, rop: SOURCE, ..Op::default() };
    for (n, at) in [LFB, LFB + 0x100_0000, 0xa_0000].into_iter().enumerate() {
        vga.memory.write_video(0x500, &[0; 32]);
        vga.effects.clear();
        start(&mut vga, op);
        assert_eq!(vga.effects, [Effect::Remap], "the frame buffer traps");
        assert_eq!(status(&mut vga) & 9, 9);
        vga.mem_write(at, b"abcd");
        vga.mem_write(at + 4, b"e---");
        assert_eq!(bytes(&vga, 0x500, 6), *b"abcde\0", "a row is drawn when it is complete");
        vga.mem_write(at, b"fghij---");
        assert_eq!(bytes(&vga, 0x510, 6), *b"fghij\0", "{n}");
        assert_eq!((status(&mut vga), vga.effects.len()), (0, 1));
        assert!(regions(&vga, LFB).iter().all(|r| r.video.is_none()), "the next operation may take data too");
        vga.mem_write(LFB, &[0]);
        assert_eq!(regions(&vga, LFB)[0].video, Some(0), "an access to video memory makes it a slot again");
    }
}

#[test]
fn monochrome_rows_of_the_cpu_end_at_a_byte_or_at_a_dword() {
    let mut vga = packed();
    let op = Op { width: 9, height: 2, dest_pitch: 16, dest: 0x500, mode: 0x84, rop: SOURCE, ..Op::default() };
    let op = Op { foreground: 1, background: 2, ..op };
    start(&mut vga, op);
    vga.mem_write(LFB, &[0x80, 0x80, 0x40, 0x00]);
    assert_eq!(status(&mut vga), 0);
    assert_eq!(bytes(&vga, 0x500, 10), [1, 2, 2, 2, 2, 2, 2, 2, 1, 0]);
    assert_eq!(bytes(&vga, 0x510, 10), [2, 1, 2, 2, 2, 2, 2, 2, 2, 0]);
    start(&mut vga, Op { extensions: 1, ..op });
    vga.mem_write(LFB, &[0x40, 0x00, 0xff, 0xff, 0x80, 0x80, 0xff, 0xff]);
    assert_eq!(status(&mut vga), 0);
    assert_eq!(bytes(&vga, 0x500, 10), [2, 1, 2, 2, 2, 2, 2, 2, 2, 0]);
    assert_eq!(bytes(&vga, 0x510, 10), [1, 2, 2, 2, 2, 2, 2, 2, 1, 0]);
}

#[test]
fn the_cpu_writes_a_pattern_once() {
    let mut vga = packed();
    let op =
        Op { width: 8, height: 9, dest_pitch: 8, dest: 0x500, mode: 0xc4, rop: SOURCE, foreground: 3, ..Op::default() };
    start(&mut vga, op);
    vga.mem_write(LFB, &[0x80, 0x40, 0x20, 0x10]);
    vga.mem_write(LFB, &[8, 4, 2, 1]);
    assert_eq!(status(&mut vga), 0);
    for y in 0..9 {
        let row: Vec<u8> = (0..8).map(|x| if x == y % 8 { 3 } else { 0 }).collect();
        assert_eq!(bytes(&vga, 0x500 + y * 8, 8), row);
    }
}

#[test]
fn the_cpu_reads_the_result_row_by_row() {
    let mut vga = packed();
    vga.memory.write_video(0x100, b"abcdef..ghijkl..");
    let op = Op { width: 6, height: 2, source_pitch: 8, source: 0x100, mode: 2, rop: SOURCE, ..Op::default() };
    start(&mut vga, op);
    let mut data = [0; 16];
    for part in data.chunks_mut(4) {
        assert_eq!(status(&mut vga) & 1, 1);
        vga.mem_read(LFB, part);
    }
    assert_eq!(&data, b"abcdef\0\0ghijkl\0\0");
    assert_eq!(status(&mut vga), 0);
}

#[test]
fn autostart_begins_with_the_last_byte_of_the_destination() {
    let mut vga = packed();
    let op = Op { width: 4, height: 1, mode: 0xc0, extensions: 4, rop: SOURCE, foreground: 6, ..Op::default() };
    start(&mut vga, op);
    gr(&mut vga, 0x31, 0x80);
    vga.mem_write(MMIO + 0x110, &0x12_3456_u32.to_le_bytes());
    assert_eq!(bytes(&vga, 0x12_3456, 5), [6, 6, 6, 6, 0]);
    gr(&mut vga, 0x28, 0);
    gr(&mut vga, 0x29, 1);
    assert_eq!(bytes(&vga, 0x100, 4), [0; 4]);
    gr(&mut vga, 0x2a, 0);
    assert_eq!(bytes(&vga, 0x100, 4), [6; 4]);
    assert_eq!(status(&mut vga), 0x80);
    gr(&mut vga, 0x31, 0);
    vga.mem_write(MMIO + 0x110, &0x900_u32.to_le_bytes());
    assert_eq!(bytes(&vga, 0x900, 4), [0; 4]);
}

#[test]
fn only_a_start_exits() {
    let mut vga = packed();
    let coalesced = |vga: &Bench<Vga>| regions(vga, MMIO)[0].coalesce.clone();
    assert_eq!(coalesced(&vga), vec![0x100..0x140; 1]);
    vga.effects.clear();
    gr(&mut vga, 0x31, 0x80);
    assert_eq!(vga.effects, [Effect::Remap]);
    assert_eq!(coalesced(&vga), [0x100..0x110, 0x114..0x140], "the destination starts operations");
}

#[test]
fn a_reset_ends_an_operation_that_waits_for_the_cpu() {
    let mut vga = packed();
    start(&mut vga, Op { width: 64, height: 64, dest_pitch: 64, mode: 4, rop: SOURCE, ..Op::default() });
    assert_eq!(status(&mut vga), 0x0b);
    gr(&mut vga, 0x31, 4);
    assert_eq!(status(&mut vga), 4);
    gr(&mut vga, 0x31, 0);
    vga.mem_write(LFB, &[5; 4]);
    assert_eq!(bytes(&vga, 0, 4), [5; 4], "video memory again");
}

#[test]
fn the_blitters_registers_are_at_b8000_or_at_the_end_of_the_frame_buffer() {
    let mut vga = packed();
    for (sr17, at) in [(0x04, 0xb_8000), (0x44, LFB + VRAM - 0x100)] {
        vga.mem_write(at + 8, &[0x77]);
        assert_ne!(read_gr(&mut vga, 0x20), 0x77);
        sr(&mut vga, 0x17, sr17);
        vga.mem_write(at + 8, &[0x5a]);
        assert_eq!(read_gr(&mut vga, 0x20), 0x5a);
        sr(&mut vga, 0x17, 0);
    }
    sr(&mut vga, 0x17, 0x44);
    vga.mem_write(LFB + VRAM - 0x101, &[0x21]);
    vga.mem_write(LFB + VRAM - 0x1001, &[0x22]);
    assert_eq!((bytes(&vga, VRAM - 0x101, 1), bytes(&vga, VRAM - 0x1001, 1)), (vec![0x21], vec![0x22]));
    assert_eq!(regions(&vga, LFB)[0].len, VRAM - 0x1000, "the last page traps");
}

#[test]
fn a_transfer_in_progress_survives_saving_and_loading() {
    let mut vga = packed();
    start(&mut vga, Op { width: 8, height: 1, dest: 0x600, mode: 4, rop: SOURCE, ..Op::default() });
    vga.mem_write(LFB, b"half");
    let state = Device::save(&vga.device);
    let mut other = packed();
    Device::load(&mut other.device, state).unwrap();
    other.mem_write(LFB, b"done");
    assert_eq!(bytes(&other, 0x600, 8), b"halfdone");
}
