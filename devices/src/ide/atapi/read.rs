//! READ (10), READ (12), READ CD, READ CD MSF, SEEK (MMC-3, 6.19 ff.).
//!
//! By DMA, whole sectors of user data go straight to guest memory in one request. By PIO, and for raw sectors, they
//! are fetched up to 64 KiB ahead of the guest.

use super::super::drive::{BUFFER, Event, Span, Step};
use super::super::regs::CD_SECTOR;
use super::sector::{self, Parts};
use super::{Atapi, Cdb, Job, Outcome, be32, failure, sense::Sense};
use serde::{Deserialize, Serialize};

/// Frames before LBA 0.
pub const LEAD_IN: u32 = 150;

/// A read that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    lba: u32,
    /// Sectors not fetched yet.
    left: u32,
    /// Sectors that are being fetched.
    now: u32,
    parts: Parts,
}

impl Reading {
    /// Whether a saved read is one that can be.
    pub fn is_possible(&self) -> bool {
        self.now <= self.left && self.lba.checked_add(self.left).is_some() && self.parts.len() > 0
    }
}

/// A minute, second, frame address as an LBA.
fn from_msf(msf: &[u8]) -> Option<u32> {
    let [m, s, f] = [msf[0], msf[1], msf[2]].map(u32::from);
    if s >= 60 || f >= 75 {
        return None;
    }
    ((m * 60 + s) * 75 + f).checked_sub(LEAD_IN)
}

impl Atapi {
    /// READ (10) and READ (12).
    pub(super) fn read(&mut self, lba: u32, count: u32) -> Outcome {
        self.read_parts(lba, count, Parts::USER)
    }

    fn read_parts(&mut self, lba: u32, count: u32, parts: Parts) -> Outcome {
        let disc = self.ready()?;
        if lba.checked_add(count).is_none_or(|end| end > disc) || (count == 0 && lba >= disc) {
            return Err(Sense::OUT_OF_RANGE);
        }
        if count == 0 || parts.len() == 0 {
            return Ok(Step::Done { irq: true });
        }
        if self.state.dma && parts == Parts::USER {
            self.state.job = Job::Dma;
            return Ok(Step::Dma(Span {
                write: false,
                offset: u64::from(lba) * CD_SECTOR,
                left: u64::from(count) * CD_SECTOR,
                unit: CD_SECTOR as u32,
            }));
        }
        Ok(self.fetch(Reading { lba, left: count, now: 0, parts }))
    }

    fn fetch(&mut self, mut reading: Reading) -> Step {
        // Room for the raw form of what is fetched.
        let most = BUFFER / reading.parts.len().max(CD_SECTOR as usize);
        reading.now = reading.left.min(most as u32);
        self.state.job = Job::Read(reading);
        Step::Read { offset: u64::from(reading.lba) * CD_SECTOR, len: reading.now as usize * CD_SECTOR as usize }
    }

    pub(super) fn read_goes_on(&mut self, mut reading: Reading, event: Event) -> Outcome {
        match event {
            Event::Read(data) => {
                let data = if reading.parts == Parts::USER {
                    data
                } else {
                    sector::compose(reading.lba, &data, reading.parts)
                };
                reading.lba = reading.lba.saturating_add(reading.now);
                reading.left -= reading.now;
                reading.now = 0;
                self.state.job = Job::Read(reading);
                Ok(self.send(data))
            }
            Event::Sent if reading.left == 0 => Ok(Step::Done { irq: true }),
            Event::Sent => Ok(self.fetch(reading)),
            Event::Host(Err(error)) => Err(failure(error)),
            _ => Err(Sense::ABORTED),
        }
    }

    pub(super) fn read_cd(&mut self, cdb: &Cdb) -> Outcome {
        let parts = self.parts(cdb)?;
        self.read_parts(be32(&cdb[2..]), be32(&[0, cdb[6], cdb[7], cdb[8]]), parts)
    }

    pub(super) fn read_cd_msf(&mut self, cdb: &Cdb) -> Outcome {
        let parts = self.parts(cdb)?;
        let (start, end) = (from_msf(&cdb[3..6]), from_msf(&cdb[6..9]));
        let (Some(start), Some(end)) = (start, end) else { return Err(Sense::INVALID_FIELD) };
        let count = end.checked_sub(start).ok_or(Sense::INVALID_FIELD)?;
        self.read_parts(start, count, parts)
    }

    /// Which parts of a sector READ CD asks for.
    fn parts(&self, cdb: &Cdb) -> Result<Parts, Sense> {
        self.ready()?;
        // Any type, or mode 1.
        if !matches!(cdb[1] >> 2 & 7, 0 | 2) {
            return Err(Sense::ILLEGAL_MODE);
        }
        // No C2 error bits, no sub-channel.
        if cdb[9] & 0x06 != 0 || cdb[10] & 0x07 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        Ok(Parts {
            sync: cdb[9] & 0x80 != 0,
            header: cdb[9] & 0x20 != 0,
            user: cdb[9] & 0x10 != 0,
            correction: cdb[9] & 0x08 != 0,
        })
    }

    pub(super) fn seek(&mut self, cdb: &Cdb) -> Outcome {
        if be32(&cdb[2..]) >= self.ready()? {
            return Err(Sense::OUT_OF_RANGE);
        }
        Ok(Step::Done { irq: true })
    }
}
