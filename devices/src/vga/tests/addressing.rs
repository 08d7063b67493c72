//! Odd/even addressing outside the usual set-up of text modes (technical reference, sequencer memory mode register,
//! graphics mode and miscellaneous registers, CRT mode control register).

use super::*;

fn plane(vga: &Bench<Vga>, plane: usize, offsets: Range<u64>) -> Vec<u8> {
    offsets.map(|offset| planes(&vga.memory, offset)[plane]).collect()
}

/// Sets up access to a plane by SR2, SR4, GR4, GR5 and GR6.
fn select(vga: &mut Bench<Vga>, [sr2, sr4, gr4, gr5, gr6]: [u8; 5]) {
    write_sr(vga, 2, sr2);
    write_sr(vga, 4, sr4);
    write_gr(vga, 4, gr4);
    write_gr(vga, 5, gr5);
    write_gr(vga, 6, gr6);
}

const TEXT: [u8; 5] = [3, 2, 0, 0x10, 0x0e];

#[test]
fn gr6_replaces_address_bit_0_although_sr4_addresses_all_planes() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    // A program that loads a font and sets SR2 and SR4 alone.
    write_sr(&mut vga, 4, 6);
    write_sr(&mut vga, 2, 4);
    for (n, byte) in (0..).zip([0xaa, 0xbb, 0xcc]) {
        vga.mem_write(0xb_8000 + n, &[byte]);
    }
    assert_eq!(plane(&vga, 2, 0..4), [0xbb, 0, 0xcc, 0]);
    // A wide access is the same as its bytes.
    vga.mem_write(0xb_8010, &[0x11, 0x22, 0x33, 0x44]);
    assert_eq!(plane(&vga, 2, 0x10..0x14), [0x22, 0, 0x44, 0]);
    assert_eq!(plane(&vga, 0, 0..4), [0; 4]);
}

#[test]
fn text_lies_at_even_offsets_of_planes_0_and_1() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    print(&mut vga, 0, b"abc");
    select(&mut vga, [0xf, 6, 0, 0, 4]);
    let mut bytes = [0; 6];
    vga.mem_read(0xa_0000, &mut bytes);
    assert_eq!(bytes, [b'a', 0, b'b', 0, b'c', 0]);
    write_gr(&mut vga, 4, 1);
    vga.mem_read(0xa_0000, &mut bytes);
    assert_eq!(bytes, [7, 0, 7, 0, 7, 0]);
    // What was written to the planes is text afterwards.
    write_sr(&mut vga, 2, 1);
    vga.mem_write(0xa_0002, b"X");
    select(&mut vga, TEXT);
    assert!(vga.device.text_screen(&vga.memory)[0].starts_with("aXc"));
    assert!(Device::regions(&vga.device).iter().any(|region| region.base == 0xb_8000 && region.video.is_some()));
}

#[test]
fn odd_even_reads_and_writes_are_chosen_by_separate_registers() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    select(&mut vga, [0xf, 6, 2, 0x10, 0x0c]);
    for n in 0..8_u8 {
        vga.memory.write_video(u64::from(n) * 4, &[n, 0x10 | n, 0x20 | n, 0x30 | n]);
    }
    let mut bytes = [0; 4];
    // GR5 odd/even without GR6: the address is unchanged, its bit 0 selects the plane.
    vga.mem_read(0xb_8000, &mut bytes);
    assert_eq!(bytes, [0x20, 0x31, 0x22, 0x33]);
    // SR4 odd/even without GR6.
    select(&mut vga, [0xf, 2, 0, 0, 0x0c]);
    vga.mem_write(0xb_8004, &[0x81, 0x82]);
    assert_eq!(planes(&vga.memory, 4), [0x81, 0x14, 0x81, 0x34]);
    assert_eq!(planes(&vga.memory, 5), [0x05, 0x82, 0x25, 0x82]);
}

#[test]
fn the_window_of_128_kib_puts_address_bit_16_into_bit_0() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    select(&mut vga, [3, 2, 0, 0x10, 2]);
    vga.mem_write(0xa_0004, &[1, 2]);
    vga.mem_write(0xb_0004, &[3, 4]);
    assert_eq!((planes(&vga.memory, 4), planes(&vga.memory, 5)), ([1, 2, 0, 0], [3, 4, 0, 0]));
}

#[test]
fn text_in_byte_mode_shows_consecutive_offsets() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    print(&mut vga, 0, b"abc");
    vga.memory.write_video(4, b"-\x07");
    write_cr(&mut vga, 0x11, 0);
    write_cr(&mut vga, 0x17, 0xe3);
    assert!(vga.device.text_screen(&vga.memory)[0].starts_with("a-b c"));
    // In word mode the counter's bit 13 or 15 is the lowest address bit.
    vga.memory.write_video(0x4001 * 4, b"-\x07");
    write_cr(&mut vga, 0x17, 0x83);
    write_cr(&mut vga, 0x0c, 0x20);
    assert!(vga.device.text_screen(&vga.memory)[0].starts_with("-"));
}

#[test]
fn cga_graphics_are_displayed_from_even_offsets() {
    let mut vga = bench();
    set_mode(&mut vga, &MODE_3);
    select(&mut vga, [3, 2, 0, 0x30, 0x0f]);
    write_cr(&mut vga, 0x11, 0);
    write_cr(&mut vga, 1, 39);
    write_cr(&mut vga, 0x13, 20);
    write_cr(&mut vga, 9, 0xc1);
    write_cr(&mut vga, 0x17, 0xa2);
    vga.mem_write(0xb_8001, &[0x40]);
    vga.mem_write(0xb_a000, &[0x80]);
    assert_eq!((planes(&vga.memory, 0), planes(&vga.memory, 0x2000)), ([0, 0x40, 0, 0], [0x80, 0, 0, 0]));
    let frame = vga.device.render(&vga.memory);
    let lit: Vec<_> = (0..frame.pixels.len())
        .filter(|&n| frame.pixels[n] != frame.pixels[50])
        .map(|n| n as u32 % frame.width)
        .collect();
    assert!(!lit.is_empty() && lit.iter().all(|x| [0, 4].contains(x)), "{lit:?}");
}
