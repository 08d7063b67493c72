//! The host protected area: READ NATIVE MAX ADDRESS and SET MAX ADDRESS (ATA/ATAPI-6, 6.9).
//!
//! The new maximum holds until the next RESET#, whether the guest calls it volatile or not: the image does not
//! remember it. The SET MAX security commands are not there.

use super::super::drive::Step;
use super::super::regs::{DEVICE_LBA, Error, TaskFile};
use super::address::Form;
use super::{Ata, MAX_SECTORS};

/// The highest address that 28 bits have, which stands for "more than that".
const LAST_28: u64 = 0x0fff_ffff;

impl Ata {
    pub(super) fn read_native_max(&mut self, task: &mut TaskFile, ext: bool) -> Result<Step, Error> {
        let last = self.sectors - 1;
        match (ext, task.device & DEVICE_LBA) {
            (true, 0) => return Err(Error::ABORT),
            (true, _) => self.put_lba(task, last, Form::Lba48),
            (false, 0) => {
                let per_track = u64::from(self.state.sectors_per_track.max(1));
                let most = 0x1_0000 * u64::from(self.state.heads.max(1)) * per_track - 1;
                self.put_lba(task, last.min(most), Form::Chs);
            }
            (false, _) => self.put_lba(task, last.min(LAST_28), Form::Lba28),
        }
        self.state.native_max_read = true;
        Ok(Step::Done { irq: true })
    }

    pub(super) fn set_max(&mut self, task: &mut TaskFile, ext: bool, native_max_read: bool) -> Result<Step, Error> {
        if !native_max_read || (!ext && task.features.now != 0) || (ext && task.device & DEVICE_LBA == 0) {
            return Err(Error::ABORT);
        }
        let form = match (ext, task.device & DEVICE_LBA) {
            (true, _) => Form::Lba48,
            (false, 0) => Form::Chs,
            (false, _) => Form::Lba28,
        };
        let last = self.lba(task, form)?;
        // All ones in 28 bits ask for everything, as READ NATIVE MAX ADDRESS answered.
        let everything = form == Form::Lba28 && last == LAST_28 && self.sectors > LAST_28;
        let visible = if everything { self.sectors } else { last.saturating_add(1).min(MAX_SECTORS) };
        if visible > self.sectors {
            return Err(Error::NOT_FOUND);
        }
        self.state.visible = visible;
        Ok(Step::Done { irq: true })
    }
}
