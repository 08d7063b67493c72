//! Register values and access sizes, EEPROM, PHY, PCI configuration space.

use super::super::{TAG_IO, TAG_MEMORY};
use super::*;
use crate::device::Access;
use crate::testing::Rng;

/// Name, offset, width, value after power-on, and value after a write of all ones (without configuration write mode).
const TABLE: &[(&str, u8, u8, u32, u32)] = &[
    ("IDR0", 0x00, 4, 0x123e_1600, 0xffff_ffff),
    ("IDR4", 0x04, 2, 0x5634, 0xffff),
    ("reserved", 0x06, 2, 0, 0),
    ("MAR0", 0x08, 4, 0, 0xffff_ffff),
    ("MAR4", 0x0c, 4, 0, 0xffff_ffff),
    ("TSD0", 0x10, 4, 0x2000, 0x003f_3fff),
    ("TSD3", 0x1c, 4, 0x2000, 0x003f_3fff),
    ("TSAD0", 0x20, 4, 0, 0xffff_ffff),
    ("TSAD3", 0x2c, 4, 0, 0xffff_ffff),
    ("RBSTART", 0x30, 4, 0, 0xffff_ffff),
    ("ERBCR", 0x34, 2, 0, 0),
    ("ERSR", 0x36, 1, 0, 0),
    ("CAPR", 0x38, 2, 0xfff0, 0xffff),
    ("CBR", 0x3a, 2, 0, 0),
    ("IMR", 0x3c, 2, 0, 0xe1ff),
    ("ISR", 0x3e, 2, 0, 0),
    ("TCR", 0x40, 4, 0x7780_0000, 0x778f_07f0),
    ("RCR", 0x44, 4, 0, 0x0f03_ffbf),
    ("MPC", 0x4c, 4, 0, 0),
    ("CONFIG0", 0x51, 1, 0x03, 0x03),
    ("CONFIG1", 0x52, 1, 0x4d, 0x4d),
    ("TimerInt", 0x54, 4, 0, 0xffff_ffff),
    ("MSR", 0x58, 1, 0x10, 0x10),
    ("CONFIG3", 0x59, 1, 0xc1, 0xc1),
    ("CONFIG4", 0x5a, 1, 0x80, 0x80),
    ("MULINT", 0x5c, 2, 0, 0x0fff),
    ("RERID", 0x5e, 1, 0x20, 0x20),
    ("TSAD", 0x60, 2, 0x000f, 0x000f),
    ("BMCR", 0x62, 2, 0x3100, 0x3100),
    ("BMSR", 0x64, 2, 0x782d, 0x782d),
    ("ANAR", 0x66, 2, 0x05e1, 0x2de1),
    ("ANLPAR", 0x68, 2, 0x45e1, 0x45e1),
    ("ANER", 0x6a, 2, 0x0001, 0x0001),
    ("CSCR", 0x74, 2, 0x0748, 0x0748),
    ("PHY1_PARM", 0x78, 4, 0, 0xffff_ffff),
    ("CRC", 0x84, 4, 0, 0xffff_ffff),
    ("LSBCRC", 0xd0, 4, 0, 0xffff_ffff),
    ("CONFIG5", 0xd8, 1, 0, 0x7f),
    ("TPPoll", 0xd9, 1, 0, 0),
    ("CPCR", 0xe0, 2, 0, 0x007b),
    ("RDSAR", 0xe4, 4, 0, 0xffff_ffff),
    ("RDSAR", 0xe8, 4, 0, 0xffff_ffff),
    ("ETThR", 0xec, 1, 0, 0x3f),
    ("reserved", 0xf0, 4, 0, 0),
    ("reserved", 0xfc, 4, 0, 0),
];

#[test]
fn registers_have_their_reset_values() {
    for &(name, offset, width, reset, _) in TABLE {
        assert_eq!(card().input(IO + u16::from(offset), width), reset, "{name} at {offset:02x}");
    }
    assert_eq!(card().inb(CR), 0x01, "CR: BUFE");
}

#[test]
fn registers_have_the_data_sheets_names() {
    let mut bench = card();
    let name = |bench: &Bench<Rtl8139>, offset: u8| {
        let [io, mmio] = [TAG_IO, TAG_MEMORY]
            .map(|tag| Device::register_name(&bench.device, Access { tag, offset: offset.into(), width: 1 }));
        assert_eq!(io, mmio, "ports and MMIO at {offset:02x}");
        io.unwrap_or("reserved")
    };
    for &(expect, offset, ..) in TABLE {
        assert_eq!(name(&bench, offset), expect, "{offset:02x}");
    }
    assert_eq!([0x17, 0x23, 0x37, 0x50].map(|offset| name(&bench, offset)), ["TSD1", "TSAD0", "CR", "9346CR"]);
    bench.outw(CPCR, 3);
    assert_eq!([0x14, 0x18, 0x24, 0x28].map(|offset| name(&bench, offset)), ["DTCCR", "TSD2", "TNPDS", "THPDS"]);
    let c = make_chip(Chip::C);
    assert_eq!(Device::register_name(&c, Access { tag: TAG_IO, offset: 0xe0, width: 2 }), None, "no C+ registers");
}

#[test]
fn writes_change_only_the_implemented_bits() {
    for &(name, offset, width, _, ones) in TABLE {
        let mut bench = card();
        let port = IO + u16::from(offset);
        match width {
            1 => bench.outb(port, 0xff),
            2 => bench.outw(port, 0xffff),
            _ => bench.outl(port, 0xffff_ffff),
        }
        assert_eq!(bench.input(port, width), ones, "{name} at {offset:02x}");
    }
}

#[test]
fn a_hard_reset_restores_the_reset_values() {
    let mut bench = running();
    for offset in 0..=255u16 {
        if offset != 0x37 {
            bench.outb(IO + offset, 0xa5);
        }
    }
    bench.call(Device::reset);
    let mut bench = mapped(bench.device);
    for &(name, offset, width, reset, _) in TABLE {
        assert_eq!(bench.input(IO + u16::from(offset), width), reset, "{name} at {offset:02x}");
    }
}

#[test]
fn a_soft_reset_keeps_addresses_filter_and_configuration() {
    let mut bench = running();
    bench.outl(MAR, 0x1234_5678);
    bench.outl(IDR, 0x0403_0201);
    bench.outb(CR9346, 0xc0);
    bench.outb(CONFIG1, 0x80);
    deliver(&mut bench, &frame([0xff; 6], 100));
    bench.outw(CPCR, 0x003b);
    assert!(bench.irq(INTA));
    bench.outb(CR, 0x10);
    assert_eq!(bench.inb(CR), 0x01, "the reset is complete and the ring is empty");
    assert!(!bench.irq(INTA));
    assert_eq!((bench.inl(MAR), bench.inl(IDR), bench.inb(CONFIG1)), (0x1234_5678, 0x0403_0201, 0x8c));
    assert_eq!((bench.inl(IMR), bench.inl(CAPR), bench.inw(CPCR)), (0, 0xfff0, 0));
    assert_eq!((bench.inl(RCR), bench.inl(RBSTART)), (0, RING as u32));
}

#[test]
fn ports_and_memory_are_the_same_registers_at_every_size_and_alignment() {
    let mut bench = running();
    let mut rng = Rng(1);
    for offset in 0u16..256 {
        // Skip registers whose writes have side effects or whose value depends on time.
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
    bench.outw(TSAD + 1, 0xabcd);
    assert_eq!(bench.inl(TSAD).to_le_bytes()[1..3], [0xcd, 0xab]);
}

#[test]
fn the_rtl8139c_has_no_cplus_registers() {
    let mut bench = mapped(make_chip(Chip::C));
    assert_eq!(bench.config_read(0x08, 1), 0x10);
    assert_eq!(bench.inl(TCR) & 0x7cc0_0000, 0x7400_0000);
    bench.outw(CPCR, 0xffff);
    bench.outl(RDSAR, 0xffff_ffff);
    bench.outb(TPPOLL, 0xff);
    bench.outw(IMR, 0xffff);
    assert_eq!((bench.inw(CPCR), bench.inl(RDSAR)), (0, 0));
    assert_eq!((bench.inw(IMR), bench.inw(ISR)), (0xe07f, 0));
}

#[test]
fn config_registers_are_writable_only_in_config_write_mode() {
    let mut bench = card();
    for (port, ones) in [(CONFIG1, 0xff), (CONFIG3, 0xf1), (CONFIG4, 0xf5)] {
        let locked = bench.inb(port);
        bench.outb(port, 0xff);
        assert_eq!(bench.inb(port), locked);
        bench.outb(CR9346, 0xc0);
        bench.outb(port, 0xff);
        assert_eq!(bench.inb(port), ones);
        bench.outb(CR9346, 0);
    }
    bench.outb(CR9346, 0x40);
    assert_eq!(bench.inb(CR9346), 0, "auto-load returns to normal mode");
    assert_eq!(bench.inb(CONFIG1), 0x4d, "CONFIG1 is reloaded from the EEPROM");
}

/// Clocks `bits` into the EEPROM and returns DO after each bit.
fn shift(bench: &mut Bench<Rtl8139>, bits: &str) -> String {
    bits.chars()
        .map(|bit| {
            let di = if bit == '1' { 2 } else { 0 };
            bench.outb(CR9346, 0x88 | di);
            bench.outb(CR9346, 0x8c | di);
            if bench.inb(CR9346) & 1 != 0 { '1' } else { '0' }
        })
        .collect()
}

fn eeprom(bench: &mut Bench<Rtl8139>, bits: &str) -> String {
    bench.outb(CR9346, 0x80);
    bench.outb(CR9346, 0x88);
    let out = shift(bench, bits);
    bench.outb(CR9346, 0x80);
    bench.outb(CR9346, 0x00);
    out
}

fn eeprom_word(bench: &mut Bench<Rtl8139>, at: u8) -> u16 {
    let out = eeprom(bench, &format!("110{at:06b}{}", "0".repeat(16)));
    assert_eq!(&out[8..9], "0", "a dummy 0 bit comes first");
    u16::from_str_radix(&out[9..], 2).unwrap()
}

#[test]
fn the_eeprom_holds_ids_mac_address_and_a_valid_checksum() {
    let mut bench = card();
    let words: Vec<u16> = (0..64).map(|at| eeprom_word(&mut bench, at)).collect();
    assert_eq!(words[..5], [0x8129, 0x10ec, 0x8139, 0x1af4, 0x1100]);
    assert_eq!(words[7..10], [0x1600, 0x123e, 0x5634]);
    assert_eq!(words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word)), 0);
    assert_ne!(words[0x19], 0);
}

#[test]
fn a_read_with_eight_address_bits_finds_no_signature() {
    let mut bench = card();
    let out = eeprom(&mut bench, &format!("110{:08b}{}", 0, "0".repeat(16)));
    assert_ne!(u16::from_str_radix(&out[11..], 2).unwrap(), 0x8129);
}

#[test]
fn sequential_eeprom_reads_advance_and_leading_zeros_are_ignored() {
    let mut bench = card();
    let out = eeprom(&mut bench, &format!("00110000001{}", "0".repeat(32)));
    assert_eq!(u32::from_str_radix(&out[11..], 2).unwrap(), 0x10ec_8139);
}

#[test]
fn the_eeprom_is_programmed_only_after_ewen() {
    let mut bench = card();
    let write = format!("101{:06b}{:016b}", 7, 0xbeef);
    eeprom(&mut bench, &write);
    assert_eq!(eeprom_word(&mut bench, 7), 0x1600);
    eeprom(&mut bench, "100110000");
    eeprom(&mut bench, &write);
    assert_eq!(eeprom_word(&mut bench, 7), 0xbeef);
    eeprom(&mut bench, "111000111");
    assert_eq!(eeprom_word(&mut bench, 7), 0xffff, "ERASE sets all ones");
    eeprom(&mut bench, &format!("100010000{:016b}", 0x1234));
    assert_eq!((eeprom_word(&mut bench, 0), eeprom_word(&mut bench, 63)), (0x1234, 0x1234));
    eeprom(&mut bench, "100000000");
    eeprom(&mut bench, "100100000");
    assert_eq!(eeprom_word(&mut bench, 5), 0x1234, "EWDS disables programming");
    bench.outb(CR9346, 0x40);
    assert_eq!(bench.inl(IDR), 0x1234_1234, "auto-load takes the programmed address");
}

#[test]
fn a_link_change_shows_in_isr_msr_bmsr_and_cscr() {
    let mut bench = running();
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, false)));
    assert!(bench.irq(INTA));
    assert_eq!((bench.inw(ISR), bench.inw(CSCR)), (0x20, 0x0b40), "ISR.PUN, and the link change bit of CSCR");
    bench.outw(ISR, 0x20);
    assert!(!bench.irq(INTA));
    assert_eq!(bench.inw(CSCR), 0x0340);
    assert_eq!((bench.inb(MSR), bench.inw(BMSR), bench.inw(ANLPAR)), (0x14, 0x7809, 0));
    assert_eq!(deliver(&mut bench, &frame(MAC, 100)), 0);
    assert_eq!(bench.inb(CR) & 1, 1, "no frame is received");
    bench.outl(TSD, 60);
    assert_eq!(bench.inl(TSD) & 0x8000_a000, 0x8000_a000, "OWN, TOK and CRS: carrier sense lost");
    assert_eq!(sent(&mut bench).len(), 0);
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, true)));
    assert_eq!(bench.inw(ISR) & 0x20, 0x20);
    assert_eq!(bench.inw(BMSR) & 4, 0, "BMSR's link bit latches low");
    assert_eq!(bench.inw(BMSR), 0x782d);
    bench.outw(ISR, 0xffff);
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NIC, true)));
    bench.call(|device, cx| Device::wake(device, cx, crate::Wake::Link(NicId(0), false)));
    assert_eq!(bench.inw(ISR), 0, "no link change, or that of another NIC");
}

#[test]
fn the_phy_negotiates_what_is_advertised() {
    let mut bench = card();
    for (advertised, control, media) in
        [(0x05e1, 0x3100, 0x10), (0x00e1, 0x3000, 0x10), (0x0061, 0x1100, 0x18), (0x0021, 0x1000, 0x18)]
    {
        bench.outw(ANAR, advertised);
        bench.outw(BMCR, 0x1200);
        assert_eq!(bench.inw(BMCR), control);
        assert_eq!(bench.inb(MSR), media);
    }
    bench.outw(BMCR, 0x0100);
    assert_eq!(bench.inw(BMCR) & 0x1000, 0x1000, "BMCR is locked");
    bench.outb(CR9346, 0xc0);
    bench.outw(BMCR, 0x0100);
    assert_eq!((bench.inw(BMCR), bench.inb(MSR)), (0x0100, 0x18), "forced 10 Mb/s");
    assert_eq!(bench.inw(BMSR) & 0x20, 0);
    bench.outw(BMCR, 0x8000);
    assert_eq!((bench.inw(BMCR), bench.inw(ANAR)), (0x3100, 0x05e1), "PHY reset");
}

#[test]
fn the_configuration_space_has_the_datasheets_values() {
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
    assert_eq!(data, [0x58, 0x59, 0x5e, 0x5f], "writes to the ROM are ignored");
}

#[test]
fn a_card_without_a_rom_has_no_rom_bar() {
    let spec = NicSpec { nic: NIC, devfn: Devfn::new(4, 0), mac: MAC, rom: Vec::new(), link: false };
    let mut bench = mapped(Rtl8139::new(spec));
    bench.config_write(0x30, 4, 0xffff_ffff);
    assert_eq!(bench.config_read(0x30, 4), 0);
    assert_eq!(bench.inb(CONFIG0), 0);
    assert_eq!(bench.inb(MSR), 0x14, "the link is down");
}

#[test]
fn a_card_in_d3_does_no_work_and_returns_to_d0_reset() {
    let mut bench = running();
    bench.config_write(0x54, 2, 3);
    assert_eq!(bench.config_read(0x54, 2), 3);
    deliver(&mut bench, &frame(MAC, 100));
    bench.outl(TSD, 60);
    assert_eq!((sent(&mut bench).len(), bench.irq(INTA)), (0, false));
    bench.config_write(0x54, 2, 0);
    assert_eq!((sent(&mut bench).len(), bench.inb(CR)), (0, 0x01));
    assert_eq!(bench.inl(IDR), 0x123e_1600);
}

#[test]
fn the_flash_register_reads_the_rom() {
    let mut bench = card();
    bench.outl(FLASH, 0x0000_1234);
    assert_eq!(bench.inb(FLASH + 3), 0x34 ^ 0x5a);
    bench.outl(FLASH, 0xa510_1234);
    assert_eq!(bench.inb(FLASH + 3), 0xa5);
}
