//! READ (10), READ (12), READ CD, READ CD MSF and SEEK (MMC-3, 6.19 ff.).
//!
//! A DMA read of user data from an image that stores nothing else (an ISO image) is one request, directly into guest
//! memory. All other reads request up to 64 KiB at a time into the drive's buffer.

use super::super::action::{ActionResult, BUFFER_SIZE, DriveAction, ImageExtent};
use super::super::regs::CD_SECTOR_SIZE;
use super::audio::Audio;
use super::sector::{self, C2, Expected, SectorParts, SubChannel};
use super::{ActiveCommand, Atapi, Cdb, PacketResult, be32, block_failure, sense::Sense};
use crate::disc::{LEAD_IN, USER_DATA};
use serde::{Deserialize, Serialize};

/// A read in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTransfer {
    lba: u32,
    /// Sectors not sent yet.
    remaining: u32,
    /// Of these, sectors of the request in flight.
    in_flight: u32,
    parts: SectorParts,
}

impl ReadTransfer {
    /// Whether a saved transfer is valid.
    pub fn is_valid(&self) -> bool {
        self.in_flight <= self.remaining
            && self.in_flight as usize <= BUFFER_SIZE / CD_SECTOR_SIZE as usize
            && self.lba.checked_add(self.remaining).is_some()
            && !self.parts.is_nothing()
    }
}

/// Converts a minute, second, frame address to an LBA.
pub fn from_msf(msf: &[u8]) -> Option<u32> {
    let [m, s, f] = [msf[0], msf[1], msf[2]].map(u32::from);
    if s >= 60 || f >= 75 {
        return None;
    }
    ((m * 60 + s) * 75 + f).checked_sub(LEAD_IN)
}

impl Atapi {
    /// READ (10) and READ (12).
    pub(super) fn read(&mut self, lba: u32, count: u32) -> PacketResult {
        self.read_parts(lba, count, SectorParts::BLOCKS)
    }

    fn read_parts(&mut self, lba: u32, count: u32, parts: SectorParts) -> PacketResult {
        let disc = self.ready()?;
        let sectors = disc.sectors();
        let Some(end) = lba.checked_add(count).filter(|&end| end <= sectors && lba < sectors) else {
            return Err(Sense::OUT_OF_RANGE);
        };
        if count == 0 || parts.is_nothing() {
            return Ok(DriveAction::Done { irq: true });
        }
        // The path of an ISO image: the image stores exactly what the guest wants.
        let direct = disc.track_at(lba).filter(|track| {
            self.state.dma && track.stride == USER_DATA && parts.is_user_data(track.form) && end <= track.end()
        });
        let direct = direct.and_then(|track| track.stored_at(lba));
        self.state.audio = Audio::Idle;
        self.state.position = end - 1;
        if let Some(offset) = direct {
            self.state.active = ActiveCommand::Dma;
            return Ok(DriveAction::Dma(ImageExtent {
                write: false,
                offset,
                remaining: u64::from(count) * CD_SECTOR_SIZE,
                sector_size: CD_SECTOR_SIZE as u32,
            }));
        }
        self.fetch(ReadTransfer { lba, remaining: count, in_flight: 0, parts })
    }

    /// Requests the next sectors, all from one track and all stored or all not stored.
    fn fetch(&mut self, mut transfer: ReadTransfer) -> PacketResult {
        let disc = self.ready()?;
        let track = disc.track_at(transfer.lba).ok_or(Sense::OUT_OF_RANGE)?;
        if transfer.parts.expected == Expected::Blocks && track.is_audio() {
            return Err(Sense::ILLEGAL_MODE);
        }
        let at = track.stored_at(transfer.lba);
        // The last sector of a pre-gap without stored sectors is before the first stored sector.
        let run_end = if at.is_some() { track.end() } else { track.start.saturating_sub(track.stored_pregap) };
        // The buffer holds the sectors both as the image stores them and as the guest gets them.
        let most =
            BUFFER_SIZE / if transfer.parts == SectorParts::BLOCKS { track.stride as usize } else { sector::MAX_LEN };
        let run = run_end.saturating_sub(transfer.lba).min(most as u32);
        transfer.in_flight = transfer.remaining.min(run).max(1);
        let len = transfer.in_flight as usize * track.stride as usize;
        self.state.active = ActiveCommand::Read(transfer);
        Ok(match at {
            Some(offset) => DriveAction::Read { offset, len },
            // There is nothing to read. The request keeps the pace: a long pre-gap is not produced within one call.
            None => DriveAction::Flush,
        })
    }

    /// Sends the sectors of the request in flight, whose bytes in the image are `stored`.
    fn deliver(&mut self, mut transfer: ReadTransfer, stored: Option<&[u8]>) -> PacketResult {
        let disc = self.ready()?;
        let track = disc.track_at(transfer.lba).ok_or(Sense::OUT_OF_RANGE)?;
        let mut data = Vec::new();
        let mut sent = 0;
        let mut sectors = stored.map(|stored| stored.chunks_exact(track.stride as usize));
        for lba in transfer.lba..transfer.lba.saturating_add(transfer.in_flight) {
            let bytes = match &mut sectors {
                None => None,
                // Short only if the disc was changed.
                Some(sectors) => Some(sectors.next().ok_or(Sense::ABORTED)?),
            };
            match sector::append(&mut data, track, lba, bytes, transfer.parts) {
                Ok(()) => sent += 1,
                // The guest gets the sectors before; the next request fails with this sector.
                Err(_) if sent > 0 => break,
                Err(sense) => return Err(sense),
            }
        }
        transfer.lba = transfer.lba.saturating_add(sent);
        transfer.remaining = transfer.remaining.saturating_sub(sent);
        transfer.in_flight = 0;
        self.state.active = ActiveCommand::Read(transfer);
        Ok(self.send(data))
    }

    pub(super) fn continue_read(&mut self, transfer: ReadTransfer, result: ActionResult) -> PacketResult {
        match result {
            ActionResult::Read(data) => self.deliver(transfer, Some(&data)),
            ActionResult::Completed(Ok(())) => self.deliver(transfer, None),
            ActionResult::Sent if transfer.remaining == 0 => Ok(DriveAction::Done { irq: true }),
            ActionResult::Sent => self.fetch(transfer),
            ActionResult::Completed(Err(error)) => Err(block_failure(error)),
            _ => Err(Sense::ABORTED),
        }
    }

    pub(super) fn read_cd(&mut self, cdb: &Cdb) -> PacketResult {
        let parts = self.parts(cdb)?;
        self.read_parts(be32(&cdb[2..]), be32(&[0, cdb[6], cdb[7], cdb[8]]), parts)
    }

    pub(super) fn read_cd_msf(&mut self, cdb: &Cdb) -> PacketResult {
        let parts = self.parts(cdb)?;
        let (start, end) = (from_msf(&cdb[3..6]), from_msf(&cdb[6..9]));
        let (Some(start), Some(end)) = (start, end) else { return Err(Sense::INVALID_FIELD) };
        let count = end.checked_sub(start).ok_or(Sense::INVALID_FIELD)?;
        self.read_parts(start, count, parts)
    }

    /// The parts of a sector that READ CD or READ CD MSF requests.
    fn parts(&self, cdb: &Cdb) -> Result<SectorParts, Sense> {
        self.ready()?;
        let expected = match cdb[1] >> 2 & 7 {
            0 => Expected::Any,
            1 => Expected::Audio,
            2 => Expected::Mode1,
            3 => Expected::Mode2,
            4 => Expected::Form1,
            5 => Expected::Form2,
            _ => return Err(Sense::INVALID_FIELD),
        };
        let c2 = match cdb[9] >> 1 & 3 {
            0 => C2::None,
            1 => C2::Flags,
            2 => C2::FlagsAndBlock,
            _ => return Err(Sense::INVALID_FIELD),
        };
        let subchannel = match cdb[10] & 7 {
            0 => SubChannel::None,
            1 => SubChannel::Raw,
            2 => SubChannel::Q,
            // De-interleaved R to W (4) is optional; mode page 2Ah does not offer it.
            _ => return Err(Sense::INVALID_FIELD),
        };
        Ok(SectorParts {
            expected,
            sync: cdb[9] & 0x80 != 0,
            header: cdb[9] & 0x20 != 0,
            subheader: cdb[9] & 0x40 != 0,
            user: cdb[9] & 0x10 != 0,
            correction: cdb[9] & 0x08 != 0,
            c2,
            subchannel,
        })
    }

    pub(super) fn seek(&mut self, cdb: &Cdb) -> PacketResult {
        let lba = be32(&cdb[2..]);
        if lba >= self.ready()?.sectors() {
            return Err(Sense::OUT_OF_RANGE);
        }
        self.state.audio = Audio::Idle;
        self.state.position = lba;
        Ok(DriveAction::Done { irq: true })
    }
}
