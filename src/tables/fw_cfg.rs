//! What the firmware is told through fw_cfg, and the same tables put into memory where there is no firmware.

use crate::config::{BootDevice, MachineConfig, Media};
use crate::kvm::cpuid::apic_id;
use crate::tables::acpi::{self, loader};
use crate::tables::{e820, smbios};
use pcvm_devices::Memory;
use pcvm_devices::fw_cfg::FwCfgItems;
use std::collections::BTreeMap;
use vm_memory::{Bytes, GuestAddress};

/// Selector keys (QEMU's `docs/specs/fw_cfg` and the firmware's use of them).
pub mod key {
    /// 16 bytes.
    pub const UUID: u16 = 0x02;
    /// u64, bytes of RAM.
    pub const RAM_SIZE: u16 = 0x03;
    /// u16, whether there is no screen.
    pub const NOGRAPHIC: u16 = 0x04;
    /// u16, processors.
    pub const NB_CPUS: u16 = 0x05;
    /// u64 node count, then as many u64s as there are processors and nodes.
    pub const NUMA: u16 = 0x0d;
    /// u16, whether to show a menu.
    pub const BOOT_MENU: u16 = 0x0e;
    /// u16, one more than the largest APIC id.
    pub const MAX_CPUS: u16 = 0x0f;
    /// u16 count of tables that the old interface carries.
    pub const ACPI_TABLES: u16 = 0x8000;
    /// u16 count of structures that the old interface carries.
    pub const SMBIOS_ENTRIES: u16 = 0x8001;
    /// u32, whether the PIT is on pin 2 of the I/O APIC.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// u32 count of entries that the old interface carries.
    pub const E820_TABLE: u16 = 0x8003;
}

/// Which sleep states there are: a byte for each of S0 to S5, with bit 7 for "yes" and SLP_TYP below.
const SYSTEM_STATES: [u8; 6] = [0x80, 0, 0, 1, 2, 0x80 | acpi::SLP_TYP_S5];
/// Base of the first serial port.
const COM1: u16 = 0x3f8;
/// When nothing boots: say so, and wait for ever.
const BOOT_FAIL_WAIT: u32 = u32::MAX;

/// Everything that the firmware can read. `memory` counts, not `config.memory`: it is what there is.
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
        // SeaBIOS is asked to have its console there.
        files.insert("etc/sercon-port".to_owned(), COM1.to_le_bytes().to_vec());
    }
    FwCfgItems { keys, files }
}

/// One more than the largest APIC id.
fn max_cpus(config: &MachineConfig) -> u16 {
    (0..config.cpus.count).map(|index| u16::from(apic_id(index, &config.cpus)) + 1).max().unwrap_or(1)
}

/// Open Firmware device paths, one a line, with a zero at the end. A letter of `--boot` stands for all drives of its
/// kind, in order. What is not named comes after it in the firmware's own order.
pub fn boot_order(config: &MachineConfig) -> Vec<u8> {
    let drives = |media: Media| -> Vec<String> {
        let drives = config.drives.iter().filter(|(_, drive)| drive.media == media);
        drives.map(|(disk, _)| format!("/pci@i0cf8/ide@1,1/drive@{}/disk@{}", disk.0 / 2, disk.0 % 2)).collect()
    };
    let lines: Vec<String> = config
        .boot
        .iter()
        .flat_map(|device| match device {
            BootDevice::Disk => drives(Media::Disk),
            BootDevice::Cdrom => drives(Media::Cdrom),
            BootDevice::Floppy => vec!["/pci@i0cf8/isa@1/fdc@03f0/floppy@0".to_owned()],
            // Without a card there is nothing to boot from, and the firmware says so.
            BootDevice::Network => (0..config.nics.len().max(1))
                .map(|n| format!("/pci@i0cf8/ethernet@{:x}", usize::from(crate::board::slots::FIRST_NIC) + n))
                .collect(),
        })
        .collect();
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(0);
    bytes
}

/// Where [`place`] put things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Guest-physical address of the RSDP.
    pub rsdp: u64,
    /// Guest-physical address of the SMBIOS entry point.
    pub smbios: u64,
}

/// The tables cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// They do not fit.
    #[error("ACPI tables: {0}")]
    Resolve(#[from] loader::ResolveError),
    /// Guest memory ends before them.
    #[error("ACPI and SMBIOS tables: no guest memory at {0:x}h")]
    NoMemory(u64),
}

/// Writes ACPI and SMBIOS tables into RAM at E0000h to FFFFFh, where operating systems look for them without a
/// firmware's help. RAM is written as it is: the board must also let the guest read RAM there, by its PAM registers.
///
/// # Errors
/// If there is no room.
pub fn place(config: &MachineConfig, memory: &Memory) -> Result<Placed, PlaceError> {
    let ram = memory.ram_size();
    let tables = acpi::Tables::new(config, ram);
    let mut smbios = smbios::Smbios::new(config, ram);
    let write = |address: u64, bytes: &[u8]| {
        memory.ram().write_slice(bytes, GuestAddress(address)).map_err(|_| PlaceError::NoMemory(address))
    };

    // The SMBIOS entry point is looked for from F0000h on only.
    let area = e820::BIOS_AREA;
    let anchor = 0xf_0000;
    let structures = anchor + 32;
    smbios.place(structures as u32);
    let after = structures + smbios.tables.len() as u64;
    if after > area.end {
        return Err(loader::ResolveError::NoRoom(area.end - area.start).into());
    }
    write(anchor, &smbios.anchor)?;
    write(structures, &smbios.tables)?;

    let mut files = BTreeMap::from([(acpi::TABLES_FILE, tables.tables), (acpi::RSDP_FILE, tables.rsdp)]);
    let addresses = loader::resolve(&tables.commands, &mut files, area.start..anchor)?;
    for (file, bytes) in &files {
        write(addresses[file], bytes)?;
    }
    Ok(Placed { rsdp: addresses[acpi::RSDP_FILE], smbios: anchor })
}

#[cfg(test)]
pub(crate) mod tests;
