//! SET FEATURES (ATA/ATAPI-6, 8.46).

use super::super::drive::DriveAction;
use super::super::regs::{AtaError, TaskFile};
use super::Ata;
use serde::{Deserialize, Serialize};

/// The transfer mode that the guest chose, as in the sector count register of SET FEATURES 03h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferMode {
    /// The DMA mode: 20h-22h multiword, 40h-45h ultra. None: only PIO was chosen.
    dma: Option<u8>,
}

impl Default for TransferMode {
    /// As a BIOS of the time leaves it.
    fn default() -> Self {
        Self { dma: Some(0x22) }
    }
}

impl TransferMode {
    /// Sets the mode.
    ///
    /// # Errors
    /// If the drive does not have it.
    pub fn set(&mut self, mode: u8) -> Result<(), AtaError> {
        match mode {
            // PIO, with and without IORDY, and PIO with flow control 0-4: chosen beside a DMA mode.
            0x00 | 0x01 | 0x08..=0x0c => {}
            0x20..=0x22 | 0x40..=0x45 => self.dma = Some(mode),
            _ => return Err(AtaError::ABORT),
        }
        Ok(())
    }

    /// IDENTIFY word 63: multiword DMA modes, and the one that is chosen.
    pub fn multiword(self) -> u16 {
        let chosen = match self.dma {
            Some(mode @ 0x20..=0x22) => 0x100 << (mode - 0x20),
            _ => 0,
        };
        0x07 | chosen
    }

    /// IDENTIFY word 88: Ultra DMA modes, and the one that is chosen.
    pub fn ultra(self) -> u16 {
        let chosen = match self.dma {
            Some(mode @ 0x40..=0x45) => 0x100 << (mode - 0x40),
            _ => 0,
        };
        0x3f | chosen
    }

    /// Whether a saved mode is one that can be set.
    pub fn is_valid(self) -> bool {
        matches!(self.dma, None | Some(0x20..=0x22 | 0x40..=0x45))
    }
}

impl Ata {
    pub(super) fn set_features(&mut self, task: &TaskFile) -> Result<DriveAction, AtaError> {
        let state = &mut self.state;
        match task.features.current {
            0x02 => state.write_cache = true,
            0x82 => {
                state.write_cache = false;
                // What the cache holds goes to the medium first.
                return self.flush();
            }
            0x03 => state.transfer_mode.set(task.sector_count.current)?,
            0x55 => state.look_ahead = false,
            0xaa => state.look_ahead = true,
            0x66 => state.revert_to_defaults = false,
            0xcc => state.revert_to_defaults = true,
            // Bytes of ECC for READ LONG: vendor specific or four, and there is no READ LONG.
            0x44 | 0xbb => {}
            _ => return Err(AtaError::ABORT),
        }
        Ok(DriveAction::Done { irq: true })
    }
}
