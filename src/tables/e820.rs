//! The memory map, as INT 15h/E820h calls its entries (ACPI specification, "System Address Map Interfaces").
//!
//! Two maps of one machine: [`for_firmware`] is what the board has, from which the firmware makes its own map, and
//! [`for_kernel`] is what a kernel that is started without firmware is told.

use pcvm_devices::memory::{HIGH_RAM_BASE, LOW_RAM_MAX};
use std::ops::Range;

/// Bytes of an entry in `etc/e820` and in a kernel's boot parameters: u64 address, u64 length, u32 type.
pub const ENTRY_LEN: usize = 20;

/// KVM's identity-map page table and, after it, the three pages of its real-mode task state segment: guest-physical
/// addresses that Intel processors without unrestricted guest take from the guest. The board sets them to lie here.
pub const KVM_PAGES: Range<u64> = 0xfeff_c000..0xff00_0000;

/// Where the first 640 KiB end for a kernel without firmware: the last KiB is where an EBDA would be.
pub const EBDA: Range<u64> = 0x9_fc00..0xa_0000;

/// Where [`crate::tables::fw_cfg::place`] puts the tables when no firmware does: the BIOS area.
pub const BIOS_AREA: Range<u64> = 0xe_0000..0x10_0000;

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// AddressRangeMemory.
    Ram = 1,
    /// AddressRangeReserved.
    Reserved = 2,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// What is there.
    pub kind: Kind,
}

impl Entry {
    fn new(range: Range<u64>, kind: Kind) -> Self {
        Self { base: range.start, len: range.end.saturating_sub(range.start), kind }
    }

    /// As the firmware and kernels read it.
    pub fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..8].copy_from_slice(&self.base.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes
    }
}

/// Bytes of RAM below the PCI hole.
pub fn low_ram(ram: u64) -> u64 {
    ram.min(LOW_RAM_MAX)
}

/// Bytes of RAM from 4 GiB on.
pub fn high_ram(ram: u64) -> u64 {
    ram.saturating_sub(LOW_RAM_MAX)
}

/// What the board has. The firmware takes the legacy hole and its own areas out of it.
pub fn for_firmware(ram: u64) -> Vec<Entry> {
    let mut map = vec![Entry::new(0..low_ram(ram), Kind::Ram), Entry::new(KVM_PAGES, Kind::Reserved)];
    push_high(&mut map, ram);
    map
}

/// What a kernel is told that is started without firmware.
pub fn for_kernel(ram: u64) -> Vec<Entry> {
    let mut map = vec![
        Entry::new(0..EBDA.start, Kind::Ram),
        Entry::new(EBDA, Kind::Reserved),
        Entry::new(BIOS_AREA, Kind::Reserved),
    ];
    if low_ram(ram) > BIOS_AREA.end {
        map.push(Entry::new(BIOS_AREA.end..low_ram(ram), Kind::Ram));
    }
    map.push(Entry::new(KVM_PAGES, Kind::Reserved));
    push_high(&mut map, ram);
    map
}

fn push_high(map: &mut Vec<Entry>, ram: u64) {
    if high_ram(ram) > 0 {
        map.push(Entry::new(HIGH_RAM_BASE..HIGH_RAM_BASE + high_ram(ram), Kind::Ram));
    }
}

/// The entries one after the other.
pub fn to_bytes(map: &[Entry]) -> Vec<u8> {
    map.iter().flat_map(|entry| entry.to_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const SIZES: [u64; 8] = [MIB, 16 * MIB, 512 * MIB, 3 * GIB, 3 * GIB + MIB, 4 * GIB, 64 * GIB, 1024 * GIB];

    #[test]
    fn no_map_has_overlaps_empty_entries_or_disorder() {
        for ram in SIZES {
            for map in [for_firmware(ram), for_kernel(ram)] {
                assert!(map.iter().all(|e| e.len > 0), "{ram:x}: {map:x?}");
                for pair in map.windows(2) {
                    assert!(pair[0].base + pair[0].len <= pair[1].base, "{ram:x}: {map:x?}");
                }
            }
        }
    }

    #[test]
    fn the_firmware_is_told_of_every_byte_of_ram() {
        for ram in SIZES {
            let told: u64 = for_firmware(ram).iter().filter(|e| e.kind == Kind::Ram).map(|e| e.len).sum();
            assert_eq!(told, ram);
        }
    }

    #[test]
    fn a_kernel_loses_only_the_last_385_kib_below_one_mib() {
        for ram in SIZES {
            let told: u64 = for_kernel(ram).iter().filter(|e| e.kind == Kind::Ram).map(|e| e.len).sum();
            assert_eq!(told, ram - (MIB - EBDA.start));
        }
    }

    #[test]
    fn ram_stops_at_the_pci_hole_and_goes_on_at_four_gib() {
        let map = for_firmware(4 * GIB);
        assert_eq!(map[0], Entry { base: 0, len: 3 * GIB, kind: Kind::Ram });
        assert_eq!(map[2], Entry { base: 4 * GIB, len: GIB, kind: Kind::Ram });
        assert_eq!(for_firmware(3 * GIB).len(), 2);
    }

    #[test]
    fn an_entry_is_twenty_bytes_little_endian() {
        let bytes = to_bytes(&for_firmware(16 * MIB));
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[..20], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[20..28], 0xfeff_c000u64.to_le_bytes());
    }
}
