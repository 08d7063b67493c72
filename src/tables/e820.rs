//! E820 memory map (ACPI specification, "System Address Map Interfaces").
//!
//! [`for_firmware`] lists the board's RAM; the firmware derives the map of INT 15h AX=E820h from it.

use pcvm_devices::memory::{HIGH_RAM_BASE, LOW_RAM_MAX};
use std::ops::Range;

/// Bytes of an entry in `etc/e820` and in Linux' boot parameters: u64 base, u64 length, u32 type.
pub const ENTRY_LEN: usize = 20;

/// KVM's identity map page table, then its three-page real-mode TSS. KVM uses these guest-physical pages on Intel hosts
/// without unrestricted guest mode. `kvm::vm` sets their addresses.
pub const KVM_PAGES: Range<u64> = 0xfeff_c000..0xff00_0000;

/// Type of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// AddressRangeMemory.
    Ram = 1,
    /// AddressRangeReserved.
    Reserved = 2,
}

/// An entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// Type.
    pub kind: Kind,
}

impl Entry {
    fn new(range: Range<u64>, kind: Kind) -> Self {
        Self { base: range.start, len: range.end.saturating_sub(range.start), kind }
    }

    /// The entry in the format of [`ENTRY_LEN`].
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

/// Bytes of RAM above 4 GiB.
pub fn high_ram(ram: u64) -> u64 {
    ram.saturating_sub(LOW_RAM_MAX)
}

/// The board's RAM and reserved ranges. The firmware removes A0000h-FFFFFh and its own areas.
pub fn for_firmware(ram: u64) -> Vec<Entry> {
    let mut map = vec![Entry::new(0..low_ram(ram), Kind::Ram), Entry::new(KVM_PAGES, Kind::Reserved)];
    push_high(&mut map, ram);
    map
}

fn push_high(map: &mut Vec<Entry>, ram: u64) {
    if high_ram(ram) > 0 {
        map.push(Entry::new(HIGH_RAM_BASE..HIGH_RAM_BASE + high_ram(ram), Kind::Ram));
    }
}

/// The map in the format of `etc/e820`.
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
    fn entries_are_sorted_and_neither_empty_nor_overlapping() {
        for ram in SIZES {
            let map = for_firmware(ram);
            assert!(map.iter().all(|e| e.len > 0), "{ram:x}: {map:x?}");
            for pair in map.windows(2) {
                assert!(pair[0].base + pair[0].len <= pair[1].base, "{ram:x}: {map:x?}");
            }
        }
    }

    #[test]
    fn the_firmwares_map_has_every_byte_of_ram() {
        for ram in SIZES {
            let total: u64 = for_firmware(ram).iter().filter(|e| e.kind == Kind::Ram).map(|e| e.len).sum();
            assert_eq!(total, ram);
        }
    }

    #[test]
    fn ram_ends_at_the_pci_hole_and_continues_at_4_gib() {
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
