//! SET FEATURES (ATA/ATAPI-6, 8.46).

use super::super::action::DriveAction;
use super::super::regs::{AtaError, TaskFile};
use super::Ata;
use serde::{Deserialize, Serialize};

/// SET FEATURES subcommands, in the Features register.
pub mod subcommand {
    pub const ENABLE_WRITE_CACHE: u8 = 0x02;
    pub const SET_TRANSFER_MODE: u8 = 0x03;
    /// Bytes of ECC of READ LONG and WRITE LONG: vendor specific.
    pub const VENDOR_SPECIFIC_ECC: u8 = 0x44;
    pub const DISABLE_LOOK_AHEAD: u8 = 0x55;
    pub const DISABLE_REVERTING_TO_DEFAULTS: u8 = 0x66;
    pub const DISABLE_WRITE_CACHE: u8 = 0x82;
    pub const ENABLE_LOOK_AHEAD: u8 = 0xaa;
    /// Bytes of ECC of READ LONG and WRITE LONG: four.
    pub const FOUR_BYTES_ECC: u8 = 0xbb;
    pub const ENABLE_REVERTING_TO_DEFAULTS: u8 = 0xcc;
}

// Transfer modes, in the Sector Count register of SET_TRANSFER_MODE.
const MULTIWORD_DMA_0: u8 = 0x20;
const MULTIWORD_DMA_2: u8 = 0x22;
const ULTRA_DMA_0: u8 = 0x40;
const ULTRA_DMA_5: u8 = 0x45;

/// The DMA transfer mode set by the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferMode {
    /// Multiword DMA 0 to 2 or Ultra DMA 0 to 5; `None` if no DMA mode is set.
    dma: Option<u8>,
}

impl Default for TransferMode {
    /// The mode that a BIOS of the time sets.
    fn default() -> Self {
        Self { dma: Some(MULTIWORD_DMA_2) }
    }
}

impl TransferMode {
    /// Sets the mode.
    ///
    /// # Errors
    /// If the drive does not support it.
    pub fn set(&mut self, mode: u8) -> Result<(), AtaError> {
        match mode {
            // PIO default mode with and without IORDY, PIO flow control modes 0 to 4: independent of the DMA mode.
            0x00 | 0x01 | 0x08..=0x0c => {}
            MULTIWORD_DMA_0..=MULTIWORD_DMA_2 | ULTRA_DMA_0..=ULTRA_DMA_5 => self.dma = Some(mode),
            _ => return Err(AtaError::ABORT),
        }
        Ok(())
    }

    /// IDENTIFY word 63: multiword DMA modes supported (low byte) and selected (high byte).
    pub fn multiword(self) -> u16 {
        let selected = match self.dma {
            Some(mode @ MULTIWORD_DMA_0..=MULTIWORD_DMA_2) => 0x100 << (mode - MULTIWORD_DMA_0),
            _ => 0,
        };
        0x07 | selected
    }

    /// IDENTIFY word 88: Ultra DMA modes supported (low byte) and selected (high byte).
    pub fn ultra(self) -> u16 {
        let selected = match self.dma {
            Some(mode @ ULTRA_DMA_0..=ULTRA_DMA_5) => 0x100 << (mode - ULTRA_DMA_0),
            _ => 0,
        };
        0x3f | selected
    }

    /// Whether a saved mode is valid.
    pub fn is_valid(self) -> bool {
        matches!(self.dma, None | Some(MULTIWORD_DMA_0..=MULTIWORD_DMA_2 | ULTRA_DMA_0..=ULTRA_DMA_5))
    }
}

impl Ata {
    pub(super) fn set_features(&mut self, task: &TaskFile) -> Result<DriveAction, AtaError> {
        let state = &mut self.state;
        match task.features.current {
            subcommand::ENABLE_WRITE_CACHE => state.write_cache = true,
            subcommand::DISABLE_WRITE_CACHE => {
                state.write_cache = false;
                // The cache is flushed before the command completes.
                return self.flush();
            }
            subcommand::SET_TRANSFER_MODE => state.transfer_mode.set(task.sector_count.current)?,
            subcommand::DISABLE_LOOK_AHEAD => state.look_ahead = false,
            subcommand::ENABLE_LOOK_AHEAD => state.look_ahead = true,
            subcommand::DISABLE_REVERTING_TO_DEFAULTS => state.revert_to_defaults = false,
            subcommand::ENABLE_REVERTING_TO_DEFAULTS => state.revert_to_defaults = true,
            // READ LONG and WRITE LONG are not implemented.
            subcommand::VENDOR_SPECIFIC_ECC | subcommand::FOUR_BYTES_ECC => {}
            _ => return Err(AtaError::ABORT),
        }
        Ok(DriveAction::Done { irq: true })
    }
}
