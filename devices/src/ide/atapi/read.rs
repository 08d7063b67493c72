//! READ (10), READ (12), READ CD, READ CD MSF and SEEK (MMC-3, 6.19 ff.).
//!
//! A DMA read of user data is one request, directly into guest memory. PIO reads, and all reads of raw sectors, request
//! up to 64 KiB at a time into the drive's buffer.

use super::super::action::{ActionResult, BUFFER_SIZE, DriveAction, ImageExtent};
use super::super::regs::CD_SECTOR_SIZE;
use super::sector::{self, SectorParts};
use super::{ActiveCommand, Atapi, Cdb, PacketResult, be32, block_failure, sense::Sense};
use serde::{Deserialize, Serialize};

/// Frames before LBA 0: 2 seconds.
pub const LEAD_IN: u32 = 150;

/// A read in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTransfer {
    lba: u32,
    /// Sectors not read from the image yet.
    remaining: u32,
    /// Of these, sectors of the request in flight.
    in_flight: u32,
    parts: SectorParts,
}

impl ReadTransfer {
    /// Whether a saved transfer is valid.
    pub fn is_valid(&self) -> bool {
        self.in_flight <= self.remaining && self.lba.checked_add(self.remaining).is_some() && self.parts.len() > 0
    }
}

/// Converts a minute, second, frame address to an LBA.
fn from_msf(msf: &[u8]) -> Option<u32> {
    let [m, s, f] = [msf[0], msf[1], msf[2]].map(u32::from);
    if s >= 60 || f >= 75 {
        return None;
    }
    ((m * 60 + s) * 75 + f).checked_sub(LEAD_IN)
}

impl Atapi {
    /// READ (10) and READ (12).
    pub(super) fn read(&mut self, lba: u32, count: u32) -> PacketResult {
        self.read_parts(lba, count, SectorParts::USER)
    }

    fn read_parts(&mut self, lba: u32, count: u32, parts: SectorParts) -> PacketResult {
        let disc = self.ready()?;
        if lba.checked_add(count).is_none_or(|end| end > disc) || (count == 0 && lba >= disc) {
            return Err(Sense::OUT_OF_RANGE);
        }
        if count == 0 || parts.len() == 0 {
            return Ok(DriveAction::Done { irq: true });
        }
        if self.state.dma && parts == SectorParts::USER {
            self.state.active = ActiveCommand::Dma;
            return Ok(DriveAction::Dma(ImageExtent {
                write: false,
                offset: u64::from(lba) * CD_SECTOR_SIZE,
                remaining: u64::from(count) * CD_SECTOR_SIZE,
                sector_size: CD_SECTOR_SIZE as u32,
            }));
        }
        Ok(self.fetch(ReadTransfer { lba, remaining: count, in_flight: 0, parts }))
    }

    fn fetch(&mut self, mut transfer: ReadTransfer) -> DriveAction {
        // The buffer must hold the sectors in the requested, possibly raw, form.
        let most = BUFFER_SIZE / transfer.parts.len().max(CD_SECTOR_SIZE as usize);
        transfer.in_flight = transfer.remaining.min(most as u32);
        self.state.active = ActiveCommand::Read(transfer);
        DriveAction::Read {
            offset: u64::from(transfer.lba) * CD_SECTOR_SIZE,
            len: transfer.in_flight as usize * CD_SECTOR_SIZE as usize,
        }
    }

    pub(super) fn continue_read(&mut self, mut transfer: ReadTransfer, result: ActionResult) -> PacketResult {
        match result {
            ActionResult::Read(data) => {
                let data = if transfer.parts == SectorParts::USER {
                    data
                } else {
                    sector::compose(transfer.lba, &data, transfer.parts)
                };
                transfer.lba = transfer.lba.saturating_add(transfer.in_flight);
                transfer.remaining -= transfer.in_flight;
                transfer.in_flight = 0;
                self.state.active = ActiveCommand::Read(transfer);
                Ok(self.send(data))
            }
            ActionResult::Sent if transfer.remaining == 0 => Ok(DriveAction::Done { irq: true }),
            ActionResult::Sent => Ok(self.fetch(transfer)),
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
        // Expected sector type: any, or mode 1.
        if !matches!(cdb[1] >> 2 & 7, 0 | 2) {
            return Err(Sense::ILLEGAL_MODE);
        }
        // C2 error bits and sub-channel data are not implemented.
        if cdb[9] & 0x06 != 0 || cdb[10] & 0x07 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        Ok(SectorParts {
            sync: cdb[9] & 0x80 != 0,
            header: cdb[9] & 0x20 != 0,
            user: cdb[9] & 0x10 != 0,
            correction: cdb[9] & 0x08 != 0,
        })
    }

    pub(super) fn seek(&mut self, cdb: &Cdb) -> PacketResult {
        if be32(&cdb[2..]) >= self.ready()? {
            return Err(Sense::OUT_OF_RANGE);
        }
        Ok(DriveAction::Done { irq: true })
    }
}
