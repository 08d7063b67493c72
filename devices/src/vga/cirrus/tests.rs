//! The CL-GD5446 on a test bench: registers, apertures, modes, cursor.

use crate::ctx::Effect;
use crate::device::{Device, Region, Space};
use crate::memory::DirtyPages;
use crate::testing::Bench;
use crate::vga::{BlinkPhase, Canvas, Vga};

mod blits;
mod hostile;

pub(super) const LFB: u64 = 0xfc00_0000;
pub(super) const MMIO: u64 = 0xfebe_0000;
pub(super) const VRAM: u64 = Vga::CIRRUS_VRAM as u64;

/// An adapter with its BARs mapped as firmware would map them.
pub(super) fn mapped() -> Bench<Vga> {
    let mut vga = Bench::new(Vga::cirrus(vec![0x55; 0x200]));
    vga.config_write(0x10, 4, LFB as u32);
    vga.config_write(0x14, 4, MMIO as u32);
    vga.config_write(0x04, 2, 3);
    vga
}

pub(super) fn sr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3c4, u16::from_le_bytes([index, value]));
}

pub(super) fn gr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3ce, u16::from_le_bytes([index, value]));
}

pub(super) fn cr(vga: &mut Bench<Vga>, index: u8, value: u8) {
    vga.outw(0x3d4, u16::from_le_bytes([index, value]));
}

pub(super) fn read_gr(vga: &mut Bench<Vga>, index: u8) -> u8 {
    vga.outb(0x3ce, index);
    vga.inb(0x3cf)
}

pub(super) fn read_sr(vga: &mut Bench<Vga>, index: u8) -> u8 {
    vga.outb(0x3c4, index);
    vga.inb(0x3c5)
}

fn read_cr(vga: &mut Bench<Vga>, index: u8) -> u8 {
    vga.outb(0x3d4, index);
    vga.inb(0x3d5)
}

fn hidden_dac(vga: &mut Bench<Vga>, value: u8) {
    for _ in 0..4 {
        vga.inb(0x3c6);
    }
    vga.outb(0x3c6, value);
}

/// A packed-pixel mode of `width` by `height` pixels with the format of SR7 and of the hidden DAC register.
pub(super) fn mode(vga: &mut Bench<Vga>, width: u16, height: u16, sr7: u8, format: u8) {
    vga.outb(0x3c2, 0x6f);
    sr(vga, 0, 3);
    sr(vga, 1, 1);
    sr(vga, 2, 0xff);
    sr(vga, 4, 0x0e);
    sr(vga, 6, 0x12);
    sr(vga, 7, sr7);
    cr(vga, 0x11, 0);
    let end = height - 1;
    let overflow = (end >> 8 & 1) << 1 | (end >> 9 & 1) << 6 | 0x10;
    for (index, value) in [(0, width / 8 + 10), (1, width / 8 - 1), (6, 0xff), (7, overflow), (9, 0x40), (0x12, end)] {
        cr(vga, index, value as u8);
    }
    let bytes = [1, 2, 3, 2, 4][usize::from(sr7 >> 1 & 7)] * width;
    cr(vga, 0x13, (bytes / 8) as u8);
    cr(vga, 0x1b, 0x22 | ((bytes / 8) >> 4 & 0x10) as u8);
    cr(vga, 0x17, 0xc3);
    cr(vga, 0x18, 0xff);
    gr(vga, 5, 0x40);
    gr(vga, 6, 5);
    hidden_dac(vga, format);
    vga.inb(0x3da);
    vga.outb(0x3c0, 0x20);
}

fn regions(vga: &Bench<Vga>, base: u64) -> Vec<Region> {
    Device::regions(&vga.device).into_iter().filter(|r| r.space == Space::Mem && r.base == base).collect()
}

#[test]
fn the_pci_function_has_the_chips_ids_and_bars() {
    let mut vga = Bench::new(Vga::cirrus(vec![0; 0x8000]));
    assert_eq!(vga.config_read(0, 4), 0x00b8_1013);
    assert_eq!(vga.config_read(8, 4), 0x0300_0000);
    assert_eq!(vga.config_read(0x2c, 4), 0x1100_1af4);
    for (register, size) in [(0x10, 0xfe00_0008), (0x14, 0xffff_f000), (0x18, 0), (0x30, 0xffff_0001)] {
        vga.config_write(register, 4, 0xffff_ffff);
        assert_eq!(vga.config_read(register, 4), size, "{register:x}");
    }
    assert!(Device::regions(&vga.device).iter().all(|r| r.base != 0x1ce), "no Bochs display interface");
}

#[test]
fn extension_registers_read_back_and_identify_the_chip() {
    let mut vga = mapped();
    vga.outb(0x3c2, 1);
    assert_eq!(read_sr(&mut vga, 6), 0x0f);
    for (value, read) in [(0x12, 0x12), (0xf2, 0x12), (0x11, 0x0f), (0x32, 0x12), (0x00, 0x0f)] {
        sr(&mut vga, 6, value);
        assert_eq!(read_sr(&mut vga, 6), read, "{value:x}");
    }
    assert_eq!((read_sr(&mut vga, 0x0f), read_sr(&mut vga, 0x15)), (0x98, 4), "4 MiB in two banks");
    sr(&mut vga, 0x17, 0xff);
    assert_eq!(read_sr(&mut vga, 0x17), 0xe7, "the bus type is PCI");
    assert_eq!(read_cr(&mut vga, 0x27), 0xb8);
    cr(&mut vga, 0x27, 0);
    assert_eq!(read_cr(&mut vga, 0x27), 0xb8);
    for index in [0x19, 0x1a, 0x1b, 0x1c, 0x1d] {
        cr(&mut vga, index, 0x5a);
        assert_eq!(read_cr(&mut vga, index), 0x5a, "CR{index:x}");
    }
    for (index, read) in [(0x09, 0xff), (0x0b, 0xff), (0x15, 0xff), (0x21, 0x1f), (0x23, 7), (0x2a, 0x3f), (0x35, 0xff)]
    {
        gr(&mut vga, index, 0xff);
        assert_eq!(read_gr(&mut vga, index), read, "GR{index:x}");
    }
    vga.inb(0x3da);
    assert_eq!(read_cr(&mut vga, 0x24), 0);
    vga.outb(0x3c0, 0x33);
    assert_eq!((read_cr(&mut vga, 0x24), read_cr(&mut vga, 0x26)), (0x80, 0x33));
}

#[test]
fn the_hidden_dac_register_follows_four_reads_of_the_pixel_mask() {
    let mut vga = mapped();
    vga.outb(0x3c6, 0x7e);
    hidden_dac(&mut vga, 0xc5);
    for _ in 0..4 {
        assert_eq!(vga.inb(0x3c6), 0x7e);
    }
    assert_eq!(vga.inb(0x3c6), 0xc5);
    assert_eq!(vga.inb(0x3c6), 0x7e, "the count starts again");
    vga.outb(0x3c8, 0);
    for _ in 0..3 {
        vga.inb(0x3c6);
    }
    vga.inb(0x3c8);
    vga.outb(0x3c6, 0xff);
    assert_eq!(vga.inb(0x3c6), 0xff, "an access to another port of the DAC breaks the row");
}

#[test]
fn bar_1_has_the_vga_ports_and_the_blitters_registers() {
    let mut vga = mapped();
    let mut byte = [0];
    vga.mem_write(MMIO + 4, &[7]);
    vga.mem_write(MMIO + 5, &[0x19]);
    assert_eq!(read_sr(&mut vga, 7), 0x19);
    vga.outb(0x3c2, 1);
    vga.mem_write(MMIO + 0x14, &[0x27]);
    vga.mem_read(MMIO + 0x15, &mut byte);
    assert_eq!(byte, [0xb8]);
    vga.mem_write(MMIO + 0x100, &[0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17]);
    for (index, value) in [(0, 0x10), (0x10, 0x11), (0x12, 0x12), (0x14, 0x13), (1, 0x14), (0x11, 0x15), (0x15, 0x17)] {
        assert_eq!(read_gr(&mut vga, index), value);
    }
    for (offset, index) in
        [(8, 0x20), (0xc, 0x24), (0x10, 0x28), (0x14, 0x2c), (0x18, 0x30), (0x1a, 0x32), (0x1b, 0x33)]
    {
        vga.mem_write(MMIO + 0x100 + offset, &[0x0d]);
        assert_eq!(read_gr(&mut vga, index), 0x0d);
    }
    vga.mem_read(MMIO + 0x1f0, &mut byte);
    assert_eq!(byte, [0xff]);
}

#[test]
fn video_memory_is_a_slot_in_packed_pixel_modes_unless_an_access_is_modified() {
    let mut vga = mapped();
    assert!(regions(&vga, LFB).iter().all(|r| r.video.is_none()), "the VGA's modes");
    mode(&mut vga, 640, 480, 0x11, 0);
    assert_eq!(regions(&vga, LFB)[0], Region::video(LFB, VRAM, 6, 0));
    assert_eq!(regions(&vga, 0xa_0000)[0], Region::video(0xa_0000, 0x1_0000, 9, 0));
    let traps = |vga: &Bench<Vga>| [LFB, 0xa_0000].map(|base| regions(vga, base).iter().all(|r| r.video.is_none()));
    for (index, value, back) in [(0x0b, 2, 0), (0x0b, 0x14, 0)] {
        vga.effects.clear();
        gr(&mut vga, index, value);
        assert_eq!((traps(&vga), vga.effects.as_slice()), ([true; 2], &[Effect::Remap][..]));
        gr(&mut vga, index, back);
        assert_eq!(traps(&vga), [false; 2]);
    }
    gr(&mut vga, 5, 0x44);
    assert_eq!(traps(&vga), [false; 2], "write mode 4 without its enable");
    gr(&mut vga, 0x0b, 4);
    assert_eq!(traps(&vga), [true; 2]);
}

#[test]
fn offset_registers_move_one_window_or_its_halves() {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x11, 0);
    let windows = |vga: &Bench<Vga>| [0xa_0000, 0xa_8000].map(|base| regions(vga, base).first().and_then(|r| r.video));
    gr(&mut vga, 9, 0x10);
    assert_eq!(windows(&vga), [Some(0x1_0000), None], "units of 4 KiB");
    gr(&mut vga, 0x0b, 0x20);
    assert_eq!(windows(&vga), [Some(0x4_0000), None], "units of 16 KiB");
    gr(&mut vga, 0x0a, 3);
    gr(&mut vga, 0x0b, 0x21);
    assert_eq!(windows(&vga), [Some(0x4_0000), Some(0xc000)], "two offsets");
    // The last bytes of video memory, and the first ones after them.
    vga.memory.write_video(VRAM - 1, &[0x77]);
    vga.memory.write_video(0, &[0x78]);
    vga.memory.write_video(VRAM, &[0x79]);
    gr(&mut vga, 0x0b, 0);
    gr(&mut vga, 9, 0xff);
    let mut bytes = [0; 2];
    gr(&mut vga, 0x0b, 0x20);
    vga.mem_read(0xa_0000 + 0x3fff, &mut bytes[..1]);
    vga.mem_read(0xa_0000 + 0x4000, &mut bytes[1..]);
    assert_eq!(bytes, [0x77, 0x78], "a window across the end of video memory continues at its start");
}

#[test]
fn apertures_swap_the_bytes_of_words_and_dwords() {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x11, 0);
    vga.mem_write(LFB + 0x40_0100, &[1, 2, 3, 4]);
    vga.mem_write(LFB + 0x80_0104, &[1, 2, 3, 4]);
    vga.mem_write(LFB + 0xc0_0108, &[1, 2, 3, 4]);
    vga.mem_write(LFB + 0x100_0108, &[1, 2, 3, 4]);
    let mut bytes = [0; 12];
    vga.mem_read(LFB + 0x100, &mut bytes);
    assert_eq!(bytes, [2, 1, 4, 3, 4, 3, 2, 1, 0, 0, 0, 0]);
    vga.mem_read(LFB + 0x80_0104, &mut bytes[..4]);
    assert_eq!(bytes[..4], [1, 2, 3, 4]);
}

#[test]
fn extended_write_modes_expand_bits_to_pixels() {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x11, 0);
    for (index, value) in [(0x0b, 0x06), (1, 0xf3), (0, 0x2b), (5, 0x44)] {
        gr(&mut vga, index, value);
    }
    assert_eq!(read_gr(&mut vga, 1), 0xf3, "eight bits");
    vga.memory.write_video(0x80, &[0x11; 8]);
    vga.mem_write(0xa_0010, &[0xa5]);
    let mut bytes = [0; 8];
    vga.memory.read_video(0x80, &mut bytes);
    assert_eq!(bytes, [0xf3, 0x11, 0xf3, 0x11, 0x11, 0xf3, 0x11, 0xf3], "write mode 4");
    gr(&mut vga, 5, 0x45);
    sr(&mut vga, 2, 0x0f);
    vga.mem_write(LFB + 0x10, &[0xaa]);
    vga.memory.read_video(0x80, &mut bytes);
    assert_eq!(bytes, [0xf3, 0x11, 0xf3, 0x11, 0xf3, 0x2b, 0xf3, 0x2b], "write mode 5, SR2 enables four pixels");
    sr(&mut vga, 2, 0xff);
    for (index, value) in [(0x0b, 0x14), (0x11, 0xa1), (0x10, 0xb2)] {
        gr(&mut vga, index, value);
    }
    vga.mem_write(0xa_0010, &[0x80]);
    vga.memory.read_video(0x100, &mut bytes[..4]);
    assert_eq!(bytes[..4], [0xf3, 0xa1, 0x2b, 0xb2], "16-bit pixels");
}

#[test]
fn write_mode_1_copies_eight_bytes() {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x11, 0);
    for (index, value) in [(0x0b, 0x0e), (5, 0x41)] {
        gr(&mut vga, index, value);
    }
    vga.memory.write_video(0x200, b"eightByt");
    let mut byte = [0];
    vga.mem_read(0xa_0040, &mut byte);
    vga.mem_write(0xa_0060, &[0]);
    let mut bytes = [0; 8];
    vga.memory.read_video(0x300, &mut bytes);
    assert_eq!(&bytes, b"eightByt");
}

#[test]
fn pixels_have_8_15_16_24_and_32_bits() {
    let mut vga = mapped();
    let shows = |vga: &mut Bench<Vga>, sr7: u8, format: u8, bytes: &[u8]| {
        mode(vga, 320, 200, sr7, format);
        let at = u64::from(320 * [1, 2, 3, 2, 4][usize::from(sr7 >> 1 & 7)] * 199_u32);
        vga.mem_write(LFB + at, bytes);
        let frame = vga.device.render(&vga.memory);
        assert_eq!((frame.width, frame.height), (320, 200));
        frame.pixels[199 * 320]
    };
    vga.outb(0x3c8, 7);
    [0x3f, 0x20, 0].into_iter().for_each(|component| vga.outb(0x3c9, component));
    assert_eq!(shows(&mut vga, 0x11, 0, &[7]), 0xff_8200);
    assert_eq!(shows(&mut vga, 0x17, 0xc0, &0x7c1f_u16.to_le_bytes()), 0xff_00ff);
    assert_eq!(shows(&mut vga, 0x17, 0xc1, &0xf81f_u16.to_le_bytes()), 0xff_00ff);
    assert_eq!(shows(&mut vga, 0x13, 0xc1, &0x07e0_u16.to_le_bytes()), 0x00_ff00);
    assert_eq!(shows(&mut vga, 0x15, 0xc5, &[1, 2, 3]), 0x03_0201);
    assert_eq!(shows(&mut vga, 0x19, 0xc5, &[1, 2, 3, 0xff]), 0x03_0201);
}

#[test]
fn the_start_address_has_20_bits_and_wraps_at_the_end_of_video_memory() {
    let mut vga = mapped();
    mode(&mut vga, 320, 200, 0x11, 0);
    vga.outb(0x3c8, 1);
    [0x3f, 0x3f, 0x3f].into_iter().for_each(|component| vga.outb(0x3c9, component));
    let start = |vga: &mut Bench<Vga>, address: u32| {
        cr(vga, 0x0c, (address >> 8) as u8);
        cr(vga, 0x0d, address as u8);
        cr(vga, 0x1b, 0x22 | (address >> 16 & 1) as u8 | (address >> 15 & 0xc) as u8);
        cr(vga, 0x1d, (address >> 12 & 0x80) as u8);
        vga.device.render(&vga.memory)
    };
    for at in [0x1_2344, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000_u32] {
        vga.memory.write_video(at.into(), &[1]);
        assert_eq!(start(&mut vga, at / 4).pixels[0], 0xff_ffff, "{at:x}");
        vga.memory.write_video(at.into(), &[0]);
    }
    vga.memory.write_video(0, &[1]);
    let frame = start(&mut vga, (VRAM as u32 - 320) / 4);
    assert_eq!(frame.pixels.iter().position(|&pixel| pixel != 0), Some(320));
}

#[test]
fn power_management_blanks_the_screen() {
    let mut vga = mapped();
    mode(&mut vga, 320, 200, 0x17, 0xc1);
    vga.memory.write_video(0, &[0xff; 2]);
    for (value, pixel) in [(0, 0xff_ffff), (2, 0), (4, 0), (6, 0), (0, 0xff_ffff)] {
        gr(&mut vga, 0x0e, value);
        assert_eq!(vga.device.render(&vga.memory).pixels[0], pixel, "{value}");
    }
}

#[test]
fn interlaced_modes_have_twice_the_lines() {
    let mut vga = mapped();
    mode(&mut vga, 1024, 384, 0x11, 0);
    assert_eq!(vga.device.size(), (1024, 384));
    cr(&mut vga, 0x1a, 1);
    assert_eq!(vga.device.size(), (1024, 768));
    cr(&mut vga, 0x1a, 0);
    cr(&mut vga, 0x17, 0xc7);
    assert_eq!(vga.device.size(), (1024, 768), "CR17 bit 2");
}

/// Stores a cursor pattern: `planes(y)` returns the two planes' pixels of a line, the leftmost in the highest bit.
fn store_cursor(vga: &mut Bench<Vga>, size: u64, pattern: u64, planes: impl Fn(u64) -> [u64; 2]) {
    let at = VRAM - 0x4000 + pattern * 256;
    for y in 0..size {
        let [first, second] = planes(y).map(u64::to_be_bytes);
        let (step, apart) = if size == 64 { (16, 8) } else { (4, 128) };
        vga.memory.write_video(at + y * step, &first[..size as usize / 8]);
        vga.memory.write_video(at + y * step + apart, &second[..size as usize / 8]);
    }
}

#[test]
fn the_cursor_is_drawn_over_the_picture_and_only_its_lines_are_drawn_again() {
    let mut vga = mapped();
    mode(&mut vga, 640, 480, 0x17, 0xc1);
    vga.memory.write_video(0, &[0x1f, 0x00].repeat(640 * 480));
    sr(&mut vga, 0x12, 2);
    for (index, rgb) in [(0, [0x3f, 0, 0]), (15, [0, 0x3f, 0])] {
        vga.outb(0x3c8, index);
        rgb.into_iter().for_each(|component| vga.outb(0x3c9, component));
    }
    vga.outb(0x3c7, 15);
    assert_eq!([(); 3].map(|()| vga.inb(0x3c9)), [0, 0x3f, 0]);
    sr(&mut vga, 0x12, 0);
    vga.outb(0x3c7, 15);
    assert_eq!([(); 3].map(|()| vga.inb(0x3c9)), [0; 3], "the DAC's own entry");
    // Columns of each combination of the planes.
    store_cursor(&mut vga, 64, 4, |_| [0x5u64 << 60, 0x3u64 << 60]);
    store_cursor(&mut vga, 32, 9, |y| if y == 31 { [1 << 32, 1 << 32] } else { [0; 2] });
    let mut canvas = Canvas::default();
    let mut draw = |vga: &mut Bench<Vga>| {
        let mut dirty = DirtyPages::none();
        vga.memory.take_dirty_video(|bytes| dirty.add(bytes));
        canvas.draw(&vga.device, &vga.memory, &dirty, BlinkPhase::VISIBLE);
        assert!(*canvas.frame() == vga.device.render(&vga.memory));
        (canvas.frame().clone(), canvas.changed_lines().collect::<Vec<_>>())
    };
    draw(&mut vga);
    let place = |vga: &mut Bench<Vga>, x: u16, y: u16| {
        sr(vga, 0x10 | (x << 5) as u8, (x >> 3) as u8);
        sr(vga, 0x11 | (y << 5) as u8, (y >> 3) as u8);
    };
    sr(&mut vga, 0x13, 0x04);
    place(&mut vga, 101, 203);
    sr(&mut vga, 0x12, 5);
    let (frame, lines) = draw(&mut vga);
    assert_eq!(frame.pixels[203 * 640 + 101..][..5], [0xff, 0xff_ff00, 0xff_0000, 0x00_ff00, 0xff]);
    assert_eq!(lines, (203..203 + 64).collect::<Vec<_>>());
    place(&mut vga, 633, 470);
    let (frame, lines) = draw(&mut vga);
    assert_eq!(frame.pixels[479 * 640 + 633..][..4], [0xff, 0xff_ff00, 0xff_0000, 0x00_ff00], "clipped");
    assert_eq!(lines, (203..203 + 64).chain(470..480).collect::<Vec<_>>());
    sr(&mut vga, 0x13, 9);
    sr(&mut vga, 0x12, 1);
    place(&mut vga, 10, 20);
    let (frame, lines) = draw(&mut vga);
    assert_eq!(frame.pixels[51 * 640 + 41], 0x00_ff00, "the last pixel of the small cursor");
    assert_eq!(lines, [51].into_iter().chain(470..480).collect::<Vec<_>>());
    store_cursor(&mut vga, 32, 9, |_| [0; 2]);
    let (frame, _) = draw(&mut vga);
    assert!(frame.pixels.iter().all(|&pixel| pixel == 0xff), "a changed pattern is drawn again");
}

#[test]
fn text_modes_work_as_on_the_vga_and_bar_0_shows_the_planes() {
    let mut vga = mapped();
    vga.outb(0x3c2, 0x67);
    sr(&mut vga, 4, 2);
    sr(&mut vga, 2, 3);
    gr(&mut vga, 5, 0x10);
    gr(&mut vga, 6, 0x0e);
    gr(&mut vga, 8, 0xff);
    assert_eq!(regions(&vga, 0xb_8000)[0].video, Some(VRAM), "the text area behind video memory");
    vga.mem_write(0xb_8002, b"A\x07");
    let mut bytes = [0; 4];
    // Cell 1 is at byte 2 of planes 0 and 1.
    vga.mem_read(LFB + 8, &mut bytes);
    assert_eq!(bytes, *b"A\x07\0\0");
    vga.mem_write(LFB + 8, b"B");
    vga.mem_read(0xb_8002, &mut bytes[..2]);
    assert_eq!(bytes[..2], *b"B\x07");
}

#[test]
fn a_state_of_another_adapter_is_refused() {
    let mut vga = mapped();
    let state = Device::save(&Bench::new(Vga::new(4 << 20, Vec::new())).device);
    assert!(Device::load(&mut vga.device, state).is_err());
    let mut state = Device::save(&vga.device);
    state.cirrus.as_mut().unwrap().gr.truncate(9);
    assert!(Device::load(&mut vga.device, state).is_err());
    let mut plain = Bench::new(Vga::new(4 << 20, Vec::new()));
    let state = Device::save(&vga.device);
    assert!(Device::load(&mut plain.device, state).is_err());
}
