//! Layout of a compact disc or DVD: sessions, tracks, indexes, and where an image stores each sector (ECMA-130; Red,
//! Yellow and Orange Book; MMC-3, chapter 4.2).
//!
//! Addresses are LBAs: LBA 0 is 00:02:00, 150 frames after the start of the program area.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of user data in a sector of mode 1 or of XA form 1.
pub const USER_DATA: u32 = 2048;
/// Bytes of user data in a sector of XA form 2.
pub const FORM_2_DATA: u32 = 2324;
/// Bytes of a sector of mode 2 without synchronization field and header.
pub const MODE_2_DATA: u32 = 2336;
/// Bytes of a raw sector, or of a sector of audio.
pub const RAW: u32 = 2352;
/// Bytes of a raw sector with its sub-channels P to W, 96 bytes with one bit of each sub-channel per byte.
pub const RAW_WITH_SUBCHANNEL: u32 = RAW + 96;
/// Frames between 00:00:00 and LBA 0: 2 seconds.
pub const LEAD_IN: u32 = 150;
/// The highest LBA that a lead-out of a CD can have: 99:59:74.
pub const CD_LBA_MAX: u32 = 100 * 60 * 75 - 1 - LEAD_IN;
/// Tracks and sessions have numbers from 1 to this.
pub const TRACKS_MAX: usize = 99;

/// The form of a track's sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackForm {
    /// 588 stereo samples of 16 bits.
    Audio,
    /// 2048 bytes of user data with error correction.
    Mode1,
    /// 2336 bytes of user data.
    Mode2,
    /// CD-ROM XA: a sub-header, then form 1 (2048 bytes with error correction) or form 2 (2324 bytes). Each sector's
    /// sub-header selects the form. Where the image stores no sub-header, a stride of 2048 means form 1 and one of 2324
    /// means form 2.
    Mode2Xa,
}

impl TrackForm {
    /// Whether the image can store this form with `stride` bytes per sector.
    pub fn allows(self, stride: u32) -> bool {
        match self {
            Self::Audio => matches!(stride, RAW | RAW_WITH_SUBCHANNEL),
            Self::Mode1 => matches!(stride, USER_DATA | RAW | RAW_WITH_SUBCHANNEL),
            Self::Mode2 => matches!(stride, MODE_2_DATA | RAW | RAW_WITH_SUBCHANNEL),
            Self::Mode2Xa => {
                matches!(stride, USER_DATA | FORM_2_DATA | MODE_2_DATA | RAW | RAW_WITH_SUBCHANNEL)
            }
        }
    }
}

/// A track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// 1 to 99.
    pub number: u8,
    /// The session, from 1.
    pub session: u8,
    /// The form of its sectors.
    pub form: TrackForm,
    /// Audio with pre-emphasis.
    pub pre_emphasis: bool,
    /// Digital copies are permitted.
    pub copy_permitted: bool,
    /// Audio of four channels.
    pub four_channel: bool,
    /// LBA of index 1.
    pub start: u32,
    /// Sectors from index 1 to the end.
    pub len: u32,
    /// Sectors of index 0, before `start`. The 150 sectors before LBA 0 do not count.
    pub pregap: u32,
    /// Of the pre-gap, the last sectors that the image stores, directly before `offset`. The others read as zeros.
    pub stored_pregap: u32,
    /// Indexes 2 to 99: sectors after `start`, ascending.
    pub indexes: Vec<u32>,
    /// International standard recording code: 12 ASCII characters.
    pub isrc: Option<[u8; 12]>,
    /// Byte offset in the image of the sector at `start`.
    pub offset: u64,
    /// Bytes from one sector to the next in the image: 2048, 2324, 2336, 2352 or 2448.
    pub stride: u32,
    /// Audio samples are stored with the high byte first.
    pub big_endian: bool,
}

impl Track {
    /// A track of `len` sectors with number and session 1 at LBA 0, without gaps and flags, stored from the image's
    /// first byte.
    pub fn new(form: TrackForm, stride: u32, len: u32) -> Self {
        Self {
            number: 1,
            session: 1,
            form,
            pre_emphasis: false,
            copy_permitted: false,
            four_channel: false,
            start: 0,
            len,
            pregap: 0,
            stored_pregap: 0,
            indexes: Vec::new(),
            isrc: None,
            offset: 0,
            stride,
            big_endian: false,
        }
    }

    /// Whether it is an audio track.
    pub fn is_audio(&self) -> bool {
        self.form == TrackForm::Audio
    }

    /// The LBA after its last sector.
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.len)
    }

    /// The LBA of its first sector, with the pre-gap.
    pub fn first(&self) -> u32 {
        self.start.saturating_sub(self.pregap)
    }

    /// Control bits of the Q sub-channel: four channels 8, data 4, copy permitted 2, pre-emphasis 1.
    pub fn control(&self) -> u8 {
        u8::from(self.four_channel) << 3
            | u8::from(!self.is_audio()) << 2
            | u8::from(self.copy_permitted) << 1
            | u8::from(self.pre_emphasis)
    }

    /// The index at `lba`, which lies in the track.
    pub fn index(&self, lba: u32) -> u8 {
        match lba.checked_sub(self.start) {
            None => 0,
            Some(at) => 1 + self.indexes.iter().take(98).filter(|&&index| at >= index).count() as u8,
        }
    }

    /// Byte offset in the image of the sector at `lba`; none if the image does not store it.
    pub fn stored_at(&self, lba: u32) -> Option<u64> {
        if lba >= self.end() {
            return None;
        }
        let sectors = i64::from(lba) - i64::from(self.start);
        if sectors < -i64::from(self.stored_pregap) {
            return None;
        }
        self.offset.checked_add_signed(sectors * i64::from(self.stride))
    }
}

/// A session: tracks between a lead-in and a lead-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// LBA of the lead-out.
    pub lead_out: u32,
}

/// A disc.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disc {
    /// 1 to 99 tracks, by ascending number and address.
    pub tracks: Vec<Track>,
    /// The sessions: the first has number 1.
    pub sessions: Vec<Session>,
    /// Media catalogue number: 13 decimal digits in ASCII.
    pub catalogue: Option<[u8; 13]>,
}

/// A layout that no disc has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DiscError {
    /// No track, or more than 99.
    #[error("a disc has 1 to 99 tracks")]
    TrackCount,
    /// Numbers do not ascend by 1 within 1 to 99.
    #[error("track {0}: track numbers must ascend by 1 from 1 to 99")]
    Number(u8),
    /// Sessions do not ascend by 1 from 1, or a session has no track.
    #[error("track {0}: session numbers must ascend by 1 from 1, and each session needs a track")]
    Session(u8),
    /// The sector size does not fit the form.
    #[error("track {number}: {stride} bytes per sector do not fit the track's mode")]
    Stride {
        /// The track.
        number: u8,
        /// The stride.
        stride: u32,
    },
    /// The track begins before the end of the one before, or ends behind its session's lead-out.
    #[error("track {0}: overlaps the track before it or the lead-out")]
    Overlap(u8),
    /// The pre-gap or the indexes lie outside the track.
    #[error("track {0}: its indexes must ascend and lie in the track")]
    Index(u8),
    /// The track's bytes lie outside the image.
    #[error("track {0}: lies past the end of the image")]
    Bytes(u8),
    /// ISRC or catalogue number with other characters than the standard has.
    #[error("an ISRC has 12 letters and digits, a catalogue number 13 digits")]
    Code,
    /// More than 99 minutes 59 seconds on a disc that is no plain data disc.
    #[error("a CD holds less than 100 minutes")]
    Length,
}

impl Disc {
    /// A disc of one track of mode 1 whose user data are an image of `size` bytes (an ISO image). Bytes after the last
    /// whole sector do not count.
    pub fn single(size: u64) -> Self {
        let len = u32::try_from(size / u64::from(USER_DATA)).unwrap_or(u32::MAX);
        Self {
            tracks: vec![Track::new(TrackForm::Mode1, USER_DATA, len)],
            sessions: vec![Session { lead_out: len }],
            catalogue: None,
        }
    }

    /// Sectors up to the lead-out of the last session.
    pub fn sectors(&self) -> u32 {
        self.sessions.last().map_or(0, |session| session.lead_out)
    }

    /// The track whose sectors, with the pre-gap, contain `lba`.
    pub fn track_at(&self, lba: u32) -> Option<&Track> {
        let after = self.tracks.partition_point(|track| track.first() <= lba);
        self.tracks.get(after.checked_sub(1)?).filter(|track| lba < track.end())
    }

    /// The track with this number.
    pub fn track(&self, number: u8) -> Option<&Track> {
        self.tracks.iter().find(|track| track.number == number)
    }

    /// The tracks of a session, which has a number from 1.
    pub fn session_tracks(&self, session: u8) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(move |track| track.session == session)
    }

    /// Checks that a disc can have this layout.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), DiscError> {
        if self.tracks.is_empty() || self.tracks.len() > TRACKS_MAX {
            return Err(DiscError::TrackCount);
        }
        let (mut number, mut session, mut free) = (None, 0, 0);
        for track in &self.tracks {
            let this = track.number;
            if this == 0 || usize::from(this) > TRACKS_MAX || number.is_some_and(|before| before + 1 != this) {
                return Err(DiscError::Number(this));
            }
            number = Some(this);
            if track.session != session {
                if track.session != session + 1 {
                    return Err(DiscError::Session(this));
                }
                if let Some(before) = usize::from(session).checked_sub(1) {
                    free = self.sessions.get(before).map_or(free, |session| session.lead_out);
                }
                session += 1;
            }
            let lead_out = self.sessions.get(usize::from(session) - 1).ok_or(DiscError::Session(this))?.lead_out;
            if !track.form.allows(track.stride) {
                return Err(DiscError::Stride { number: this, stride: track.stride });
            }
            let first = track.start.checked_sub(track.pregap).ok_or(DiscError::Index(this))?;
            let end = track.start.checked_add(track.len).ok_or(DiscError::Overlap(this))?;
            if first < free || end > lead_out {
                return Err(DiscError::Overlap(this));
            }
            free = end;
            let ascending = track.indexes.windows(2).all(|pair| pair[0] < pair[1]);
            let inside = track.indexes.iter().all(|&index| index > 0 && index < track.len);
            if !ascending || !inside || track.indexes.len() > 98 || track.stored_pregap > track.pregap {
                return Err(DiscError::Index(this));
            }
            let stride = u64::from(track.stride);
            let last = (u64::from(track.len) * stride).checked_add(track.offset);
            if track.offset < u64::from(track.stored_pregap) * stride || last.is_none_or(|end| end > i64::MAX as u64) {
                return Err(DiscError::Bytes(this));
            }
            if track.isrc.is_some_and(|isrc| !isrc.iter().all(u8::is_ascii_alphanumeric)) {
                return Err(DiscError::Code);
            }
        }
        if usize::from(session) != self.sessions.len() {
            return Err(DiscError::Session(number.unwrap_or(1)));
        }
        if self.catalogue.is_some_and(|digits| !digits.iter().all(u8::is_ascii_digit)) {
            return Err(DiscError::Code);
        }
        let plain = self.tracks.len() == 1 && self.tracks.iter().all(|track| track.stride == USER_DATA);
        if !plain && self.sectors() > CD_LBA_MAX {
            return Err(DiscError::Length);
        }
        Ok(())
    }

    /// Checks that an image of `size` bytes stores every track.
    ///
    /// # Errors
    /// The first track of which sectors are missing.
    pub fn fits(&self, size: u64) -> Result<(), DiscError> {
        for track in &self.tracks {
            let end = (u64::from(track.len) * u64::from(track.stride)).checked_add(track.offset);
            if end.is_none_or(|end| end > size) {
                return Err(DiscError::Bytes(track.number));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data in the first track, audio with a stored and an unstored pre-gap in the second, data in a second session.
    fn mixed() -> Disc {
        let first = Track::new(TrackForm::Mode1, RAW, 300);
        let second = Track {
            number: 2,
            start: 450,
            len: 200,
            pregap: 150,
            stored_pregap: 75,
            indexes: vec![100],
            offset: (300 + 75) * u64::from(RAW),
            ..Track::new(TrackForm::Audio, RAW, 0)
        };
        let third = Track { number: 3, session: 2, start: 12_050, offset: 575 * u64::from(RAW), ..first.clone() };
        Disc {
            tracks: vec![first, second, third],
            sessions: vec![Session { lead_out: 650 }, Session { lead_out: 12_350 }],
            catalogue: None,
        }
    }

    #[test]
    fn an_address_selects_its_track_index_and_byte_offset() {
        let disc = mixed();
        disc.validate().unwrap();
        let raw = u64::from(RAW);
        for (lba, expected) in [
            (0, Some((1, 1, Some(0)))),
            (299, Some((1, 1, Some(299 * raw)))),
            (300, Some((2, 0, None))),
            (374, Some((2, 0, None))),
            (375, Some((2, 0, Some(300 * raw)))),
            (450, Some((2, 1, Some(375 * raw)))),
            (550, Some((2, 2, Some(475 * raw)))),
            (649, Some((2, 2, Some(574 * raw)))),
            (650, None),
            (12_049, None),
            (12_050, Some((3, 1, Some(575 * raw)))),
            (12_350, None),
            (u32::MAX, None),
        ] {
            let found = disc.track_at(lba).map(|track| (track.number, track.index(lba), track.stored_at(lba)));
            assert_eq!(found, expected, "{lba}");
        }
    }

    #[test]
    fn a_layout_that_no_disc_has_is_rejected() {
        type Damage = fn(&mut Disc);
        let damages: [(Damage, DiscError); 14] = [
            (|disc| disc.tracks.clear(), DiscError::TrackCount),
            (|disc| disc.tracks = vec![disc.tracks[0].clone(); 100], DiscError::TrackCount),
            (|disc| disc.tracks[1].number = 1, DiscError::Number(1)),
            (|disc| disc.tracks[0].number = 0, DiscError::Number(0)),
            (|disc| disc.tracks[2].session = 3, DiscError::Session(3)),
            (|disc| disc.sessions.truncate(1), DiscError::Session(3)),
            (|disc| disc.sessions.push(Session { lead_out: 20_000 }), DiscError::Session(3)),
            (|disc| disc.tracks[1].stride = 2048, DiscError::Stride { number: 2, stride: 2048 }),
            (|disc| disc.tracks[1].pregap = 151, DiscError::Overlap(2)),
            (|disc| disc.tracks[2].len = u32::MAX, DiscError::Overlap(3)),
            (|disc| disc.tracks[1].indexes = vec![5, 5], DiscError::Index(2)),
            (|disc| disc.tracks[1].stored_pregap = 151, DiscError::Index(2)),
            (|disc| disc.tracks[0].offset = u64::MAX, DiscError::Bytes(1)),
            (|disc| disc.catalogue = Some([b'x'; 13]), DiscError::Code),
        ];
        for (damage, expected) in damages {
            let mut disc = mixed();
            damage(&mut disc);
            assert_eq!(disc.validate(), Err(expected));
        }
        let mut long = mixed();
        long.sessions[1].lead_out = CD_LBA_MAX + 1;
        assert_eq!(long.validate(), Err(DiscError::Length));
        assert_eq!(mixed().fits(875 * u64::from(RAW)), Ok(()));
        assert_eq!(mixed().fits(874 * u64::from(RAW)), Err(DiscError::Bytes(3)));
    }

    #[test]
    fn an_iso_image_is_one_data_track() {
        let disc = Disc::single(100 * 2048 + 2047);
        disc.validate().unwrap();
        assert_eq!((disc.sectors(), disc.tracks[0].control(), disc.tracks[0].stored_at(99)), (100, 4, Some(99 * 2048)));
        Disc::single(u64::MAX).validate().unwrap();
        Disc::single(0).validate().unwrap();
    }
}
