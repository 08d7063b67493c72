//! Medium and feature commands: READ CAPACITY, GET CONFIGURATION, READ DISC INFORMATION, READ TRACK INFORMATION (MMC-3,
//! 6.5, 6.21, 6.22, 6.28).

use super::{Atapi, Cdb, PacketResult, be16, be32, sense::Sense};

/// Sectors of an 80-minute CD. A larger disc is a DVD.
const CD_SECTORS: u32 = 80 * 60 * 75;
const PROFILE_CD_ROM: u16 = 0x0008;
const PROFILE_DVD_ROM: u16 = 0x0010;

impl Atapi {
    /// The current profile; 0 without a disc.
    pub(super) fn profile(&self) -> u16 {
        match self.ready() {
            Ok(disc) if disc > CD_SECTORS => PROFILE_DVD_ROM,
            Ok(_) => PROFILE_CD_ROM,
            Err(_) => 0,
        }
    }

    pub(super) fn is_dvd(&self) -> bool {
        self.profile() == PROFILE_DVD_ROM
    }

    pub(super) fn read_capacity(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        // The address must be 0 unless the partial medium indicator is set.
        if cdb[8] & 1 == 0 && be32(&cdb[2..]) != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let mut data = disc.saturating_sub(1).to_be_bytes().to_vec();
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
        let features: [(u16, u8, bool, Vec<u8>); 9] = [
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
            // CD Read.
            (0x001e, version(2), cd, vec![0, 0, 0, 0]),
            // DVD Read.
            (0x001f, version(0), dvd, vec![]),
            // Power Management.
            (0x0100, PERSISTENT, true, vec![]),
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
        self.ready()?;
        if cdb[1] & 7 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        let mut data = vec![0; 34];
        // Disc information length.
        data[1] = 32;
        // Last session and disc are complete.
        data[2] = 0x0e;
        // First track, number of sessions, first and last track in the last session.
        data[3..7].fill(1);
        // Unrestricted use.
        data[7] = 0x20;
        // Start of the next lead-in and last possible lead-out: none, the disc is not recordable.
        data[16..24].fill(0xff);
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_track_information(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let number = be32(&cdb[2..]);
        // Address type: LBA, track number, session number.
        match cdb[1] & 3 {
            0 if number < disc => {}
            1 | 2 if number == 1 => {}
            0 => return Err(Sense::OUT_OF_RANGE),
            _ => return Err(Sense::INVALID_FIELD),
        }
        let mut data = vec![0; 36];
        // Track information length, track 1, session 1, data track, mode 1. The track starts at LBA 0.
        data[1] = 34;
        data[2] = 1;
        data[3] = 1;
        data[5] = 0x04;
        data[6] = 0x01;
        // Track size.
        data[24..28].copy_from_slice(&disc.to_be_bytes());
        self.reply(data, be16(&cdb[7..]).into())
    }
}
