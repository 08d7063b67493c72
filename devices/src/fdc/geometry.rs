//! Floppy formats: geometry of a raw image from its size, data rates, drive types, and the sectors of a track.
//!
//! A raw image holds the sectors of cylinder 0 head 0, cylinder 0 head 1, cylinder 1 head 0 and so on. Sizes and names are
//! those of the PC's formats (IBM PC, XT, AT and PS/2 technical references); DMF has 21 sectors per track, and XDF has
//! sectors of several sizes on each track (M. Necasek, "The XDF Diskette Format", os2museum.com; fdutils manual,
//! "Extended formats").

use serde::{Deserialize, Serialize};

/// Bytes in a sector of every format but XDF.
pub const SECTOR: u32 = 512;
/// The size code (N) of [`SECTOR`].
const N_512: u8 = 2;
/// Bytes of an XDF image: 80 cylinders of 2 x 23 x 512 bytes.
const XDF_SIZE: u64 = 80 * XDF_CYLINDER as u64;
const XDF_CYLINDER: u32 = 2 * 23 * SECTOR;

/// The sizes that users know, for error messages.
pub const SIZES: &str = "160K, 180K, 320K, 360K, 720K, 1200K, 1440K, 1680K (DMF), 1840K (XDF), 2880K, or these with 81 to \
                         84 tracks or more sectors per track";

/// Data rates as in CCR and DSR bits 1:0 (82077AA data sheet, "Data rate select").
pub mod rate {
    /// 500 kbit/s.
    pub const KBPS_500: u8 = 0;
    /// 300 kbit/s.
    pub const KBPS_300: u8 = 1;
    /// 250 kbit/s.
    pub const KBPS_250: u8 = 2;
    /// 1 Mbit/s.
    pub const MBPS_1: u8 = 3;

    /// The rate in kbit/s.
    pub const fn kbps(rate: u8) -> u64 {
        match rate & 3 {
            KBPS_500 => 500,
            KBPS_300 => 300,
            KBPS_250 => 250,
            _ => 1000,
        }
    }
}

/// Type of a floppy drive, numbered as in CMOS byte 10h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum DriveType {
    /// 5.25", 360 KB: 40 tracks, 300 rpm, no change line.
    D360 = 1,
    /// 5.25", 1.2 MB: 80 tracks, 360 rpm. It reads 40-track disks by double steps.
    D1200 = 2,
    /// 3.5", 720 KB.
    D720 = 3,
    /// 3.5", 1.44 MB.
    D1440 = 4,
    /// 3.5", 2.88 MB.
    D2880 = 5,
}

impl DriveType {
    /// All types with the names that options use.
    pub const NAMES: [(&'static str, Self); 5] =
        [("360", Self::D360), ("1.2", Self::D1200), ("720", Self::D720), ("1.44", Self::D1440), ("2.88", Self::D2880)];

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::D360 => "360 KB (5.25\")",
            Self::D1200 => "1.2 MB (5.25\")",
            Self::D720 => "720 KB (3.5\")",
            Self::D1440 => "1.44 MB (3.5\")",
            Self::D2880 => "2.88 MB (3.5\")",
        }
    }

    /// The innermost cylinder that the heads reach: a few more than the formats use.
    pub const fn last_cylinder(self) -> u8 {
        if matches!(self, Self::D360) { 42 } else { 84 }
    }

    /// Whether the drive has a disk change line. On a 360 KB drive the pin is not connected.
    pub const fn has_change_line(self) -> bool {
        !matches!(self, Self::D360)
    }

    /// Nanoseconds of one revolution.
    pub const fn revolution(self) -> u64 {
        if matches!(self, Self::D1200) { 166_666_667 } else { 200_000_000 }
    }

    /// Whether a disk of this format fits the drive and can be read by it.
    pub fn accepts(self, format: &Format) -> bool {
        let forty = format.is_forty_track();
        let density = format.density();
        match self {
            Self::D360 => forty,
            Self::D1200 => density != Density::Extra && format.sectors <= 17,
            Self::D720 => !forty && density == Density::Double,
            Self::D1440 => !forty && density != Density::Extra,
            Self::D2880 => !forty,
        }
    }

    /// The data rate at which the drive reads a disk of this format.
    pub fn rate(self, format: &Format) -> u8 {
        match format.density() {
            // The 1.2 MB drive always turns at 360 rpm, so that a double density disk passes at 300 kbit/s.
            Density::Double if self == Self::D1200 => rate::KBPS_300,
            Density::Double => rate::KBPS_250,
            Density::High => rate::KBPS_500,
            Density::Extra => rate::MBPS_1,
        }
    }

    /// Whether the drive steps twice for each track of the disk.
    pub fn double_steps(self, format: &Format) -> bool {
        self != Self::D360 && format.is_forty_track()
    }

    /// The drive that a PC would have for a disk of this size, or `None` if no format has the size.
    pub fn for_size(size: u64) -> Option<Self> {
        let format = formats(size).next()?;
        Some(match format.density() {
            _ if format.is_forty_track() => Self::D1200,
            Density::High if format.sectors == 15 => Self::D1200,
            Density::Extra => Self::D2880,
            _ => Self::D1440,
        })
    }

    /// Whether a disk of this size can be used in this drive.
    pub fn accepts_size(self, size: u64) -> bool {
        formats(size).any(|format| self.accepts(&format))
    }
}

/// Recording density.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// 250 kbit/s at 300 rpm.
    Double,
    /// 500 kbit/s.
    High,
    /// 1 Mbit/s.
    Extra,
}

/// A disk's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Cylinders.
    pub cylinders: u8,
    /// Heads, 1 or 2.
    pub heads: u8,
    /// Sectors of 512 bytes per track, or as many bytes.
    pub sectors: u8,
    /// The tracks are XDF's.
    pub xdf: bool,
}

/// A sector on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sector {
    /// Sector number (R) of its ID.
    pub r: u8,
    /// Size code (N) of its ID: 128 << N bytes.
    pub n: u8,
    /// Byte offset in the image.
    pub offset: u64,
}

impl Sector {
    /// Bytes.
    pub fn bytes(&self) -> usize {
        128 << self.n.min(7)
    }
}

/// The formats that a raw image of `size` bytes can have, the most likely first.
pub fn formats(size: u64) -> impl Iterator<Item = Format> {
    /// Cylinders, heads, sectors per track. 40-track double-sided formats come before single-sided 80-track ones of the
    /// same size, and 80 tracks before 81 to 84.
    const FAMILIES: [([u8; 2], u8, [u8; 2]); 6] = [
        ([40, 42], 2, [8, 10]),
        ([40, 42], 1, [8, 10]),
        ([80, 80], 2, [8, 24]),
        ([80, 84], 2, [36, 48]),
        ([81, 84], 2, [8, 24]),
        ([80, 84], 1, [8, 10]),
    ];
    let xdf = (size == XDF_SIZE).then_some(Format { cylinders: 80, heads: 2, sectors: 23, xdf: true });
    let sectors = if size.is_multiple_of(SECTOR.into()) { size / u64::from(SECTOR) } else { 0 };
    let plain = FAMILIES.into_iter().flat_map(move |([first, last], heads, [fewest, most])| {
        (first..=last).filter_map(move |cylinders| {
            let tracks = u64::from(cylinders) * u64::from(heads);
            let fits = sectors > 0 && sectors.is_multiple_of(tracks);
            let per_track = u8::try_from(sectors / tracks).ok()?;
            (fits && (fewest..=most).contains(&per_track)).then_some(Format {
                cylinders,
                heads,
                sectors: per_track,
                xdf: false,
            })
        })
    });
    // A track of 23 sectors of 512 bytes does not fit on a disk: an image of that size is XDF's.
    let is_xdf = xdf.is_some();
    xdf.into_iter().chain(plain.filter(move |_| !is_xdf))
}

/// Chooses among the formats of an image's size that the drive accepts by the BIOS parameter block in its boot sector
/// (sectors per track at 18h, heads at 1Ah), else the most likely.
pub fn choose(size: u64, drive: DriveType, boot: &[u8]) -> Option<Format> {
    let word = |at: usize| boot.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let stated = (word(0x0b) == SECTOR as u16).then(|| (word(0x18), word(0x1a)));
    let fitting = || formats(size).filter(|format| drive.accepts(format));
    let by_bpb = fitting().find(|format| stated == Some((format.sectors.into(), format.heads.into())));
    by_bpb.or_else(|| fitting().next())
}

/// A disk's format if its size alone tells it.
pub fn unambiguous(size: u64, drive: DriveType) -> Option<Format> {
    let mut fitting = formats(size).filter(|format| drive.accepts(format));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

/// Track 0 of an XDF disk, in the order of the sectors on the track, and where the image holds R = 129 and up.
const XDF_TRACK_0: [[u8; 19]; 2] = [
    [1, 138, 129, 139, 130, 2, 131, 3, 132, 4, 133, 5, 134, 6, 135, 7, 136, 8, 137],
    [144, 135, 145, 136, 146, 137, 147, 138, 129, 139, 130, 140, 131, 141, 132, 142, 133, 143, 134],
];
/// The other tracks of an XDF disk: size code and offset in the cylinder, in the order of the sectors on the track. R is
/// 128 + N.
const XDF_TRACKS: [[(u8, u32); 4]; 2] =
    [[(3, 0), (2, 11264), (4, 1024), (6, 12288)], [(4, 20480), (2, 11776), (3, 22528), (6, 3072)]];

impl Format {
    fn is_forty_track(&self) -> bool {
        self.cylinders <= 42
    }

    /// Recording density: what a track with this number of sectors needs.
    pub fn density(&self) -> Density {
        match self.sectors {
            0..=12 => Density::Double,
            13..=24 => Density::High,
            _ => Density::Extra,
        }
    }

    /// Sectors on a track.
    pub fn sectors_on(&self, cylinder: u8) -> usize {
        match (self.xdf, cylinder) {
            (false, _) => self.sectors.into(),
            (true, 0) => XDF_TRACK_0[0].len(),
            (true, _) => XDF_TRACKS[0].len(),
        }
    }

    /// The sector at a position of a track, counted from the index hole; `None` past the track's end or the disk's.
    pub fn sector_at(&self, cylinder: u8, head: u8, position: usize) -> Option<Sector> {
        if cylinder >= self.cylinders || head >= self.heads || position >= self.sectors_on(cylinder) {
            return None;
        }
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        if !self.xdf {
            let offset = (track * u64::from(self.sectors) + position as u64) * u64::from(SECTOR);
            return Some(Sector { r: position as u8 + 1, n: N_512, offset });
        }
        let base = u64::from(cylinder) * u64::from(XDF_CYLINDER);
        if cylinder > 0 {
            let (n, offset) = XDF_TRACKS[usize::from(head)][position];
            return Some(Sector { r: 128 + n, n, offset: base + u64::from(offset) });
        }
        let r = XDF_TRACK_0[usize::from(head)][position];
        let block = match (head, r) {
            (0, 1..=8) => r + 11,
            (0, _) => r - 129,
            (_, 129) => 11,
            (_, 130..=143) => r - 130 + 23,
            _ => r - 130 + 28,
        };
        Some(Sector { r, n: N_512, offset: u64::from(block) * u64::from(SECTOR) })
    }

    /// The sector with the number `r` on a track, and its position.
    pub fn find(&self, cylinder: u8, head: u8, r: u8) -> Option<(usize, Sector)> {
        if !self.xdf {
            let position = usize::from(r).checked_sub(1)?;
            return Some((position, self.sector_at(cylinder, head, position)?));
        }
        (0..self.sectors_on(cylinder))
            .filter_map(|position| Some((position, self.sector_at(cylinder, head, position)?)))
            .find(|(_, sector)| sector.r == r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_size_has_its_geometry_and_drive() {
        use DriveType::*;
        for (kib, cylinders, heads, sectors, drive) in [
            (160, 40, 1, 8, D1200),
            (180, 40, 1, 9, D1200),
            (320, 40, 2, 8, D1200),
            (360, 40, 2, 9, D1200),
            (640, 80, 2, 8, D1440),
            (720, 80, 2, 9, D1440),
            (800, 80, 2, 10, D1440),
            (1200, 80, 2, 15, D1200),
            (1440, 80, 2, 18, D1440),
            (1476, 82, 2, 18, D1440),
            (1680, 80, 2, 21, D1440),
            (1722, 82, 2, 21, D1440),
            (1743, 83, 2, 21, D1440),
            (1760, 80, 2, 22, D1440),
            (1840, 80, 2, 23, D1440),
            (1920, 80, 2, 24, D1440),
            (2880, 80, 2, 36, D2880),
        ] {
            let format = formats(kib * 1024).next().unwrap_or_else(|| panic!("{kib} KiB has no format"));
            assert_eq!((format.cylinders, format.heads, format.sectors), (cylinders, heads, sectors), "{kib} KiB");
            assert_eq!(format.xdf, kib == 1840);
            assert_eq!(DriveType::for_size(kib * 1024), Some(drive), "{kib} KiB");
            assert!(drive.accepts_size(kib * 1024), "{kib} KiB");
        }
        for size in [0, 1, 511, 512, 1_474_559, 1_474_561, 1_000_448, 10 << 20, u64::MAX] {
            assert_eq!(formats(size).next(), None, "{size}");
            assert_eq!(DriveType::for_size(size), None);
        }
    }

    #[test]
    fn a_drive_refuses_disks_that_do_not_fit_it() {
        use DriveType::*;
        for (drive, accepted) in [
            (D360, &[160, 180, 320, 360][..]),
            (D1200, &[160, 180, 320, 360, 720, 1200]),
            (D720, &[360, 720]),
            (D1440, &[360, 720, 1200, 1440, 1680, 1840]),
            (D2880, &[360, 720, 1200, 1440, 1680, 1840, 2880]),
        ] {
            for kib in [160, 180, 320, 360, 720, 1200, 1440, 1680, 1840, 2880] {
                // 320 and 360 KiB are also single-sided 80-track formats of 3.5" disks.
                let expected = accepted.contains(&kib) || kib == 320 && drive as u8 >= 3;
                assert_eq!(drive.accepts_size(kib * 1024), expected, "{kib} KiB in {drive:?}");
            }
        }
    }

    #[test]
    fn the_boot_sector_decides_only_where_the_size_does_not() {
        let size = 360 * 1024;
        let mut boot = vec![0; 512];
        boot[0x0b..0x0d].copy_from_slice(&512u16.to_le_bytes());
        boot[0x18] = 9;
        boot[0x1a] = 1;
        assert_eq!(unambiguous(size, DriveType::D1200), None);
        assert_eq!(choose(size, DriveType::D1200, &boot).unwrap().cylinders, 80);
        boot[0x1a] = 2;
        assert_eq!(choose(size, DriveType::D1200, &boot).unwrap().cylinders, 40);
        assert_eq!(choose(size, DriveType::D1200, &[]).unwrap().cylinders, 40);
        assert_eq!(unambiguous(size, DriveType::D360).unwrap().cylinders, 40);
        assert_eq!(unambiguous(size, DriveType::D1440).unwrap().cylinders, 80);
        assert!(unambiguous(1440 * 1024, DriveType::D1440).is_some());
        // A boot sector that fits no format of the size is ignored.
        boot[0x18] = 63;
        assert_eq!(choose(1440 * 1024, DriveType::D1440, &boot).unwrap().sectors, 18);
    }

    #[test]
    fn the_sectors_of_a_disk_cover_its_image_without_overlap() {
        for kib in [160u64, 360, 720, 1440, 1680, 2880, 1840] {
            let format = formats(kib * 1024).next().unwrap();
            let mut covered = vec![false; (kib * 2) as usize];
            for cylinder in 0..format.cylinders {
                for head in 0..format.heads {
                    for position in 0..format.sectors_on(cylinder) {
                        let sector = format.sector_at(cylinder, head, position).unwrap();
                        assert_eq!(format.find(cylinder, head, sector.r), Some((position, sector)));
                        let first = (sector.offset / 512) as usize;
                        for block in &mut covered[first..first + sector.bytes() / 512] {
                            assert!(!std::mem::replace(block, true), "{kib} KiB: an overlap at {sector:?}");
                        }
                    }
                }
            }
            // Blocks 20 to 22 and 37 to 41 of an XDF image are not on the disk.
            let missing: Vec<_> = (0..covered.len()).filter(|&n| !covered[n]).collect();
            let expected: Vec<_> = if format.xdf { (20..23).chain(37..42).collect() } else { Vec::new() };
            assert_eq!(missing, expected, "{kib} KiB");
            assert_eq!(format.sector_at(format.cylinders, 0, 0), None);
            assert_eq!(format.find(0, 0, 0), None);
            assert_eq!(format.find(0, 0, 255), None);
            assert_eq!(format.find(1, format.heads, 1), None);
        }
    }
}
