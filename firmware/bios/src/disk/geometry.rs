//! Disk geometry translation between the drive's CHS and INT 13h's CHS of 10, 8 and 6 bits.
//!
//! Translations: none; large (cylinders halved, heads doubled) and its revised form with 15 heads; LBA assist (63
//! sectors per track, heads by the disk's size). Phoenix, "Enhanced Disk Drive Specification" 1.1, section 3.
//!
//! A disk must be used with the translation that it was partitioned with. The partition table shows it: the CHS and LBA
//! fields of its entries must agree. Without partitions, CMOS register 39h gives the translation.

/// Number of cylinders that INT 13h can address.
pub const MAX_CYLINDERS: u16 = 1024;

/// A CHS geometry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chs {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads: up to 255.
    pub heads: u8,
    /// Sectors per track: up to 63.
    pub sectors: u8,
}

/// How INT 13h's geometry is derived from the drive's. The numbers are those of CMOS register 39h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translation {
    /// No translation.
    #[default]
    None = 0,
    /// LBA assist.
    Lba = 1,
    /// Large.
    Large = 2,
    /// Large, by way of 15 heads.
    RevisedLarge = 3,
}

impl Translation {
    /// From two bits of CMOS register 39h.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::None,
            1 => Self::Lba,
            2 => Self::Large,
            _ => Self::RevisedLarge,
        }
    }
}

impl Chs {
    /// Sectors per cylinder; never 0.
    pub fn per_cylinder(self) -> u32 {
        u32::from(self.heads.max(1)) * u32::from(self.sectors.max(1))
    }

    /// Number of sectors.
    pub fn total(self) -> u32 {
        u32::from(self.cylinders) * self.per_cylinder()
    }

    /// The LBA of a sector (counted from 1), if it is within the geometry.
    pub fn lba(self, cylinder: u16, head: u8, sector: u8) -> Option<u32> {
        if cylinder >= self.cylinders || head >= self.heads || sector == 0 || sector > self.sectors {
            return None;
        }
        Some(self.lba_unbounded(cylinder, head, sector))
    }

    fn lba_unbounded(self, cylinder: u16, head: u8, sector: u8) -> u32 {
        (u32::from(cylinder) * u32::from(self.heads) + u32::from(head)) * u32::from(self.sectors) + u32::from(sector)
            - 1
    }
}

/// The drive's own geometry; fields that IDENTIFY left empty are derived from its size.
pub fn physical(reported: Chs, sectors: u64) -> Chs {
    let (heads, per_track) = if reported.heads == 0 || reported.sectors == 0 || reported.sectors > 63 {
        match sectors {
            0..63 => (1, sectors.max(1) as u8),
            63..1008 => (1, 63),
            _ => (16, 63),
        }
    } else {
        (reported.heads, reported.sectors)
    };
    let cylinders = if reported.cylinders != 0 {
        reported.cylinders
    } else {
        let sectors = sectors.min(16383 * 16 * 63) as u32;
        (sectors / (u32::from(heads) * u32::from(per_track))).clamp(1, 16383) as u16
    };
    Chs { cylinders, heads, sectors: per_track }
}

/// INT 13h's geometry of a disk with this many sectors.
pub fn translate(physical: Chs, sectors: u64, translation: Translation) -> Chs {
    let Chs { cylinders, heads, sectors: per_track } = physical;
    match translation {
        Translation::None => Chs { cylinders: cylinders.min(MAX_CYLINDERS), ..physical },
        // Do not round a drive shorter than one track to zero cylinders.
        Translation::Lba if sectors < 63 => Chs { cylinders: cylinders.clamp(1, MAX_CYLINDERS), ..physical },
        Translation::Lba => {
            // The part of a disk that CHS can address.
            let tracks = sectors.min(1024 * 255 * 63) as u32 / 63;
            let heads = [16, 32, 64, 128].into_iter().find(|heads| tracks <= heads * 1024).unwrap_or(255);
            let cylinders = (tracks / heads).clamp(1, MAX_CYLINDERS.into()) as u16;
            Chs { cylinders, heads: heads as u8, sectors: 63 }
        }
        Translation::Large | Translation::RevisedLarge => {
            let (mut cylinders, mut heads) = (u32::from(cylinders), u32::from(heads));
            if translation == Translation::RevisedLarge && heads == 16 {
                cylinders = cylinders * 16 / 15;
                heads = 15;
            }
            while cylinders > MAX_CYLINDERS.into() && heads < 128 {
                cylinders /= 2;
                heads *= 2;
            }
            let cylinders = cylinders.min(MAX_CYLINDERS.into()) as u16;
            Chs { cylinders, heads: heads.min(255) as u8, sectors: per_track }
        }
    }
}

/// The translation of a disk if neither CMOS nor a partition table gives one.
pub fn by_size(physical: Chs, sectors: u64) -> Translation {
    if physical.cylinders <= MAX_CYLINDERS && u64::from(physical.total()) + u64::from(physical.per_cylinder()) > sectors
    {
        Translation::None
    } else {
        Translation::Lba
    }
}

/// A partition table entry of a master boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Head, sector and cylinder of the first sector.
    pub start: (u8, u8, u16),
    /// Head, sector and cylinder of the last sector.
    pub end: (u8, u8, u16),
    /// LBA of the first sector.
    pub lba: u32,
    /// Number of sectors.
    pub sectors: u32,
}

impl Partition {
    /// Parses the 16 bytes of an entry; none if it is unused.
    pub fn parse(entry: &[u8; 16]) -> Option<Self> {
        let [_, h, s, c, kind, end_h, end_s, end_c, a, b, d, e, n0, n1, n2, n3] = *entry;
        let chs = |h: u8, s: u8, c: u8| (h, s & 0x3f, u16::from(s & 0xc0) << 2 | u16::from(c));
        let this = Self {
            start: chs(h, s, c),
            end: chs(end_h, end_s, end_c),
            lba: u32::from_le_bytes([a, b, d, e]),
            sectors: u32::from_le_bytes([n0, n1, n2, n3]),
        };
        (kind != 0 && this.sectors != 0).then_some(this)
    }

    /// Whether the CHS and LBA fields agree under a geometry. A sector beyond the last cylinder is recorded as that
    /// cylinder's last sector, or as cylinder 1023, head 254, sector 63.
    fn fits(self, heads: u8, per_track: u8) -> bool {
        let agrees = |(h, s, c): (u8, u8, u16), lba: u32| {
            let geometry = Chs { cylinders: MAX_CYLINDERS, heads, sectors: per_track };
            match geometry.lba(c, h, s) {
                Some(there) if there == lba => true,
                _ => c == 1023 && u64::from(lba) >= 1023 * u64::from(geometry.per_cylinder()) && (h, s) != (0, 0),
            }
        };
        agrees(self.start, self.lba) && agrees(self.end, self.lba.saturating_add(self.sectors - 1))
    }
}

/// The geometry that the disk was partitioned with: that of a translation if one fits, else the one that the table
/// itself implies. None if the table implies none or contradicts itself.
pub fn by_partitions(table: &[Option<Partition>; 4], physical: Chs, sectors: u64) -> Option<(Chs, Translation)> {
    // Only an entry that ends below cylinder 1023 shows the number of heads.
    let bounded = table.iter().flatten().find(|entry| entry.end.2 < 1023)?;
    let fits = |heads, per_track| table.iter().flatten().all(|entry| entry.fits(heads, per_track));
    for translation in [Translation::Lba, Translation::Large, Translation::RevisedLarge, Translation::None] {
        let geometry = translate(physical, sectors, translation);
        if fits(geometry.heads, geometry.sectors) {
            return Some((geometry, translation));
        }
    }
    // A partition usually ends at the end of a cylinder.
    let (heads, per_track) = (bounded.end.0.checked_add(1)?, bounded.end.1);
    if per_track == 0 || !fits(heads, per_track) {
        return None;
    }
    let per_cylinder = u32::from(heads) * u32::from(per_track);
    let cylinders = (sectors.min(1024 * 255 * 63) as u32 / per_cylinder).clamp(1, MAX_CYLINDERS.into()) as u16;
    Some((Chs { cylinders, heads, sectors: per_track }, Translation::Lba))
}
