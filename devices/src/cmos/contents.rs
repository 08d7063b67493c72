//! What the CMOS RAM says about the machine, in the places that SeaBIOS and older software read.

use super::BANK;

/// A boot device, as the nibbles of bytes 38h and 3Dh name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BootDevice {
    /// Floppy disk.
    Floppy = 1,
    /// Hard disk.
    Disk = 2,
    /// CD-ROM.
    Cdrom = 3,
    /// Network.
    Network = 4,
}

/// How the BIOS is to translate a disk's geometry (byte 39h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Translation {
    /// Not at all.
    #[default]
    None = 0,
    /// LBA assist.
    Lba = 1,
    /// Large.
    Large = 2,
    /// Revised extended CHS.
    RevisedEchs = 3,
}

/// A hard disk for the BIOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmosDisk {
    /// Cylinders, as the drive has them.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
    /// How to translate.
    pub translation: Translation,
}

/// What is to be said about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CmosContents {
    /// Bytes of RAM below 4 GiB, from address 0 on.
    pub low_ram: u64,
    /// Bytes of RAM from 4 GiB on.
    pub high_ram: u64,
    /// Processors, at least 1.
    pub cpus: u32,
    /// What to boot, in order.
    pub boot: [Option<BootDevice>; 3],
    /// Check the signature of a floppy's boot sector before booting it.
    pub check_floppy_signature: bool,
    /// Hard disks hda to hdd; none where there is no hard disk.
    pub disks: [Option<CmosDisk>; 4],
    /// Types of floppy drives A and B: 0 for none, 4 for 1.44 MB.
    pub floppies: [u8; 2],
}

/// Standard area that the checksum covers.
const CHECKED: std::ops::RangeInclusive<usize> = 0x10..=0x2d;
const CHECKSUM: usize = 0x2e;
/// Equipment: a coprocessor, a PS/2 mouse.
const EQUIPMENT: u8 = 0x02 | 0x04;
/// The disk type that says "see the extended type", and the extended type that says "see the geometry".
const EXTENDED_TYPE: u8 = 0xf;
const USER_TYPE: u8 = 47;

impl CmosContents {
    pub(super) fn bytes(&self) -> [u8; BANK] {
        let mut ram = [0; BANK];
        let mut put = |at: usize, bytes: &[u8]| ram[at..at + bytes.len()].copy_from_slice(bytes);
        let word = |value: u64| (value.min(0xffff) as u16).to_le_bytes();

        put(0x10, &[self.floppies[0] << 4 | self.floppies[1] & 0xf]);
        let drives = self.floppies.iter().filter(|&&kind| kind != 0).count() as u8;
        let floppies = if drives == 0 { 0 } else { 1 | (drives - 1) << 6 };
        put(0x14, &[EQUIPMENT | floppies]);

        // KiB below 640 KiB, KiB from 1 MiB on (twice), 64 KiB from 16 MiB on, 64 KiB from 4 GiB on.
        put(0x15, &word((self.low_ram >> 10).min(640)));
        let extended = word(self.low_ram.saturating_sub(1 << 20) >> 10);
        put(0x17, &extended);
        put(0x30, &extended);
        put(0x34, &word(self.low_ram.saturating_sub(16 << 20) >> 16));
        put(0x5b, &((self.high_ram >> 16).min(0xff_ffff) as u32).to_le_bytes()[..3]);
        put(0x5f, &[self.cpus.saturating_sub(1).min(255) as u8]);

        let nibble = |n: usize| self.boot[n].map_or(0, |device| device as u8);
        put(0x38, &[nibble(2) << 4 | u8::from(!self.check_floppy_signature)]);
        put(0x3d, &[nibble(1) << 4 | nibble(0)]);

        let mut types = 0;
        let mut translations = 0;
        for (n, disk) in self.disks.iter().enumerate() {
            let Some(disk) = disk else { continue };
            translations |= (disk.translation as u8) << (2 * n);
            if n < 2 {
                types |= EXTENDED_TYPE << (4 - 4 * n);
                put(0x19 + n, &[USER_TYPE]);
                let [low, high] = disk.cylinders.to_le_bytes();
                // No write precompensation; control byte: no retries, and whether there are more than 8 heads;
                // landing zone.
                let control = 0xc0 | u8::from(disk.heads > 8) << 3;
                put(0x1b + 9 * n, &[low, high, disk.heads, 0xff, 0xff, control, low, high, disk.sectors]);
            }
        }
        put(0x12, &[types]);
        put(0x39, &[translations]);

        let sum = ram[CHECKED].iter().fold(0u16, |sum, &byte| sum.wrapping_add(byte.into()));
        ram[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        ram
    }
}
