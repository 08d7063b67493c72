//! ACPI and SMBIOS tables, checked by ACPICA's `iasl` and by `dmidecode`.

use pcvm::config::{CharSpec, CpuConfig, MachineConfig};
use pcvm::tables::acpi::loader::resolve;
use pcvm::tables::acpi::{RSDP_FILE, TABLES_FILE, Tables};
use pcvm::tables::smbios::Smbios;
use pcvm_test_host::assert_has;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

fn machine(memory: u64, cpus: u32, ports: usize) -> MachineConfig {
    MachineConfig {
        name: "test".into(),
        memory,
        cpus: CpuConfig { count: cpus, sockets: cpus, ..CpuConfig::default() },
        serial: std::array::from_fn(|n| (n < ports).then_some(CharSpec::Null)),
        ..MachineConfig::minimal()
    }
}

fn run(program: &str, dir: &Path, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{program} (package acpica-tools or dmidecode) cannot be run: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// Signature and contents of each table, as the firmware places them in memory.
fn tables(config: &MachineConfig) -> Vec<(String, Vec<u8>)> {
    let tables = Tables::new(config, config.memory);
    let mut files = BTreeMap::from([(TABLES_FILE, tables.tables), (RSDP_FILE, tables.rsdp)]);
    resolve(&tables.commands, &mut files, 0xe_0000..0xf_0000).unwrap();
    let blob = &files[TABLES_FILE];
    let mut found = Vec::new();
    let mut at = 0;
    while at < blob.len() {
        let len = u32::from_le_bytes(blob[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((String::from_utf8(blob[at..at + 4].to_vec()).unwrap(), blob[at..at + len].to_vec()));
        at = (at + len).next_multiple_of(16);
    }
    found
}

#[test]
fn iasl_disassembles_and_reassembles_every_table() {
    for (memory, cpus, ports) in [(MIB, 1, 0), (512 * MIB, 2, 1), (4096 * MIB, 9, 4), (65536 * MIB, 64, 2)] {
        let config = machine(memory, cpus, ports);
        for (name, bytes) in tables(&config) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("table.aml"), &bytes).unwrap();
            let output = run("iasl", dir.path(), &["-d", "table.aml"]);
            for bad in ["Error", "Warning", "Invalid", "ncorrect"] {
                assert!(!output.contains(bad), "{name}: {output}");
            }
            let source = std::fs::read_to_string(dir.path().join("table.dsl")).unwrap();
            for bad in ["Incorrect", "Invalid", "Unknown", "External ("] {
                assert!(!source.contains(bad), "{name}: {bad}: {source}");
            }
            // Without remark 3168, Processor is deprecated: Windows XP needs this keyword.
            let output = run("iasl", dir.path(), &["-vw", "3168", "-p", "again", "table.dsl"]);
            if name == "DSDT" {
                assert!(output.contains("0 Errors, 0 Warnings"), "{output}");
                let again = std::fs::read(dir.path().join("again.aml")).unwrap();
                // The checksum (byte 9) and the compiler's id and revision (from byte 28) differ.
                assert_eq!(again[10..28], bytes[10..28]);
                assert!(again.len() <= bytes.len(), "{} {}", again.len(), bytes.len());
            }
        }
    }
}

#[test]
fn the_dsdt_describes_the_processors_ports_and_memory_of_the_board() {
    let config = machine(512 * MIB, 3, 2);
    let (_, dsdt) = tables(&config).into_iter().find(|(name, _)| name == "DSDT").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("dsdt.aml"), dsdt).unwrap();
    run("iasl", dir.path(), &["-d", "dsdt.aml"]);
    let source = std::fs::read_to_string(dir.path().join("dsdt.dsl")).unwrap();
    for (text, count) in [
        ("Processor (CP", 3),
        ("PNP0501", 2),
        ("PNP0C0F", 5),
        ("0x20000000,         // Range Minimum", 1),
        ("0xFEBFFFFF,         // Range Maximum", 1),
        ("QWordMemory", 0),
        ("PNP0103", 0),
    ] {
        assert_eq!(source.matches(text).count(), count, "{text}: {source}");
    }
}

#[test]
fn dmidecode_reads_the_structures_without_warnings() {
    for memory in [MIB, 512 * MIB, 4096 * MIB, 65536 * MIB] {
        let config = machine(memory, 2, 1);
        let mut smbios = Smbios::new(&config, memory);
        // dmidecode's dump format: the entry point at 0, the structures at 32.
        smbios.set_table_address(32);
        let mut dump = smbios.anchor.clone();
        dump.push(0);
        dump.extend_from_slice(&smbios.tables);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dump"), dump).unwrap();
        let output = run("dmidecode", dir.path(), &["--from-dump", "dump"]);
        assert_has(
            &output,
            &[
                "SMBIOS 2.8 present",
                "Manufacturer: pcvm",
                "System Boot Information",
                "Number Of Devices",
                "Memory Array Mapped Address",
                "End Of Table",
            ],
        );
        for bad in ["BAD", "broken", "TRUNCATED", "Wrong", "OUT OF SPEC", "Invalid", "unsupported"] {
            assert!(!output.contains(bad), "{bad}: {output}");
        }
        assert_eq!(output.matches("Processor Information").count(), 2);
    }
}
