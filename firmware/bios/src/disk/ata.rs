//! ATA drives on the two channels that a PC has always had, by PIO (ATA/ATAPI-6, T13 1410D).
//!
//! Ports 1F0h-1F7h and 3F6h, 170h-177h and 376h. Status is polled, and the drive's interrupt is kept off by nIEN while a
//! command runs: an IRQ for each block would cost a caller more than the poll does, and a caller may have interrupts
//! off. After each command the interrupt is enabled again, as operating systems find it.
//!
//! Deliberately missing: DMA (a caller's address is not a physical one under a memory manager), and FLUSH CACHE after
//! writes, which BIOSes do not send either: power-off by an operating system flushes.

use super::clock::Timeout;
use super::place::Place;
use super::status::{Result, Status};
use super::{Bus, Info};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda};

/// Offsets of the registers in a channel's ports.
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
    /// Uncorrectable data when reading, write-protected when writing.
    pub const UNC_OR_WP: u8 = 0x40;
    pub const IDNF: u8 = 0x10;
    pub const ABRT: u8 = 0x04;
    pub const TRACK_0: u8 = 0x02;
    pub const ADDRESS_MARK: u8 = 0x01;
}

/// Device control register: bit 3 was always to be set.
const CONTROL: u8 = 0x08;
const SRST: u8 = 0x04;
const NIEN: u8 = 0x02;

/// Device register: bits 7 and 5 were always to be set.
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

/// A command may wait that long for the drive: one that spins up, and a host that is slow, are no errors.
const COMMAND_MS: u32 = 30_000;
/// A drive that is busy when it is to be given a command.
const IDLE_MS: u32 = 5_000;
/// After a reset (9.2: 31 s, of which a drive without platters needs nothing).
const RESET_MS: u32 = 10_000;
/// Sectors per DRQ block that are asked for.
pub const MULTIPLE: u8 = 16;
/// The most sectors that one command moves.
const PER_COMMAND: u16 = 256;
/// Sectors that 28 bits can name.
const LBA28_SECTORS: u64 = 1 << 28;
const SECTOR: u32 = 512;

/// What to do with sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To memory.
    Read,
    /// From memory.
    Write,
    /// Look whether they can be read.
    Verify,
}

/// Waits until the selected drive is not busy. Returns its status.
pub fn not_busy<H: Hw>(bios: &mut Bios<H>, bus: Bus, ms: u32) -> Result<u8> {
    let mut timeout = Timeout::ms(ms);
    loop {
        let status = bios.hw.inb(bus.base() + reg::STATUS);
        if status & status::BSY == 0 {
            return Ok(status);
        }
        if timeout.expired(bios) {
            return Err(Status::TIMEOUT);
        }
    }
}

/// The device register's bits that always come with this drive.
pub fn device_bits(info: &Info) -> u8 {
    DEVICE | if info.bus.slave() { DEVICE_SLAVE } else { 0 } | if info.lba { DEVICE_LBA } else { 0 }
}

/// Selects the drive, with the device register's other bits, and sees to it that it is idle.
pub fn select<H: Hw>(bios: &mut Bios<H>, bus: Bus, bits: u8) -> Result<()> {
    let device = DEVICE | bits | if bus.slave() { DEVICE_SLAVE } else { 0 };
    // One read tells, but where a drive was busy with something else, it did not see what was written.
    for _ in 0..2 {
        bios.hw.outb(bus.base() + reg::DEVICE, device);
        let status = bios.hw.inb(bus.base() + reg::STATUS);
        if status & (status::BSY | status::DRQ) == 0 {
            return Ok(());
        }
        if status == 0xff {
            return Err(Status::NOT_READY);
        }
        if not_busy(bios, bus, IDLE_MS).is_err() || status & status::BSY == 0 {
            reset(bios, bus)?;
        }
    }
    Err(Status::TIMEOUT)
}

/// Disables the channel's interrupt for a command.
pub fn mask_interrupt<H: Hw>(bios: &mut Bios<H>, bus: Bus) {
    bios.hw.outb(bus.control(), CONTROL | NIEN);
}

/// Enables it again. Status was read before, so none is pending.
pub fn unmask_interrupt<H: Hw>(bios: &mut Bios<H>, bus: Bus) {
    bios.hw.outb(bus.control(), CONTROL);
}

/// Resets both drives of the channel.
pub fn reset<H: Hw>(bios: &mut Bios<H>, bus: Bus) -> Result<()> {
    bios.hw.outb(bus.control(), CONTROL | SRST | NIEN);
    // 5 us at least (9.2): a port access on an ISA bus takes one.
    for _ in 0..8 {
        bios.hw.inb(bus.control());
    }
    bios.hw.outb(bus.control(), CONTROL | NIEN);
    // And 2 ms before status is looked at; a drive that needs them is busy from the start.
    not_busy(bios, bus, RESET_MS)?;
    let device = DEVICE | if bus.slave() { DEVICE_SLAVE } else { 0 };
    bios.hw.outb(bus.base() + reg::DEVICE, device);
    not_busy(bios, bus, RESET_MS)?;
    Ok(())
}

/// Makes the drive as it is to be for [`transfer`], after a reset or after somebody else has used it.
pub fn set_up<H: Hw>(bios: &mut Bios<H>, info: &Info) -> Result<()> {
    let bus = info.bus;
    mask_interrupt(bios, bus);
    let result = (|| {
        if info.multiple > 1 {
            select(bios, bus, 0)?;
            bios.hw.outb(bus.base() + reg::COUNT, info.multiple);
            command(bios, bus, op::SET_MULTIPLE)?;
        }
        if !info.lba {
            select(bios, bus, info.physical.heads.wrapping_sub(1) & 0xf)?;
            bios.hw.outb(bus.base() + reg::COUNT, info.physical.sectors);
            command(bios, bus, op::INITIALIZE_PARAMETERS)?;
        }
        Ok(())
    })();
    unmask_interrupt(bios, bus);
    result
}

/// A command without data.
pub fn command<H: Hw>(bios: &mut Bios<H>, bus: Bus, opcode: u8) -> Result<()> {
    bios.hw.outb(bus.base() + reg::COMMAND, opcode);
    let status = not_busy(bios, bus, COMMAND_MS)?;
    check(bios, bus, status, false)
}

/// A command that answers with one sector, which is put at `to`.
pub fn command_in<H: Hw>(bios: &mut Bios<H>, bus: Bus, opcode: u8, to: &mut Place, ms: u32) -> Result<()> {
    bios.hw.outb(bus.base() + reg::COMMAND, opcode);
    let status = not_busy(bios, bus, ms)?;
    check(bios, bus, status, false)?;
    if status & status::DRQ == 0 {
        return Err(Status::UNDEFINED);
    }
    to.fill_from(bios.hw, bus.base() + reg::DATA, SECTOR);
    Ok(())
}

/// Whether status tells of an error, and which.
fn check<H: Hw>(bios: &mut Bios<H>, bus: Bus, status: u8, write: bool) -> Result<()> {
    if status & (status::ERR | status::DF) == 0 {
        return Ok(());
    }
    let error = bios.hw.inb(bus.base() + reg::ERROR);
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

/// Moves `count` sectors from `lba` on, which exist, to or from `place`. Returns how many have been moved, too.
pub fn transfer<H: Hw>(
    bios: &mut Bios<H>,
    info: &Info,
    action: Action,
    mut lba: u64,
    count: u16,
    place: &mut Place,
) -> (u16, Result<()>) {
    let mut done = 0;
    let mut multiple = info.multiple;
    mask_interrupt(bios, info.bus);
    let mut result = Ok(());
    while done < count {
        let now = (count - done).min(PER_COMMAND);
        let before = *place;
        let (moved, ended) = one_command(bios, info, action, multiple, lba, now, place);
        done += moved;
        lba += u64::from(moved);
        let Err(status) = ended else { continue };
        *place = before;
        place.skip(u32::from(moved) * SECTOR);
        // Somebody else may have changed the drive's idea of MULTIPLE since it was set up.
        if status == Status::BAD_COMMAND && multiple > 1 && moved == 0 {
            multiple = 1;
            continue;
        }
        result = Err(status);
        break;
    }
    unmask_interrupt(bios, info.bus);
    (done, result)
}

/// As [`transfer`], up to 256 sectors.
fn one_command<H: Hw>(
    bios: &mut Bios<H>,
    info: &Info,
    action: Action,
    multiple: u8,
    lba: u64,
    count: u16,
    place: &mut Place,
) -> (u16, Result<()>) {
    if let Err(status) = address(bios, info, action, multiple > 1, lba, count) {
        return (0, Err(status));
    }
    let (base, write) = (info.bus.base(), action == Action::Write);
    let mut done = 0;
    loop {
        let status = match not_busy(bios, info.bus, COMMAND_MS) {
            Ok(status) => status,
            Err(timeout) => {
                let _ = reset(bios, info.bus);
                return (done, Err(timeout));
            }
        };
        if let Err(error) = check(bios, info.bus, status, write) {
            if status & status::DRQ != 0 {
                // A block that nobody wants.
                let _ = reset(bios, info.bus);
            }
            // What is on its way to a disk may not have arrived; what had not been asked for again has.
            return (if write { done.saturating_sub(multiple.into()) } else { done }, Err(error));
        }
        if done == count || action == Action::Verify {
            return (count, Ok(()));
        }
        if status & status::DRQ == 0 {
            return (done, Err(Status::UNDEFINED));
        }
        let now = (count - done).min(multiple.max(1).into());
        let bytes = u32::from(now) * SECTOR;
        if write {
            place.drain_to(bios.hw, base + reg::DATA, bytes);
        } else {
            place.fill_from(bios.hw, base + reg::DATA, bytes);
        }
        done += now;
        if done == count && !write {
            // There is no status phase after the last block that a drive sends.
            return (done, Ok(()));
        }
    }
}

/// Writes the task file and the command.
fn address<H: Hw>(bios: &mut Bios<H>, info: &Info, action: Action, multiple: bool, lba: u64, count: u16) -> Result<()> {
    let base = info.bus.base();
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
        // Nothing that large is without LBA.
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
    select(bios, info.bus, bits)?;
    if ext {
        bios.hw.outb(base + reg::COUNT, (count >> 8) as u8);
        bios.hw.outb(base + reg::LBA_LOW, bytes[3]);
        bios.hw.outb(base + reg::LBA_MID, bytes[4]);
        bios.hw.outb(base + reg::LBA_HIGH, bytes[5]);
    }
    // 256 is 0 in 28 bits.
    bios.hw.outb(base + reg::COUNT, count as u8);
    bios.hw.outb(base + reg::LBA_LOW, low);
    bios.hw.outb(base + reg::LBA_MID, mid);
    bios.hw.outb(base + reg::LBA_HIGH, high);
    bios.hw.outb(base + reg::COMMAND, opcode);
    Ok(())
}

/// Whether the drive is ready.
pub fn ready<H: Hw>(bios: &mut Bios<H>, bus: Bus) -> Result<()> {
    select(bios, bus, 0)?;
    let status = bios.hw.inb(bus.base() + reg::STATUS);
    if status & status::DRDY != 0 { Ok(()) } else { Err(Status::NOT_READY) }
}
