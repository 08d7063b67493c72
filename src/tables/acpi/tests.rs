use super::loader::{resolve, to_bytes};
use super::*;
use crate::tables::fw_cfg::tests::machine;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn dword(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The resolved tables, the resolved RSDP, and the address of each file, from `base` on.
fn resolved(cpus: u32, base: u64) -> (Vec<u8>, Vec<u8>, BTreeMap<&'static str, u64>) {
    let mut config = machine(64 * MIB);
    config.cpus.count = cpus;
    config.cpus.sockets = cpus;
    let tables = Tables::new(&config, 64 * MIB);
    let mut files = BTreeMap::from([(TABLES_FILE, tables.tables), (RSDP_FILE, tables.rsdp)]);
    let at = resolve(&tables.commands, &mut files, base..base + 0x1_0000).unwrap();
    (files[TABLES_FILE].clone(), files[RSDP_FILE].clone(), at)
}

/// All tables by signature, found by following pointers from the RSDP.
fn walk(cpus: u32) -> BTreeMap<String, Vec<u8>> {
    let (tables, rsdp, at) = resolved(cpus, 0xf_0000);
    let base = at[TABLES_FILE] as usize;
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!(sum(&rsdp), 0);
    let table = |address: usize| {
        let start = address - base;
        tables[start..start + dword(&tables, start + 4)].to_vec()
    };
    let rsdt = table(dword(&rsdp, 16));
    assert_eq!(&rsdt[..4], b"RSDT");
    let mut found: Vec<_> = (36..rsdt.len()).step_by(4).map(|n| table(dword(&rsdt, n))).collect();
    let facp = found[0].clone();
    found.push(table(dword(&facp, 40)));
    found.push(rsdt);
    for table in &found {
        assert_eq!(sum(table), 0, "{:?}", std::str::from_utf8(&table[..4]));
    }
    assert_eq!(dword(&facp, 36) % 64, 0, "the FACS is not aligned to 64 bytes");
    found.push(table(dword(&facp, 36)));
    found.into_iter().map(|t| (String::from_utf8(t[..4].to_vec()).unwrap(), t)).collect()
}

#[test]
fn every_table_is_reachable_from_the_rsdp_and_has_a_valid_checksum() {
    for cpus in [1, 2, 8, 9, 64] {
        let names: Vec<_> = walk(cpus).into_keys().collect();
        assert_eq!(names, ["APIC", "DSDT", "FACP", "FACS", "RSDT", "WAET"]);
    }
}

#[test]
fn the_fadt_has_revision_1_and_the_piix4s_ports() {
    let tables = walk(1);
    let facp = &tables["FACP"];
    assert_eq!((facp.len(), facp[8]), (116, 1));
    assert_eq!(facp[46..48], [9, 0]);
    assert_eq!(facp[48..55], [0xb2, 0, 0, 0, 0xf1, 0xf0, 0]);
    assert_eq!(dword(facp, 56), 0x600);
    assert_eq!(dword(facp, 64), 0x604);
    assert_eq!(dword(facp, 76), 0x608);
    assert_eq!(dword(facp, 80), 0xafe0);
    assert_eq!(facp[88..93], [4, 2, 0, 4, 4]);
    assert_eq!(facp[108], 0x32);
    assert_eq!(dword(facp, 112) & 1 << 10, 0, "RESET_REG_SUP in revision 1");
    assert_eq!(dword(facp, 112) & 1 << 15, 1 << 15, "USE_PLATFORM_CLOCK");
    assert_eq!(dword(facp, 112) & 1 << 4, 0, "PWR_BUTTON hides the fixed power button");
}

#[test]
fn more_than_eight_processors_force_the_apic_cluster_model() {
    for (cpus, expect) in [(8, 0), (9, 1)] {
        assert_eq!(dword(&walk(cpus)["FACP"], 112) >> 18 & 1, expect);
    }
}

#[test]
fn the_madt_has_interrupt_source_overrides_for_irq_0_the_pci_irqs_and_the_sci() {
    let tables = walk(2);
    let madt = &tables["APIC"];
    let mut at = 44;
    let mut entries = Vec::new();
    while at < madt.len() {
        let len = usize::from(madt[at + 1]);
        entries.push(madt[at..at + len].to_vec());
        at += len;
    }
    assert_eq!(entries[0], [0, 8, 0, 0, 1, 0, 0, 0]);
    assert_eq!(entries[1], [0, 8, 1, 1, 1, 0, 0, 0]);
    assert_eq!(entries[2], [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    assert_eq!(entries[3], [2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(entries[4], [2, 10, 0, 5, 5, 0, 0, 0, 0xd, 0]);
    assert_eq!(entries[5], [2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0]);
    assert_eq!(entries.last().unwrap()[..], [4, 6, 0xff, 0, 0, 1]);
    assert_eq!(entries.len(), 9);
}

#[test]
fn the_link_advances_with_slot_and_pin() {
    assert_eq!([(1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (0, 0)].map(|(s, p)| dsdt::link_of(s, p)), [0, 1, 1, 2, 3, 3]);
}

#[test]
fn commands_are_encoded_as_128_byte_entries() {
    let tables = Tables::new(&machine(64 * MIB), 64 * MIB);
    let bytes = to_bytes(&tables.commands);
    assert_eq!(bytes.len(), tables.commands.len() * 128);
    assert_eq!(bytes[..4], [1, 0, 0, 0]);
    assert_eq!(&bytes[4..18], b"etc/acpi/rsdp\0");
    assert_eq!(bytes[60..65], [16, 0, 0, 0, 2]);
    let pointer = &bytes[2 * 128..3 * 128];
    assert_eq!(pointer[..4], [2, 0, 0, 0]);
    assert_eq!(&pointer[4..20], b"etc/acpi/tables\0");
    assert_eq!(&pointer[60..76], b"etc/acpi/tables\0");
    assert_eq!(pointer[120], 4);
    let checksum = &bytes[bytes.len() - 128..];
    assert_eq!(checksum[..4], [3, 0, 0, 0]);
    assert_eq!(checksum[60..72], [8, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0]);
}

#[test]
fn commands_that_do_not_match_the_files_are_refused() {
    use loader::ResolveError::*;
    let files = || BTreeMap::from([("a", vec![0; 8])]);
    let allocate = Command::Allocate { file: "a", align: 16, zone: Zone::High };
    let point = |offset, size| Command::AddPointer { file: "a", target: "a", offset, size };
    let check = |offset, start, len| Command::AddChecksum { file: "a", offset, start, len };
    for (commands, expect) in [
        (vec![Command::Allocate { file: "b", align: 1, zone: Zone::High }], NoFile("b")),
        (vec![point(0, 4)], NoFile("a")),
        (vec![allocate, point(5, 4)], OutOfRange("a")),
        (vec![allocate, point(u32::MAX, 4)], OutOfRange("a")),
        (vec![allocate, check(8, 0, 8)], OutOfRange("a")),
        (vec![allocate, check(0, 1, 8)], OutOfRange("a")),
        (vec![allocate, allocate, allocate], NoRoom(32)),
    ] {
        assert_eq!(resolve(&commands, &mut files(), 0x100..0x120), Err(expect));
    }
}
