//! ATAPI CD-ROM driver: packet commands by PIO (ATA/ATAPI-6, 9.8; MMC-3, T10 1363D; SPC-2).

use super::ata::{self, reg, status};
use super::buffer::Buffer;
use super::clock::{self, Timeout};
use super::status::{Result, Status};
use super::{DriveInfo, DriveLocation};
use crate::Bios;
use pcvm_firmware_rt::{Hw, bda, ebda};

const PACKET: u8 = 0xa0;
const DEVICE_RESET: u8 = 0x08;

const TEST_UNIT_READY: u8 = 0x00;
const REQUEST_SENSE: u8 = 0x03;
const START_STOP: u8 = 0x1b;
const PREVENT_REMOVAL: u8 = 0x1e;
const READ_CAPACITY: u8 = 0x25;
const READ_10: u8 = 0x28;

const SENSE_BYTES: u8 = 18;
/// Bytes per block of a CD, DVD or BD.
pub const BLOCK: u16 = 2048;
/// Byte count limit per DRQ block: the largest multiple of the block size that fits in 16 bits.
const BYTE_COUNT_LIMIT: u16 = 31 * BLOCK;
/// Maximum number of blocks per READ (10).
const PER_COMMAND: u16 = 512;
/// Limit of DRQ blocks per command, against drives that never end one. No valid command comes near it.
const MAX_DRQ_BLOCKS: u32 = 0x1_0000;

/// Time-out of a command: the disc may have to spin up.
const COMMAND_MS: u32 = 30_000;
/// How long a medium may report "becoming ready", and the interval between two tests.
const BECOMING_READY_MS: u32 = 20_000;
const RETEST_MS: u32 = 50;
/// Maximum number of consecutive unit attentions.
const MAX_ATTENTIONS: u32 = 8;

/// Sense data of the last failed command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: u8,
    /// Additional sense code.
    pub code: u8,
    /// Additional sense code qualifier.
    pub qualifier: u8,
}

mod key {
    pub const NOT_READY: u8 = 2;
    pub const MEDIUM_ERROR: u8 = 3;
    pub const HARDWARE_ERROR: u8 = 4;
    pub const ILLEGAL_REQUEST: u8 = 5;
    pub const UNIT_ATTENTION: u8 = 6;
    pub const DATA_PROTECT: u8 = 7;
}
const BECOMING_READY: u8 = 0x04;
const OUT_OF_RANGE: u8 = 0x21;
const REMOVAL_PREVENTED: u8 = 0x53;
const NO_MEDIUM: u8 = 0x3a;

impl Sense {
    fn status(self) -> Status {
        match self {
            Self { code: NO_MEDIUM, .. } => Status::NO_MEDIUM,
            Self { code: OUT_OF_RANGE, .. } => Status::NOT_FOUND,
            Self { code: REMOVAL_PREVENTED, .. } => Status::LOCKED,
            Self { key: key::NOT_READY, .. } => Status::NOT_READY,
            Self { key: key::MEDIUM_ERROR, .. } => Status::READ_ERROR,
            Self { key: key::HARDWARE_ERROR, .. } => Status::CONTROLLER,
            Self { key: key::ILLEGAL_REQUEST, .. } => Status::BAD_COMMAND,
            Self { key: key::UNIT_ATTENTION, .. } => Status::CHANGED,
            Self { key: key::DATA_PROTECT, .. } => Status::WRITE_PROTECTED,
            _ => Status::UNDEFINED,
        }
    }
}

/// Runs a packet command and stores up to `bytes` bytes of its data. Returns the number of bytes received. On
/// [`Status::UNDEFINED`] the drive has sense data.
fn packet<H: Hw>(
    bios: &mut Bios<H>,
    location: DriveLocation,
    cdb: &[u8; 12],
    buffer: &mut Buffer,
    bytes: u32,
) -> Result<u32> {
    ata::mask_interrupt(bios, location);
    let result = packet_masked(bios, location, cdb, buffer, bytes);
    if result == Err(Status::TIMEOUT) {
        let _ = ata::reset(bios, location);
    }
    ata::unmask_interrupt(bios, location);
    result
}

fn packet_masked<H: Hw>(
    bios: &mut Bios<H>,
    location: DriveLocation,
    cdb: &[u8; 12],
    buffer: &mut Buffer,
    bytes: u32,
) -> Result<u32> {
    let base = location.base();
    ata::select(bios, location, 0)?;
    let limit = bytes.min(BYTE_COUNT_LIMIT.into()) as u16;
    bios.hw.outb(base + reg::FEATURES, 0);
    bios.hw.outb(base + reg::LBA_MID, limit as u8);
    bios.hw.outb(base + reg::LBA_HIGH, (limit >> 8) as u8);
    bios.hw.outb(base + reg::COMMAND, PACKET);
    wait_packet_request(bios, location)?;
    for pair in cdb.chunks_exact(2) {
        if let &[low, high] = pair {
            bios.hw.outw(base + reg::DATA, u16::from_le_bytes([low, high]));
        }
    }
    let mut received = 0;
    for _ in 0..MAX_DRQ_BLOCKS {
        let status = ata::wait_not_busy(bios, location, COMMAND_MS)?;
        if status & (status::ERR | status::DF) != 0 {
            bios.hw.set(bda::DISK_STATUS_REGISTER, status);
            return Err(Status::UNDEFINED);
        }
        if status & status::DRQ == 0 {
            return Ok(received);
        }
        let low = bios.hw.inb(base + reg::LBA_MID);
        let offered = u32::from(u16::from_le_bytes([low, bios.hw.inb(base + reg::LBA_HIGH)]));
        let wanted = offered.min(bytes - received) & !1;
        buffer.read_from_port(bios.hw, base + reg::DATA, wanted);
        received += wanted;
        // Drain data beyond `bytes`, and an odd byte.
        for _ in 0..(offered - wanted).div_ceil(2) {
            bios.hw.inw(base + reg::DATA);
        }
    }
    Err(Status::TIMEOUT)
}

/// Waits until the drive requests the command packet.
fn wait_packet_request<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<()> {
    let mut timeout = Timeout::ms(COMMAND_MS);
    loop {
        let status = bios.hw.inb(location.base() + reg::STATUS);
        match status & (status::BSY | status::DRQ | status::ERR) {
            status::DRQ => return Ok(()),
            bits if bits & status::BSY == 0 && bits & status::ERR != 0 => return Err(Status::UNDEFINED),
            _ if timeout.expired(bios) => return Err(Status::TIMEOUT),
            _ => {}
        }
    }
}

/// Reads the sense data of the last failed command.
pub fn sense<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<Sense> {
    let mut cdb = [0; 12];
    cdb[0] = REQUEST_SENSE;
    cdb[4] = SENSE_BYTES;
    let received = packet(bios, location, &cdb, &mut Buffer::SCRATCH.clone(), SENSE_BYTES.into())?;
    if received < 14 {
        return Err(Status::UNDEFINED);
    }
    let at = ebda::SECTOR.at;
    Ok(Sense {
        key: bios.hw.read8(at.add(2)) & 0xf,
        code: bios.hw.read8(at.add(12)),
        qualifier: bios.hw.read8(at.add(13)),
    })
}

/// Runs a packet command; after a failure, returns the status from its sense data.
fn command<H: Hw>(
    bios: &mut Bios<H>,
    location: DriveLocation,
    cdb: &[u8; 12],
    buffer: &mut Buffer,
    bytes: u32,
) -> Result<u32> {
    match packet(bios, location, cdb, buffer, bytes) {
        Err(Status::UNDEFINED) => Err(sense(bios, location)?.status()),
        other => other,
    }
}

/// Sends TEST UNIT READY once.
fn test_ready<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> core::result::Result<(), Sense> {
    match packet(bios, location, &[TEST_UNIT_READY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut Buffer::SCRATCH.clone(), 0) {
        Ok(_) => Ok(()),
        Err(Status::UNDEFINED) => Err(sense(bios, location).unwrap_or_default()),
        Err(_) => Err(Sense::default()),
    }
}

/// Waits until the medium is ready, or the drive reports that there is none. Returns whether the medium may have
/// changed since the last command; a unit attention is not an error.
pub fn wait_ready<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<bool> {
    let mut changed = false;
    let mut attentions = 0;
    let mut waited = 0;
    loop {
        let Err(sense) = test_ready(bios, location) else { return Ok(changed) };
        match (sense.key, sense.code) {
            (key::UNIT_ATTENTION, _) if attentions < MAX_ATTENTIONS => {
                attentions += 1;
                changed = true;
            }
            (key::NOT_READY, BECOMING_READY) if waited < BECOMING_READY_MS => {
                clock::wait(bios, RETEST_MS);
                waited += RETEST_MS;
            }
            _ => return Err(sense.status()),
        }
    }
}

/// Number of blocks on the medium, and bytes per block.
pub fn capacity<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<(u64, u16)> {
    let mut cdb = [0; 12];
    cdb[0] = READ_CAPACITY;
    if command(bios, location, &cdb, &mut Buffer::SCRATCH.clone(), 8)? < 8 {
        return Err(Status::READ_ERROR);
    }
    let at = ebda::SECTOR.at;
    let last = bios.hw.read32(at).swap_bytes();
    let block = bios.hw.read32(at.add(4)).swap_bytes();
    // Some drives report 2352 or 0 bytes, though READ (10) returns 2048.
    let block = if block == 512 { 512 } else { BLOCK };
    Ok((u64::from(last) + 1, block))
}

/// Reads existing blocks. Also returns the number of blocks read.
pub fn read<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    lba: u64,
    count: u16,
    buffer: &mut Buffer,
) -> (u16, Result<()>) {
    let mut done = 0;
    let mut retried = false;
    while done < count {
        let Ok(at) = u32::try_from(lba + u64::from(done)) else { return (done, Err(Status::NOT_FOUND)) };
        let now = (count - done).min(PER_COMMAND);
        let [a, b, c, d] = at.to_be_bytes();
        let [e, f] = now.to_be_bytes();
        let cdb = [READ_10, 0, a, b, c, d, 0, e, f, 0, 0, 0];
        let bytes = u32::from(now) * u32::from(info.block.get());
        let before = *buffer;
        let error = match packet(bios, info.location, &cdb, buffer, bytes) {
            Ok(received) if received == bytes => {
                done += now;
                continue;
            }
            Ok(_) => Status::READ_ERROR,
            Err(Status::UNDEFINED) => match sense(bios, info.location) {
                Ok(sense) => sense.status(),
                Err(error) => error,
            },
            Err(error) => error,
        };
        *buffer = before;
        // After a reset or a disc change the drive reports one unit attention, and the disc may have to spin up again.
        if retried || !matches!(error, Status::CHANGED | Status::NOT_READY) {
            return (done, Err(error));
        }
        retried = true;
        if let Err(error) = wait_ready(bios, info.location) {
            return (done, Err(error));
        }
    }
    (done, Ok(()))
}

/// Locks or unlocks the tray.
pub fn prevent_removal<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, prevent: bool) -> Result<()> {
    let cdb = [PREVENT_REMOVAL, 0, 0, 0, prevent.into(), 0, 0, 0, 0, 0, 0, 0];
    command_without_data(bios, location, &cdb)
}

/// Opens the tray.
pub fn eject<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<()> {
    const EJECT: u8 = 2;
    command_without_data(bios, location, &[START_STOP, 0, 0, 0, EJECT, 0, 0, 0, 0, 0, 0, 0])
}

/// Runs a command without data, again after each unit attention.
fn command_without_data<H: Hw>(bios: &mut Bios<H>, location: DriveLocation, cdb: &[u8; 12]) -> Result<()> {
    let mut result = Ok(0);
    for _ in 0..MAX_ATTENTIONS {
        result = command(bios, location, cdb, &mut Buffer::SCRATCH.clone(), 0);
        if result != Err(Status::CHANGED) {
            break;
        }
    }
    result.map(|_| ())
}

/// Whether the medium may have changed since the last call.
pub fn changed<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<bool> {
    match test_ready(bios, location) {
        Ok(()) => Ok(false),
        Err(Sense { key: key::UNIT_ATTENTION, .. }) => Ok(true),
        Err(Sense { code: NO_MEDIUM, .. }) => Err(Status::NO_MEDIUM),
        Err(sense) => Err(sense.status()),
    }
}

/// Sends DEVICE RESET, which does not affect the channel's other drive.
pub fn reset<H: Hw>(bios: &mut Bios<H>, location: DriveLocation) -> Result<()> {
    ata::mask_interrupt(bios, location);
    let result = ata::select(bios, location, 0).and_then(|()| {
        bios.hw.outb(location.base() + reg::COMMAND, DEVICE_RESET);
        ata::wait_not_busy(bios, location, COMMAND_MS)
    });
    ata::unmask_interrupt(bios, location);
    result.map(|_| ())
}
