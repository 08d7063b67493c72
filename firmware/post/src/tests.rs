//! Tests of POST as a whole on a fake PC: handoff structure, option ROMs, processors, MTRRs, $PIR, SMBIOS.

use crate::Machine;
use crate::testing::*;
use pcvm_firmware_rt::Handoff;

mod loader;
mod pci;

const MIB: usize = 1 << 20;

fn map(handoff: &Handoff) -> Vec<(u64, u64, u32)> {
    let ranges = handoff.e820.iter().take(handoff.e820_count.into());
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    ranges.map(|r| (wide(r.base, r.base_high), wide(r.length, r.length_high), r.kind)).collect()
}

fn roms(handoff: &Handoff) -> Vec<(u16, u16)> {
    handoff.roms.iter().take(handoff.rom_count.into()).map(|rom| (rom.segment, rom.function)).collect()
}

/// Blocks of shadow RAM that PAM0 to PAM6 map: 16 KiB blocks from C0000h, and F0000h.
fn shadow_blocks(board: &mut Board) -> Vec<u32> {
    let pam = |board: &mut Board, register| board.config(0, 0, register, 1);
    let mut blocks = Vec::new();
    for n in 0..12u8 {
        if pam(board, 0x5a + n / 2) >> (4 * (n % 2)) & 3 == 3 {
            blocks.push(0xc_0000 + 0x4000 * u32::from(n));
        }
    }
    if pam(board, 0x59) & 0x30 == 0x30 {
        blocks.push(0xf_0000);
    }
    blocks
}

#[test]
fn post_fills_in_the_handoff_and_sets_up_the_usual_board() {
    let mut board = Board::pc(16 * MIB);
    board.file("pci1234,1111.rom", &option_rom(0x9c00, 0x1111_1234, 7));
    board.file("bootorder", b"/pci@i0cf8/ide@1,1/drive@0/disk@0\0");
    board.file("etc/boot-menu-wait", &[0x88, 0x13]);
    board.file("etc/system-states", &[0x80, 0, 0, 1, 2, 0x85]);
    board.keys.insert(0xe, vec![1, 0]);
    let handoff = power_on(&mut board);
    assert_eq!(
        map(&handoff),
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x400, 2),
            (0xe_0000, 0x2_0000, 2),
            (0x10_0000, 15 << 20, 1),
            (0xfffc_0000, 0x4_0000, 2),
        ]
    );
    assert_eq!(handoff.extended_memory, 15 << 20);
    assert_eq!(roms(&handoff), [(0xc000, 0x10)]);
    // 39 KiB of VGA BIOS take three blocks. The BIOS has the last 128 KiB. No other block is RAM.
    assert_eq!(
        shadow_blocks(&mut board),
        [0xc_0000, 0xc_4000, 0xc_8000, 0xe_0000, 0xe_4000, 0xe_8000, 0xe_c000, 0xf_0000]
    );
    assert_eq!(board.read16(0xc_0000), 0xaa55);
    assert_eq!(board.read16(0xc_9c00), 0);
    assert_eq!(board.read32(0xf_e000), u32::from_le_bytes(*b"pcvm"), "the BIOS must be copied to RAM");

    assert_eq!((handoff.menu, handoff.menu_wait, handoff.fail_wait), (1, 5000, u32::MAX));
    assert_eq!((handoff.slp_typ_s5, handoff.pm_timer, handoff.pm1a_control), (5, 0x608, 0x604));
    assert_eq!((handoff.has_fw_cfg, handoff.has_acpi, handoff.processors), (1, 0, 1));
    assert_eq!(handoff.pirq, [10, 10, 11, 11]);
    let order: Vec<u8> = (0..u32::from(handoff.boot_order_size)).map(|n| board.read8(handoff.boot_order + n)).collect();
    assert_eq!(order, b"/pci@i0cf8/ide@1,1/drive@0/disk@0\0");

    // ISA bridge: PIRQs routed. IDE: channels decoded, bus master BAR assigned. PM: base 600h. VGA: BAR assigned,
    // enabled.
    assert_eq!(board.config(0, 0x08, 0x60, 4), 0x0b0b_0a0a);
    assert_eq!(board.config(0, 0x09, 0x40, 4) & 0x8000_8000, 0x8000_8000);
    assert_eq!(board.config(0, 0x09, 0x20, 4), 0xc001);
    assert_eq!(board.config(0, 0x09, 0x04, 2) & 5, 1, "bus mastering is for the driver to enable");
    assert_eq!(board.config(0, 0x0b, 0x40, 4), 0x601);
    assert_eq!(board.config(0, 0x0b, 0x80, 1) & 1, 1);
    assert_eq!(board.config(0, 0x0b, 0x90, 4), 0xb101);
    assert_eq!(board.config(0, 0x0b, 0x3c, 1), 9);
    assert_eq!(board.config(0, 0x10, 0x10, 4), 0xfd00_0008);
    assert_eq!(board.config(0, 0x10, 0x04, 2) & 3, 3);
    assert_eq!(board.config(0, 0x10, 0x30, 4) & 1, 0, "the ROM BAR must stay disabled");
}

#[test]
fn a_board_without_pci_fw_cfg_and_cpuid_passes_post() {
    let mut board = Board::new(2 * MIB);
    board.has_fw_cfg = false;
    board.cpuid.clear();
    board.cmos[0x30..0x32].copy_from_slice(&1024u16.to_le_bytes());
    let handoff = power_on(&mut board);
    assert_eq!(handoff.extended_memory, 1 << 20);
    assert_eq!((handoff.rom_count, handoff.processors, handoff.pm_timer, handoff.last_bus), (0, 1, 0, 0));
    assert_eq!(handoff.pirq, [0; 4]);
}

#[test]
fn post_makes_fewer_than_420_port_accesses() {
    let mut board = Board::pc(16 * MIB);
    power_on(&mut board);
    // Each costs microseconds in a virtual machine. Probing 32 slots takes 64 of them.
    assert!(board.accesses < 420, "{} port accesses", board.accesses);
}

#[test]
fn fw_cfg_by_data_port_gives_the_same_map_as_by_dma() {
    let mut with_dma = Board::pc(16 * MIB);
    let mut without_dma = Board::pc(16 * MIB);
    without_dma.has_dma = false;
    let (one, other) = (power_on(&mut with_dma), power_on(&mut without_dma));
    assert_eq!(map(&one), map(&other));
    assert_eq!(other.has_fw_cfg, 1);
}

#[test]
fn memory_sizes_are_read_from_the_cmos_without_fw_cfg() {
    // CMOS: 64 KiB units above 16 MiB, KiB above 1 MiB, 64 KiB units above 4 GiB. Result: bytes above 1 MiB, above 4
    // GiB.
    for (above_16m, extended, above_4g, low, high) in [
        (0u16, 0u16, 0u32, 0, 0),
        (0, 1, 0, 1 << 10, 0),
        (0, 0xffff, 0, 0xffff << 10, 0),
        (1, 0, 0, (15 << 20) + 0x1_0000, 0),
        (0xffff, 0xffff, 0xff_ffff, 0xdff0_0000, 0xff_ffff << 16),
        (0xbf00, 0xfc00, 0x1_0000, 0xbff0_0000, 1 << 32),
    ] {
        let mut board = Board::new(MIB);
        board.has_fw_cfg = false;
        board.cmos[0x34..0x36].copy_from_slice(&above_16m.to_le_bytes());
        board.cmos[0x30..0x32].copy_from_slice(&extended.to_le_bytes());
        board.cmos[0x5b..0x5e].copy_from_slice(&above_4g.to_le_bytes()[..3]);
        let handoff = power_on(&mut board);
        assert_eq!(handoff.extended_memory, low, "{above_16m:x} {extended:x}");
        let found = map(&handoff).into_iter().find(|r| r.0 == 1 << 32 && r.2 == 1).map_or(0, |r| r.1);
        assert_eq!(found, high);
    }
}

#[test]
fn fw_cfg_e820_ranges_are_sorted_and_reserved_ones_override_ram() {
    let mut board = Board::pc(16 * MIB);
    board.file(
        "etc/e820",
        &e820(&[
            (1 << 32, 1 << 32, 1),
            (0xfeff_c000, 0x4000, 2),
            (0x80_0000, 0x10_0000, 2),
            (0, 0x100_0000, 1),
            (0x100_0000, 0, 1),
            (u64::MAX - 5, 100, 2),
        ]),
    );
    let handoff = power_on(&mut board);
    assert_eq!(
        map(&handoff),
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x400, 2),
            (0xe_0000, 0x2_0000, 2),
            (0x10_0000, 0x70_0000, 1),
            (0x80_0000, 0x10_0000, 2),
            (0x90_0000, 0x70_0000, 1),
            (0xfeff_c000, 0x4000, 2),
            (0xfffc_0000, 0x4_0000, 2),
            (1 << 32, 1 << 32, 1),
            (u64::MAX - 5, 5, 2),
        ]
    );
    assert_eq!(handoff.extended_memory, 0x70_0000, "extended memory must end at the first hole");
}

#[test]
fn random_e820_files_give_sorted_maps_without_overlap() {
    for seed in 0..50 {
        let mut rng = Rng(seed);
        let mut ranges = vec![(0, 16 << 20, 1)];
        for _ in 0..rng.below(80) {
            let base = rng.next_u64() >> rng.below(64);
            ranges.push((base, rng.next_u64() >> rng.below(64), rng.below(6) as u32));
        }
        let mut board = Board::pc(2 * MIB);
        board.file("etc/e820", &e820(&ranges));
        let map = map(&power_on(&mut board));
        for pair in map.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{map:x?}");
        }
        let ram_in_bios = map.iter().any(|r| r.2 == 1 && r.0 < 0x10_0000 && r.0 + r.1 > 0x9_fc00);
        assert!(!ram_in_bios, "{map:x?}");
    }
}

#[test]
fn option_roms_are_installed_if_they_fit_and_their_checksum_is_right() {
    let mut board = Board::pc(16 * MIB);
    board.file("pci1234,1111.rom", &option_rom(0x8000, 0x1111_1234, 7));
    // Two NICs: the ROM of one starts with an EFI image, that of the other has a wrong checksum.
    board.add(0, 0x18, Function::new(0x8139_10ec, 0x0200, 1, &[Bar::Io(0x100)]).with_rom(0x1_0000));
    board.add(0, 0x20, Function::new(0x8139_10ed, 0x0200, 1, &[Bar::Io(0x100)]).with_rom(0x1_0000));
    let mut efi = option_rom(0x400, 0x8139_10ec, 1);
    efi[0x54] = 3;
    efi[0x55] = 0;
    efi.extend(option_rom(0x4e00, 0x8139_10ec, 2));
    // The addresses that POST will assign to the ROM BARs: after the VGA's memory and ROM.
    board.mapped.insert(0xfe01_0000, efi);
    let mut damaged = option_rom(0x1000, 0x8139_10ed, 3);
    damaged[0x900] ^= 1;
    board.mapped.insert(0xfe02_0000, damaged);
    board.file("genroms/a.bin", &option_rom(0x1200, 0, 4));
    board.file("genroms/b.bin", &option_rom(0x1_f000, 0, 5));
    board.file("genroms/c.bin", &[0x55, 0xaa]);
    board.file("genroms/d.bin", &option_rom(0xa800, 0, 6));
    board.file("genroms/e.bin", &option_rom(0x4000, 0, 6));
    let handoff = power_on(&mut board);
    assert_eq!(
        roms(&handoff),
        [(0xc000, 0x10), (0xc800, 0x18), (0xcd00, 0xffff), (0xce80, 0xffff), (0xd900, 0xffff)],
        "b.bin must not fit and c.bin is too short"
    );
    assert_eq!(board.read16(0xc_8000), 0xaa55);
    assert_eq!(board.read8(0xc_8100), 2);
}

#[test]
fn without_a_vga_bios_no_other_rom_takes_its_address() {
    let mut board = Board::pc(16 * MIB);
    board.file("genroms/a.bin", &option_rom(0x1000, 0, 4));
    assert_eq!(roms(&power_on(&mut board)), [(0xc800, 0xffff)]);
}

#[test]
fn the_rom_of_an_isa_card_is_listed_and_not_covered_by_ram() {
    let mut board = Board::pc(16 * MIB);
    board.file("pci1234,1111.rom", &option_rom(0x8000, 0x1111_1234, 7));
    board.mapped.insert(0xc_8000, option_rom(0x2000, 0, 9));
    board.file("genroms/a.bin", &option_rom(0x1000, 0, 4));
    let handoff = power_on(&mut board);
    assert_eq!(roms(&handoff), [(0xc000, 0x10), (0xc800, 0xffff), (0xcc00, 0xffff)]);
    assert_eq!(board.read8(0xc_8100), 9);
    assert!(!shadow_blocks(&mut board).contains(&0xc_8000), "RAM must not cover the card's ROM");
}

#[test]
fn processors_are_counted_and_their_apic_ids_sorted() {
    for count in [1u16, 2, 4, 255] {
        let mut board = Board::pc(16 * MIB);
        board.processors = count;
        board.keys.insert(5, count.to_le_bytes().to_vec());
        let handoff = power_on(&mut board);
        assert_eq!(handoff.processors, count);
        let expect: &[u32] = if count == 1 { &[] } else { &[0xc_4500, 0xc_467f] };
        assert_eq!(board.icr, expect);
        let table = find(&mut board, b"_MP_", 16).expect("no MP floating pointer structure");
        let at = board.read32(table + 4);
        assert_eq!(board.read32(at), u32::from_le_bytes(*b"PCMP"));
        let length = u32::from(board.read16(at + 4));
        assert_eq!(sum(&mut board, at, length), 0);
        let ids: Vec<u8> = (0..u32::from(count)).map(|n| board.read8(at + 0x2c + 20 * n + 1)).collect();
        assert_eq!(ids, (0..count).map(|n| n as u8).collect::<Vec<_>>());
    }
}

#[test]
fn processors_that_start_are_counted_if_fw_cfg_has_a_wrong_number_or_none() {
    let mut board = Board::pc(16 * MIB);
    board.processors = 3;
    board.keys.insert(5, vec![8, 0]);
    assert_eq!(power_on(&mut board).processors, 3);
    let mut board = Board::pc(16 * MIB);
    board.processors = 3;
    board.keys.remove(&5);
    assert_eq!(power_on(&mut board).processors, 3, "without a number in fw_cfg");
}

#[test]
fn application_processors_get_the_mtrrs_of_the_boot_processor() {
    let mut board = Board::pc(16 * MIB);
    board.processors = 2;
    board.keys.insert(5, vec![2, 0]);
    board.cpuid.insert(0x8000_0000, [0x8000_0008, 0, 0, 0]);
    board.cpuid.insert(0x8000_0008, [40, 0, 0, 0]);
    power_on(&mut board);
    for (register, value) in [
        (0x250, 0x0606_0606_0606_0606),
        (0x259, 0),
        (0x26c, 0x0606_0606_0606_0606),
        (0x26f, 0x0505_0505_0505_0505),
        (0x200, 0x8000_0000),
        (0x201, 0xff_8000_0800),
        (0x203, 0),
        (0x2ff, 0xc06),
    ] {
        assert_eq!(board.msrs.get(&register), Some(&value), "{register:x}");
    }
    let mut set = board.msrs.clone();
    set.remove(&0xfe);
    assert_eq!(board.loaded, set);
}

#[test]
fn the_pir_table_has_an_entry_for_each_occupied_slot() {
    let mut board = Board::pc(16 * MIB);
    power_on(&mut board);
    let at = find(&mut board, b"$PIR", 16).expect("no $PIR table");
    let bytes = u32::from(board.read16(at + 6));
    assert_eq!(bytes, 32 + 2 * 16);
    assert_eq!(sum(&mut board, at, bytes), 0);
    // Slot 2: INTA# is on PIRQB#.
    assert_eq!((board.read8(at + 0x31), board.read8(at + 0x32), board.read16(at + 0x33)), (0x10, 0x61, 0xdef8));
}

#[test]
fn smbios_gets_a_type_0_structure_if_it_has_none() {
    for (has, table) in
        [(true, &b"\0\x04\0\0\0\0\x7f\x04\0\0\0\0"[..]), (false, b"\x01\x05\0\0\x01a\0\0\x7f\x04\0\0\0\0")]
    {
        let mut board = Board::pc(16 * MIB);
        let mut anchor = b"_SM_\0\x1f\x02\x08\x10\0\0\0\0\0\0\0_DMI_\0\0\0\0\0\0\0\x02\0\x28".to_vec();
        anchor[0x16..0x18].copy_from_slice(&(table.len() as u16).to_le_bytes());
        board.file("etc/smbios/smbios-anchor", &anchor);
        board.file("etc/smbios/smbios-tables", table);
        power_on(&mut board);
        let at = find(&mut board, b"_SM_", 16).expect("no SMBIOS entry point");
        assert_eq!((sum(&mut board, at, 0x1f), sum(&mut board, at + 16, 15)), (0, 0));
        let structures = board.read32(at + 0x18);
        assert_eq!(board.read8(structures), 0, "the first structure must be of type 0");
        assert_eq!(board.read16(at + 0x1c), if has { 2 } else { 3 });
        let bytes = u32::from(board.read16(at + 0x16));
        assert_eq!(board.read8(structures + bytes - 6), 127, "the last structure must be of type 127");
    }
}

#[test]
fn the_mp_table_has_the_id_that_the_io_apics_register_reads() {
    for id in [0, 5] {
        let mut board = Board::pc(16 * MIB);
        board.io_apic_id = id;
        power_on(&mut board);
        let table = find(&mut board, b"_MP_", 16).expect("no MP floating pointer structure");
        let table = board.read32(table + 4);
        let mut at = table + 0x2c;
        while board.read8(at) != 2 {
            at += if board.read8(at) == 0 { 20 } else { 8 };
        }
        assert_eq!(board.read8(at + 1), id);
    }
}

#[test]
fn conventional_memory_is_clear_after_power_on() {
    for has_dma in [true, false] {
        let mut board = Board::pc(16 * MIB);
        board.has_dma = has_dma;
        board.processors = 2;
        board.keys.insert(5, vec![2, 0]);
        let mut anchor = b"_SM_\0\x1f\x02\x08\x10\0\0\0\0\0\0\0_DMI_\0\0\0\0\0\0\0\x02\0\x28".to_vec();
        anchor[0x16] = 13;
        board.file("etc/smbios/smbios-anchor", &anchor);
        board.file("etc/smbios/smbios-tables", b"\0\x04\0\0\0\0\x7f\x04\0\0\0\0");
        board.file("etc/table-loader", &[7; 256]);
        board.file("etc/e820", &e820(&[(0, 16 << 20, 1), (0xff00_0000, 0x1000, 2)]));
        board.file("etc/system-states", &[128, 0, 0, 129, 2, 128]);
        board.file("etc/boot-menu-wait", &[1, 2, 3, 4, 5, 6, 7, 8]);
        for n in 0..80 {
            board.file(&format!("opt/file-{n}"), &[1]);
        }
        power_on(&mut board);
        let dirty: Vec<String> =
            (0x500..0xa_0000).filter(|&at| board.ram[at] != 0).map(|at| format!("{at:x}")).collect();
        assert_eq!(dirty, Vec::<String>::new());
    }
}

fn find(board: &mut Board, signature: &[u8; 4], step: usize) -> Option<u32> {
    (0xe_8000..0x10_0000).step_by(step).find(|&at| board.read32(at) == u32::from_le_bytes(*signature))
}

fn sum(board: &mut Board, at: u32, bytes: u32) -> u8 {
    (0..bytes).fold(0, |sum, n| sum.wrapping_add(board.read8(at + n)))
}
