//! Table of contents: READ TOC/PMA/ATIP, READ SUB-CHANNEL, READ HEADER (MMC-3, 6.27, 6.26, 6.20).

use super::audio::Audio;
use super::sector::{frames_to_msf, msf};
use super::{Atapi, Cdb, PacketResult, be16, be32, sense::Sense};
use crate::disc::{Disc, Track, TrackForm};

const LEAD_OUT: u8 = 0xaa;
/// ADR 1 in the high nibble: the Q sub-channel holds the position.
const ADR_POSITION: u8 = 0x10;
/// ADR 5: pointers of a multi-session disc.
const ADR_SESSIONS: u8 = 0x50;
/// Frames of the gap between a lead-out and the program area of the next session: lead-out of the first and of other
/// sessions, lead-in, pre-gap (Orange Book).
const SESSION_GAP: [u32; 2] = [11_400, 6_900];

/// ADR 1 and the control bits of a track, as the TOC has them.
fn adr_control(track: &Track) -> u8 {
    ADR_POSITION | track.control()
}

/// A four-byte address, as MSF or LBA.
fn address(lba: u32, as_msf: bool) -> [u8; 4] {
    if as_msf {
        let [m, s, f] = msf(lba);
        [0, m, s, f]
    } else {
        lba.to_be_bytes()
    }
}

/// Prepends the header: the length of the data after the length field, first and last track or session.
fn with_length(first: u8, last: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16 + 2).to_be_bytes();
    [&[high, low, first, last], body].concat()
}

/// Format 0: the tracks from number `start` up and the lead-out.
fn toc(disc: &Disc, start: u8, as_msf: bool) -> Option<Vec<u8>> {
    let (first, last) = (disc.tracks.first()?, disc.tracks.last()?);
    if start > last.number && start != LEAD_OUT {
        return None;
    }
    let mut body = Vec::new();
    for track in disc.tracks.iter().filter(|track| track.number >= start) {
        body.extend([0, adr_control(track), track.number, 0]);
        body.extend(address(track.start, as_msf));
    }
    body.extend([0, adr_control(last), LEAD_OUT, 0]);
    body.extend(address(disc.sectors(), as_msf));
    Some(with_length(first.number, last.number, &body))
}

/// Format 1: the first track of the last session.
fn session_information(disc: &Disc, as_msf: bool) -> Option<Vec<u8>> {
    let last = disc.sessions.len() as u8;
    let track = disc.session_tracks(last).next()?;
    let mut body = vec![0, adr_control(track), track.number, 0];
    body.extend(address(track.start, as_msf));
    Some(with_length(1, last, &body))
}

/// Format 2: the entries of the lead-in's Q sub-channel, from session `start` up.
fn full_toc(disc: &Disc, start: u8) -> Option<Vec<u8>> {
    let last = disc.sessions.len() as u8;
    if start > last {
        return None;
    }
    let mut body = Vec::new();
    for (number, session) in (1..).zip(&disc.sessions).filter(|(number, _)| *number >= start) {
        // Session, ADR and control, TNO, POINT, MSF of the entry, 0, then the value that POINT selects.
        let mut entry = |adr_control: u8, point: u8, at: [u8; 3], zero: u8, value: [u8; 3]| {
            body.extend([number, adr_control, 0, point]);
            body.extend(at);
            body.push(zero);
            body.extend(value);
        };
        let (first, end) = (disc.session_tracks(number).next()?, disc.session_tracks(number).last()?);
        let xa = disc.session_tracks(number).any(|track| track.form == TrackForm::Mode2Xa);
        // First track and disc type, last track, lead-out, then each track.
        entry(adr_control(first), 0xa0, [0; 3], 0, [first.number, if xa { 0x20 } else { 0 }, 0]);
        entry(adr_control(end), 0xa1, [0; 3], 0, [end.number, 0, 0]);
        entry(adr_control(end), 0xa2, [0; 3], 0, msf(session.lead_out));
        for track in disc.session_tracks(number) {
            entry(adr_control(track), track.number, [0; 3], 0, msf(track.start));
        }
        if last > 1 {
            // Where the next session's program area can begin, none after the last; number of pointers of this kind; the
            // end of the disc.
            let gap = SESSION_GAP[usize::from(number > 1)];
            let next = if number < last { msf(session.lead_out.saturating_add(gap)) } else { [0xff; 3] };
            entry(ADR_SESSIONS | first.control(), 0xb0, next, if number == 1 { 2 } else { 1 }, [79, 59, 74]);
            if number == 1 {
                // Start of the first lead-in of a recordable disc.
                entry(ADR_SESSIONS | first.control(), 0xc0, [0; 3], 0, [97, 34, 23]);
            }
        }
    }
    Some(with_length(1, last, &body))
}

impl Atapi {
    pub(super) fn read_toc(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let as_msf = cdb[1] & 2 != 0;
        // The format is in byte 2; drivers older than MMC put it into the top bits of byte 9.
        let format = if cdb[2] & 0xf != 0 { cdb[2] & 0xf } else { cdb[9] >> 6 };
        let start = cdb[6];
        let data = match format {
            0 => toc(disc, start, as_msf),
            1 => session_information(disc, as_msf),
            2 => full_toc(disc, start),
            // PMA and ATIP are areas of recordable discs; no disc has CD-TEXT.
            _ => None,
        };
        self.reply(data.ok_or(Sense::INVALID_FIELD)?, be16(&cdb[7..]).into())
    }

    pub(super) fn read_sub_channel(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let as_msf = cdb[1] & 2 != 0;
        let mut data = vec![0, self.state.audio.status(), 0, 0];
        if cdb[2] & 0x40 != 0 {
            match cdb[3] {
                // Current position.
                1 => {
                    let lba = self.state.position;
                    // A position in a gap between sessions is the start of the next track.
                    let track = disc.track_at(lba).or_else(|| disc.tracks.iter().find(|track| track.start >= lba));
                    let track = track.or(disc.tracks.last()).ok_or(Sense::NO_MEDIUM)?;
                    data.extend([1, adr_control(track), track.number, track.index(lba)]);
                    data.extend(address(lba, as_msf));
                    // In the pre-gap, the time counts down to index 1.
                    if as_msf {
                        let [m, s, f] = frames_to_msf(lba.abs_diff(track.start));
                        data.extend([0, m, s, f]);
                    } else {
                        data.extend(lba.wrapping_sub(track.start).to_be_bytes());
                    }
                }
                // Media catalogue number.
                2 => {
                    data.extend([2, 0, 0, 0, u8::from(disc.catalogue.is_some()) << 7]);
                    data.extend(disc.catalogue.unwrap_or_default());
                    data.extend([0; 2]);
                }
                // ISRC of a track.
                3 => {
                    let track = disc.track(cdb[6]).ok_or(Sense::INVALID_FIELD)?;
                    data.extend([3, adr_control(track), track.number, 0, u8::from(track.isrc.is_some()) << 7]);
                    data.extend(track.isrc.unwrap_or_default());
                    data.extend([0; 3]);
                }
                _ => return Err(Sense::INVALID_FIELD),
            }
            data[3] = data.len() as u8 - 4;
        }
        // These are reported once.
        if matches!(self.state.audio, Audio::Completed | Audio::Failed) {
            self.state.audio = Audio::Idle;
        }
        self.reply(data, be16(&cdb[7..]).into())
    }

    pub(super) fn read_header(&mut self, cdb: &Cdb) -> PacketResult {
        let lba = be32(&cdb[2..]);
        let track = self.ready()?.track_at(lba).ok_or(Sense::OUT_OF_RANGE)?;
        let mode = match track.form {
            TrackForm::Audio => return Err(Sense::ILLEGAL_MODE),
            TrackForm::Mode1 => 1,
            TrackForm::Mode2 | TrackForm::Mode2Xa => 2,
        };
        let mut data = vec![mode, 0, 0, 0];
        data.extend(address(lba, cdb[1] & 2 != 0));
        self.reply(data, be16(&cdb[7..]).into())
    }
}
