//! INT 13h dispatch, and hard disk functions by CHS (IBM PS/2 and PC BIOS Interface Technical Reference, "Interrupt
//! 13h"; IBM AT Technical Reference, fixed disk BIOS, for 09h to 14h).
//!
//! Not supported (status 01h): 06h and 07h (format commands that ATA drives do not have), 0Ah and 0Bh (sectors with
//! their ECC bytes, which drives do not expose), 0Eh, 0Fh, 12h and 13h (diagnostics of the AT's controller). 05h,
//! format track, only checks that the track can be read; it destroys nothing.

use super::ata::{self, Action};
use super::buffer::Buffer;
use super::geometry::Chs;
use super::status::{Result, Status};
use super::{CDROM, DriveInfo, DriveKind, HARD, access, atapi, edd, floppy};
use crate::{Bios, eltorito};
use pcvm_firmware_rt::{FarPtr, Field, Hw, Regs, bda};

/// Maximum number of sectors per CHS call.
const MAX_SECTORS: u8 = 128;
/// AH=15h: drive type "hard disk".
const TYPE_HARD: u8 = 3;
/// Segment of the BIOS's interrupt entries.
const OWN_SEGMENT: u16 = 0xf000;

/// Result of a function.
pub enum Completion {
    /// A status, to be stored in AH, CF and the BIOS data area.
    Status(Result<()>),
    /// The function has set AH and CF itself.
    Done,
}

impl From<Result<()>> for Completion {
    fn from(result: Result<()>) -> Self {
        Self::Status(result)
    }
}

/// INT 13h.
pub fn int13<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    if !eltorito::int13(bios, regs) {
        match regs.dl() {
            HARD.. => hard_or_cdrom(bios, regs),
            _ => floppies(bios, regs),
        }
    }
}

/// INT 40h: INT 13h for floppies only.
pub fn int40<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    floppy_call(bios, regs);
}

/// Serves a floppy call through INT 40h, which a program may have hooked.
fn floppies<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let vector = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x40)));
    if vector.segment == OWN_SEGMENT || vector == FarPtr::default() {
        return floppy_call(bios, regs);
    }
    const ARITHMETIC: u16 = 0xff;
    let flags = regs.flags;
    bios.hw.call_interrupt(0x40, regs);
    regs.flags = flags & !ARITHMETIC | regs.flags & ARITHMETIC;
}

fn floppy_call<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let completion = floppy::int13(bios, regs);
    complete(bios, regs, bda::FLOPPY_STATUS, completion);
}

fn complete<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, last: Field<u8>, completion: Completion) {
    let Completion::Status(result) = completion else { return };
    let Status(code) = result.err().unwrap_or(Status::OK);
    bios.hw.set(last, code);
    regs.set_ah(code);
    regs.set_cf(code != 0);
}

fn hard_or_cdrom<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) {
    let number = regs.dl();
    let index = bios.state.disk.index(number);
    let info = index.and_then(|index| bios.state.disk.info(index));
    let completion = match (index, info) {
        (Some(index), Some(info)) if info.kind == DriveKind::Cdrom => cdrom(bios, regs, index, info),
        (Some(index), Some(info)) => hard(bios, regs, index, info),
        _ => absent_drive(bios, regs),
    };
    complete(bios, regs, bda::DISK_STATUS, completion);
}

/// Serves a call for a drive that does not exist.
fn absent_drive<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Completion {
    match regs.ah() {
        0x01 => last_status(bios, regs),
        0x08 => {
            regs.set_cx(0);
            regs.set_dx(bios.hw.get(bda::DISK_COUNT).into());
            Err(Status::NO_PARAMETERS).into()
        }
        0x15 if regs.dl() < CDROM => {
            // "Absent" is a result, not an error.
            regs.set_ax(0);
            regs.set_cx(0);
            regs.set_dx(0);
            regs.set_cf(false);
            Completion::Done
        }
        _ => Err(Status::BAD_COMMAND).into(),
    }
}

/// 01h: status of the last call.
fn last_status<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Completion {
    let last = bios.hw.get(bda::DISK_STATUS);
    bios.hw.set(bda::DISK_STATUS, 0);
    regs.set_ah(last);
    regs.set_al(last);
    regs.set_cf(last != 0);
    Completion::Done
}

fn cdrom<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, index: u8, info: &DriveInfo) -> Completion {
    match regs.ah() {
        0x00 | 0x0d => atapi::reset(bios, info.location).into(),
        0x01 => last_status(bios, regs),
        0x09 | 0x0c | 0x11 | 0x14 => Ok(()).into(),
        0x10 => super::cd_ready(bios, index).into(),
        0x41..=0x49 | 0x4e => edd::call(bios, regs, index, info),
        _ => Err(Status::BAD_COMMAND).into(),
    }
}

fn hard<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, index: u8, info: &DriveInfo) -> Completion {
    match regs.ah() {
        0x00 | 0x0d => reset(bios, info).into(),
        0x01 => last_status(bios, regs),
        0x02 => transfer_chs(bios, regs, info, Action::Read).into(),
        0x03 => transfer_chs(bios, regs, info, Action::Write).into(),
        0x04 => transfer_chs(bios, regs, info, Action::Verify).into(),
        0x05 => format_track(bios, regs, info).into(),
        0x08 => {
            parameters(bios, regs, info);
            Ok(()).into()
        }
        0x09 => ata::configure(bios, info).into(),
        0x0c => chs_to_lba(regs, info.logical, false).map(|_| ()).into(),
        0x10 | 0x11 | 0x14 => ata::ready(bios, info.location).into(),
        0x15 => {
            let total = u64::from(info.logical.total()).min(info.sectors.get()) as u32;
            regs.set_cx((total >> 16) as u16);
            regs.set_dx(total as u16);
            regs.set_ah(TYPE_HARD);
            regs.set_cf(false);
            bios.hw.set(bda::DISK_STATUS, 0);
            Completion::Done
        }
        // 19h: heads park by themselves.
        0x19 => Ok(()).into(),
        0x41..=0x49 | 0x4e => edd::call(bios, regs, index, info),
        _ => Err(Status::BAD_COMMAND).into(),
    }
}

/// 00h, 0Dh: reset. A hanging drive is reset, then MULTIPLE mode and geometry are set again.
fn reset<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo) -> Result<()> {
    ata::configure(bios, info)?;
    ata::ready(bios, info.location)
}

/// Converts CX and DH to an LBA.
fn chs_to_lba(regs: &Regs, geometry: Chs, with_sector: bool) -> Result<u32> {
    let cylinder = u16::from(regs.cl() & 0xc0) << 2 | u16::from(regs.ch());
    let sector = if with_sector { regs.cl() & 0x3f } else { 1 };
    geometry.lba(cylinder, regs.dh(), sector).ok_or(Status::NOT_FOUND)
}

fn transfer_chs<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, info: &DriveInfo, action: Action) -> Result<()> {
    let count = regs.al();
    regs.set_al(0);
    if count == 0 || count > MAX_SECTORS {
        return Err(Status::BAD_COMMAND);
    }
    let lba = chs_to_lba(regs, info.logical, true)?;
    let bytes = if action == Action::Verify { 0 } else { u32::from(count) * 512 };
    let mut buffer = Buffer::far(FarPtr::new(regs.es, regs.bx()), bytes)?;
    let (done, result) = access(bios, info, action, lba.into(), count.into(), &mut buffer);
    regs.set_al(done as u8);
    result
}

/// 05h: format track.
fn format_track<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, info: &DriveInfo) -> Result<()> {
    let lba = chs_to_lba(regs, info.logical, false)?;
    let mut buffer = Buffer::SCRATCH;
    access(bios, info, Action::Verify, lba.into(), info.logical.sectors.into(), &mut buffer).1
}

/// 08h: drive parameters: the highest cylinder, head and sector.
fn parameters<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, info: &DriveInfo) {
    let Chs { cylinders, heads, sectors } = info.logical;
    let last = cylinders.saturating_sub(1);
    regs.set_al(0);
    regs.set_ch(last as u8);
    regs.set_cl((last >> 2) as u8 & 0xc0 | sectors & 0x3f);
    regs.set_dh(heads.saturating_sub(1));
    let count = bios.hw.get(bda::DISK_COUNT);
    regs.set_dl(count);
}
