//! DATA SET MANAGEMENT, TRIM (ACS-2, T13 2015-D, 7.10): reads a list of ranges by DMA, then discards one range at a
//! time.
//!
//! TRIM is a hint: a failed discard is not an error. Trimmed sectors read either as before or as 0; IDENTIFY reports
//! neither as guaranteed.

use super::super::action::DriveAction;
use super::super::regs::{AtaError, SECTOR_SIZE, TaskFile};
use super::{ActiveCommand, Ata};
use crate::BlockError;
use serde::{Deserialize, Serialize};

/// The most 512-byte blocks of 64 ranges per command (IDENTIFY word 105).
pub const MAX_BLOCKS: u8 = 8;
/// The most ranges per command.
const MAX_RANGES: usize = MAX_BLOCKS as usize * 64;

/// Ranges not discarded yet: (LBA, sectors), the next one last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trim(Vec<(u64, u32)>);

impl Trim {
    /// Whether a saved list is valid for a disk of this size.
    pub fn is_valid(&self, sectors: u64) -> bool {
        self.0.len() <= MAX_RANGES
            && self
                .0
                .iter()
                .all(|&(lba, count)| count > 0 && lba.checked_add(count.into()).is_some_and(|end| end <= sectors))
    }
}

impl Ata {
    pub(super) fn data_set_management(&mut self, task: &mut TaskFile) -> Result<DriveAction, AtaError> {
        const TRIM: u8 = 1;
        let blocks = task.sector_count.word();
        if task.features.current != TRIM || blocks == 0 || blocks > MAX_BLOCKS.into() {
            return Err(AtaError::ABORT);
        }
        if self.read_only {
            return Err(super::block_failure(task, BlockError::ReadOnly, true));
        }
        self.state.active = ActiveCommand::TrimList;
        Ok(DriveAction::DmaOut { len: usize::from(blocks) * SECTOR_SIZE as usize })
    }

    pub(super) fn trim_list(&mut self, task: &mut TaskFile, list: &[u8]) -> Result<DriveAction, AtaError> {
        let mut ranges: Vec<(u64, u32)> = Vec::new();
        for entry in list.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry)) {
            let (lba, count) = (entry & ((1 << 48) - 1), (entry >> 48) as u32);
            if count == 0 {
                continue;
            }
            if lba + u64::from(count) > self.state.accessible_sectors {
                self.set_lba(task, lba, super::address::AddressMode::Lba48);
                return Err(AtaError::NOT_FOUND);
            }
            match ranges.last_mut() {
                Some((start, len)) if *start + u64::from(*len) == lba => *len += count,
                _ => ranges.push((lba, count)),
            }
        }
        ranges.reverse();
        self.continue_trim(Trim(ranges))
    }

    pub(super) fn continue_trim(&mut self, mut trim: Trim) -> Result<DriveAction, AtaError> {
        let Some((lba, count)) = trim.0.pop() else { return Ok(DriveAction::Done { irq: true }) };
        self.state.active = ActiveCommand::Trim(trim);
        Ok(DriveAction::Discard { offset: lba * SECTOR_SIZE, len: u64::from(count) * SECTOR_SIZE })
    }
}
