//! Medium and feature commands: READ CAPACITY, GET CONFIGURATION, READ DISC INFORMATION, READ TRACK INFORMATION (MMC-3,
//! 6.5, 6.21, 6.22, 6.28).

use super::{Atapi, Cdb, PacketResult, be16, be32, sense::Sense};
use crate::disc::TrackForm;

/// Sectors of an 80-minute CD. A larger disc is a DVD.
const CD_SECTORS: u32 = 80 * 60 * 75;
const PROFILE_CD_ROM: u16 = 0x0008;
const PROFILE_DVD_ROM: u16 = 0x0010;

impl Atapi {
    /// The current profile; 0 without a disc.
    pub(super) fn profile(&self) -> u16 {
        match self.ready() {
            // A DVD has a single track.
            Ok(disc) if disc.sectors() > CD_SECTORS && disc.tracks.len() == 1 => PROFILE_DVD_ROM,
            Ok(_) => PROFILE_CD_ROM,
            Err(_) => 0,
        }
    }

    pub(super) fn is_dvd(&self) -> bool {
        self.profile() == PROFILE_DVD_ROM
    }

    pub(super) fn read_capacity(&mut self, cdb: &Cdb) -> PacketResult {
        let sectors = self.ready()?.sectors();
        // The address must be 0 unless the partial medium indicator is set.
        if cdb[8] & 1 == 0 && be32(&cdb[2..]) != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let mut data = sectors.saturating_sub(1).to_be_bytes().to_vec();
        data.extend(2048u32.to_be_bytes());
        self.reply(data, 8)
    }

    pub(super) fn get_configuration(&mut self, cdb: &Cdb) -> PacketResult {
        let (request, first) = (cdb[1] & 3, be16(&cdb[2..]));
        if request == 3 {
            return Err(Sense::INVALID_FIELD);
        }
        let profile = self.profile();
        let (cd, dvd) = (profile == PROFILE_CD_ROM, profile == PROFILE_DVD_ROM);
        let mut profiles = Vec::new();
        for number in [PROFILE_DVD_ROM, PROFILE_CD_ROM] {
            profiles.extend(number.to_be_bytes());
            profiles.extend([u8::from(number == profile), 0]);
        }
        let version = |n: u8| n << 2;
        const PERSISTENT: u8 = 2;
        // Feature code; version and persistent bit; current; data.
        let features: [(u16, u8, bool, Vec<u8>); 10] = [
            // Profile List.
            (0x0000, PERSISTENT, true, profiles),
            // Core: the physical interface is ATAPI.
            (0x0001, version(1) | PERSISTENT, true, vec![0, 0, 0, 2, 1, 0, 0, 0]),
            // Morphing.
            (0x0002, version(1) | PERSISTENT, true, vec![2, 0, 0, 0]),
            // Removable Medium: a tray that locks and ejects.
            (0x0003, PERSISTENT, true, vec![0x29, 0, 0, 0]),
            // Random Readable: blocks of 2048 bytes, blocking 1, error recovery page.
            (0x0010, 0, cd || dvd, vec![0, 0, 8, 0, 0, 1, 1, 0]),
            // CD Read: C2 flags.
            (0x001e, version(2), cd, vec![2, 0, 0, 0]),
            // DVD Read.
            (0x001f, version(0), dvd, vec![]),
            // Power Management.
            (0x0100, PERSISTENT, true, vec![]),
            // CD Audio External Play: scan, separate mute and volume of each channel, 256 levels.
            (0x0103, 0, cd, vec![7, 0, 1, 0]),
            // Time-out.
            (0x0105, PERSISTENT, true, vec![]),
        ];
        let mut body = vec![0, 0];
        body.extend(profile.to_be_bytes());
        for (number, flags, current, data) in features {
            // Request type: all features from the first, only current ones, or a single one.
            let requested = match request {
                0 => number >= first,
                1 => number >= first && current,
                _ => number == first,
            };
            if requested {
                body.extend(number.to_be_bytes());
                body.extend([flags | u8::from(current), data.len() as u8]);
                body.extend(data);
            }
        }
        let mut data = (body.len() as u32).to_be_bytes().to_vec();
        data.extend(body);
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_disc_information(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        if cdb[1] & 7 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let mut data = vec![0; 34];
        // Disc information length.
        data[1] = 32;
        // Last session and disc are complete.
        data[2] = 0x0e;
        // First track, number of sessions, first and last track in the last session.
        let sessions = disc.sessions.len() as u8;
        data[3] = disc.tracks.first().map_or(1, |track| track.number);
        data[4] = sessions;
        data[5] = disc.session_tracks(sessions).next().map_or(1, |track| track.number);
        data[6] = disc.tracks.last().map_or(1, |track| track.number);
        // Unrestricted use.
        data[7] = 0x20;
        // Disc type: XA, or CD-DA and CD-ROM.
        data[8] = if disc.tracks.iter().any(|track| track.form == TrackForm::Mode2Xa) { 0x20 } else { 0 };
        // Start of the next lead-in and last possible lead-out: none, the disc is not recordable.
        data[16..24].fill(0xff);
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_track_information(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let number = be32(&cdb[2..]);
        // Address type: LBA, track number, session number.
        let small = u8::try_from(number).map_err(|_| Sense::INVALID_FIELD);
        let track = match cdb[1] & 3 {
            0 => disc.track_at(number).ok_or(Sense::OUT_OF_RANGE)?,
            1 => disc.track(small?).ok_or(Sense::INVALID_FIELD)?,
            2 => disc.session_tracks(small?).next().ok_or(Sense::INVALID_FIELD)?,
            _ => return Err(Sense::INVALID_FIELD),
        };
        let mut data = vec![0; 36];
        // Track information length, track, session, control, data mode (none for audio), start, size, last address.
        data[1] = 34;
        data[2] = track.number;
        data[3] = track.session;
        data[5] = track.control();
        data[6] = match track.form {
            TrackForm::Audio => 0x0f,
            TrackForm::Mode1 => 0x01,
            TrackForm::Mode2 | TrackForm::Mode2Xa => 0x02,
        };
        data[8..12].copy_from_slice(&track.start.to_be_bytes());
        data[24..28].copy_from_slice(&track.len.to_be_bytes());
        data[28..32].copy_from_slice(&track.end().saturating_sub(1).to_be_bytes());
        self.reply(data, be16(&cdb[7..]).into())
    }
}
