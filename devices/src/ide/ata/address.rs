//! Where a command's sectors are: CHS, 28 and 48 bits (ATA/ATAPI-6, 6.2 and 6.8).

use super::super::regs::{DEVICE_LBA, Error, TaskFile};
use super::Ata;
use serde::{Deserialize, Serialize};

/// How the guest wrote the address, and reads it back after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Cylinder, head, sector.
    Chs,
    /// 28-bit.
    Lba28,
    /// 48-bit.
    Lba48,
}

/// The geometry in which the drive is made: heads and sectors per track.
pub fn default_geometry(sectors: u64) -> (u8, u8) {
    match sectors {
        // A disk of less than a cylinder of the usual kind has one head and short tracks.
        0..63 => (1, sectors.max(1) as u8),
        63..1008 => (1, 63),
        _ => (16, 63),
    }
}

/// Cylinders of a disk under a geometry (each at least 1).
pub fn cylinders(sectors: u64, heads: u8, sectors_per_track: u8) -> u64 {
    let per_cylinder = u64::from(heads.max(1)) * u64::from(sectors_per_track.max(1));
    sectors / per_cylinder
}

impl Ata {
    fn form(task: &TaskFile, ext: bool) -> Form {
        match (ext, task.device & DEVICE_LBA) {
            (true, _) => Form::Lba48,
            (false, 0) => Form::Chs,
            (false, _) => Form::Lba28,
        }
    }

    /// The LBA in the task file, not checked against the size.
    pub(super) fn lba(&self, task: &TaskFile, form: Form) -> Result<u64, Error> {
        let [low, mid, high] = [task.low.now, task.mid.now, task.high.now].map(u64::from);
        let head = u64::from(task.device & 0xf);
        match form {
            Form::Lba28 => Ok(head << 24 | high << 16 | mid << 8 | low),
            Form::Lba48 => {
                let [low2, mid2, high2] = [task.low.before, task.mid.before, task.high.before].map(u64::from);
                Ok(high2 << 40 | mid2 << 32 | low2 << 24 | high << 16 | mid << 8 | low)
            }
            Form::Chs => {
                let heads = u64::from(self.state.heads);
                let sectors = u64::from(self.state.sectors_per_track);
                if low == 0 || low > sectors || head >= heads {
                    return Err(Error::NOT_FOUND);
                }
                Ok(((high << 8 | mid) * heads + head) * sectors + low - 1)
            }
        }
    }

    /// The sectors of a command: where, and how many. They all exist.
    pub(super) fn extent(&self, task: &mut TaskFile, ext: bool) -> Result<(u64, u32, Form), Error> {
        let form = Self::form(task, ext);
        let lba = self.lba(task, form)?;
        let count = match (ext, task.count.now, task.count.word()) {
            (false, 0, _) => 256,
            (false, n, _) => n.into(),
            (true, _, 0) => 0x1_0000,
            (true, _, n) => n.into(),
        };
        if lba + u64::from(count) > self.state.visible {
            // The first sector that does not exist.
            self.put_lba(task, lba.max(self.state.visible), form);
            return Err(Error::NOT_FOUND);
        }
        Ok((lba, count, form))
    }

    /// Writes an LBA into the task file as the guest would.
    pub(super) fn put_lba(&self, task: &mut TaskFile, lba: u64, form: Form) {
        let bytes = lba.to_le_bytes();
        match form {
            Form::Lba48 => {
                for (latch, n) in [(&mut task.low, 0), (&mut task.mid, 1), (&mut task.high, 2)] {
                    latch.now = bytes[n];
                    latch.before = bytes[n + 3];
                }
            }
            Form::Lba28 => {
                task.low.set(bytes[0]);
                task.mid.set(bytes[1]);
                task.high.set(bytes[2]);
                task.device = task.device & 0xf0 | bytes[3] & 0xf;
            }
            Form::Chs => {
                let sectors = u64::from(self.state.sectors_per_track.max(1));
                let heads = u64::from(self.state.heads.max(1));
                let cylinder = (lba / sectors / heads).to_le_bytes();
                task.low.set((lba % sectors + 1) as u8);
                task.mid.set(cylinder[0]);
                task.high.set(cylinder[1]);
                task.device = task.device & 0xf0 | (lba / sectors % heads) as u8 & 0xf;
            }
        }
    }

    /// INITIALIZE DEVICE PARAMETERS: heads and sectors per track from now on.
    pub(super) fn initialize_parameters(&mut self, task: &TaskFile) -> Result<super::Step, Error> {
        let sectors_per_track = task.count.now;
        if sectors_per_track == 0 {
            return Err(Error::ABORT);
        }
        self.state.heads = (task.device & 0xf) + 1;
        self.state.sectors_per_track = sectors_per_track;
        Ok(super::Step::Done { irq: true })
    }

    /// SEEK: nothing moves, but the address is checked.
    pub(super) fn seek(&mut self, task: &mut TaskFile) -> Result<super::Step, Error> {
        let form = Self::form(task, false);
        if self.lba(task, form)? < self.state.visible {
            Ok(super::Step::Done { irq: true })
        } else {
            Err(Error::NOT_FOUND)
        }
    }
}
