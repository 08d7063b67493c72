//! Raw CD sectors of mode 1 (ECMA-130, 14 and annexes A and B): sync, header, user data, EDC, and P and Q parity of the
//! Reed-Solomon product code (ECC).

use super::super::regs::CD_SECTOR_SIZE;
use super::read::LEAD_IN;
use serde::{Deserialize, Serialize};

/// Bytes per raw sector.
const RAW: usize = 2352;
// Offsets in a raw sector.
const HEADER: usize = 12;
const USER: usize = 16;
const EDC: usize = 2064;
const P: usize = 2076;
const Q: usize = 2248;

/// The parts of a sector that a command requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorParts {
    /// Synchronization field, 12 bytes.
    pub sync: bool,
    /// Header: address and mode, 4 bytes.
    pub header: bool,
    /// User data, 2048 bytes.
    pub user: bool,
    /// EDC and ECC, 288 bytes.
    pub correction: bool,
}

impl SectorParts {
    /// User data alone.
    pub const USER: Self = Self { sync: false, header: false, user: true, correction: false };

    /// Bytes per sector.
    pub fn len(self) -> usize {
        self.ranges().map(|range| range.len()).sum()
    }

    fn ranges(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        [(self.sync, 0..HEADER), (self.header, HEADER..USER), (self.user, USER..EDC), (self.correction, EDC..RAW)]
            .into_iter()
            .filter_map(|(requested, range)| requested.then_some(range))
    }
}

/// The requested parts of the sectors from `lba` up with user data `data`.
pub fn compose(lba: u32, data: &[u8], parts: SectorParts) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / CD_SECTOR_SIZE as usize * parts.len());
    for (user, lba) in data.chunks_exact(CD_SECTOR_SIZE as usize).zip(lba..) {
        let raw = raw(lba, user);
        for range in parts.ranges() {
            out.extend_from_slice(&raw[range]);
        }
    }
    out
}

/// Converts an LBA to minute, second, frame.
pub fn msf(lba: u32) -> [u8; 3] {
    let frames = lba.saturating_add(LEAD_IN);
    [(frames / 75 / 60).min(0xff) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

fn bcd(n: u8) -> u8 {
    // Only discs up to 99 minutes have valid headers; a DVD has none.
    ((n / 10 % 10) << 4) | (n % 10)
}

fn raw(lba: u32, user: &[u8]) -> [u8; RAW] {
    let mut raw = [0; RAW];
    raw[1..11].fill(0xff);
    raw[HEADER..HEADER + 3].copy_from_slice(&msf(lba).map(bcd));
    raw[HEADER + 3] = 1;
    raw[USER..EDC].copy_from_slice(user);
    let edc = edc(&raw[..EDC]);
    raw[EDC..EDC + 4].copy_from_slice(&edc.to_le_bytes());
    // P: 86 columns of 24 bytes, over header to EDC. Q: 52 diagonals of 43 bytes, over header to P.
    parity(&mut raw, P, 86, 24, 2, 86);
    parity(&mut raw, Q, 52, 43, 86, 88);
    raw
}

/// The error detection code: CRC with x^32+x^31+x^16+x^15+x^4+x^3+x+1, least significant bit first.
fn edc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xd801_8001 } else { crc >> 1 })
    })
}

/// Multiplies by x in GF(2^8) modulo x^8+x^4+x^3+x^2+1.
fn double(n: u8) -> u8 {
    n << 1 ^ if n & 0x80 != 0 { 0x1d } else { 0 }
}

/// Divides by x+1 in the same field.
fn divide_by_3(n: u8) -> u8 {
    // Multiplies by F4h, the inverse of 3 (x+1), with Horner's rule.
    (0..8).rev().fold(0, |product, bit| double(product) ^ if 0xf4u8 >> bit & 1 == 1 { n } else { 0 })
}

/// Computes two parity bytes for each of `vectors` vectors of `len` bytes. Vector n starts at byte
/// `(n / 2) * start + n % 2` of the field and continues in steps of `step` bytes, modulo the field's length.
fn parity(raw: &mut [u8; RAW], at: usize, vectors: usize, len: usize, start: usize, step: usize) {
    let field = if at == P { 24 * 86 } else { 26 * 86 };
    for vector in 0..vectors {
        let mut index = (vector >> 1) * start + (vector & 1);
        let (mut a, mut b) = (0, 0);
        for _ in 0..len {
            let byte = raw[HEADER + index];
            index = (index + step) % field;
            a = double(a ^ byte);
            b ^= byte;
        }
        a = divide_by_3(double(a) ^ b);
        raw[at + vector] = a;
        raw[at + vectors + vector] = a ^ b;
    }
}
