use super::*;
use crate::config::{CpuConfig, DriveConfig};
use pcvm_devices::DiskId;

const MIB: u64 = 1 << 20;

/// A machine with one vCPU and COM1 and without drives and network cards.
pub(crate) fn machine(memory: u64) -> MachineConfig {
    MachineConfig {
        name: "test".into(),
        memory,
        serial: [Some(crate::config::CharSpec::Null), None, None, None],
        ..MachineConfig::minimal()
    }
}

fn drive(media: Media) -> DriveConfig {
    DriveConfig { read_only: true, ..DriveConfig::new(media, None) }
}

#[test]
fn a_boot_letter_names_every_drive_of_its_kind() {
    use BootDevice::*;
    let mut config = machine(MIB);
    config.drives = [(0, Media::Disk), (2, Media::Cdrom), (3, Media::Disk)]
        .map(|(unit, media)| (DiskId(unit), drive(media)))
        .into();
    let (hda, hdc, hdd) =
        ("/pci@i0cf8/ide@1,1/drive@0/disk@0", "/pci@i0cf8/ide@1,1/drive@1/disk@0", "/pci@i0cf8/ide@1,1/drive@1/disk@1");
    for (letters, expect) in [
        (vec![], vec![]),
        (vec![Disk], vec![hda, hdd]),
        (vec![Cdrom, Disk], vec![hdc, hda, hdd]),
        (vec![Floppy, Cdrom], vec!["/pci@i0cf8/isa@1/fdc@03f0/floppy@0", hdc]),
    ] {
        config.boot = letters;
        assert_eq!(boot_order(&config), (expect.join("\n") + "\0").into_bytes());
    }
}

#[test]
fn fw_cfg_has_every_item_that_the_firmware_reads() {
    let mut config = machine(4096 * MIB);
    config.cpus = CpuConfig { count: 6, sockets: 2, cores: 3, threads: 1, model: Default::default() };
    let memory = Memory::new(16 * MIB, 0).unwrap();
    let items = fw_cfg_items(&config, &memory);
    assert_eq!(items.keys[&key::RAM_SIZE], (16 * MIB).to_le_bytes());
    assert_eq!(items.keys[&key::NB_CPUS], [6, 0]);
    assert_eq!(items.keys[&key::MAX_CPUS], [7, 0], "APIC ids 0, 1, 2, 4, 5, 6");
    assert_eq!(items.files["etc/max-cpus"], [7, 0]);
    assert_eq!(items.files["etc/system-states"], [0x80, 0, 0, 1, 2, 0x80]);
    assert_eq!(items.files["etc/e820"].len() % e820::ENTRY_LEN, 0);
    assert_eq!(items.files["etc/smbios/smbios-anchor"].len(), 31);
    for name in ["bootorder", "etc/table-loader", "etc/acpi/tables", "etc/acpi/rsdp", "etc/boot-fail-wait"] {
        assert!(!items.files[name].is_empty(), "{name}");
    }
    assert!(items.files.keys().all(|name| name.len() <= 55));
}

#[test]
fn a_machine_without_a_display_adapter_has_nographic_and_a_serial_console() {
    let mut config = machine(16 * MIB);
    let memory = Memory::new(16 * MIB, 0).unwrap();
    let items = fw_cfg_items(&config, &memory);
    assert_eq!((&items.keys[&key::NOGRAPHIC][..], items.files.get("etc/sercon-port")), (&[0, 0][..], None));
    config.vga = None;
    let items = fw_cfg_items(&config, &memory);
    assert_eq!(items.keys[&key::NOGRAPHIC], [1, 0]);
    assert_eq!(items.files["etc/sercon-port"], [0xf8, 3]);
    config.serial = [const { None }; 4];
    assert!(!fw_cfg_items(&config, &memory).files.contains_key("etc/sercon-port"));
}

#[test]
fn equal_configurations_give_equal_items() {
    let memory = Memory::new(16 * MIB, 0).unwrap();
    assert_eq!(fw_cfg_items(&machine(MIB), &memory), fw_cfg_items(&machine(MIB), &memory));
}

#[test]
fn a_kernels_loader_is_first_in_the_boot_order() {
    let mut config = machine(16 * MIB);
    config.boot = vec![BootDevice::Floppy];
    let kernel = crate::config::KernelConfig { kernel: "k".into(), initrd: None, append: String::new() };
    config.kernel = Some(kernel);
    let expect = "/rom@genroms/kernel-loader.bin\n/pci@i0cf8/isa@1/fdc@03f0/floppy@0\0";
    assert_eq!(boot_order(&config), expect.as_bytes());
}
