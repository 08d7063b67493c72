//! Reset values, access sizes, EEPROM, PHY, PCI.

use super::*;
use crate::testing::Rng;

/// Offset, width, value after power-on, what reads back after all ones were written (locked, without a reset).
const TABLE: &[(u8, u8, u32, u32)] = &[
    (0x00, 4, 0x123e_1600, 0xffff_ffff),
    (0x04, 2, 0x5634, 0xffff),
    (0x06, 2, 0, 0),
    (0x08, 4, 0, 0xffff_ffff),
    (0x0c, 4, 0, 0xffff_ffff),
    (0x10, 4, 0x2000, 0x003f_3fff),
    (0x1c, 4, 0x2000, 0x003f_3fff),
    (0x20, 4, 0, 0xffff_ffff),
    (0x2c, 4, 0, 0xffff_ffff),
    (0x30, 4, 0, 0xffff_ffff),
    (0x34, 2, 0, 0),
    (0x36, 1, 0, 0),
    (0x38, 2, 0xfff0, 0xffff),
    (0x3a, 2, 0, 0),
    (0x3c, 2, 0, 0xe1ff),
    (0x3e, 2, 0, 0),
    (0x40, 4, 0x7780_0000, 0x778f_07f0),
    (0x44, 4, 0, 0x0f03_ffbf),
    (0x4c, 4, 0, 0),
    (0x51, 1, 0x03, 0x03),
    (0x52, 1, 0x4d, 0x4d),
    (0x54, 4, 0, 0xffff_ffff),
    (0x58, 1, 0x10, 0x10),
    (0x59, 1, 0xc1, 0xc1),
    (0x5a, 1, 0x80, 0x80),
    (0x5c, 2, 0, 0x0fff),
    (0x5e, 1, 0x20, 0x20),
    (0x60, 2, 0x000f, 0x000f),
    (0x62, 2, 0x3100, 0x3100),
    (0x64, 2, 0x782d, 0x782d),
    (0x66, 2, 0x05e1, 0x2de1),
    (0x68, 2, 0x45e1, 0x45e1),
    (0x6a, 2, 0x0001, 0x0001),
    (0x74, 2, 0x0748, 0x0748),
    (0x78, 4, 0, 0xffff_ffff),
    (0x84, 4, 0, 0xffff_ffff),
    (0xd0, 4, 0, 0xffff_ffff),
    (0xd8, 1, 0, 0x7f),
    (0xd9, 1, 0, 0),
    (0xe0, 2, 0, 0x007b),
    (0xe4, 4, 0, 0xffff_ffff),
    (0xe8, 4, 0, 0xffff_ffff),
    (0xec, 1, 0, 0x3f),
    (0xf0, 4, 0, 0),
    (0xfc, 4, 0, 0),
];

#[test]
fn registers_have_their_reset_values() {
    for &(offset, width, reset, _) in TABLE {
        assert_eq!(card().input(IO + u16::from(offset), width), reset, "{offset:02x}");
    }
    assert_eq!(card().inb(IO + 0x37), 0x01, "CR: BUFE");
}

#[test]
fn registers_keep_what_there_is_room_for() {
    for &(offset, width, _, ones) in TABLE {
        let mut bench = card();
        let port = IO + u16::from(offset);
        match width {
            1 => bench.outb(port, 0xff),
            2 => bench.outw(port, 0xffff),
            _ => bench.outl(port, 0xffff_ffff),
        }
        assert_eq!(bench.input(port, width), ones, "{offset:02x}");
    }
}

#[test]
fn a_hard_reset_gives_the_reset_values_back() {
    let mut bench = running();
    for offset in 0..=255u16 {
        if offset != 0x37 {
            bench.outb(IO + offset, 0xa5);
        }
    }
    bench.call(Device::reset);
    let mut bench = mapped(bench.device);
    for &(offset, width, reset, _) in TABLE {
        assert_eq!(bench.input(IO + u16::from(offset), width), reset, "{offset:02x}");
    }
}

#[test]
fn a_soft_reset_keeps_addresses_filter_and_configuration() {
    let mut bench = running();
    bench.outl(IO + 0x08, 0x1234_5678);
    bench.outl(IO, 0x0403_0201);
    bench.outb(IO + 0x50, 0xc0);
    bench.outb(IO + 0x52, 0x80);
    give(&mut bench, &frame([0xff; 6], 100));
    bench.outw(IO + 0xe0, 0x003b);
    assert!(bench.irq(INTA));
    bench.outb(IO + 0x37, 0x10);
    assert_eq!(bench.inb(IO + 0x37), 0x01, "done at once, and the ring is empty");
    assert!(!bench.irq(INTA));
    assert_eq!((bench.inl(IO + 0x08), bench.inl(IO), bench.inb(IO + 0x52)), (0x1234_5678, 0x0403_0201, 0x8c));
    assert_eq!((bench.inl(IO + 0x3c), bench.inl(IO + 0x38), bench.inw(IO + 0xe0)), (0, 0xfff0, 0));
    assert_eq!((bench.inl(IO + 0x44), bench.inl(IO + 0x30)), (0, RING as u32));
}

#[test]
fn ports_and_memory_are_the_same_registers_at_every_size_and_alignment() {
    let mut bench = running();
    let mut rng = Rng(1);
    for offset in 0u16..256 {
        // Not where a write does more than latch, or time counts.
        if !(0x37..0x38).contains(&offset) && !(0x3e..0x58).contains(&offset) && offset != 0xd9 && offset < 0xe0 {
            bench.outb(IO + offset, rng.next_u64() as u8);
        }
    }
    let single: Vec<u8> = (0..256).map(|offset| bench.inb(IO + offset)).collect();
    for width in [1usize, 2, 4, 8] {
        for offset in 0..=256 - width {
            if offset + width > 0x48 && offset < 0x4c {
                continue;
            }
            let mut data = vec![0; width];
            bench.mem_read(MMIO + offset as u64, &mut data);
            assert_eq!(data, single[offset..offset + width], "memory {offset:02x} {width}");
            if width < 8 {
                let value = bench.input(IO + offset as u16, width as u8).to_le_bytes();
                assert_eq!(value[..width], single[offset..offset + width], "ports {offset:02x} {width}");
            }
        }
    }
    bench.mem_write(MMIO + 0x09, &[1, 2, 3, 4, 5, 6]);
    let stored: Vec<u8> = (0x09..0x0f).map(|offset| bench.inb(IO + offset)).collect();
    assert_eq!(stored, [1, 2, 3, 4, 5, 6]);
    bench.outw(IO + 0x21, 0xabcd);
    assert_eq!(bench.inl(IO + 0x20).to_le_bytes()[1..3], [0xcd, 0xab]);
}

#[test]
fn an_elder_chip_has_no_descriptors() {
    let mut bench = mapped(make_chip(Chip::C));
    assert_eq!(bench.config_read(0x08, 1), 0x10);
    assert_eq!(bench.inl(IO + 0x40) & 0x7cc0_0000, 0x7400_0000);
    bench.outw(IO + 0xe0, 0xffff);
    bench.outl(IO + 0xe4, 0xffff_ffff);
    bench.outb(IO + 0xd9, 0xff);
    bench.outw(IO + 0x3c, 0xffff);
    assert_eq!((bench.inw(IO + 0xe0), bench.inl(IO + 0xe4)), (0, 0));
    assert_eq!((bench.inw(IO + 0x3c), bench.inw(IO + 0x3e)), (0xe07f, 0));
}

#[test]
fn configuration_registers_are_locked() {
    let mut bench = card();
    for (offset, ones) in [(0x52, 0xff), (0x59, 0xf1), (0x5a, 0xf5)] {
        let locked = bench.inb(IO + offset);
        bench.outb(IO + offset, 0xff);
        assert_eq!(bench.inb(IO + offset), locked);
        bench.outb(IO + 0x50, 0xc0);
        bench.outb(IO + offset, 0xff);
        assert_eq!(bench.inb(IO + offset), ones);
        bench.outb(IO + 0x50, 0);
    }
    bench.outb(IO + 0x50, 0x40);
    assert_eq!(bench.inb(IO + 0x50), 0, "the mode ends by itself");
    assert_eq!(bench.inb(IO + 0x52), 0x4d, "loaded from the EEPROM again");
}

/// Clocks `bits` into the EEPROM, first bit first, and gives what comes out at each.
fn shift(bench: &mut Bench<Rtl8139>, bits: &str) -> String {
    bits.chars()
        .map(|bit| {
            let di = if bit == '1' { 2 } else { 0 };
            bench.outb(IO + 0x50, 0x88 | di);
            bench.outb(IO + 0x50, 0x8c | di);
            if bench.inb(IO + 0x50) & 1 != 0 { '1' } else { '0' }
        })
        .collect()
}

fn eeprom(bench: &mut Bench<Rtl8139>, bits: &str) -> String {
    bench.outb(IO + 0x50, 0x80);
    bench.outb(IO + 0x50, 0x88);
    let out = shift(bench, bits);
    bench.outb(IO + 0x50, 0x80);
    bench.outb(IO + 0x50, 0x00);
    out
}

fn eeprom_word(bench: &mut Bench<Rtl8139>, at: u8) -> u16 {
    let out = eeprom(bench, &format!("110{at:06b}{}", "0".repeat(16)));
    assert_eq!(&out[8..9], "0", "a dummy bit first");
    u16::from_str_radix(&out[9..], 2).unwrap()
}

#[test]
fn the_eeprom_has_ids_address_and_a_right_checksum() {
    let mut bench = card();
    let words: Vec<u16> = (0..64).map(|at| eeprom_word(&mut bench, at)).collect();
    assert_eq!(words[..5], [0x8129, 0x10ec, 0x8139, 0x1af4, 0x1100]);
    assert_eq!(words[7..10], [0x1600, 0x123e, 0x5634]);
    assert_eq!(words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word)), 0);
    assert_ne!(words[0x19], 0);
}

#[test]
fn an_eeprom_with_eight_address_bits_is_not_what_is_found() {
    let mut bench = card();
    let out = eeprom(&mut bench, &format!("110{:08b}{}", 0, "0".repeat(16)));
    assert_ne!(u16::from_str_radix(&out[11..], 2).unwrap(), 0x8129);
}

#[test]
fn eeprom_words_follow_each_other_and_leading_zeros_do_not_matter() {
    let mut bench = card();
    let out = eeprom(&mut bench, &format!("00110000001{}", "0".repeat(32)));
    assert_eq!(u32::from_str_radix(&out[11..], 2).unwrap(), 0x10ec_8139);
}

#[test]
fn the_eeprom_is_programmed_only_when_that_is_enabled() {
    let mut bench = card();
    let write = format!("101{:06b}{:016b}", 7, 0xbeef);
    eeprom(&mut bench, &write);
    assert_eq!(eeprom_word(&mut bench, 7), 0x1600);
    eeprom(&mut bench, "100110000");
    eeprom(&mut bench, &write);
    assert_eq!(eeprom_word(&mut bench, 7), 0xbeef);
    eeprom(&mut bench, "111000111");
    assert_eq!(eeprom_word(&mut bench, 7), 0xffff, "erased");
    eeprom(&mut bench, &format!("100010000{:016b}", 0x1234));
    assert_eq!((eeprom_word(&mut bench, 0), eeprom_word(&mut bench, 63)), (0x1234, 0x1234));
    eeprom(&mut bench, "100000000");
    eeprom(&mut bench, "100100000");
    assert_eq!(eeprom_word(&mut bench, 5), 0x1234, "disabled again");
    bench.outb(IO + 0x50, 0x40);
    assert_eq!(bench.inl(IO), 0x1234_1234, "the address that was programmed is loaded");
}

#[test]
fn the_link_is_seen_in_every_register() {
    let mut bench = running();
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, false)));
    assert!(bench.irq(INTA));
    assert_eq!((bench.inw(IO + 0x3e), bench.inw(IO + 0x74)), (0x20, 0x0b40), "CSCR says what PUN means");
    bench.outw(IO + 0x3e, 0x20);
    assert!(!bench.irq(INTA));
    assert_eq!(bench.inw(IO + 0x74), 0x0340);
    assert_eq!((bench.inb(IO + 0x58), bench.inw(IO + 0x64), bench.inw(IO + 0x68)), (0x14, 0x7809, 0));
    assert_eq!(give(&mut bench, &frame(MAC, 100)), 0);
    assert_eq!(bench.inb(IO + 0x37) & 1, 1, "nothing comes in");
    bench.outl(IO + 0x10, 60);
    assert_eq!(bench.inl(IO + 0x10) & 0x8000_a000, 0x8000_a000, "sent without a carrier");
    assert_eq!(sent(&mut bench).len(), 0);
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, true)));
    assert_eq!(bench.inw(IO + 0x3e) & 0x20, 0x20);
    assert_eq!(bench.inw(IO + 0x64) & 4, 0, "latched low until it is read");
    assert_eq!(bench.inw(IO + 0x64), 0x782d);
    bench.outw(IO + 0x3e, 0xffff);
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, true)));
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NicId(0), false)));
    assert_eq!(bench.inw(IO + 0x3e), 0, "no change, or somebody else's");
}

#[test]
fn the_phy_negotiates_what_is_advertised() {
    let mut bench = card();
    for (advertised, control, media) in
        [(0x05e1, 0x3100, 0x10), (0x00e1, 0x3000, 0x10), (0x0061, 0x1100, 0x18), (0x0021, 0x1000, 0x18)]
    {
        bench.outw(IO + 0x66, advertised);
        bench.outw(IO + 0x62, 0x1200);
        assert_eq!(bench.inw(IO + 0x62), control);
        assert_eq!(bench.inb(IO + 0x58), media);
    }
    bench.outw(IO + 0x62, 0x0100);
    assert_eq!(bench.inw(IO + 0x62) & 0x1000, 0x1000, "locked");
    bench.outb(IO + 0x50, 0xc0);
    bench.outw(IO + 0x62, 0x0100);
    assert_eq!((bench.inw(IO + 0x62), bench.inb(IO + 0x58)), (0x0100, 0x18), "10 Mb/s by hand");
    assert_eq!(bench.inw(IO + 0x64) & 0x20, 0);
    bench.outw(IO + 0x62, 0x8000);
    assert_eq!((bench.inw(IO + 0x62), bench.inw(IO + 0x66)), (0x3100, 0x05e1), "reset");
}

#[test]
fn the_functions_configuration_space() {
    let mut bench = Bench::new(make());
    assert_eq!(bench.config_read(0, 4), 0x8139_10ec);
    assert_eq!(bench.config_read(8, 4), 0x0200_0020);
    assert_eq!(bench.config_read(0x2c, 4), 0x1100_1af4);
    assert_eq!(bench.config_read(6, 2), 0x0290);
    assert_eq!(bench.config_read(0x3c, 4), 0x4020_0100);
    assert_eq!(bench.config_read(0x34, 1), 0x50);
    assert_eq!(bench.config_read(0x50, 4), 0x0602_0001);
    for (bar, size) in [(0x10, 0xffff_ff01), (0x14, 0xffff_ff00), (0x30, 0xffff_8001), (0x18, 0)] {
        bench.config_write(bar, 4, 0xffff_ffff);
        assert_eq!(bench.config_read(bar, 4), size, "{bar:02x}");
    }
    bench.config_write(0x30, 4, 0xfe00_0001);
    bench.config_write(4, 1, 2);
    let mut data = [0; 4];
    bench.mem_read(0xfe00_0002, &mut data);
    assert_eq!(data, [0x58, 0x59, 0x5e, 0x5f]);
    bench.mem_write(0xfe00_0002, &[0; 4]);
    bench.mem_read(0xfe00_0002, &mut data);
    assert_eq!(data, [0x58, 0x59, 0x5e, 0x5f], "it is a ROM");
}

#[test]
fn a_card_without_a_rom_has_no_bar_for_it() {
    let spec = NicSpec { nic: NIC, devfn: Devfn::new(4, 0), mac: MAC, rom: Vec::new(), link: false };
    let mut bench = mapped(Rtl8139::new(spec));
    bench.config_write(0x30, 4, 0xffff_ffff);
    assert_eq!(bench.config_read(0x30, 4), 0);
    assert_eq!(bench.inb(IO + 0x51), 0);
    assert_eq!(bench.inb(IO + 0x58), 0x14, "the cable is out");
}

#[test]
fn a_card_that_sleeps_does_nothing_and_wakes_reset() {
    let mut bench = running();
    bench.config_write(0x54, 2, 3);
    assert_eq!(bench.config_read(0x54, 2), 3);
    give(&mut bench, &frame(MAC, 100));
    bench.outl(IO + 0x10, 60);
    assert_eq!((sent(&mut bench).len(), bench.irq(INTA)), (0, false));
    bench.config_write(0x54, 2, 0);
    assert_eq!((sent(&mut bench).len(), bench.inb(IO + 0x37)), (0, 0x01));
    assert_eq!(bench.inl(IO), 0x123e_1600);
}

#[test]
fn the_flash_register_reads_the_rom() {
    let mut bench = card();
    bench.outl(IO + 0xd4, 0x0000_1234);
    assert_eq!(bench.inb(IO + 0xd7), 0x34 ^ 0x5a);
    bench.outl(IO + 0xd4, 0xa510_1234);
    assert_eq!(bench.inb(IO + 0xd7), 0xa5);
}
