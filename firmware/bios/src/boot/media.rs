//! The drives that can be booted: those of [`crate::disk`], or fake ones in this crate's tests.

pub use crate::disk::{Drive, DriveKind, Status};
#[cfg(not(test))]
pub use crate::disk::{cd_ready, drive, drives, int13, read, set_hard_disk_order};

#[cfg(test)]
pub use fake_drives::{cd_ready, drive, drives, int13, read, set_hard_disk_order};

/// Fake drives for tests, backed by byte vectors.
#[cfg(test)]
pub mod fake_drives {
    use super::{Drive, DriveKind, Status};
    use crate::Bios;
    use pcvm_firmware_rt::{FarPtr, Hw, Regs};
    use std::cell::RefCell;

    /// A drive and its medium; an empty image means no medium.
    #[derive(Clone, Debug)]
    pub struct FakeDrive {
        pub kind: DriveKind,
        pub image: Vec<u8>,
        /// Blocks from this one on have read errors.
        pub bad_from: u64,
    }

    thread_local! {
        static DRIVES: RefCell<Vec<FakeDrive>> = const { RefCell::new(Vec::new()) };
        static HARD_ORDER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        /// Blocks read since the drives were set.
        static READ: RefCell<u64> = const { RefCell::new(0) };
        /// Drive number and function of each INT 13h call that reached the real drives.
        static FORWARDED: RefCell<Vec<(u8, u8)>> = const { RefCell::new(Vec::new()) };
    }

    pub fn attach(drives: &[(DriveKind, Vec<u8>)]) {
        let drives =
            drives.iter().map(|(kind, image)| FakeDrive { kind: *kind, image: image.clone(), bad_from: u64::MAX });
        set(drives.collect());
    }

    pub fn set(drives: Vec<FakeDrive>) {
        DRIVES.with_borrow_mut(|all| *all = drives);
        HARD_ORDER.with_borrow_mut(Vec::clear);
        READ.set(0);
        FORWARDED.with_borrow_mut(Vec::clear);
    }

    pub fn blocks_read() -> u64 {
        READ.with_borrow(|n| *n)
    }

    pub fn forwarded() -> Vec<(u8, u8)> {
        FORWARDED.with_borrow(Clone::clone)
    }

    fn hard_disks() -> Vec<u8> {
        let all: Vec<u8> = DRIVES.with_borrow(|drives| {
            (0..drives.len() as u8).filter(|&n| drives[usize::from(n)].kind == DriveKind::Hard).collect()
        });
        HARD_ORDER.with_borrow(|order| {
            let rest = all.iter().filter(|index| !order.contains(index));
            order.iter().chain(rest).copied().collect()
        })
    }

    pub fn drives<H: Hw>(_bios: &Bios<H>) -> u8 {
        DRIVES.with_borrow(Vec::len) as u8
    }

    pub fn drive<H: Hw>(_bios: &Bios<H>, index: u8) -> Option<Drive> {
        let disks = hard_disks();
        DRIVES.with_borrow(|drives| {
            let FakeDrive { kind, image, .. } = drives.get(usize::from(index))?;
            let before = drives.iter().take(index.into()).filter(|drive| drive.kind == *kind).count() as u8;
            let block = if *kind == DriveKind::Cdrom { 2048 } else { 512 };
            let number = match kind {
                DriveKind::Hard => 0x80 + disks.iter().position(|&n| n == index)? as u8,
                DriveKind::Cdrom => 0xe0 + before,
                DriveKind::Floppy => before,
            };
            let mut model = [b' '; 40];
            model[..4].copy_from_slice(b"FAKE");
            let sectors = image.len() as u64 / u64::from(block);
            let unit = if *kind == DriveKind::Floppy { before } else { index & 1 };
            Some(Drive { kind: *kind, number, channel: (index / 2) & 1, unit, sectors, block, model })
        })
    }

    pub fn read<H: Hw>(bios: &mut Bios<H>, index: u8, lba: u64, count: u16, to: FarPtr) -> Result<(), Status> {
        READ.with_borrow_mut(|n| *n += u64::from(count));
        let block = drive(bios, index).ok_or(Status::NO_PARAMETERS)?.block;
        let bytes = DRIVES.with_borrow(|drives| {
            let FakeDrive { image, bad_from, .. } = &drives[usize::from(index)];
            if image.is_empty() {
                return Err(Status::NO_MEDIUM);
            }
            let start = lba.checked_mul(block.into()).ok_or(Status::NOT_FOUND)? as usize;
            let length = usize::from(count) * usize::from(block);
            let bytes = start.checked_add(length).and_then(|end| image.get(start..end)).ok_or(Status::NOT_FOUND)?;
            if lba + u64::from(count) > *bad_from { Err(Status::READ_ERROR) } else { Ok(bytes.to_vec()) }
        })?;
        for (n, &byte) in bytes.iter().enumerate() {
            bios.hw.write8(FarPtr::from_linear(to.linear() + n as u32), byte);
        }
        Ok(())
    }

    pub fn cd_ready<H: Hw>(_bios: &mut Bios<H>, index: u8) -> Result<(), Status> {
        let empty =
            DRIVES.with_borrow(|drives| drives.get(usize::from(index)).is_none_or(|drive| drive.image.is_empty()));
        if empty { Err(Status::NO_MEDIUM) } else { Ok(()) }
    }

    pub fn set_hard_disk_order<H: Hw>(_bios: &mut Bios<H>, first: &[u8]) {
        HARD_ORDER.with_borrow_mut(|order| *order = first.to_vec());
    }

    pub fn int13<H: Hw>(_bios: &mut Bios<H>, regs: &mut Regs) {
        FORWARDED.with_borrow_mut(|forwarded| forwarded.push((regs.dl(), regs.ah())));
        if regs.ah() == 8 {
            regs.set_dl(1);
        }
        regs.set_cf(false);
    }
}
