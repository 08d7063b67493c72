//! Sectors of a CD as READ CD returns them (ECMA-130, clauses 14 to 22 and annexes A and B; CD-ROM XA; MMC-3, 6.19):
//! sync, header, sub-header, user data, EDC, P and Q parity of the Reed-Solomon product code (ECC), C2 error flags and
//! sub-channel data. What an image does not store is computed.

use super::sense::Sense;
use crate::disc::{FORM_2_DATA, LEAD_IN, MODE_2_DATA, RAW, RAW_WITH_SUBCHANNEL, Track, TrackForm, USER_DATA};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes per raw sector.
const RAW_LEN: usize = RAW as usize;
// Offsets in a raw sector.
const HEADER: usize = 12;
/// User data of mode 1 and of formless mode 2; sub-header of XA.
const AFTER_HEADER: usize = 16;
/// User data of XA.
const AFTER_SUBHEADER: usize = 24;
const P: usize = 2076;
const Q: usize = 2248;
/// Sub-mode byte of the sub-header: form 2; data.
const SUBMODE: usize = 18;
const SUBMODE_FORM_2: u8 = 0x20;
const SUBMODE_DATA: u8 = 0x08;
/// Bytes of sub-channel data per sector, raw and formatted as Q.
const SUBCHANNEL: usize = 96;
const Q_LEN: usize = 16;
/// The most bytes that a command returns per sector.
pub const MAX_LEN: usize = RAW_LEN + 296 + SUBCHANNEL;

/// The sectors that a command accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Any sector.
    Any,
    /// Mode 1 or form 1: the sectors of 2048 bytes of READ (10).
    Blocks,
    /// Audio.
    Audio,
    /// Mode 1.
    Mode1,
    /// Mode 2 without a form.
    Mode2,
    /// XA form 1.
    Form1,
    /// XA form 2.
    Form2,
}

/// What kind of sector it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    Mode1,
    Mode2,
    Form1,
    Form2,
}

/// C2 error flags, of which no bit is ever set: an image has no read errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum C2 {
    /// None.
    None,
    /// One bit per byte: 294 bytes.
    Flags,
    /// The flags, then their OR and a pad byte: 296 bytes.
    FlagsAndBlock,
}

/// Sub-channel data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubChannel {
    /// None.
    None,
    /// P to W as on the disc: 96 bytes, with P in bit 7.
    Raw,
    /// Q, formatted: 16 bytes.
    Q,
}

/// The parts of a sector that a command requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorParts {
    /// The sectors that it accepts.
    pub expected: Expected,
    /// Synchronization field, 12 bytes.
    pub sync: bool,
    /// Header: address and mode, 4 bytes.
    pub header: bool,
    /// Sub-header, 8 bytes.
    pub subheader: bool,
    /// User data.
    pub user: bool,
    /// EDC and ECC.
    pub correction: bool,
    /// C2 error flags.
    pub c2: C2,
    /// Sub-channel data.
    pub subchannel: SubChannel,
}

impl SectorParts {
    /// 2048 bytes of user data, as READ (10) returns them.
    pub const BLOCKS: Self = Self {
        expected: Expected::Blocks,
        sync: false,
        header: false,
        subheader: false,
        user: true,
        correction: false,
        c2: C2::None,
        subchannel: SubChannel::None,
    };

    /// Whether nothing is requested.
    pub fn is_nothing(self) -> bool {
        !self.main() && self.c2 == C2::None && self.subchannel == SubChannel::None
    }

    /// Whether it requests only the 2048 bytes of user data of a sector of mode 1 or form 1 from sectors of `form`.
    pub fn is_user_data(self, form: TrackForm) -> bool {
        let accepted = match form {
            TrackForm::Mode1 => matches!(self.expected, Expected::Any | Expected::Blocks | Expected::Mode1),
            TrackForm::Mode2Xa => matches!(self.expected, Expected::Any | Expected::Blocks | Expected::Form1),
            TrackForm::Audio | TrackForm::Mode2 => false,
        };
        accepted && Self { expected: Expected::Blocks, ..self } == Self::BLOCKS
    }

    /// Whether it requests a part of the main channel.
    fn main(self) -> bool {
        self.sync || self.header || self.subheader || self.user || self.correction
    }

    /// The requested part of the main channel, as a range of the raw sector.
    ///
    /// # Errors
    /// If the sector has no such part, or they are not contiguous, which MMC calls illegal.
    fn range(self, kind: Kind) -> Result<Range<usize>, Sense> {
        if !self.main() {
            return Ok(0..0);
        }
        let (subheader, user) = match kind {
            // Audio has no parts.
            Kind::Audio => return Ok(0..RAW_LEN),
            // Without a sub-header, its selection returns the bytes in its place, unless they are returned as user data.
            Kind::Mode1 => (if self.user { 16..16 } else { 16..24 }, 16..2064),
            Kind::Mode2 => (if self.user { 16..16 } else { 16..24 }, 16..2352),
            Kind::Form1 => (16..24, 24..2072),
            Kind::Form2 => (16..24, 24..2352),
        };
        let correction = user.end..RAW_LEN;
        let parts = [
            (self.sync, 0..HEADER),
            (self.header, HEADER..AFTER_HEADER),
            (self.subheader, subheader),
            (self.user, user),
            (self.correction, correction),
        ];
        let mut whole: Option<Range<usize>> = None;
        for (_, part) in parts.into_iter().filter(|(requested, part)| *requested && !part.is_empty()) {
            whole = match whole {
                None => Some(part),
                Some(before) if before.end == part.start => Some(before.start..part.end),
                Some(_) => return Err(Sense::INVALID_FIELD),
            };
        }
        whole.ok_or(Sense::INVALID_FIELD)
    }
}

/// The kind of a sector whose stored bytes are `stored`.
fn kind(track: &Track, stored: &[u8]) -> Kind {
    match (track.form, track.stride) {
        (TrackForm::Audio, _) => Kind::Audio,
        (TrackForm::Mode1, _) => Kind::Mode1,
        (TrackForm::Mode2, _) => Kind::Mode2,
        (TrackForm::Mode2Xa, USER_DATA) => Kind::Form1,
        (TrackForm::Mode2Xa, FORM_2_DATA) => Kind::Form2,
        (TrackForm::Mode2Xa, stride) => {
            let at = if stride == MODE_2_DATA { SUBMODE - AFTER_HEADER } else { SUBMODE };
            match stored.get(at) {
                Some(submode) if submode & SUBMODE_FORM_2 != 0 => Kind::Form2,
                _ => Kind::Form1,
            }
        }
    }
}

/// The range of a raw sector that an image with this stride stores.
fn stored_range(kind: Kind, stride: u32) -> Range<usize> {
    let start = match (kind, stride) {
        (Kind::Form1 | Kind::Form2, USER_DATA | FORM_2_DATA) => AFTER_SUBHEADER,
        (_, USER_DATA | MODE_2_DATA) => AFTER_HEADER,
        _ => 0,
    };
    start..start + stride.min(RAW) as usize
}

/// The sector at `lba` of `track`; `stored` are its bytes in the image, none if the image does not store the sector. Appends
/// what `parts` requests to `out`.
///
/// # Errors
/// If the command does not accept sectors of this kind, or no contiguous part is requested.
pub fn append(
    out: &mut Vec<u8>,
    track: &Track,
    lba: u32,
    stored: Option<&[u8]>,
    parts: SectorParts,
) -> Result<(), Sense> {
    const ZEROS: [u8; RAW_LEN] = [0; RAW_LEN];
    // A sector of a pre-gap that the image does not store has no data.
    let empty = Track { stride: bare_stride(track.form), ..Track::new(track.form, 0, 0) };
    let (layout, bytes) = match stored {
        Some(bytes) => (track, bytes),
        None => (&empty, &ZEROS[..empty.stride as usize]),
    };
    let kind = kind(layout, bytes);
    let accepted = match parts.expected {
        Expected::Any => true,
        Expected::Blocks => matches!(kind, Kind::Mode1 | Kind::Form1),
        Expected::Audio => kind == Kind::Audio,
        Expected::Mode1 => kind == Kind::Mode1,
        Expected::Mode2 => kind == Kind::Mode2,
        Expected::Form1 => kind == Kind::Form1,
        Expected::Form2 => kind == Kind::Form2,
    };
    if !accepted {
        return Err(Sense::ILLEGAL_MODE);
    }
    let range = parts.range(kind)?;
    let held = stored_range(kind, layout.stride);
    if range.start >= held.start && range.end <= held.end {
        let at = out.len();
        out.extend_from_slice(bytes.get(range.start - held.start..range.end - held.start).unwrap_or_default());
        if kind == Kind::Audio && track.big_endian {
            out[at..].as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse());
        }
    } else if !range.is_empty() {
        out.extend_from_slice(&compose(lba, kind, held, bytes)[range]);
    }
    match parts.c2 {
        C2::None => {}
        C2::Flags => out.extend([0; 294]),
        C2::FlagsAndBlock => out.extend([0; 296]),
    }
    match parts.subchannel {
        SubChannel::None => {}
        SubChannel::Raw if layout.stride == RAW_WITH_SUBCHANNEL => {
            out.extend_from_slice(bytes.get(RAW_LEN..RAW_LEN + SUBCHANNEL).unwrap_or(&ZEROS[..SUBCHANNEL]));
        }
        SubChannel::Raw => out.extend(raw_subchannel(track, lba)),
        SubChannel::Q => {
            let mut formatted = [0; Q_LEN];
            formatted[..12].copy_from_slice(&q_frame(track, lba));
            formatted[15] = u8::from(track.index(lba) == 0) << 7;
            out.extend(formatted);
        }
    }
    Ok(())
}

/// The stride of an image that stores the form's user data alone.
fn bare_stride(form: TrackForm) -> u32 {
    match form {
        TrackForm::Audio => RAW,
        TrackForm::Mode1 | TrackForm::Mode2Xa => USER_DATA,
        TrackForm::Mode2 => MODE_2_DATA,
    }
}

/// Converts an LBA to minute, second, frame.
pub fn msf(lba: u32) -> [u8; 3] {
    frames_to_msf(lba.saturating_add(LEAD_IN))
}

/// Converts a number of frames to minute, second, frame.
pub fn frames_to_msf(frames: u32) -> [u8; 3] {
    [(frames / 75 / 60).min(0xff) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

fn bcd(n: u8) -> u8 {
    // Only discs up to 99 minutes have valid headers; a DVD has none.
    ((n / 10 % 10) << 4) | (n % 10)
}

/// The whole raw sector of which `stored` is the part `held`.
fn compose(lba: u32, kind: Kind, held: Range<usize>, stored: &[u8]) -> [u8; RAW_LEN] {
    let mut raw = [0; RAW_LEN];
    raw[1..11].fill(0xff);
    raw[HEADER..HEADER + 3].copy_from_slice(&msf(lba).map(bcd));
    raw[HEADER + 3] = if kind == Kind::Mode1 { 1 } else { 2 };
    if held.start == AFTER_SUBHEADER {
        // File 0, channel 0, sub-mode, coding information 0; twice.
        let submode = if kind == Kind::Form2 { SUBMODE_FORM_2 } else { SUBMODE_DATA };
        (raw[SUBMODE], raw[SUBMODE + 4]) = (submode, submode);
    }
    let len = held.len().min(stored.len());
    raw[held.start..held.start + len].copy_from_slice(&stored[..len]);
    // The image stores all of the others' bytes after the header.
    match (kind, held.start) {
        (Kind::Mode1, AFTER_HEADER) => {
            put_edc(&mut raw, 0..2064);
            parity(&mut raw);
        }
        (Kind::Form1, AFTER_SUBHEADER) => {
            put_edc(&mut raw, AFTER_HEADER..2072);
            // The parity of form 1 is computed with a header of zeros.
            let header: [u8; 4] = std::array::from_fn(|n| raw[HEADER + n]);
            raw[HEADER..AFTER_HEADER].fill(0);
            parity(&mut raw);
            raw[HEADER..AFTER_HEADER].copy_from_slice(&header);
        }
        (Kind::Form2, AFTER_SUBHEADER) => put_edc(&mut raw, AFTER_HEADER..2348),
        _ => {}
    }
    raw
}

/// Puts the error detection code of `range` after it.
fn put_edc(raw: &mut [u8; RAW_LEN], range: Range<usize>) {
    let end = range.end;
    let edc = edc(&raw[range]);
    raw[end..end + 4].copy_from_slice(&edc.to_le_bytes());
}

/// The error detection code: CRC with x^32+x^31+x^16+x^15+x^4+x^3+x+1, least significant bit first.
fn edc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut crc, mut bit) = (n as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xd801_8001 } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
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

/// Computes P and Q parity of the bytes from the header to the EDC.
fn parity(raw: &mut [u8; RAW_LEN]) {
    // P: 86 columns of 24 bytes, over header to EDC. Q: 52 diagonals of 43 bytes, over header to P.
    parity_of(raw, P, 86, 24, 2, 86);
    parity_of(raw, Q, 52, 43, 86, 88);
}

/// Computes two parity bytes for each of `vectors` vectors of `len` bytes. Vector n starts at byte
/// `(n / 2) * start + n % 2` of the field and continues in steps of `step` bytes, modulo the field's length.
fn parity_of(raw: &mut [u8; RAW_LEN], at: usize, vectors: usize, len: usize, start: usize, step: usize) {
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

/// The Q sub-channel at `lba`, ADR 1 (ECMA-130, 22.3.3): control and ADR, track, index, time in the track and on the disc
/// in BCD, CRC.
fn q_frame(track: &Track, lba: u32) -> [u8; 12] {
    let index = track.index(lba);
    let [m, s, f] = frames_to_msf(lba.abs_diff(track.start)).map(bcd);
    let [am, as_, af] = msf(lba).map(bcd);
    let mut q = [track.control() << 4 | 1, bcd(track.number), bcd(index), m, s, f, 0, am, as_, af, 0, 0];
    let crc = q[..10].iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    });
    q[10..].copy_from_slice(&(!crc).to_be_bytes());
    q
}

/// Sub-channels P to W at `lba`, of which only P (pause) and Q are used.
fn raw_subchannel(track: &Track, lba: u32) -> [u8; SUBCHANNEL] {
    let q = q_frame(track, lba);
    let p = u8::from(track.index(lba) == 0) << 7;
    std::array::from_fn(|n| p | (q[n / 8] >> (7 - n % 8) & 1) << 6)
}
