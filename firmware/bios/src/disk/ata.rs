//! ATA hard disk driver by PIO, for the two legacy IDE channels (ATA/ATAPI-6, T13 1410D).
//!
//! Ports 1F0h-1F7h and 3F6h, 170h-177h and 376h. The driver polls the status register and masks the drive's interrupt
//! with nIEN during a command: an IRQ per block would cost more than polling, and the caller may have interrupts
//! disabled. After each command nIEN is cleared, as operating systems expect it.
//!
//! Deliberately missing: DMA (under a memory manager the caller's address is not a physical one), and FLUSH CACHE after
//! writes, which other BIOSes do not send either: operating systems flush before power-off.

use super::buffer::Buffer;
use super::clock::Timeout;
use super::status::{Result, Status};
use super::{DriveInfo, DriveLocation};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda};

/// Register offsets from the channel's base port.
pub mod reg {
    #![allow(missing_docs)]
    pub const DATA: u16 = 0;
    pub const ERROR: u16 = 1;
    pub const FEATURES: u16 = 1;
    pub const COUNT: u16 = 2;
    pub const LBA_LOW: u16 = 3;
    pub const LBA_MID: u16 = 4;
    pub const LBA_HIGH: u16 = 5;
    pub const DEVICE: u16 = 6;
    pub const STATUS: u16 = 7;
    pub const COMMAND: u16 = 7;
}

/// Status register bits.
pub mod status {
    #![allow(missing_docs)]
    pub const BSY: u8 = 0x80;
    pub const DRDY: u8 = 0x40;
    pub const DF: u8 = 0x20;
    pub const DRQ: u8 = 0x08;
    pub const ERR: u8 = 0x01;
}

/// Error register bits.
mod error {
    pub const BAD_BLOCK: u8 = 0x80;
    /// UNC (uncorrectable data) when reading, WP (write-protected) when writing.
    pub const UNC_OR_WP: u8 = 0x40;
    pub const IDNF: u8 = 0x10;
    pub const ABRT: u8 = 0x04;
    pub const TRACK_0: u8 = 0x02;
    pub const ADDRESS_MARK: u8 = 0x01;
}

/// Device control register: bit 3 is obsolete and set by convention.
const CONTROL: u8 = 0x08;
const SRST: u8 = 0x04;
const NIEN: u8 = 0x02;

/// Device register: bits 7 and 5 are obsolete and set by convention.
const DEVICE: u8 = 0xa0;
const DEVICE_LBA: u8 = 0x40;
const DEVICE_SLAVE: u8 = 0x10;

mod op {
    pub const READ: u8 = 0x20;
    pub const READ_EXT: u8 = 0x24;
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    pub const WRITE: u8 = 0x30;
    pub const WRITE_EXT: u8 = 0x34;
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    pub const VERIFY: u8 = 0x40;
    pub const VERIFY_EXT: u8 = 0x42;
    pub const INITIALIZE_PARAMETERS: u8 = 0x91;
    pub const READ_MULTIPLE: u8 = 0xc4;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const SET_MULTIPLE: u8 = 0xc6;
}

/// Time-out of a command. A drive that spins up and a slow host are not errors.
const COMMAND_MS: u32 = 30_000;
/// Time-out for a busy drive to become idle before a command.
const IDLE_MS: u32 = 5_000;
/// Time-out after a reset. The specification's 31 s (9.2) include spin-up, which virtual drives do not need.
const RESET_MS: u32 = 10_000;
/// Requested sectors per DRQ block of READ and WRITE MULTIPLE.
pub const MULTIPLE: u8 = 16;
/// Maximum number of sectors per command.
const PER_COMMAND: u16 = 256;
/// Number of sectors that LBA28 can address.
const LBA28_SECTORS: u64 = 1 << 28;
const SECTOR: u32 = 512;

/// The kind of transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Disk to memory.
    Read,
    /// Memory to disk.
    Write,
    /// Check that the sectors can be read.
    Verify,
}

/// Waits until the selected drive's BSY is clear, and returns its status.
pub fn wait_not_busy<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, ms: u32) -> Result<u8> {
    let status = bios.hw.inb(location.base() + reg::STATUS);
    if status & status::BSY == 0 { Ok(status) } else { poll_busy(bios, location, ms) }
}

#[cold]
fn poll_busy<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, ms: u32) -> Result<u8> {
    let mut timeout = Timeout::ms(ms);
    while !timeout.expired(bios) {
        let status = bios.hw.inb(location.base() + reg::STATUS);
        if status & status::BSY == 0 {
            return Ok(status);
        }
    }
    Err(Status::TIMEOUT)
}

/// The device register without head and LBA bits 24-27.
pub fn device_bits(info: &DriveInfo) -> u8 {
    DEVICE | (info.location.unit * DEVICE_SLAVE) | if info.lba { DEVICE_LBA } else { 0 }
}

/// Writes the device register and waits until the drive is idle; resets a drive that stays busy or has DRQ set.
pub fn select<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, bits: u8) -> Result<()> {
    let device = DEVICE | bits | (location.unit * DEVICE_SLAVE);
    // Retry once: a drive that was busy has ignored the write to its device register.
    for _ in 0..2 {
        bios.hw.outb(location.base() + reg::DEVICE, device);
        let status = bios.hw.inb(location.base() + reg::STATUS);
        if status & (status::BSY | status::DRQ) == 0 {
            return Ok(());
        }
        if status == 0xff {
            return Err(Status::NOT_READY);
        }
        if wait_not_busy(bios, location, IDLE_MS).is_err() || status & status::BSY == 0 {
            reset(bios, location)?;
        }
    }
    Err(Status::TIMEOUT)
}

/// Masks the channel's interrupt (nIEN) for a command.
pub fn mask_interrupt<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) {
    bios.hw.outb(location.control(), CONTROL | NIEN);
}

/// Unmasks the channel's interrupt. None is pending, since the status register has been read.
pub fn unmask_interrupt<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) {
    bios.hw.outb(location.control(), CONTROL);
}

/// Resets both drives of the channel.
pub fn reset<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<()> {
    bios.hw.outb(location.control(), CONTROL | SRST | NIEN);
    // SRST must be set for at least 5 us (9.2): a port access on an ISA bus takes 1 us.
    for _ in 0..8 {
        bios.hw.inb(location.control());
    }
    bios.hw.outb(location.control(), CONTROL | NIEN);
    // The specification has 2 ms here before the first status read, but a drive that needs them has BSY set at once.
    wait_not_busy(bios, location, RESET_MS)?;
    let device = DEVICE | (location.unit * DEVICE_SLAVE);
    bios.hw.outb(location.base() + reg::DEVICE, device);
    wait_not_busy(bios, location, RESET_MS)?;
    Ok(())
}

/// Programs the drive as [`transfer`] needs it, after a reset or after another driver has used it.
pub fn configure<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo) -> Result<()> {
    let location = info.location;
    mask_interrupt(bios, location);
    let result = (|| {
        if info.multiple > 1 {
            select(bios, location, 0)?;
            bios.hw.outb(location.base() + reg::COUNT, info.multiple);
            command(bios, location, op::SET_MULTIPLE)?;
        }
        if !info.lba {
            select(bios, location, info.physical.heads.wrapping_sub(1) & 0xf)?;
            bios.hw.outb(location.base() + reg::COUNT, info.physical.sectors);
            command(bios, location, op::INITIALIZE_PARAMETERS)?;
        }
        Ok(())
    })();
    unmask_interrupt(bios, location);
    result
}

/// Runs a command without data.
pub fn command<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, opcode: u8) -> Result<()> {
    bios.hw.outb(location.base() + reg::COMMAND, opcode);
    let status = wait_not_busy(bios, location, COMMAND_MS)?;
    check_error(bios, location, status, false)
}

/// Runs a command that returns one sector, and stores that at `to`.
pub fn command_in<H: Hw>(
    bios: &mut Bios<H>,
    location: DriveLocation,
    opcode: u8,
    to: &mut Buffer,
    ms: u32,
) -> Result<()> {
    bios.hw.outb(location.base() + reg::COMMAND, opcode);
    let status = wait_not_busy(bios, location, ms)?;
    check_error(bios, location, status, false)?;
    if status & status::DRQ == 0 {
        return Err(Status::UNDEFINED);
    }
    to.read_from_port(bios.hw, location.base() + reg::DATA, SECTOR);
    Ok(())
}

/// Converts status and error registers to a [`Status`].
fn check_error<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, status: u8, write: bool) -> Result<()> {
    if status & (status::ERR | status::DF) == 0 {
        return Ok(());
    }
    let error = bios.hw.inb(location.base() + reg::ERROR);
    bios.hw.set(bda::DISK_STATUS_REGISTER, status);
    bios.hw.set(bda::DISK_ERROR_REGISTER, error);
    Err(match error {
        _ if status & status::ERR == 0 => Status::WRITE_FAULT,
        _ if error & error::UNC_OR_WP != 0 && write => Status::WRITE_PROTECTED,
        _ if status & status::DF != 0 => Status::WRITE_FAULT,
        _ if error & error::BAD_BLOCK != 0 => Status::BAD_SECTOR,
        _ if error & error::UNC_OR_WP != 0 => Status::READ_ERROR,
        _ if error & error::IDNF != 0 => Status::NOT_FOUND,
        _ if error & error::ABRT != 0 => Status::BAD_COMMAND,
        _ if error & error::TRACK_0 != 0 => Status::SEEK,
        _ if error & error::ADDRESS_MARK != 0 => Status::BAD_ADDRESS_MARK,
        _ => Status::UNDEFINED,
    })
}

/// Transfers `count` existing sectors, starting at `lba`. Also returns the number of sectors transferred.
pub fn transfer<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    action: Action,
    mut lba: u64,
    count: u16,
    buffer: &mut Buffer,
) -> (u16, Result<()>) {
    let mut done = 0;
    let mut multiple = info.multiple;
    mask_interrupt(bios, info.location);
    let mut result = Ok(());
    while done < count {
        if done > 0 {
            bios.hw.poll_interrupts();
        }
        let now = (count - done).min(PER_COMMAND);
        let before = *buffer;
        let (moved, ended) = one_command(bios, info, action, multiple, lba, now, buffer);
        done += moved;
        lba += u64::from(moved);
        let Err(status) = ended else { continue };
        *buffer = before;
        buffer.advance(u32::from(moved) * SECTOR);
        // Another driver may have changed or disabled MULTIPLE mode since `configure`.
        if status == Status::BAD_COMMAND && multiple > 1 && moved == 0 {
            multiple = 1;
            continue;
        }
        result = Err(status);
        break;
    }
    unmask_interrupt(bios, info.location);
    (done, result)
}

/// Transfers up to 256 sectors with one command; otherwise as [`transfer`].
fn one_command<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    action: Action,
    multiple: u8,
    lba: u64,
    count: u16,
    buffer: &mut Buffer,
) -> (u16, Result<()>) {
    if let Err(status) = start_command(bios, info, action, multiple > 1, lba, count) {
        return (0, Err(status));
    }
    let (base, write) = (info.location.base(), action == Action::Write);
    let block = u32::from(multiple.max(1));
    let mut left = u32::from(count);
    // Sectors sent but not acknowledged yet: they may be lost.
    let mut unacknowledged = 0;
    loop {
        let mut status = bios.hw.inb(base + reg::STATUS);
        if left == 0 || status & (status::BSY | status::DF | status::DRQ | status::ERR) != status::DRQ {
            status = match wait_status(bios, info.location, status, write) {
                Ok(status) => status,
                Err(error) => return (count - (left + unacknowledged) as u16, Err(error)),
            };
            if left == 0 || action == Action::Verify {
                return (count, Ok(()));
            }
            if status & status::DRQ == 0 {
                return (count - (left + unacknowledged) as u16, Err(Status::UNDEFINED));
            }
        }
        let now = left.min(block);
        if write {
            buffer.write_to_port(bios.hw, base + reg::DATA, now * SECTOR);
            unacknowledged = now;
        } else {
            buffer.read_from_port(bios.hw, base + reg::DATA, now * SECTOR);
        }
        left -= now;
        if left == 0 && !write {
            // A read has no status phase after its last block.
            return (count, Ok(()));
        }
    }
}

/// Waits until BSY is clear, and returns the status unless it reports an error.
fn wait_status<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, mut status: u8, write: bool) -> Result<u8> {
    let mut result = Ok(());
    if status & status::BSY != 0 {
        match poll_busy(bios, location, COMMAND_MS) {
            Ok(now) => status = now,
            Err(timeout) => result = Err(timeout),
        }
    }
    result = result.and_then(|()| check_error(bios, location, status, write));
    // The drive hangs, or still requests a data transfer.
    if result == Err(Status::TIMEOUT) || result.is_err() && status & status::DRQ != 0 {
        let _ = reset(bios, location);
    }
    result.map(|()| status)
}

/// Writes the task file and starts the command.
fn start_command<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    action: Action,
    multiple: bool,
    lba: u64,
    count: u16,
) -> Result<()> {
    let base = info.location.base();
    let bytes = lba.to_le_bytes();
    let ext = info.lba48 && lba + u64::from(count) > LBA28_SECTORS;
    let opcode = match (action, ext, multiple) {
        (Action::Read, false, false) => op::READ,
        (Action::Read, false, true) => op::READ_MULTIPLE,
        (Action::Read, true, false) => op::READ_EXT,
        (Action::Read, true, true) => op::READ_MULTIPLE_EXT,
        (Action::Write, false, false) => op::WRITE,
        (Action::Write, false, true) => op::WRITE_MULTIPLE,
        (Action::Write, true, false) => op::WRITE_EXT,
        (Action::Write, true, true) => op::WRITE_MULTIPLE_EXT,
        (Action::Verify, false, _) => op::VERIFY,
        (Action::Verify, true, _) => op::VERIFY_EXT,
    };
    let (bits, low, mid, high) = if !info.lba {
        // Drives without LBA are small enough for 32 bits.
        let lba = lba as u32;
        let per_track = u32::from(info.physical.sectors.max(1));
        let (track, sector) = (lba / per_track, lba % per_track);
        let heads = u32::from(info.physical.heads.max(1));
        let (cylinder, head) = (track / heads, track % heads);
        (head as u8 & 0xf, sector as u8 + 1, cylinder as u8, (cylinder >> 8) as u8)
    } else if ext {
        (DEVICE_LBA, bytes[0], bytes[1], bytes[2])
    } else {
        (DEVICE_LBA | bytes[3] & 0xf, bytes[0], bytes[1], bytes[2])
    };
    select(bios, info.location, bits)?;
    if ext {
        bios.hw.outb(base + reg::COUNT, (count >> 8) as u8);
        bios.hw.outb(base + reg::LBA_LOW, bytes[3]);
        bios.hw.outb(base + reg::LBA_MID, bytes[4]);
        bios.hw.outb(base + reg::LBA_HIGH, bytes[5]);
    }
    // A count of 256 is written as 0.
    bios.hw.outb(base + reg::COUNT, count as u8);
    bios.hw.outb(base + reg::LBA_LOW, low);
    bios.hw.outb(base + reg::LBA_MID, mid);
    bios.hw.outb(base + reg::LBA_HIGH, high);
    bios.hw.outb(base + reg::COMMAND, opcode);
    Ok(())
}

/// Whether the drive has DRDY set.
pub fn ready<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<()> {
    select(bios, location, 0)?;
    let status = bios.hw.inb(location.base() + reg::STATUS);
    if status & status::DRDY != 0 { Ok(()) } else { Err(Status::NOT_READY) }
}
