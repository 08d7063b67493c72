//! SMBIOS tables, which `dmidecode` and Windows' system information show (DMTF DSP0134, version 2.8).
//!
//! A 32-bit entry point and structures of type 0, 1, 3, 4 (one per socket), 16, 17, 19, 32 and 127. A configuration must
//! give the same bytes in every version of pcvm, because Windows' activation depends on them.

use crate::config::MachineConfig;
use crate::tables::e820;
use pcvm_devices::memory::HIGH_RAM_BASE;
use zerocopy::{Immutable, IntoBytes, KnownLayout, little_endian::U16, little_endian::U32, little_endian::U64};

/// fw_cfg file of the entry point.
pub const ANCHOR_FILE: &str = "etc/smbios/smbios-anchor";
/// fw_cfg file of the structures.
pub const TABLES_FILE: &str = "etc/smbios/smbios-tables";

const MANUFACTURER: &str = "pcvm";
const PRODUCT: &str = "i440FX PC";
const VERSION: &str = "1";
const DATE: &str = "01/01/2026";
/// Bytes of a memory device. Type 17 needs its Extended Size field from 32 GiB - 1 MiB on.
const MAX_DIMM: u64 = 16 << 30;
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const NO_HANDLE: u16 = 0xffff;
const NO_ERROR_INFORMATION: u16 = 0xfffe;
const ANCHOR_LEN: usize = 31;

/// Entry point and structures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smbios {
    /// The entry point, 31 bytes. The address of the structures is 0 until [`Smbios::set_table_address`] or the firmware
    /// sets it.
    pub anchor: Vec<u8>,
    /// The structures.
    pub tables: Vec<u8>,
}

/// A machine's UUID (RFC 9562, version 8), a hash of its name, so that it is the same on every host.
pub fn uuid(name: &str) -> [u8; 16] {
    // FNV-1a, 128 bits.
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = b"pcvm:".iter().chain(name.as_bytes()).fold(BASIS, |h, &b| (h ^ u128::from(b)).wrapping_mul(PRIME));
    let mut uuid = hash.to_be_bytes();
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BiosInformation {
    vendor: u8,
    version: u8,
    start_segment: U16,
    date: u8,
    rom_size: u8,
    characteristics: U64,
    extension: [u8; 2],
    bios_major: u8,
    bios_minor: u8,
    ec_major: u8,
    ec_minor: u8,
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SystemInformation {
    manufacturer: u8,
    product: u8,
    version: u8,
    serial: u8,
    uuid: [u8; 16],
    wake_up: u8,
    sku: u8,
    family: u8,
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SystemEnclosure {
    manufacturer: u8,
    kind: u8,
    version: u8,
    serial: u8,
    asset_tag: u8,
    states: [u8; 3],
    security: u8,
    oem: U32,
    height: u8,
    power_cords: u8,
    contained: u8,
    contained_len: u8,
    sku: u8,
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ProcessorInformation {
    socket: u8,
    kind: u8,
    family: u8,
    manufacturer: u8,
    id: U64,
    version: u8,
    voltage: u8,
    clock: U16,
    max_speed: U16,
    speed: U16,
    status: u8,
    upgrade: u8,
    caches: [U16; 3],
    serial: u8,
    asset_tag: u8,
    part: u8,
    cores: u8,
    cores_enabled: u8,
    threads: u8,
    characteristics: U16,
    family2: U16,
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PhysicalMemoryArray {
    location: u8,
    usage: u8,
    error_correction: u8,
    capacity: U32,
    error_handle: U16,
    devices: U16,
    extended_capacity: U64,
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MemoryDevice {
    array: U16,
    error_handle: U16,
    total_width: U16,
    data_width: U16,
    size: U16,
    form_factor: u8,
    set: u8,
    locator: u8,
    bank: u8,
    kind: u8,
    detail: U16,
    speed: U16,
    manufacturer: u8,
    serial: u8,
    asset_tag: u8,
    part: u8,
    attributes: u8,
    extended_size: U32,
    configured_speed: U16,
    voltages: [U16; 3],
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MemoryArrayMappedAddress {
    start: U32,
    end: U32,
    array: U16,
    width: u8,
    extended: [U64; 2],
}

/// Builder of the structure table.
#[derive(Default)]
struct Structures {
    bytes: Vec<u8>,
    count: u16,
    largest: u16,
}

impl Structures {
    /// Appends a structure: type, handle, formatted area after the header, strings.
    fn add(&mut self, kind: u8, handle: u16, body: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[kind, body.len() as u8 + 4]);
        self.bytes.extend_from_slice(&handle.to_le_bytes());
        self.bytes.extend_from_slice(body);
        for string in strings {
            self.bytes.extend(string.bytes().filter(|&b| b != 0));
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        self.largest = self.largest.max((self.bytes.len() - start) as u16);
    }
}

impl Smbios {
    /// The structures of a machine with `ram` bytes of RAM.
    pub fn new(config: &MachineConfig, ram: u64) -> Self {
        let mut out = Structures::default();
        bios(&mut out);
        system(&mut out, &config.name);
        chassis(&mut out);
        let cpus = &config.cpus;
        for socket in 0..cpus.sockets.max(1) {
            processor(&mut out, socket, cpus.cores, cpus.threads);
        }
        memory(&mut out, ram);
        // Type 32, system boot information: no errors.
        out.add(32, 0x2000, &[0; 7], &[]);
        out.add(127, 0x7f00, &[], &[]);

        let mut anchor = vec![0; ANCHOR_LEN];
        anchor[..4].copy_from_slice(b"_SM_");
        anchor[5] = ANCHOR_LEN as u8;
        anchor[6..8].copy_from_slice(&[2, 8]);
        anchor[8..10].copy_from_slice(&out.largest.to_le_bytes());
        anchor[16..21].copy_from_slice(b"_DMI_");
        anchor[22..24].copy_from_slice(&(out.bytes.len() as u16).to_le_bytes());
        anchor[28..30].copy_from_slice(&out.count.to_le_bytes());
        anchor[30] = 0x28;
        let mut smbios = Self { anchor, tables: out.bytes };
        smbios.set_table_address(0);
        smbios
    }

    /// Sets the address of the structures in the entry point, and its checksums.
    pub fn set_table_address(&mut self, address: u32) {
        self.anchor[24..28].copy_from_slice(&address.to_le_bytes());
        for (checksum, range) in [(21, 16..ANCHOR_LEN), (4, 0..ANCHOR_LEN)] {
            self.anchor[checksum] = 0;
            let sum = self.anchor[range].iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
            self.anchor[checksum] = sum.wrapping_neg();
        }
    }
}

fn bios(out: &mut Structures) {
    // PCI (bit 7), BIOS shadowing allowed (12), boot from CD (15), selectable boot (16), EDD (19).
    let characteristics: u64 = 1 << 7 | 1 << 12 | 1 << 15 | 1 << 16 | 1 << 19;
    let body = BiosInformation {
        vendor: 1,
        version: 2,
        start_segment: 0xe000.into(),
        date: 3,
        // Units of 64 KiB, minus one.
        rom_size: 3,
        characteristics: characteristics.into(),
        // Byte 1: ACPI. Byte 2: virtual machine.
        extension: [1 << 0, 1 << 4],
        bios_major: 1,
        bios_minor: 0,
        ec_major: 0xff,
        ec_minor: 0xff,
    };
    out.add(0, 0, body.as_bytes(), &[MANUFACTURER, VERSION, DATE]);
}

fn system(out: &mut Structures, name: &str) {
    let mut uuid = uuid(name);
    // Since version 2.6 the first three fields of the UUID are little-endian.
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    let body = SystemInformation {
        manufacturer: 1,
        product: 2,
        version: 3,
        serial: 0,
        uuid,
        // Power switch.
        wake_up: 6,
        sku: 0,
        family: 0,
    };
    out.add(1, 0x100, body.as_bytes(), &[MANUFACTURER, PRODUCT, VERSION]);
}

fn chassis(out: &mut Structures) {
    const DESKTOP: u8 = 3;
    const SAFE: u8 = 3;
    const SECURITY_NONE: u8 = 3;
    let body = SystemEnclosure {
        manufacturer: 1,
        kind: DESKTOP,
        version: 2,
        serial: 0,
        asset_tag: 0,
        states: [SAFE; 3],
        security: SECURITY_NONE,
        oem: 0.into(),
        height: 0,
        power_cords: 0,
        contained: 0,
        contained_len: 0,
        sku: 0,
    };
    out.add(3, 0x300, body.as_bytes(), &[MANUFACTURER, VERSION]);
}

fn processor(out: &mut Structures, socket: u32, cores: u32, threads: u32) {
    const CENTRAL: u8 = 3;
    const OTHER: u8 = 1;
    const POPULATED_ENABLED: u8 = 1 << 6 | 1;
    let cores = cores.clamp(1, 255);
    let body = ProcessorInformation {
        socket: 1,
        kind: CENTRAL,
        family: OTHER,
        manufacturer: 2,
        id: 0.into(),
        version: 3,
        voltage: 0,
        clock: 0.into(),
        max_speed: 2000.into(),
        speed: 2000.into(),
        status: POPULATED_ENABLED,
        upgrade: OTHER,
        caches: [NO_HANDLE.into(); 3],
        serial: 0,
        asset_tag: 0,
        part: 0,
        cores: cores as u8,
        cores_enabled: cores as u8,
        threads: cores.saturating_mul(threads).clamp(1, 255) as u8,
        // Unknown.
        characteristics: (1 << 1).into(),
        family2: u16::from(OTHER).into(),
    };
    out.add(4, 0x400 + socket as u16, body.as_bytes(), &[&format!("CPU {socket}"), MANUFACTURER, VERSION]);
}

fn memory(out: &mut Structures, ram: u64) {
    const ARRAY: u16 = 0x1000;
    let devices = ram.div_ceil(MAX_DIMM) as u16;
    let array = PhysicalMemoryArray {
        // Location: system board. Use: system memory. Error correction: none.
        location: 3,
        usage: 3,
        error_correction: 3,
        capacity: ((ram / KIB) as u32).into(),
        error_handle: NO_ERROR_INFORMATION.into(),
        devices: devices.into(),
        extended_capacity: 0.into(),
    };
    out.add(16, ARRAY, array.as_bytes(), &[]);
    for n in 0..devices {
        let size = (ram - u64::from(n) * MAX_DIMM).min(MAX_DIMM);
        let body = MemoryDevice {
            array: ARRAY.into(),
            error_handle: NO_ERROR_INFORMATION.into(),
            total_width: 64.into(),
            data_width: 64.into(),
            size: ((size / MIB) as u16).into(),
            // DIMM, part of no set.
            form_factor: 9,
            set: 0,
            locator: 1,
            bank: 0,
            // Memory type RAM, type detail "other".
            kind: 7,
            detail: (1 << 1).into(),
            speed: 0.into(),
            manufacturer: 2,
            serial: 0,
            asset_tag: 0,
            part: 0,
            attributes: 0,
            extended_size: 0.into(),
            configured_speed: 0.into(),
            voltages: [0.into(); 3],
        };
        out.add(17, 0x1100 + n, body.as_bytes(), &[&format!("DIMM {n}"), MANUFACTURER]);
    }
    let ranges = [(0, e820::low_ram(ram)), (HIGH_RAM_BASE, e820::high_ram(ram))];
    for (n, (base, len)) in ranges.into_iter().filter(|range| range.1 > 0).enumerate() {
        // The addresses are in KiB. If the end does not fit, the extended addresses in bytes apply.
        let (start, last) = (base / KIB, (base + len) / KIB - 1);
        let fits = last < u64::from(u32::MAX);
        let body = MemoryArrayMappedAddress {
            start: if fits { start as u32 } else { u32::MAX }.into(),
            end: if fits { last as u32 } else { u32::MAX }.into(),
            array: ARRAY.into(),
            width: devices.min(255) as u8,
            extended: if fits { [0.into(); 2] } else { [base.into(), (base + len - 1).into()] },
        };
        out.add(19, 0x1300 + n as u16, body.as_bytes(), &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::fw_cfg::tests::machine;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
    }

    #[test]
    fn the_entry_point_has_valid_checksums_at_every_address() {
        for address in [0, 0xf_1234, 0xbfff_0000] {
            let mut smbios = Smbios::new(&machine(512 * MIB), 512 * MIB);
            smbios.set_table_address(address);
            assert_eq!(sum(&smbios.anchor), 0);
            assert_eq!(sum(&smbios.anchor[16..]), 0);
            assert_eq!(smbios.anchor[24..28], address.to_le_bytes());
        }
    }

    #[test]
    fn walking_the_structures_ends_at_type_127() {
        for ram in [MIB, 512 * MIB, 4096 * MIB, 65536 * MIB, MIB << 20] {
            let smbios = Smbios::new(&machine(ram), ram);
            let mut at = 0;
            let mut kinds = Vec::new();
            let mut largest = 0;
            while at < smbios.tables.len() {
                let start = at;
                kinds.push(smbios.tables[at]);
                at += usize::from(smbios.tables[at + 1]);
                while smbios.tables[at..at + 2] != [0, 0] {
                    at += 1;
                }
                at += 2;
                largest = largest.max(at - start);
            }
            assert_eq!(kinds.last(), Some(&127));
            assert_eq!(smbios.anchor[28..30], (kinds.len() as u16).to_le_bytes());
            assert_eq!(smbios.anchor[8..10], (largest as u16).to_le_bytes());
            assert_eq!(kinds.iter().filter(|&&k| k == 17).count() as u64, ram.div_ceil(MAX_DIMM));
            for kind in [0, 1, 3, 4, 16, 19, 32] {
                assert!(kinds.contains(&kind), "{kind}");
            }
        }
    }

    #[test]
    fn a_uuid_depends_only_on_the_name() {
        assert_eq!(uuid("a"), uuid("a"));
        assert_ne!(uuid("a"), uuid("b"));
        assert_eq!((uuid("a")[6] >> 4, uuid("a")[8] >> 6), (8, 2));
    }
}
