//! Disks and INT 13h: drive detection, ATA, ATAPI and floppy drivers.
//!
//! ATA disks and ATAPI CD-ROM drives on the two legacy channels (`ata`, `atapi`, `detect`), floppy drives (`floppy`),
//! and the programming interface: INT 13h with CHS (`int13`) and with LBA (`edd`).
//!
//! A drive's index is its position in detection order and never changes. Its BIOS drive number changes if the boot
//! order makes another hard disk the first.

mod ata;
mod atapi;
mod buffer;
mod clock;
mod detect;
mod edd;
mod floppy;
mod geometry;
mod int13;
mod status;
mod tables;
#[cfg(test)]
mod tests;

pub use floppy::motor_tick;
pub use int13::{int13, int40};
pub use status::{Result, Status};

use crate::Bios;
use buffer::Buffer;
use core::cell::{Cell, OnceCell};
use geometry::{Chs, Translation};
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda};

/// Maximum number of drives: four IDE, two floppy.
pub const MAX_DRIVES: usize = 6;
const MAX_DISKS: usize = 4;
/// BIOS number of the first hard disk.
pub const HARD: u8 = 0x80;
/// BIOS number of the first CD-ROM drive.
pub const CDROM: u8 = 0xe0;

/// The type of a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriveKind {
    /// A hard disk.
    #[default]
    Hard,
    /// A CD-ROM drive.
    Cdrom,
    /// A floppy drive.
    Floppy,
}

/// A drive, as the boot code sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Drive type.
    pub kind: DriveKind,
    /// BIOS drive number: 00h and 01h, 80h and up, E0h and up.
    pub number: u8,
    /// IDE channel, 0 or 1; 0 for a floppy drive.
    pub channel: u8,
    /// 0 master, 1 slave; the drive's number for a floppy drive.
    pub unit: u8,
    /// Number of blocks; 0 if the medium is unknown: see [`cd_ready`].
    pub sectors: u64,
    /// Bytes per block.
    pub block: u16,
    /// Model name, padded with spaces.
    pub model: [u8; 40],
}

/// Where a drive is attached: IDE channel and unit. A floppy drive has channel 0 and its number as unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriveLocation {
    channel: u8,
    unit: u8,
}

impl DriveLocation {
    const fn new(channel: u8, unit: u8) -> Self {
        Self { channel, unit }
    }
    /// Base port of the command block: 1F0h or 170h.
    const fn base(self) -> u16 {
        0x1f0 - ((self.channel as u16) << 7)
    }
    /// Port of the device control register: 3F6h or 376h.
    const fn control(self) -> u16 {
        0x3f6 - ((self.channel as u16) << 7)
    }
    const fn irq(self) -> u8 {
        14 + self.channel
    }
}

/// The driver's data about a drive.
#[derive(Debug, Default)]
pub struct DriveInfo {
    kind: DriveKind,
    location: DriveLocation,
    /// Number of blocks; 0 if the medium is unknown.
    sectors: Cell<u64>,
    /// Bytes per block.
    block: Cell<u16>,
    /// Sectors per DRQ block of READ and WRITE MULTIPLE.
    multiple: u8,
    /// Supports LBA.
    lba: bool,
    /// Supports 48-bit LBA.
    lba48: bool,
    /// Highest supported PIO mode.
    pio: u8,
    /// The drive's own geometry.
    physical: Chs,
    /// INT 13h's geometry.
    logical: Chs,
    translation: Translation,
    /// CD-ROM drive: lock count.
    locks: Cell<u8>,
    /// CD-ROM drive: the disc has changed since INT 13h AH=49h was last called.
    changed: Cell<bool>,
    model: Model,
}

/// State of all drives.
#[derive(Debug, Default)]
pub struct State {
    count: Cell<u8>,
    info: [OnceCell<DriveInfo>; MAX_DRIVES],
    /// Drive indices of hard disks 80h, 81h ...
    order: [Cell<u8>; MAX_DISKS],
    hard_disks: Cell<u8>,
    /// PCI function (bus, device, function) of the IDE controller, or [`edd::NOT_PCI`].
    ide_function: Cell<u16>,
    /// Floppy drives.
    floppy: floppy::State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Model([u8; 40]);

impl Default for Model {
    fn default() -> Self {
        Self::NONE
    }
}

impl Model {
    const NONE: Self = Self([b' '; 40]);
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self {
            count: Cell::new(0),
            info: [const { OnceCell::new() }; MAX_DRIVES],
            order: [const { Cell::new(0) }; MAX_DISKS],
            hard_disks: Cell::new(0),
            ide_function: Cell::new(edd::NOT_PCI),
            floppy: floppy::State::new(),
        }
    }

    fn info(&self, index: u8) -> Option<&DriveInfo> {
        self.info.get(usize::from(index))?.get()
    }

    fn add(&self, info: DriveInfo) {
        let index = self.count.get();
        let kind = info.kind;
        if self.info.get(usize::from(index)).is_none_or(|slot| slot.set(info).is_err()) {
            return;
        }
        self.count.set(index + 1);
        if kind == DriveKind::Hard
            && let Some(slot) = self.order.get(usize::from(self.hard_disks.get()))
        {
            slot.set(index);
            self.hard_disks.set(self.hard_disks.get() + 1);
        }
    }

    /// Index of the drive with this BIOS number.
    fn index(&self, number: u8) -> Option<u8> {
        match number {
            CDROM.. => self.nth(DriveKind::Cdrom, number - CDROM),
            HARD.. => {
                let n = number - HARD;
                (n < self.hard_disks.get()).then(|| self.order.get(usize::from(n)).map(Cell::get))?
            }
            _ => self.nth(DriveKind::Floppy, number),
        }
    }

    fn nth(&self, kind: DriveKind, n: u8) -> Option<u8> {
        (0..self.count.get()).filter(|&index| self.info(index).is_some_and(|info| info.kind == kind)).nth(n.into())
    }

    fn number(&self, index: u8, kind: DriveKind) -> u8 {
        let before = (0..index).filter(|&other| self.info(other).is_some_and(|info| info.kind == kind)).count() as u8;
        match kind {
            DriveKind::Cdrom => CDROM + before,
            DriveKind::Floppy => before,
            DriveKind::Hard => HARD + (0..MAX_DISKS as u8).find(|&n| self.index(HARD + n) == Some(index)).unwrap_or(0),
        }
    }
}

/// Detects the drives.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    bios.hw.set(bda::DISK_STATUS, 0);
    floppy::init(bios);
    detect::probe(bios);
    tables::install(bios);
}

/// Number of drives.
pub fn drives<H: Hw>(bios: &Bios<H>) -> u8 {
    bios.state.disk.count.get()
}

/// The drive with this index.
pub fn drive<H: Hw>(bios: &Bios<H>, index: u8) -> Option<Drive> {
    let state = &bios.state.disk;
    let info = state.info(index)?;
    let DriveInfo { kind, location: DriveLocation { channel, unit }, model: Model(model), .. } = *info;
    let (sectors, block) = (info.sectors.get(), info.block.get());
    Some(Drive { kind, number: state.number(index, kind), channel, unit, sectors, block, model })
}

/// Index of the drive with this BIOS number.
pub fn index_of<H: Hw>(bios: &Bios<H>, number: u8) -> Option<u8> {
    bios.state.disk.index(number)
}

/// Reads `count` native blocks, starting at block `lba`. The buffer may cross the end of its segment.
pub fn read<H: Hw>(bios: &mut Bios<H>, index: u8, lba: u64, count: u16, to: FarPtr) -> Result<()> {
    let info = bios.state.disk.info(index).ok_or(Status::NO_PARAMETERS)?;
    let mut buffer = Buffer::far(to, u32::from(count) * u32::from(info.block.get()))?;
    access(bios, info, ata::Action::Read, lba, count, &mut buffer).1
}

/// Writes `count` native blocks; otherwise as [`read`].
pub fn write<H: Hw>(bios: &mut Bios<H>, index: u8, lba: u64, count: u16, from: FarPtr) -> Result<()> {
    let info = bios.state.disk.info(index).ok_or(Status::NO_PARAMETERS)?;
    let mut buffer = Buffer::far(from, u32::from(count) * u32::from(info.block.get()))?;
    access(bios, info, ata::Action::Write, lba, count, &mut buffer).1
}

/// Waits until a CD-ROM drive's disc is ready, and reads its size.
pub fn cd_ready<H: Hw>(bios: &mut Bios<H>, index: u8) -> Result<()> {
    let info = bios.state.disk.info(index).ok_or(Status::NO_PARAMETERS)?;
    if info.kind != DriveKind::Cdrom {
        return Err(Status::BAD_COMMAND);
    }
    let ready = atapi::wait_ready(bios, info.location).and_then(|changed| {
        if changed {
            info.changed.set(true);
        }
        atapi::capacity(bios, info.location)
    });
    let (sectors, block) = *ready.as_ref().unwrap_or(&(0, atapi::BLOCK));
    info.sectors.set(sectors);
    info.block.set(block);
    ready.map(|_| ())
}

/// Makes the drives with these indices hard disks 80h, 81h and so on; the others keep their relative order.
pub fn set_hard_disk_order<H: Hw>(bios: &mut Bios<H>, first: &[u8]) {
    let state = &bios.state.disk;
    let mut position = 0;
    for &index in first {
        let Some(from) = (position..state.hard_disks.get()).find(|&n| state.index(HARD + n) == Some(index)) else {
            continue;
        };
        for n in (position..from).rev() {
            if let (Some(one), Some(next)) = (state.order.get(usize::from(n)), state.order.get(usize::from(n + 1))) {
                next.swap(one);
            }
        }
        position += 1;
    }
    tables::install(bios);
}

/// Reads, writes or verifies blocks of any drive. Also returns the number of blocks done.
fn access<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    action: ata::Action,
    lba: u64,
    count: u16,
    buffer: &mut Buffer,
) -> (u16, Result<()>) {
    match (info.kind, action) {
        // The drive itself checks the LBA, since the size of the medium may be unknown.
        (DriveKind::Cdrom, ata::Action::Read) => atapi::read(bios, info, lba, count, buffer),
        (DriveKind::Cdrom, ata::Action::Write) => (0, Err(Status::WRITE_PROTECTED)),
        (DriveKind::Cdrom, ata::Action::Verify) => (0, Err(Status::BAD_COMMAND)),
        (DriveKind::Floppy, _) => floppy::access(bios, info, action, lba, count, buffer),
        (DriveKind::Hard, _) => match lba.checked_add(count.into()) {
            Some(end) if end <= info.sectors.get() => ata::transfer(bios, info, action, lba, count, buffer),
            _ => (0, Err(Status::NOT_FOUND)),
        },
    }
}

/// IRQ 6: floppy controller.
pub fn int0e<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    floppy::interrupt(bios);
}

/// IRQ 14: primary IDE channel. The BIOS's driver polls, so this interrupt only comes from another driver's commands.
/// Does what the AT's handler does, for a driver that waits for that.
pub fn int76<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    const EOI: u8 = 0x20;
    bios.hw.set(bda::DISK_INTERRUPT, 0xff);
    bios.hw.outb(0xa0, EOI);
    bios.hw.outb(0x20, EOI);
    // INT 15h AH=91h: device ready; type 0 is the disk.
    let mut regs = Regs::default();
    regs.set_ax(0x9100);
    bios.hw.call_interrupt(0x15, &mut regs);
}
