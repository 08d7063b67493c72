//! FAT12 volumes of floppy disks: boot sector, allocation table, places (ECMA-107; Microsoft, "FAT: General Overview of
//! On-Disk Format", 1.03).

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// A FAT12 volume has fewer clusters.
const CLUSTERS_MAX: u32 = 4085;

/// The shape of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Sectors of the volume.
    pub sectors: u32,
    /// Sectors of a cluster: a power of two.
    pub per_cluster: u32,
    /// Sectors before the first allocation table.
    pub reserved: u32,
    /// Allocation tables.
    pub fats: u32,
    /// Sectors of one allocation table.
    pub fat_sectors: u32,
    /// Entries of the root directory.
    pub root_entries: u32,
    /// Sectors of a track, which the boot sector states.
    pub track: u16,
}

impl Volume {
    /// A 3.5 inch disk of 1.44 MB, as DOS formats it.
    pub const MB_1_44: Self =
        Self { sectors: 2880, per_cluster: 1, reserved: 1, fats: 2, fat_sectors: 9, root_entries: 224, track: 18 };
    /// A 3.5 inch disk of 2.88 MB, as DOS formats it.
    pub const MB_2_88: Self =
        Self { sectors: 5760, per_cluster: 2, reserved: 1, fats: 2, fat_sectors: 9, root_entries: 240, track: 36 };

    /// Bytes of a cluster.
    pub fn cluster_bytes(&self) -> usize {
        self.per_cluster as usize * SECTOR
    }

    /// Byte offset of the root directory.
    pub fn root_start(&self) -> usize {
        (self.reserved + self.fats * self.fat_sectors) as usize * SECTOR
    }

    fn data_start(&self) -> usize {
        self.root_start() + (self.root_entries as usize * 32).next_multiple_of(SECTOR)
    }

    /// Clusters, of which the first has number 2.
    pub fn clusters(&self) -> u32 {
        let sectors = self.sectors.saturating_sub((self.data_start() / SECTOR) as u32);
        // As many as the allocation table has entries for.
        (sectors / self.per_cluster).min((self.fat_sectors * SECTOR as u32 * 2 / 3).saturating_sub(2))
    }

    /// Byte offset of a cluster; none for a number that is not one.
    pub fn cluster_start(&self, cluster: u32) -> Option<usize> {
        let index = cluster.checked_sub(2).filter(|&index| index < self.clusters())?;
        Some(self.data_start() + index as usize * self.cluster_bytes())
    }

    /// The shape that the boot sector of an image states, if it is a FAT12 volume within the image.
    pub fn parse(image: &[u8]) -> Option<Self> {
        let byte = |at: usize| image.get(at).copied();
        let word = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
        let sectors = match word(19)? {
            0 => u32::from(word(32)?) | u32::from(word(34)?) << 16,
            sectors => u32::from(sectors),
        };
        let volume = Self {
            sectors,
            per_cluster: u32::from(byte(13)?),
            reserved: u32::from(word(14)?),
            fats: u32::from(byte(16)?),
            root_entries: u32::from(word(17)?),
            fat_sectors: u32::from(word(22)?),
            track: word(24)?,
        };
        let sane = usize::from(word(11)?) == SECTOR
            && volume.per_cluster.is_power_of_two()
            && volume.reserved > 0
            && matches!(volume.fats, 1 | 2)
            && volume.root_entries > 0
            && volume.fat_sectors > 0
            && volume.sectors as usize <= image.len() / SECTOR
            && volume.data_start() < volume.sectors as usize * SECTOR
            && volume.clusters() < CLUSTERS_MAX;
        sane.then_some(volume)
    }

    /// The allocation table's entry for a cluster; none past the end of the table.
    pub fn next(&self, image: &[u8], cluster: u32) -> Option<u32> {
        let at = self.reserved as usize * SECTOR + cluster as usize * 3 / 2;
        let pair = u16::from_le_bytes([*image.get(at)?, *image.get(at + 1)?]);
        Some(u32::from(if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }))
    }

    /// Sets a cluster's entry in all allocation tables.
    pub fn set_next(&self, image: &mut [u8], cluster: u32, value: u32) {
        for fat in 0..self.fats {
            let at = (self.reserved + fat * self.fat_sectors) as usize * SECTOR + cluster as usize * 3 / 2;
            let Some([low, high]) = image.get_mut(at..at + 2) else { continue };
            let old = u16::from_le_bytes([*low, *high]);
            let value = value as u16 & 0xfff;
            let new = if cluster.is_multiple_of(2) { old & 0xf000 | value } else { old & 0x000f | value << 4 };
            [*low, *high] = new.to_le_bytes();
        }
    }

    /// An empty volume. `label` has 11 bytes, padded with spaces.
    pub fn format(&self, serial: u32, label: &[u8; 11]) -> Vec<u8> {
        let mut image = vec![0; self.sectors as usize * SECTOR];
        let mut boot = Vec::with_capacity(SECTOR);
        boot.extend_from_slice(b"\xeb\x3c\x90MSDOS5.0");
        boot.extend_from_slice(&(SECTOR as u16).to_le_bytes());
        boot.push(self.per_cluster as u8);
        boot.extend_from_slice(&(self.reserved as u16).to_le_bytes());
        boot.push(self.fats as u8);
        boot.extend_from_slice(&(self.root_entries as u16).to_le_bytes());
        boot.extend_from_slice(&(self.sectors as u16).to_le_bytes());
        boot.push(MEDIA);
        boot.extend_from_slice(&(self.fat_sectors as u16).to_le_bytes());
        boot.extend_from_slice(&self.track.to_le_bytes());
        // Two heads; no hidden sectors; the number of sectors is above; drive 0; extended boot signature.
        boot.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x29]);
        boot.extend_from_slice(&serial.to_le_bytes());
        boot.extend_from_slice(label);
        boot.extend_from_slice(b"FAT12   ");
        boot.extend_from_slice(&BOOT_CODE);
        boot.extend_from_slice(MESSAGE);
        boot.resize(SECTOR - 2, 0);
        boot.extend_from_slice(&[0x55, 0xaa]);
        if let Some(first) = image.get_mut(..SECTOR) {
            first.copy_from_slice(&boot);
        }
        self.set_next(&mut image, 0, 0xf00 | u32::from(MEDIA));
        self.set_next(&mut image, 1, 0xfff);
        image
    }
}

/// Media descriptor of 3.5 inch disks of 1.44 and 2.88 MB.
const MEDIA: u8 = 0xf0;
/// Where [`MESSAGE`] is when the BIOS has loaded the boot sector.
const MESSAGE_AT: u16 = 0x7c3e + BOOT_CODE_LEN;
const BOOT_CODE_LEN: u16 = 26;
/// Prints the message by INT 10h, then INT 18h boots from the next device.
const BOOT_CODE: [u8; BOOT_CODE_LEN as usize] = [
    0x31,
    0xc0, // xor ax, ax
    0x8e,
    0xd8, // mov ds, ax
    0xfc, // cld
    0xbe,
    MESSAGE_AT as u8,
    (MESSAGE_AT >> 8) as u8, // mov si, message
    0xac,                    // lodsb
    0x84,
    0xc0, // test al, al
    0x74,
    0x09, // jz done
    0xb4,
    0x0e, // mov ah, 0eh
    0xbb,
    0x07,
    0x00, // mov bx, 7
    0xcd,
    0x10, // int 10h
    0xeb,
    0xf2, // jmp to lodsb
    0xcd,
    0x18, // done: int 18h
    0xeb,
    0xfe, // jmp to itself
];
const MESSAGE: &[u8] = b"This floppy disk is made from a directory and has no system to boot.\r\n\0";
