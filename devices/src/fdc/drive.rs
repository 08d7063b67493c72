//! Floppy drive: head position, change line, write protection, rotation, and the medium in it.

use super::geometry::{self, DriveType, Format, SECTOR, Sector};
use crate::time::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Time from motor on until the disk turns at full speed: 500 ms (typical specification of 3.5" drives).
pub const SPIN_UP: u64 = 500_000_000;

/// A medium, as the host describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloppyMedium {
    /// Bytes of the image.
    pub size: u64,
    /// The write protect notch is set.
    pub read_only: bool,
}

/// A drive's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloppySpec {
    /// The type of the drive.
    pub kind: DriveType,
    /// The disk in it at power-on.
    pub medium: Option<FloppyMedium>,
}

/// A drive. Its state is saved as it is, without the type.
#[derive(Clone, Debug)]
pub struct Drive {
    /// The type of the drive.
    pub kind: DriveType,
    /// Everything that changes.
    pub state: DriveState,
}

/// [`Drive`] in a saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveState {
    medium: Option<FloppyMedium>,
    /// The disk's format. None without a disk, for a disk that the drive cannot read, and until the boot sector of a disk
    /// whose size fits several formats has been read.
    format: Option<Format>,
    /// The boot sector has to be read to find the format.
    needs_boot_sector: bool,
    /// Cylinder at which the heads stand.
    cylinder: u8,
    /// The change line is active.
    changed: bool,
    /// Sectors with a deleted data address mark, as offsets in the image divided by 512. A raw image does not store the
    /// marks, so they last as long as the disk stays in the drive.
    deleted: BTreeSet<u32>,
    /// Position of the next ID that READ ID returns while rotation is not simulated.
    next_id: u8,
    /// The disk is at full speed from this time on.
    ready_at: VmTime,
}

/// Whether and why the heads read no ID of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Drive {
    /// A drive at power-on.
    pub fn new(spec: FloppySpec) -> Self {
        let mut drive = Self { kind: spec.kind, state: DriveState::default() };
        drive.insert(spec.medium);
        // A drive reports a change at power-on only if it is empty.
        drive.state.changed = spec.medium.is_none() && drive.kind.has_change_line();
        drive
    }

    /// RESET#: the drive itself has no reset. The heads keep their position; the motor is off.
    pub fn reset(&mut self) {
        self.state.ready_at = VmTime::ZERO;
        self.state.next_id = 0;
    }

    /// The medium was changed.
    pub fn insert(&mut self, medium: Option<FloppyMedium>) {
        let format = medium.and_then(|medium| geometry::unambiguous(medium.size, self.kind));
        self.state.needs_boot_sector =
            format.is_none() && medium.is_some_and(|medium| self.kind.accepts_size(medium.size));
        self.state.medium = medium;
        self.state.format = format;
        self.state.changed = self.kind.has_change_line();
        self.state.deleted.clear();
        self.state.next_id = 0;
    }

    /// Whether a disk is in the drive.
    pub fn has_medium(&self) -> bool {
        self.state.medium.is_some()
    }

    /// Whether the write protect sensor reports a protected disk.
    pub fn write_protected(&self) -> bool {
        self.state.medium.is_some_and(|medium| medium.read_only)
    }

    /// The host refused a write.
    pub fn set_write_protected(&mut self) {
        if let Some(medium) = &mut self.state.medium {
            medium.read_only = true;
        }
    }

    /// Level of the change line.
    pub fn changed(&self) -> bool {
        self.state.changed
    }

    /// Whether the heads stand on track 0.
    pub fn on_track_0(&self) -> bool {
        self.state.cylinder == 0
    }

    /// Steps by `by` cylinders, negative towards track 0, as far as the heads go. Returns the number of steps made. A step
    /// with a disk in the drive clears the change line.
    pub fn step(&mut self, by: i16) -> u8 {
        let to = (i16::from(self.state.cylinder) + by).clamp(0, self.kind.last_cylinder().into()) as u8;
        let made = to.abs_diff(self.state.cylinder);
        self.state.cylinder = to;
        if by != 0 && self.has_medium() {
            self.state.changed = false;
        }
        made
    }

    /// The motor was switched on.
    pub fn spin_up(&mut self, now: VmTime, real: bool) {
        self.state.ready_at = if real { now.plus_nanos(SPIN_UP) } else { now };
    }

    /// From when on the disk can be read.
    pub fn ready_at(&self) -> VmTime {
        self.state.ready_at
    }

    /// Whether the boot sector has to be read before the disk's format is known.
    pub fn needs_boot_sector(&self) -> bool {
        self.state.needs_boot_sector
    }

    /// Chooses the format by the boot sector, or without it if it could not be read.
    pub fn set_boot_sector(&mut self, boot: &[u8]) {
        if std::mem::take(&mut self.state.needs_boot_sector) {
            self.state.format = self.state.medium.and_then(|medium| geometry::choose(medium.size, self.kind, boot));
        }
    }

    /// The track under a head at a data rate: the disk's format and the cylinder number in the track's IDs.
    pub fn track(&self, head: u8, rate: u8, mfm: bool) -> Result<(Format, u8), Unreadable> {
        let format = self.state.format.ok_or(Unreadable)?;
        // Between the tracks of a 40-track disk the heads of an 80-track drive read the next lower one.
        let cylinder = self.state.cylinder >> u8::from(self.kind.double_steps(&format));
        let readable = mfm && rate == self.kind.rate(&format) && cylinder < format.cylinders && head < format.heads;
        if readable { Ok((format, cylinder)) } else { Err(Unreadable) }
    }

    /// Whether a sector has a deleted data address mark.
    pub fn is_deleted(&self, sector: &Sector) -> bool {
        self.state.deleted.contains(&((sector.offset / u64::from(SECTOR)) as u32))
    }

    /// Writes a sector's data address mark.
    pub fn mark(&mut self, sector: &Sector, deleted: bool) {
        let block = (sector.offset / u64::from(SECTOR)) as u32;
        if deleted {
            self.state.deleted.insert(block);
        } else {
            self.state.deleted.remove(&block);
        }
    }

    /// The position on the track of the next ID that passes the head.
    pub fn next_id(&mut self, sectors: usize, now: VmTime, real: bool) -> usize {
        let sectors = sectors.max(1);
        if real {
            let angle = now.nanos() % self.kind.revolution();
            return ((angle * sectors as u64).div_ceil(self.kind.revolution()) as usize) % sectors;
        }
        let position = usize::from(self.state.next_id) % sectors;
        self.state.next_id = ((position + 1) % sectors) as u8;
        position
    }

    /// Nanoseconds until the end of the sector at a position has passed the head.
    pub fn until_passed(&self, position: usize, sectors: usize, now: VmTime) -> u64 {
        let revolution = self.kind.revolution();
        let slot = revolution / sectors.max(1) as u64;
        let start = slot * position as u64;
        let angle = now.nanos() % revolution;
        (start + revolution - angle) % revolution + slot
    }

    /// Whether a drive of this type can have this state.
    pub fn accepts(&self, state: &DriveState) -> bool {
        let DriveState { medium, format, needs_boot_sector, cylinder, changed, deleted, next_id: _, ready_at: _ } =
            state;
        let blocks = medium.map_or(0, |medium| medium.size / u64::from(SECTOR));
        let format_fits = match (format, medium) {
            (None, _) => true,
            (Some(format), Some(medium)) => {
                self.kind.accepts(format) && geometry::formats(medium.size).any(|possible| possible == *format)
            }
            (Some(_), None) => false,
        };
        let pending_fits =
            !needs_boot_sector || format.is_none() && medium.is_some_and(|medium| self.kind.accepts_size(medium.size));
        format_fits
            && pending_fits
            && *cylinder <= self.kind.last_cylinder()
            && (!changed || self.kind.has_change_line())
            && deleted.iter().all(|&block| u64::from(block) < blocks)
    }
}
