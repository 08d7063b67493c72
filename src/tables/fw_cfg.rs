//! fw_cfg items for the firmware.

use crate::config::{BootDevice, MachineConfig, Media};
use crate::kvm::cpuid::apic_id;
use crate::tables::acpi::{self, loader};
use crate::tables::{e820, smbios};
use pcvm_devices::Memory;
use pcvm_devices::fw_cfg::FwCfgItems;
use std::collections::BTreeMap;

/// fw_cfg selector keys (QEMU's docs/specs/fw_cfg, and how SeaBIOS uses them).
pub mod key {
    /// The machine's UUID, 16 bytes.
    pub const UUID: u16 = 0x02;
    /// u64: bytes of RAM.
    pub const RAM_SIZE: u16 = 0x03;
    /// u16: 1 without a display adapter.
    pub const NOGRAPHIC: u16 = 0x04;
    /// u16: number of vCPUs.
    pub const NB_CPUS: u16 = 0x05;
    /// u64 number of NUMA nodes, then a u64 for each possible APIC id and each node.
    pub const NUMA: u16 = 0x0d;
    /// u16: whether the firmware offers a boot menu.
    pub const BOOT_MENU: u16 = 0x0e;
    /// u16: the largest APIC id plus one.
    pub const MAX_CPUS: u16 = 0x0f;
    /// u16: number of ACPI tables in the legacy interface.
    pub const ACPI_TABLES: u16 = 0x8000;
    /// u16: number of SMBIOS structures in the legacy interface.
    pub const SMBIOS_ENTRIES: u16 = 0x8001;
    /// u32: 1 if the PIT is connected to I/O APIC pin 2.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// u32: number of memory map entries in the legacy interface.
    pub const E820_TABLE: u16 = 0x8003;
}

/// `etc/system-states`: a byte for each of S0 to S5. Bit 7 is set if the state is supported; bits 6:0 are its SLP_TYP.
const SYSTEM_STATES: [u8; 6] = [0x80, 0, 0, 1, 2, 0x80 | acpi::SLP_TYP_S5];
/// Base of the first serial port.
const COM1: u16 = 0x3f8;
/// `etc/boot-fail-wait` in milliseconds: if no device boots, the firmware prints a message and does not reboot.
const BOOT_FAIL_WAIT: u32 = u32::MAX;

/// The file from which the firmware installs the option ROM that starts `--kernel`.
pub const KERNEL_ROM_FILE: &str = "genroms/kernel-loader.bin";

/// All fw_cfg items. The size of RAM is that of `memory`, not `config.memory`.
pub fn fw_cfg_items(config: &MachineConfig, memory: &Memory) -> FwCfgItems {
    let ram = memory.ram_size();
    let tables = acpi::Tables::new(config, ram);
    let smbios = smbios::Smbios::new(config, ram);
    let max_cpus = max_cpus(config).to_le_bytes().to_vec();
    let keys = BTreeMap::from([
        (key::UUID, smbios::uuid(&config.name).to_vec()),
        (key::RAM_SIZE, ram.to_le_bytes().to_vec()),
        (key::NOGRAPHIC, u16::from(config.vga.is_none()).to_le_bytes().to_vec()),
        (key::NB_CPUS, (config.cpus.count as u16).to_le_bytes().to_vec()),
        (key::NUMA, 0u64.to_le_bytes().to_vec()),
        (key::BOOT_MENU, 0u16.to_le_bytes().to_vec()),
        (key::MAX_CPUS, max_cpus.clone()),
        (key::ACPI_TABLES, 0u16.to_le_bytes().to_vec()),
        (key::SMBIOS_ENTRIES, 0u16.to_le_bytes().to_vec()),
        (key::IRQ0_OVERRIDE, 1u32.to_le_bytes().to_vec()),
        (key::E820_TABLE, 0u32.to_le_bytes().to_vec()),
    ]);
    let mut files = BTreeMap::from(
        [
            ("bootorder", boot_order(config)),
            ("etc/e820", e820::to_bytes(&e820::for_firmware(ram))),
            ("etc/boot-fail-wait", BOOT_FAIL_WAIT.to_le_bytes().to_vec()),
            ("etc/boot-menu-wait", 0u16.to_le_bytes().to_vec()),
            ("etc/max-cpus", max_cpus),
            ("etc/system-states", SYSTEM_STATES.to_vec()),
            (acpi::LOADER_FILE, loader::to_bytes(&tables.commands)),
            (acpi::TABLES_FILE, tables.tables),
            (acpi::RSDP_FILE, tables.rsdp),
            (smbios::ANCHOR_FILE, smbios.anchor),
            (smbios::TABLES_FILE, smbios.tables),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    if config.vga.is_none() && config.serial[0].is_some() {
        // Makes SeaBIOS use COM1 as its console.
        files.insert("etc/sercon-port".to_owned(), COM1.to_le_bytes().to_vec());
    }
    FwCfgItems { keys, files }
}

/// The largest APIC id plus one.
fn max_cpus(config: &MachineConfig) -> u16 {
    (0..config.cpus.count).map(|index| u16::from(apic_id(index, &config.cpus)) + 1).max().unwrap_or(1)
}

/// `bootorder`: Open Firmware device paths, one per line, terminated by a zero byte. A letter of `--boot` names all drives
/// of its kind, in order. A kernel precedes them. The firmware appends the other devices in its own order.
pub fn boot_order(config: &MachineConfig) -> Vec<u8> {
    let drives = |media: Media| -> Vec<String> {
        let drives = config.drives.iter().filter(|(_, drive)| drive.media == media);
        drives.map(|(disk, _)| format!("/pci@i0cf8/ide@1,1/drive@{}/disk@{}", disk.0 / 2, disk.0 % 2)).collect()
    };
    let devices = config.boot.iter().flat_map(|device| match device {
        BootDevice::Disk => drives(Media::Disk),
        BootDevice::Cdrom => drives(Media::Cdrom),
        BootDevice::Floppy => vec!["/pci@i0cf8/isa@1/fdc@03f0/floppy@0".to_owned()],
        // Without a card the firmware reports that it cannot boot from this path.
        BootDevice::Network => (0..config.nics.len().max(1))
            .map(|n| format!("/pci@i0cf8/ethernet@{:x}", usize::from(crate::board::slots::FIRST_NIC) + n))
            .collect(),
    });
    let kernel = config.kernel.iter().map(|_| format!("/rom@{KERNEL_ROM_FILE}"));
    let lines: Vec<String> = kernel.chain(devices).collect();
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(0);
    bytes
}

#[cfg(test)]
pub(crate) mod tests;
