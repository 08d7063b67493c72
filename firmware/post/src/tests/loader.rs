//! Tests of the ACPI table loader with valid, invalid and random scripts.

use crate::Machine;
use crate::testing::*;

const TABLES: &str = "etc/acpi/tables";
const RSDP: &str = "etc/acpi/rsdp";

fn named(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(56, 0);
    bytes
}

fn entry(command: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = command.to_le_bytes().to_vec();
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.resize(128, 0);
    bytes
}

fn allocate(name: &str, align: u32, zone: u8) -> Vec<u8> {
    entry(1, &[&named(name), &align.to_le_bytes(), &[zone]])
}

fn pointer(file: &str, target: &str, offset: u32, size: u8) -> Vec<u8> {
    entry(2, &[&named(file), &named(target), &offset.to_le_bytes(), &[size]])
}

fn checksum(file: &str, at: u32, start: u32, bytes: u32) -> Vec<u8> {
    entry(3, &[&named(file), &at.to_le_bytes(), &start.to_le_bytes(), &bytes.to_le_bytes()])
}

fn board() -> Board {
    let mut board = Board::pc(4 << 20);
    let mut tables: Vec<u8> = (0..0x200u32).map(|n| (n * 7) as u8).collect();
    tables[0x10..0x14].copy_from_slice(&0x100u32.to_le_bytes());
    tables[0x20..0x28].copy_from_slice(&0x1_ffff_ff00u64.to_le_bytes());
    tables[0x40] = 0;
    board.file(TABLES, &tables);
    let mut rsdp = b"RSD PTR \0PCVM  \0\0\0\0\0".to_vec();
    rsdp.resize(20, 0);
    board.file(RSDP, &rsdp);
    board
}

#[test]
fn a_script_places_tables_links_them_and_sets_checksums() {
    let mut board = board();
    let script = [
        allocate(RSDP, 16, 2),
        allocate(TABLES, 64, 1),
        pointer(TABLES, TABLES, 0x10, 4),
        pointer(TABLES, TABLES, 0x20, 8),
        pointer(RSDP, TABLES, 16, 4),
        checksum(TABLES, 0x40, 0x3d, 0x105),
        checksum(RSDP, 8, 0, 20),
        entry(0x1234, &[]),
    ];
    board.file("etc/table-loader", &script.concat());
    let handoff = power_on(&mut board);
    assert_eq!(handoff.has_acpi, 1);
    let rsdp = super::find(&mut board, b"RSD ", 16).expect("no RSDP");
    assert_eq!(super::sum(&mut board, rsdp, 20), 0);
    let tables = board.read32(rsdp + 16);
    assert_eq!(tables, (4 << 20) - 0x200, "the tables must be at the end of RAM");
    assert_eq!(board.read32(tables + 0x10), tables + 0x100);
    let wide = u64::from(board.read32(tables + 0x24)) << 32 | u64::from(board.read32(tables + 0x20));
    assert_eq!(wide, 0x1_ffff_ff00 + u64::from(tables), "an 8-byte pointer must be added with carry");
    assert_eq!(super::sum(&mut board, tables + 0x3d, 0x105), 0);
    let map = super::map(&handoff);
    assert!(map.contains(&(0x3f_f000, 0x1000, 4)), "{map:x?}");
    assert_eq!(handoff.extended_memory, 0x2f_f000);
}

#[test]
fn write_pointer_writes_the_address_to_the_fw_cfg_file() {
    let mut board = board();
    board.file("etc/addr", &[0; 8]);
    let write = entry(4, &[&named("etc/addr"), &named(TABLES), &4u32.to_le_bytes(), &0x20u32.to_le_bytes(), &[4]]);
    board.file("etc/table-loader", &[allocate(TABLES, 16, 1), write].concat());
    power_on(&mut board);
    let key = 0x20 + board.files.iter().position(|(name, _)| name == "etc/addr").unwrap() as u16;
    let at = (4 << 20) - 0x200 + 0x20u32;
    assert_eq!(board.written, [(key, 4, at.to_le_bytes().to_vec())]);
}

#[test]
fn an_invalid_command_leaves_no_rsdp() {
    let good = [allocate(RSDP, 16, 2), allocate(TABLES, 64, 1)].concat();
    for (bad, why) in [
        (allocate("etc/none", 1, 1), "a missing file"),
        (allocate(TABLES, 64, 1), "the same file again"),
        (pointer(TABLES, TABLES, 0x1fd, 4), "a pointer past the end"),
        (pointer(TABLES, TABLES, u32::MAX - 1, 4), "a pointer that wraps"),
        (pointer(TABLES, TABLES, 0, 3), "a pointer of 3 bytes"),
        (pointer(TABLES, "etc/e820", 0, 4), "a target that is not allocated"),
        (checksum(TABLES, 0x200, 0, 1), "a checksum past the end"),
        (checksum(TABLES, 0, 0x100, 0x101), "a sum past the end"),
        (checksum(TABLES, 0, 1, u32::MAX), "a sum that wraps"),
    ] {
        let mut board = board();
        board.file("etc/table-loader", &[good.clone(), bad].concat());
        assert_eq!(power_on(&mut board).has_acpi, 0, "{why}");
        assert_eq!(super::find(&mut board, b"RSD ", 4), None, "{why}");
    }
    for (bad, why) in [
        (allocate(TABLES, 3, 1), "an alignment that is not a power of two"),
        (allocate(TABLES, 1 << 31, 1), "an alignment of 2 GiB"),
        (allocate(TABLES, 1, 3), "an unknown zone"),
    ] {
        let mut board = board();
        board.file("etc/table-loader", &[allocate(RSDP, 16, 2), bad].concat());
        assert_eq!(power_on(&mut board).has_acpi, 0, "{why}");
    }
}

#[test]
fn tables_larger_than_half_of_ram_are_not_installed() {
    let mut board = board();
    board.file(TABLES, &vec![0; 3 << 20]);
    board.file("etc/table-loader", &[allocate(RSDP, 16, 2), allocate(TABLES, 64, 1)].concat());
    let handoff = power_on(&mut board);
    assert_eq!((handoff.has_acpi, handoff.extended_memory), (0, 3 << 20));
}

#[test]
fn random_scripts_do_not_panic_or_write_outside_their_memory() {
    for seed in 0..120 {
        let mut rng = Rng(seed);
        let mut board = board();
        board.file("etc/addr", &[0; 8]);
        let names = [TABLES, RSDP, "etc/addr", "etc/e820", "none"];
        let number = |rng: &mut Rng| match rng.below(3) {
            0 => rng.below(0x210) as u32,
            1 => 1 << rng.below(32),
            _ => (rng.next_u64() >> rng.below(64)) as u32,
        };
        let mut script = [allocate(RSDP, 16, 2), allocate(TABLES, 64, 1)].concat();
        for _ in 0..rng.below(12) {
            let one = names[rng.below(5) as usize];
            let other = names[rng.below(5) as usize];
            let mut bytes = match rng.below(4) {
                0 => allocate(one, number(&mut rng), rng.below(4) as u8),
                1 => pointer(one, other, number(&mut rng), 1 << rng.below(5)),
                2 => checksum(one, number(&mut rng), number(&mut rng), number(&mut rng)),
                _ => (0..128).map(|_| rng.next_u64() as u8).collect(),
            };
            if rng.below(6) == 0 {
                bytes[rng.below(128) as usize] = rng.next_u64() as u8;
            }
            script.extend(bytes);
        }
        script.truncate(script.len() - rng.below(100) as usize);
        board.file("etc/table-loader", &script);
        board.ram[0x20_0000 - 0x1000..0x20_0000].fill(0x5a);
        power_on(&mut board);
        assert!(board.ram[0x20_0000 - 0x1000..0x20_0000].iter().all(|&b| b == 0x5a), "seed {seed}");
        assert_eq!(board.read32(0xf_e000), u32::from_le_bytes(*b"pcvm"), "seed {seed}");
    }
}
