//! Initial CMOS RAM contents: equipment, memory sizes, boot order and disk geometry, in the layout that SeaBIOS and
//! older software read.

use super::BANK;

/// A boot device, in the encoding of the nibbles of bytes 38h and 3Dh.
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

/// The BIOS' translation of a disk's geometry (byte 39h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Translation {
    /// No translation.
    #[default]
    None = 0,
    /// LBA assist.
    Lba = 1,
    /// Large.
    Large = 2,
    /// Revised extended CHS.
    RevisedEchs = 3,
}

/// A hard disk's geometry for the BIOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmosDisk {
    /// Cylinders that the drive reports.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
    /// Translation.
    pub translation: Translation,
}

/// The machine's configuration, as CMOS RAM describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CmosContents {
    /// Bytes of RAM below 4 GiB.
    pub low_ram: u64,
    /// Bytes of RAM above 4 GiB.
    pub high_ram: u64,
    /// vCPUs, at least 1.
    pub cpus: u32,
    /// Boot order.
    pub boot: [Option<BootDevice>; 3],
    /// The BIOS checks the signature of a floppy's boot sector before it boots from it.
    pub check_floppy_signature: bool,
    /// Hard disks hda to hdd; `None` for absent drives and CD-ROM drives.
    pub disks: [Option<CmosDisk>; 4],
    /// Types of floppy drives A and B: 0 is absent, 4 is 1.44 MB.
    pub floppies: [u8; 2],
}

// Offsets of the fields in CMOS RAM.
/// Floppy drive types: high nibble A, low nibble B.
const FLOPPY_TYPES: usize = 0x10;
/// Hard disk types: high nibble hda, low nibble hdb.
const DISK_TYPES: usize = 0x12;
/// Equipment byte.
const EQUIPMENT: usize = 0x14;
/// Base memory in KiB, at most 640.
const BASE_MEMORY: usize = 0x15;
/// Extended memory in KiB above 1 MiB, as configured.
const EXTENDED_MEMORY: usize = 0x17;
/// Extended types of hda and hdb, one byte each.
const EXTENDED_DISK_TYPES: usize = 0x19;
/// Geometries of hda and hdb, [`GEOMETRY_LEN`] bytes each.
const GEOMETRIES: usize = 0x1b;
const GEOMETRY_LEN: usize = 9;
/// Checksum, big-endian: the sum of bytes [`CHECKSUMMED`].
const CHECKSUM: usize = 0x2e;
const CHECKSUMMED: std::ops::RangeInclusive<usize> = 0x10..=0x2d;
/// Extended memory in KiB above 1 MiB, as POST found it.
const ACTUAL_EXTENDED_MEMORY: usize = 0x30;
/// Memory above 16 MiB and below 4 GiB, in units of 64 KiB.
const MEMORY_ABOVE_16_MIB: usize = 0x34;
/// High nibble: third boot device. Bit 0: do not check the floppy boot signature.
const BOOT_DEVICE_3: usize = 0x38;
/// Translations of hda to hdd, two bits each.
const TRANSLATIONS: usize = 0x39;
/// High nibble: second boot device; low nibble: first.
const BOOT_DEVICES: usize = 0x3d;
/// Memory above 4 GiB in units of 64 KiB, three bytes.
const MEMORY_ABOVE_4_GIB: usize = 0x5b;
/// CPUs, less one.
const CPUS: usize = 0x5f;

/// Equipment byte: coprocessor.
const EQUIPMENT_FPU: u8 = 0x02;
/// Equipment byte: PS/2 mouse.
const EQUIPMENT_MOUSE: u8 = 0x04;
/// Disk type: the extended type holds the type.
const TYPE_EXTENDED: u8 = 0xf;
/// Extended disk type: user-defined, the geometry fields hold the geometry.
const TYPE_USER: u8 = 47;

impl CmosContents {
    pub(super) fn bytes(&self) -> [u8; BANK] {
        let mut ram = [0; BANK];
        let mut put = |at: usize, bytes: &[u8]| ram[at..at + bytes.len()].copy_from_slice(bytes);
        let word = |value: u64| (value.min(0xffff) as u16).to_le_bytes();

        put(FLOPPY_TYPES, &[self.floppies[0] << 4 | self.floppies[1] & 0xf]);
        let drives = self.floppies.iter().filter(|&&kind| kind != 0).count() as u8;
        // Bit 0: a floppy drive is installed; bits 7 and 6: the number of floppy drives, less one.
        let floppies = if drives == 0 { 0 } else { 1 | (drives - 1) << 6 };
        put(EQUIPMENT, &[EQUIPMENT_FPU | EQUIPMENT_MOUSE | floppies]);

        put(BASE_MEMORY, &word((self.low_ram >> 10).min(640)));
        let extended = word(self.low_ram.saturating_sub(1 << 20) >> 10);
        put(EXTENDED_MEMORY, &extended);
        put(ACTUAL_EXTENDED_MEMORY, &extended);
        put(MEMORY_ABOVE_16_MIB, &word(self.low_ram.saturating_sub(16 << 20) >> 16));
        put(MEMORY_ABOVE_4_GIB, &((self.high_ram >> 16).min(0xff_ffff) as u32).to_le_bytes()[..3]);
        put(CPUS, &[self.cpus.saturating_sub(1).min(255) as u8]);

        let nibble = |n: usize| self.boot[n].map_or(0, |device| device as u8);
        put(BOOT_DEVICE_3, &[nibble(2) << 4 | u8::from(!self.check_floppy_signature)]);
        put(BOOT_DEVICES, &[nibble(1) << 4 | nibble(0)]);

        let mut types = 0;
        let mut translations = 0;
        for (n, disk) in self.disks.iter().enumerate() {
            let Some(disk) = disk else { continue };
            translations |= (disk.translation as u8) << (2 * n);
            if n < 2 {
                types |= TYPE_EXTENDED << (4 - 4 * n);
                put(EXTENDED_DISK_TYPES + n, &[TYPE_USER]);
                let [low, high] = disk.cylinders.to_le_bytes();
                // Control byte: no retries (bits 7 and 6), more than 8 heads (bit 3).
                let control = 0xc0 | u8::from(disk.heads > 8) << 3;
                // Cylinders, heads, write precompensation (none), control byte, landing zone, sectors per track.
                let geometry = [low, high, disk.heads, 0xff, 0xff, control, low, high, disk.sectors];
                put(GEOMETRIES + GEOMETRY_LEN * n, &geometry);
            }
        }
        put(DISK_TYPES, &[types]);
        put(TRANSLATIONS, &[translations]);

        let sum = ram[CHECKSUMMED].iter().fold(0u16, |sum, &byte| sum.wrapping_add(byte.into()));
        ram[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        ram
    }
}
