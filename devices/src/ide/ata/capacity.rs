//! Host protected area: READ NATIVE MAX ADDRESS and SET MAX ADDRESS (ATA/ATAPI-6, 6.9).
//!
//! The new maximum holds until the next RESET#, also if the guest sets it as non-volatile: the image does not store it.
//! Not implemented: the SET MAX security commands.

use super::super::action::DriveAction;
use super::super::regs::{AtaError, DEVICE_LBA, TaskFile};
use super::address::AddressMode;
use super::{Ata, MAX_SECTORS};

/// The highest 28-bit address. READ NATIVE MAX ADDRESS returns it for larger disks too.
const LAST_LBA28: u64 = 0x0fff_ffff;

impl Ata {
    pub(super) fn read_native_max(&mut self, task: &mut TaskFile, ext: bool) -> Result<DriveAction, AtaError> {
        let last = self.sectors - 1;
        match (ext, task.device & DEVICE_LBA) {
            (true, 0) => return Err(AtaError::ABORT),
            (true, _) => self.set_lba(task, last, AddressMode::Lba48),
            (false, 0) => {
                let per_track = u64::from(self.state.sectors_per_track.max(1));
                let most = 0x1_0000 * u64::from(self.state.heads.max(1)) * per_track - 1;
                self.set_lba(task, last.min(most), AddressMode::Chs);
            }
            (false, _) => self.set_lba(task, last.min(LAST_LBA28), AddressMode::Lba28),
        }
        self.state.native_max_read = true;
        Ok(DriveAction::Done { irq: true })
    }

    pub(super) fn set_max(
        &mut self,
        task: &mut TaskFile,
        ext: bool,
        native_max_read: bool,
    ) -> Result<DriveAction, AtaError> {
        if !native_max_read || (!ext && task.features.current != 0) || (ext && task.device & DEVICE_LBA == 0) {
            return Err(AtaError::ABORT);
        }
        let address_mode = match (ext, task.device & DEVICE_LBA) {
            (true, _) => AddressMode::Lba48,
            (false, 0) => AddressMode::Chs,
            (false, _) => AddressMode::Lba28,
        };
        let last = self.lba(task, address_mode)?;
        // The highest 28-bit address, as READ NATIVE MAX ADDRESS returned it, sets the whole capacity.
        let everything = address_mode == AddressMode::Lba28 && last == LAST_LBA28 && self.sectors > LAST_LBA28;
        let accessible_sectors = if everything { self.sectors } else { last.saturating_add(1).min(MAX_SECTORS) };
        if accessible_sectors > self.sectors {
            return Err(AtaError::NOT_FOUND);
        }
        self.state.accessible_sectors = accessible_sectors;
        Ok(DriveAction::Done { irq: true })
    }
}
