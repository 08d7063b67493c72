//! Floppy drive types, disk formats, and the diskette parameter table (IBM PS/2 and PC BIOS Interface Technical
//! Reference, "Interrupt 1Eh"; IBM AT Technical Reference, diskette BIOS).

/// Data rates, as in the controller's rate registers and in bits 7-6 of 40:90.
pub mod rate {
    #![allow(missing_docs)]
    pub const KBPS_500: u8 = 0;
    pub const KBPS_300: u8 = 1;
    pub const KBPS_250: u8 = 2;
    pub const MBPS_1: u8 = 3;
}

/// A disk format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Data rate.
    pub rate: u8,
    /// Number of cylinders; a drive can reach a few more.
    pub cylinders: u8,
    /// Sectors per track.
    pub sectors: u8,
    /// The drive steps twice per cylinder.
    pub double_step: bool,
    /// Bits 2-0 of 40:90 once the format has been detected.
    pub state: u8,
    /// Gap 3 lengths for read and write, and for format.
    pub gaps: [u8; 2],
}

const fn media(rate: u8, cylinders: u8, sectors: u8, double_step: bool, state: u8, gaps: [u8; 2]) -> Media {
    Media { rate, cylinders, sectors, double_step, state, gaps }
}

const IN_360: Media = media(rate::KBPS_250, 40, 9, false, 3, [0x2a, 0x50]);
const M360_IN_1200: Media = media(rate::KBPS_300, 40, 9, true, 4, [0x23, 0x50]);
const M1200: Media = media(rate::KBPS_500, 80, 15, false, 5, [0x1b, 0x54]);
const M720: Media = media(rate::KBPS_250, 80, 9, false, 7, [0x2a, 0x50]);
const M1440: Media = media(rate::KBPS_500, 80, 18, false, 7, [0x1b, 0x6c]);
const M2880: Media = media(rate::MBPS_1, 80, 36, false, 7, [0x1b, 0x54]);

/// The formats that a drive type (CMOS 10h) supports, its own format first.
pub fn formats(kind: u8) -> &'static [Media] {
    match kind {
        1 => &[IN_360],
        2 => &[M1200, M360_IN_1200],
        3 => &[M720],
        4 => &[M1440, M720],
        5 => &[M2880, M1440, M720],
        _ => &[],
    }
}

/// The model name of a drive type.
pub fn name(kind: u8) -> &'static str {
    match kind {
        1 => "Floppy 360 KB",
        2 => "Floppy 1.2 MB",
        3 => "Floppy 720 KB",
        4 => "Floppy 1.44 MB",
        _ => "Floppy 2.88 MB",
    }
}

/// The parameter table of a format: step rate and head unload time, head load time and DMA, motor-off delay in ticks,
/// size code (2 is 512 bytes), sectors per track, gap, data length, format gap and filler, head settle time in ms,
/// motor start time in 1/8 s.
pub const fn parameters(media: &Media) -> [u8; 11] {
    [0xaf, 0x02, 0x25, 0x02, media.sectors, media.gaps[0], 0xff, media.gaps[1], 0xf6, 0x0f, 0x08]
}
