//! Floppy driver: drive detection, format detection, sector transfers.
//!
//! Up to two drives on one controller at 3F0h. CMOS 10h gives their types. A controller that does not respond is logged
//! once and not used.
//!
//! The driver does not wait for a motor to reach its speed. If the drive cannot find a sector yet, it tries again after
//! the motor start time of the parameter table. A write starts only after the drive has found the sector's address
//! mark.
//!
//! DMA uses the linear address as the physical one, as in every BIOS; a memory manager has to translate it.

mod fdc;
mod int13;
mod media;

pub use fdc::interrupt;
pub use int13::int13;

use super::ata::Action;
use super::buffer::Buffer;
use super::clock;
use super::detect;
use super::geometry::Chs;
use super::status::{Result, Status};
use super::{DriveInfo, DriveKind, DriveLocation, Model};
use crate::{Bios, log};
use core::cell::Cell;
use fdc::{Dma, command, of_drive};
use media::Media;
use pcvm_firmware_rt::{FarPtr, Hw, bda, ebda};

const CMOS_TYPES: u8 = 0x10;
/// Bytes per sector.
const SECTOR: u32 = 512;
/// Highest cylinder that a seek may go to: a few more than the formats have, for disks with extra tracks.
const MAX_CYLINDER: u8 = 86;

/// Bits of 40:90: the format is known; the drive steps twice per cylinder.
const ESTABLISHED: u8 = 0x10;
const DOUBLE_STEP: u8 = 0x20;

/// The BIOS's parameter table, which INT 1Eh's vector points to at power-on.
const TABLE: FarPtr = FarPtr::new(0xf000, 0xefc7);

/// State of the floppy drives.
#[derive(Debug, Default)]
pub struct State {
    /// CMOS drive types; 0 for no drive.
    kinds: [Cell<u8>; 2],
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self { kinds: [const { Cell::new(0) }; 2] }
    }

    fn kind(&self, drive: u8) -> u8 {
        self.kinds.get(usize::from(drive)).map_or(0, Cell::get)
    }

    fn count(&self) -> u8 {
        self.kinds.iter().filter(|kind| kind.get() != 0).count() as u8
    }
}

/// Detects the drives.
pub fn init<H: Hw>(bios: &mut Bios<H>) {
    for field in [bda::FLOPPY_RECALIBRATE, bda::FLOPPY_MOTORS, bda::FLOPPY_MOTOR_TICKS, bda::FLOPPY_STATUS] {
        bios.hw.set(field, 0);
    }
    bios.hw.write32(FarPtr::vector(0x1e), TABLE.to_u32());
    let types = detect::cmos(bios.hw, CMOS_TYPES);
    let kinds = [types >> 4, types & 0xf].map(|kind| if media::formats(kind).is_empty() { 0 } else { kind });
    if kinds == [0, 0] {
        return;
    }
    if !fdc::present(bios) {
        return log::line(bios.hw, "floppy: no controller");
    }
    // Unmask IRQ 6.
    let mask = bios.hw.inb(0x21);
    bios.hw.outb(0x21, mask & !(1 << 6));
    if fdc::reset(bios, [0xaf, 0x02]).is_err() {
        return log::line(bios.hw, "floppy: the controller does not answer");
    }
    // The interrupt of the reset was not for a program.
    bios.hw.set(bda::FLOPPY_RECALIBRATE, 0);
    let mut drives = 0;
    for (drive, kind) in (0..).zip(kinds) {
        let (Some(cell), Some(own)) =
            (bios.state.disk.floppy.kinds.get(usize::from(drive)), media::formats(kind).first())
        else {
            continue;
        };
        cell.set(kind);
        bios.hw.copy_out(&media::parameters(own), table_of(drive));
        bios.hw.set(of_drive(bda::FLOPPY_MEDIA, drive), 0);
        bios.hw.set(of_drive(bda::FLOPPY_TRACK, drive), 0);
        // 40:8F: 80 tracks and change line; multiple data rates; drive type determined.
        drives |= (u8::from(kind != 1) | u8::from(media::formats(kind).len() > 1) << 1 | 4) << (drive * 4);
        let mut model = Model::NONE;
        for (to, from) in model.0.iter_mut().zip(media::name(kind).bytes()) {
            *to = from;
        }
        let logical = Chs { cylinders: own.cylinders.into(), heads: 2, sectors: own.sectors };
        bios.state.disk.add(DriveInfo {
            kind: DriveKind::Floppy,
            location: DriveLocation::new(0, drive),
            sectors: Cell::new(logical.total().into()),
            block: Cell::new(SECTOR as u16),
            physical: logical,
            logical,
            model,
            ..DriveInfo::default()
        });
    }
    bios.hw.set(bda::FLOPPY_DRIVES, drives);
}

/// The parameter table of a drive's own format.
fn table_of(drive: u8) -> FarPtr {
    ebda::FLOPPY_TABLES.at.add(u16::from(drive & 1) * 16)
}

/// Timer tick: counts down the motor-off delay.
pub fn motor_tick<H: Hw>(bios: &mut Bios<H>) {
    let left = bios.hw.get(bda::FLOPPY_MOTOR_TICKS);
    if left == 0 {
        return;
    }
    bios.hw.set(bda::FLOPPY_MOTOR_TICKS, left - 1);
    if left == 1 && bios.hw.get(bda::FLOPPY_MOTORS) & 0xf != 0 {
        fdc::motors_off(bios);
    }
}

/// A byte of the parameter table that INT 1Eh's vector points to.
fn parameter<H: Hw>(bios: &mut Bios<H>, n: u16) -> u8 {
    let table = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x1e)));
    bios.hw.read8(table.add(n))
}

mod parameter {
    //! Offsets in the parameter table.
    #![allow(missing_docs)]
    pub const SPECIFY_1: u16 = 0;
    pub const SPECIFY_2: u16 = 1;
    pub const MOTOR_TICKS: u16 = 2;
    pub const SIZE: u16 = 3;
    pub const LAST_SECTOR: u16 = 4;
    pub const GAP: u16 = 5;
    pub const LENGTH: u16 = 6;
    pub const FORMAT_GAP: u16 = 7;
    pub const FILLER: u16 = 8;
    pub const MOTOR_START: u16 = 10;
}

/// The last sector of a track: the format's, or that of the parameter table if a program has installed its own.
fn last_sector<H: Hw>(bios: &mut Bios<H>, media: &Media) -> u8 {
    if bios.hw.read32(FarPtr::vector(0x1e)) == TABLE.to_u32() {
        media.sectors
    } else {
        parameter(bios, parameter::LAST_SECTOR)
    }
}

/// Selects the drive and switches its motor on. Returns whether the motor was off. Call [`motor_done`] afterwards.
fn motor_on<H: Hw>(bios: &mut Bios<H>, drive: u8) -> bool {
    bios.hw.set(bda::FLOPPY_MOTOR_TICKS, 0xff);
    let motors = bios.hw.get(bda::FLOPPY_MOTORS);
    let bit = 1 << drive;
    bios.hw.set(bda::FLOPPY_MOTORS, motors & 0x40 | bit | drive << 4);
    fdc::select(bios, drive);
    motors & bit == 0
}

/// Starts the motor-off delay of the parameter table.
fn motor_done<H: Hw>(bios: &mut Bios<H>) {
    let ticks = parameter(bios, parameter::MOTOR_TICKS);
    bios.hw.set(bda::FLOPPY_MOTOR_TICKS, ticks);
}

fn wait_for_speed<H: Hw>(bios: &mut Bios<H>) {
    let eighths = u32::from(parameter(bios, parameter::MOTOR_START));
    clock::wait(bios, eighths.min(16) * 125);
}

/// The format of the drive's disk, if it is known.
fn known_format<H: Hw>(bios: &mut Bios<H>, drive: u8) -> Option<Media> {
    let state = bios.hw.get(of_drive(bda::FLOPPY_MEDIA, drive));
    let formats = media::formats(bios.state.disk.floppy.kind(drive));
    formats
        .iter()
        .find(|media| {
            state & ESTABLISHED != 0 && state >> 6 == media.rate && (state & DOUBLE_STEP != 0) == media.double_step
        })
        .copied()
}

fn establish<H: Hw>(bios: &mut Bios<H>, drive: u8, media: &Media) {
    let step = if media.double_step { DOUBLE_STEP } else { 0 };
    bios.hw.set(of_drive(bda::FLOPPY_MEDIA, drive), media.rate << 6 | step | ESTABLISHED | media.state);
}

/// Resets the controller and sends it the times of the parameter table.
fn reset<H: Hw>(bios: &mut Bios<H>) -> Result<()> {
    let specify = [parameter::SPECIFY_1, parameter::SPECIFY_2].map(|n| parameter(bios, n));
    fdc::reset(bios, specify)
}

/// Moves the heads to a cylinder.
fn seek<H: Hw>(bios: &mut Bios<H>, drive: u8, head: u8, cylinder: u8, media: &Media) -> Result<()> {
    if cylinder > MAX_CYLINDER {
        return Err(Status::SEEK);
    }
    let flags = bios.hw.get(bda::FLOPPY_RECALIBRATE);
    if flags & 1 << drive == 0 {
        // RECALIBRATE sends a limited number of step pulses; a second one may be needed from far out.
        let once = fdc::run_seek(bios, &[command::RECALIBRATE, drive]);
        if once == Err(Status::SEEK) {
            fdc::run_seek(bios, &[command::RECALIBRATE, drive])?;
        } else {
            once?;
        }
        let flags = bios.hw.get(bda::FLOPPY_RECALIBRATE);
        bios.hw.set(bda::FLOPPY_RECALIBRATE, flags | 1 << drive);
        bios.hw.set(of_drive(bda::FLOPPY_TRACK, drive), 0);
    }
    let track = if media.double_step { cylinder * 2 } else { cylinder };
    if bios.hw.get(of_drive(bda::FLOPPY_TRACK, drive)) != track {
        fdc::run_seek(bios, &[command::SEEK, head << 2 | drive, track])?;
        bios.hw.set(of_drive(bda::FLOPPY_TRACK, drive), track);
    }
    Ok(())
}

/// Returns whether the disk has changed. If so, its format is forgotten, and two seeks reset the change line; if the
/// line stays active, the drive is empty.
fn check_change<H: Hw>(bios: &mut Bios<H>, drive: u8) -> Result<bool> {
    if bios.state.disk.floppy.kind(drive) == 1 || !fdc::change_line(bios) {
        return Ok(false);
    }
    bios.hw.set(of_drive(bda::FLOPPY_MEDIA, drive), 0);
    let flags = bios.hw.get(bda::FLOPPY_RECALIBRATE);
    bios.hw.set(bda::FLOPPY_RECALIBRATE, flags & !(1 << drive));
    for cylinder in [1, 0] {
        if let Some(own) = media::formats(bios.state.disk.floppy.kind(drive)).first() {
            seek(bios, drive, 0, cylinder, own)?;
        }
    }
    if fdc::change_line(bios) { Err(Status::NO_MEDIUM) } else { Ok(true) }
}

/// Detects the disk's format by trying the data rates that the drive supports.
fn format_of<H: Hw>(bios: &mut Bios<H>, drive: u8, slow: &mut bool) -> Result<Media> {
    if let Some(media) = known_format(bios, drive) {
        fdc::set_rate(bios, media.rate);
        return Ok(media);
    }
    let mut last = Status::NO_MEDIA_TYPE;
    for again in [false, true] {
        if again {
            // The disk may not have reached its speed yet.
            if !core::mem::take(slow) {
                break;
            }
            wait_for_speed(bios);
        }
        for media in media::formats(bios.state.disk.floppy.kind(drive)) {
            fdc::set_rate(bios, media.rate);
            if media.rate == media::rate::MBPS_1 {
                fdc::send(bios, &[command::PERPENDICULAR, 0x80 | 4 << drive])?;
            }
            seek(bios, drive, 0, 0, media)?;
            match fdc::execute(bios, &[command::READ_ID, drive]) {
                Ok(_) => {
                    establish(bios, drive, media);
                    return Ok(*media);
                }
                Err(Status::TIMEOUT | Status::CONTROLLER) => {
                    last = Status::TIMEOUT;
                    reset(bios)?;
                }
                Err(status) => last = status,
            }
        }
    }
    Err(last)
}

/// Switches the motor on and returns the disk's format. If `report_change`, a disk change is reported once as an error.
fn prepare<H: Hw>(bios: &mut Bios<H>, drive: u8, report_change: bool) -> Result<Media> {
    let was_known = bios.hw.get(of_drive(bda::FLOPPY_MEDIA, drive)) & ESTABLISHED != 0;
    let mut slow = motor_on(bios, drive);
    let changed = check_change(bios, drive)?;
    let media = format_of(bios, drive, &mut slow)?;
    if changed && was_known && report_change {
        return Err(Status::CHANGED);
    }
    Ok(media)
}

/// The first sector of a transfer.
#[derive(Clone, Copy, Debug)]
struct SectorAddress {
    drive: u8,
    cylinder: u8,
    head: u8,
    sector: u8,
}

/// Transfers sectors up to the end of a cylinder, after [`prepare`]. Also returns the number of sectors transferred.
fn transfer_cylinder<H: Hw>(
    bios: &mut Bios<H>,
    media: &Media,
    action: Action,
    at: SectorAddress,
    count: u8,
    linear: u32,
) -> (u8, Result<()>) {
    let SectorAddress { drive, cylinder, head, sector } = at;
    let last = last_sector(bios, media);
    let bytes = u32::from(count) * SECTOR;
    let mut run = || {
        let opcode = match action {
            Action::Read => {
                fdc::dma(bios, Dma::Read, linear, bytes)?;
                command::READ
            }
            Action::Write => {
                fdc::dma(bios, Dma::Write, linear, bytes)?;
                command::WRITE
            }
            Action::Verify => command::VERIFY,
        };
        seek(bios, drive, head, cylinder, media)?;
        let [size, gap, length] = [parameter::SIZE, parameter::GAP, parameter::LENGTH].map(|n| parameter(bios, n));
        // VERIFY with EC set takes its sector count in the last byte.
        let (count_enabled, length) = if action == Action::Verify { (0x80, count) } else { (0, length) };
        let unit = count_enabled | head << 2 | drive;
        fdc::execute(bios, &[opcode, unit, cylinder, head, sector, size, last, gap, length])
    };
    let result = run();
    match result {
        Ok(_) => (count, Ok(())),
        Err(status) => {
            let done = if matches!(status, Status::TIMEOUT | Status::CONTROLLER) {
                let _ = reset(bios);
                0
            } else {
                // Where the transfer stopped: head and sector of the result phase.
                let [stopped_head, stopped] = [4, 5].map(|n| bios.hw.read8(bda::FLOPPY_RESULT.at.add(n)));
                let heads = stopped_head.saturating_sub(head).min(1);
                (heads * last + stopped).saturating_sub(sector)
            };
            (if status == Status::BOUNDARY { 0 } else { done.min(count.saturating_sub(1)) }, Err(status))
        }
    }
}

/// Reads, writes or verifies sectors by LBA. Also returns the number of sectors done.
pub fn access<H: Hw>(
    bios: &mut Bios<H>,
    info: &DriveInfo,
    action: Action,
    lba: u64,
    count: u16,
    buffer: &mut Buffer,
) -> (u16, Result<()>) {
    let drive = info.location.unit;
    let mut done = 0;
    let result = access_prepared(bios, drive, action, lba, count, buffer, &mut done);
    motor_done(bios);
    (done, result)
}

fn access_prepared<H: Hw>(
    bios: &mut Bios<H>,
    drive: u8,
    action: Action,
    lba: u64,
    count: u16,
    buffer: &mut Buffer,
    done: &mut u16,
) -> Result<()> {
    let media = prepare(bios, drive, false)?;
    let per_track = u32::from(media.sectors);
    let end = lba.saturating_add(count.into());
    if end > u64::from(media.cylinders) * u64::from(per_track) * 2 {
        return Err(Status::NOT_FOUND);
    }
    while *done < count {
        let lba = lba as u32 + u32::from(*done);
        let at = SectorAddress {
            drive,
            cylinder: (lba / (per_track * 2)) as u8,
            head: (lba / per_track % 2) as u8,
            sector: (lba % per_track) as u8 + 1,
        };
        let linear = buffer.linear();
        let before_boundary = (0x1_0000 - (linear & 0xffff)) / SECTOR;
        let now = (per_track - lba % per_track).min((count - *done).into());
        if before_boundary == 0 && action != Action::Verify {
            // A sector that crosses a 64 KiB boundary goes through the bounce buffer.
            let (bounce, callers) = (ebda::SECTOR.at, buffer.pointer());
            if action == Action::Write {
                bios.hw.copy(callers, bounce, SECTOR as u16);
            }
            transfer_cylinder(bios, &media, action, at, 1, bounce.linear()).1?;
            if action == Action::Read {
                bios.hw.copy(bounce, callers, SECTOR as u16);
            }
            *done += 1;
            buffer.advance(SECTOR);
            continue;
        }
        let now = if action == Action::Verify { now } else { now.min(before_boundary) } as u8;
        let (moved, result) = transfer_cylinder(bios, &media, action, at, now, linear);
        *done += u16::from(moved);
        buffer.advance(u32::from(moved) * SECTOR);
        result?;
    }
    Ok(())
}
