//! Floppy functions of INT 13h.

use super::super::int13::Completion;
use super::fdc::{self, Dma, command, of_drive};
use super::media::{self, Media};
use super::*;
use pcvm_firmware_rt::Regs;

/// AH=15h: floppy drive with or without a change line.
const TYPE_WITH_CHANGE_LINE: u8 = 2;
const TYPE_WITHOUT: u8 = 1;
/// Maximum number of sectors per call: a DMA transfer moves at most 64 KiB.
const MAX_SECTORS: u8 = 127;

/// Serves a floppy function.
pub fn int13<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Completion {
    let drive = regs.dl();
    let kind = bios.state.disk.floppy.kind(drive);
    match regs.ah() {
        0x00 if bios.state.disk.floppy.count() != 0 => return reset(bios).into(),
        0x01 => {
            let last = bios.hw.get(bda::FLOPPY_STATUS);
            regs.set_ah(last);
            regs.set_al(last);
            regs.set_cf(last != 0);
            return Completion::Done;
        }
        0x08 if kind == 0 => {
            for set in [Regs::set_bx, Regs::set_cx, Regs::set_di] {
                set(regs, 0);
            }
            regs.es = 0;
            regs.set_dx(bios.state.disk.floppy.count().into());
            return Err(Status::NO_PARAMETERS).into();
        }
        0x15 => {
            regs.set_ah(match kind {
                0 => 0,
                1 => TYPE_WITHOUT,
                _ => TYPE_WITH_CHANGE_LINE,
            });
            regs.set_cf(false);
            return Completion::Done;
        }
        _ if kind == 0 => return Err(Status::BAD_COMMAND).into(),
        _ => {}
    }
    let result = match regs.ah() {
        0x02 => transfer_chs(bios, regs, Action::Read),
        0x03 => transfer_chs(bios, regs, Action::Write),
        0x04 => transfer_chs(bios, regs, Action::Verify),
        0x05 => format_track(bios, regs),
        0x08 => {
            parameters(regs, kind, bios.state.disk.floppy.count());
            Ok(())
        }
        0x16 => changed(bios, drive),
        0x17 => set_type(bios, regs, kind),
        0x18 => set_media(bios, regs, kind),
        _ => return Err(Status::BAD_COMMAND).into(),
    };
    // By convention an empty drive returns "time-out".
    result.map_err(|status| if status == Status::NO_MEDIUM { Status::TIMEOUT } else { status }).into()
}

/// 02h to 04h: read, write, verify.
fn transfer_chs<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, action: Action) -> Result<()> {
    let count = regs.al();
    regs.set_al(0);
    let at = SectorAddress { drive: regs.dl(), cylinder: regs.ch(), head: regs.dh(), sector: regs.cl() };
    if count == 0 || count > MAX_SECTORS || at.head > 1 || at.sector == 0 {
        return Err(Status::BAD_COMMAND);
    }
    let linear = FarPtr::new(regs.es, regs.bx()).linear();
    if action != Action::Verify && (linear & 0xffff) + u32::from(count) * SECTOR > 0x1_0000 {
        return Err(Status::BOUNDARY);
    }
    let result = prepare(bios, at.drive, true).and_then(|media| {
        let (done, result) = transfer_cylinder(bios, &media, action, at, count, linear);
        regs.set_al(done);
        result
    });
    motor_done(bios);
    result
}

/// 05h: format track. ES:BX points to cylinder, head, number and size code of each sector.
fn format_track<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Result<()> {
    let (drive, cylinder, head) = (regs.dl(), regs.ch(), regs.dh());
    if head > 1 {
        return Err(Status::BAD_COMMAND);
    }
    let kind = bios.state.disk.floppy.kind(drive);
    let own = media::formats(kind).first().copied().ok_or(Status::NO_MEDIA_TYPE)?;
    let slow = motor_on(bios, drive);
    let mut run = || {
        check_change(bios, drive)?;
        // The format that 17h or 18h has set, else the drive's own: the disk may be unformatted, so its format cannot
        // be detected.
        let media = known_format(bios, drive).unwrap_or(own);
        if slow {
            wait_for_speed(bios);
        }
        fdc::set_rate(bios, media.rate);
        let per_track = last_sector(bios, &media);
        let [size, gap, filler] =
            [parameter::SIZE, parameter::FORMAT_GAP, parameter::FILLER].map(|n| parameter(bios, n));
        fdc::dma(bios, Dma::Write, FarPtr::new(regs.es, regs.bx()).linear(), u32::from(per_track) * 4)?;
        seek(bios, drive, head, cylinder, &media)?;
        fdc::execute(bios, &[command::FORMAT, head << 2 | drive, size, per_track, gap, filler]).map(|_| ())
    };
    let result = run();
    motor_done(bios);
    result
}

/// 08h: drive parameters.
fn parameters(regs: &mut Regs, kind: u8, count: u8) {
    let Some(own) = media::formats(kind).first() else { return };
    let drive = regs.dl();
    regs.set_ax(0);
    regs.set_bx(kind.into());
    regs.set_ch(own.cylinders - 1);
    regs.set_cl(own.sectors);
    regs.set_dh(1);
    regs.set_dl(count);
    let table = table_of(drive);
    regs.es = table.segment;
    regs.set_di(table.offset);
}

/// 16h: whether the disk has changed.
fn changed<H: Hw>(bios: &mut Bios<H>, drive: u8) -> Result<()> {
    motor_on(bios, drive);
    let result = check_change(bios, drive);
    motor_done(bios);
    if result? { Err(Status::CHANGED) } else { Ok(()) }
}

/// The format with this number of cylinders and sectors.
fn find(kind: u8, cylinders: u8, sectors: u8) -> Option<&'static Media> {
    media::formats(kind).iter().find(|media| (media.cylinders, media.sectors) == (cylinders, sectors))
}

/// 17h: set disk type for formatting. AL: 1 is 360 KB in a 360 KB drive, 2 is 360 KB in a 1.2 MB drive, 3 is 1.2 MB, 4
/// is 720 KB, 5 is 1.44 MB.
fn set_type<H: Hw>(bios: &mut Bios<H>, regs: &Regs, kind: u8) -> Result<()> {
    let (cylinders, sectors) = match (regs.al(), kind) {
        (1, 1) | (2, 2) => (40, 9),
        (3, 2) => (80, 15),
        (4, 3..) => (80, 9),
        (5, 4..) => (80, 18),
        _ => return Err(Status::BAD_COMMAND),
    };
    let media = find(kind, cylinders, sectors).ok_or(Status::NO_MEDIA_TYPE)?;
    let drive = regs.dl();
    motor_on(bios, drive);
    let result = check_change(bios, drive);
    motor_done(bios);
    result?;
    establish(bios, drive, media);
    Ok(())
}

/// 18h: set media type for formatting, by its highest cylinder and sector. ES:DI returns the parameter table.
fn set_media<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, kind: u8) -> Result<()> {
    let media = find(kind, regs.ch().wrapping_add(1), regs.cl() & 0x3f).ok_or(Status::NO_MEDIA_TYPE)?;
    let drive = regs.dl();
    let at = table_of(drive);
    bios.hw.copy_out(&media::parameters(media), at);
    regs.es = at.segment;
    regs.set_di(at.offset);
    bios.hw.set(of_drive(bda::FLOPPY_MEDIA, drive), 0);
    establish(bios, drive, media);
    Ok(())
}
