//! Audio playback: PLAY AUDIO (10), (12), MSF and TRACK/INDEX, PAUSE/RESUME, STOP PLAY/SCAN, SCAN (MMC-3, 6.15 to 6.18,
//! 6.37; SCSI-2 for TRACK/INDEX).
//!
//! The position advances with virtual machine time at 75 sectors per second. There is no sound: the drive has no cable to
//! a sound card.

use super::super::action::DriveAction;
use super::read::from_msf;
use super::{Atapi, Cdb, PacketResult, be32, sense::Sense};
use crate::{Disc, VmTime};
use serde::{Deserialize, Serialize};

/// Sectors per second.
const FRAMES: u128 = 75;
/// SCAN plays at this multiple of the normal speed.
const SCAN_SPEED: u8 = 8;
/// Start address that means the current position.
const CURRENT: u32 = u32::MAX;

/// Audio playback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audio {
    /// No playback, and nothing to report.
    #[default]
    Idle,
    /// Playing.
    Playing(Playing),
    /// Paused at an LBA.
    Paused {
        /// The next sector.
        at: u32,
        /// Plays up to this LBA.
        end: u32,
        /// Ends with an error, because a data track follows.
        fails: bool,
    },
    /// Played to the end.
    Completed,
    /// Stopped at a data track.
    Failed,
}

/// Playback in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playing {
    /// When it began.
    since: VmTime,
    /// Where it began.
    from: u32,
    /// Plays up to this LBA; backwards, down to it.
    end: u32,
    /// Multiple of the normal speed.
    speed: u8,
    /// Plays backwards (SCAN).
    reverse: bool,
    /// Ends with an error, because a data track follows.
    fails: bool,
}

impl Playing {
    /// The sector that is played at `now`; the end is reached if the second value is true.
    fn position(&self, now: VmTime) -> (u32, bool) {
        let frames = now.since(self.since).as_nanos() * FRAMES * u128::from(self.speed) / 1_000_000_000;
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        if self.reverse {
            let at = self.from.saturating_sub(frames);
            (at.max(self.end), at <= self.end)
        } else {
            let at = self.from.saturating_add(frames);
            (at.min(self.end.saturating_sub(1)), at >= self.end)
        }
    }
}

impl Audio {
    /// Audio status of READ SUB-CHANNEL.
    pub fn status(&self) -> u8 {
        match self {
            Self::Playing(_) => 0x11,
            Self::Paused { .. } => 0x12,
            Self::Completed => 0x13,
            Self::Failed => 0x14,
            Self::Idle => 0x15,
        }
    }
}

impl Atapi {
    /// Brings playback and position up to date with the time.
    pub(super) fn advance_audio(&mut self) {
        if let Audio::Playing(playing) = self.state.audio {
            let (position, over) = playing.position(self.now);
            self.state.position = position;
            if over {
                self.state.audio = if playing.fails { Audio::Failed } else { Audio::Completed };
            }
        }
    }

    /// Plays from `start` up to `end`.
    fn play(&mut self, start: u32, end: u32) -> PacketResult {
        let stops_at_track_end = self.state.pages.stops_on_track_crossing();
        let disc = self.ready()?;
        let start = if start == CURRENT { self.state.position } else { start };
        if start == end {
            return Ok(DriveAction::Done { irq: true });
        }
        if start > end {
            return Err(Sense::INVALID_FIELD);
        }
        if end > disc.sectors() {
            return Err(Sense::OUT_OF_RANGE);
        }
        let track = disc.track_at(start).ok_or(Sense::OUT_OF_RANGE)?;
        if !track.is_audio() {
            return Err(Sense::ILLEGAL_MODE);
        }
        let audio_end = if stops_at_track_end { track.end() } else { audio_end(disc, start) };
        let fails = end > audio_end && !stops_at_track_end;
        let end = end.min(audio_end);
        self.state.audio =
            Audio::Playing(Playing { since: self.now, from: start, end, speed: 1, reverse: false, fails });
        self.state.position = start;
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn play_audio(&mut self, start: u32, count: u32) -> PacketResult {
        let from = if start == CURRENT { self.state.position } else { start };
        let end = from.checked_add(count).ok_or(Sense::OUT_OF_RANGE)?;
        self.play(from, end)
    }

    pub(super) fn play_audio_msf(&mut self, cdb: &Cdb) -> PacketResult {
        let start = if cdb[3..6] == [0xff; 3] { Some(CURRENT) } else { from_msf(&cdb[3..6]) };
        match (start, from_msf(&cdb[6..9])) {
            (Some(start), Some(end)) => self.play(start, end),
            _ => Err(Sense::INVALID_FIELD),
        }
    }

    /// Plays from an index of a track to the end of an index of a track.
    pub(super) fn play_audio_track_index(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let last = disc.tracks.last().map_or(0, |track| track.number);
        let start = index_start(disc, cdb[4], cdb[5].max(1)).ok_or(Sense::INVALID_FIELD)?;
        let (track, index) = (cdb[7].min(last), cdb[8]);
        // The next index is where this one ends.
        let end = match index.checked_add(1).and_then(|next| index_start(disc, track, next)) {
            Some(next) if index > 0 => next,
            _ => disc.track(track).ok_or(Sense::INVALID_FIELD)?.end(),
        };
        self.play(start, end)
    }

    pub(super) fn pause_resume(&mut self, cdb: &Cdb) -> PacketResult {
        self.ready()?;
        let resume = cdb[8] & 1 != 0;
        self.state.audio = match self.state.audio {
            Audio::Paused { at, end, fails } if resume => {
                Audio::Playing(Playing { since: self.now, from: at, end, speed: 1, reverse: false, fails })
            }
            Audio::Playing(Playing { end, reverse, fails, .. }) if !resume => {
                // A scan backwards has no end to play to.
                let end = if reverse { self.state.position.saturating_add(1) } else { end };
                Audio::Paused { at: self.state.position, end, fails }
            }
            same @ (Audio::Paused { .. } | Audio::Playing(_)) => same,
            Audio::Idle | Audio::Completed | Audio::Failed => return Err(Sense::COMMAND_SEQUENCE),
        };
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn stop_play(&mut self) -> PacketResult {
        self.ready()?;
        self.state.audio = Audio::Idle;
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn scan(&mut self, cdb: &Cdb) -> PacketResult {
        let disc = self.ready()?;
        let reverse = cdb[1] & 0x10 != 0;
        // Type of the address: LBA, MSF, track.
        let start = match cdb[9] >> 6 {
            0 => be32(&cdb[2..]),
            1 => from_msf(&cdb[3..6]).ok_or(Sense::INVALID_FIELD)?,
            2 => disc.track(cdb[5]).ok_or(Sense::INVALID_FIELD)?.start,
            _ => return Err(Sense::INVALID_FIELD),
        };
        let track = disc.track_at(start).ok_or(Sense::OUT_OF_RANGE)?;
        if !track.is_audio() {
            return Err(Sense::ILLEGAL_MODE);
        }
        let end = if reverse { audio_start(disc, start) } else { audio_end(disc, start) };
        self.state.audio =
            Audio::Playing(Playing { since: self.now, from: start, end, speed: SCAN_SPEED, reverse, fails: false });
        self.state.position = start;
        Ok(DriveAction::Done { irq: true })
    }
}

/// The end of the run of audio tracks without a gap that contains `lba`.
fn audio_end(disc: &Disc, lba: u32) -> u32 {
    let mut end = lba;
    for track in disc.tracks.iter().filter(|track| track.end() > lba) {
        if !track.is_audio() || track.first() > end {
            break;
        }
        end = track.end();
    }
    end
}

/// The start of the run of audio tracks without a gap that contains `lba`.
fn audio_start(disc: &Disc, lba: u32) -> u32 {
    let mut start = lba;
    for track in disc.tracks.iter().rev().filter(|track| track.first() <= lba) {
        if !track.is_audio() || track.end() < start {
            break;
        }
        start = track.first();
    }
    start
}

/// The LBA of an index from 1 of a track.
fn index_start(disc: &Disc, track: u8, index: u8) -> Option<u32> {
    let track = disc.track(track)?;
    match index {
        0 => None,
        1 => Some(track.start),
        _ => track.indexes.get(usize::from(index) - 2).map(|offset| track.start.saturating_add(*offset)),
    }
}
