//! Sector addressing: CHS, 28-bit LBA and 48-bit LBA (ATA/ATAPI-6, 6.2 and 6.8).

use super::super::regs::{AtaError, DEVICE_LBA, TaskFile};
use super::Ata;
use serde::{Deserialize, Serialize};

/// The addressing of a command, in which the task file also returns addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressMode {
    /// Cylinder, head, sector.
    Chs,
    /// 28-bit LBA.
    Lba28,
    /// 48-bit LBA.
    Lba48,
}

/// The default translation: heads and sectors per track.
pub fn default_geometry(sectors: u64) -> (u8, u8) {
    match sectors {
        // A disk smaller than one cylinder of 16 heads has one head and, below 63 sectors, one short track.
        0..63 => (1, sectors.max(1) as u8),
        63..1008 => (1, 63),
        _ => (16, 63),
    }
}

/// The geometry that IDENTIFY DEVICE reports in words 1, 3 and 6: cylinders, heads, sectors per track.
pub fn reported_geometry(sectors: u64) -> (u16, u8, u8) {
    let (heads, per_track) = default_geometry(sectors);
    (cylinders(sectors, heads, per_track).min(16_383) as u16, heads, per_track)
}

/// Whole cylinders of a disk with this translation (each at least 1).
pub fn cylinders(sectors: u64, heads: u8, sectors_per_track: u8) -> u64 {
    let per_cylinder = u64::from(heads.max(1)) * u64::from(sectors_per_track.max(1));
    sectors / per_cylinder
}

impl Ata {
    fn address_mode(task: &TaskFile, ext: bool) -> AddressMode {
        match (ext, task.device & DEVICE_LBA) {
            (true, _) => AddressMode::Lba48,
            (false, 0) => AddressMode::Chs,
            (false, _) => AddressMode::Lba28,
        }
    }

    /// The LBA in the task file, not checked against the capacity.
    pub(super) fn lba(&self, task: &TaskFile, address_mode: AddressMode) -> Result<u64, AtaError> {
        let [low, mid, high] = [task.lba_low.current, task.lba_mid.current, task.lba_high.current].map(u64::from);
        let head = u64::from(task.device & 0xf);
        match address_mode {
            AddressMode::Lba28 => Ok(head << 24 | high << 16 | mid << 8 | low),
            AddressMode::Lba48 => {
                let [low_previous, mid_previous, high_previous] =
                    [task.lba_low.previous, task.lba_mid.previous, task.lba_high.previous].map(u64::from);
                let upper = high_previous << 40 | mid_previous << 32 | low_previous << 24;
                Ok(upper | high << 16 | mid << 8 | low)
            }
            AddressMode::Chs => {
                let heads = u64::from(self.state.heads);
                let sectors = u64::from(self.state.sectors_per_track);
                if low == 0 || low > sectors || head >= heads {
                    return Err(AtaError::NOT_FOUND);
                }
                Ok(((high << 8 | mid) * heads + head) * sectors + low - 1)
            }
        }
    }

    /// The first LBA and the number of sectors of a command, checked against the capacity.
    pub(super) fn extent(&self, task: &mut TaskFile, ext: bool) -> Result<(u64, u32, AddressMode), AtaError> {
        let address_mode = Self::address_mode(task, ext);
        let lba = self.lba(task, address_mode)?;
        let count = match (ext, task.sector_count.current, task.sector_count.word()) {
            (false, 0, _) => 256,
            (false, n, _) => n.into(),
            (true, _, 0) => 0x1_0000,
            (true, _, n) => n.into(),
        };
        if lba + u64::from(count) > self.state.accessible_sectors {
            // The address of the first sector past the capacity.
            self.set_lba(task, lba.max(self.state.accessible_sectors), address_mode);
            return Err(AtaError::NOT_FOUND);
        }
        Ok((lba, count, address_mode))
    }

    /// Stores an LBA in the task file.
    pub(super) fn set_lba(&self, task: &mut TaskFile, lba: u64, address_mode: AddressMode) {
        let bytes = lba.to_le_bytes();
        match address_mode {
            AddressMode::Lba48 => {
                for (register, n) in [(&mut task.lba_low, 0), (&mut task.lba_mid, 1), (&mut task.lba_high, 2)] {
                    register.current = bytes[n];
                    register.previous = bytes[n + 3];
                }
            }
            AddressMode::Lba28 => {
                task.lba_low.set(bytes[0]);
                task.lba_mid.set(bytes[1]);
                task.lba_high.set(bytes[2]);
                task.device = task.device & 0xf0 | bytes[3] & 0xf;
            }
            AddressMode::Chs => {
                let sectors = u64::from(self.state.sectors_per_track.max(1));
                let heads = u64::from(self.state.heads.max(1));
                let cylinder = (lba / sectors / heads).to_le_bytes();
                task.lba_low.set((lba % sectors + 1) as u8);
                task.lba_mid.set(cylinder[0]);
                task.lba_high.set(cylinder[1]);
                task.device = task.device & 0xf0 | (lba / sectors % heads) as u8 & 0xf;
            }
        }
    }

    /// INITIALIZE DEVICE PARAMETERS: sets the CHS translation.
    pub(super) fn initialize_parameters(&mut self, task: &TaskFile) -> Result<super::DriveAction, AtaError> {
        let sectors_per_track = task.sector_count.current;
        if sectors_per_track == 0 {
            return Err(AtaError::ABORT);
        }
        self.state.heads = (task.device & 0xf) + 1;
        self.state.sectors_per_track = sectors_per_track;
        Ok(super::DriveAction::Done { irq: true })
    }

    /// SEEK: only checks the address.
    pub(super) fn seek(&mut self, task: &mut TaskFile) -> Result<super::DriveAction, AtaError> {
        let address_mode = Self::address_mode(task, false);
        if self.lba(task, address_mode)? < self.state.accessible_sectors {
            Ok(super::DriveAction::Done { irq: true })
        } else {
            Err(AtaError::NOT_FOUND)
        }
    }
}
