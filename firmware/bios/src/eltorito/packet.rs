//! El Torito INT 13h AH=4Ah to 4Dh ("El Torito" specification, section 4): initiate and terminate disk emulation, boot
//! an image, read the catalogue.

use super::{BOOT_SEGMENT, BootedImage, Entry, Media, disc, emulate};
use crate::Bios;
use crate::boot::media::{self, DriveKind, Status};
use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// Bytes in a specification packet.
const SIZE: u8 = 0x13;
/// Drive number in DL of function 4Bh: all drives.
const ALL: u8 = 0x7f;

/// Serves functions 4Ah to 4Dh.
pub fn int13<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    let packet = FarPtr::new(regs.ds, regs.si());
    let done = match (regs.ah(), regs.al()) {
        (0x4a, 0) => initiate(bios, packet),
        (0x4b, al @ (0 | 1)) => terminate(bios, regs.dl(), al == 0, packet),
        (0x4c, 0) => initiate(bios, packet).and_then(|()| boot(bios)),
        (0x4d, 0) => read_catalogue(bios, packet),
        _ => Err(Status::BAD_COMMAND),
    };
    let status = done.err().unwrap_or(Status::OK);
    regs.set_ah(status.0);
    regs.set_cf(status != Status::OK);
    true
}

/// Index of the CD-ROM drive at this channel and unit; else of the one that was booted from; else of the first one.
fn drive_at<H: Hw>(bios: &Bios<H>, channel: u8, unit: u8) -> Option<u8> {
    let cdroms = |wanted: fn(&media::Drive, u8, u8) -> bool| {
        (0..media::drives(bios)).find(|&index| {
            media::drive(bios, index)
                .is_some_and(|drive| drive.kind == DriveKind::Cdrom && wanted(&drive, channel, unit))
        })
    };
    cdroms(|drive, channel, unit| drive.channel == channel && drive.unit == unit)
        .or(bios.state.eltorito.image.get().map(|image| image.cd))
        .or(cdroms(|_, _, _| true))
}

fn initiate<H: Hw>(bios: &mut Bios<H>, packet: FarPtr) -> Result<(), Status> {
    let hw = &mut *bios.hw;
    let media = Media::from_number(hw.read8(packet.add(1))).filter(|_| hw.read8(packet) >= SIZE);
    let (channel, unit) = (hw.read8(packet.add(3)), hw.read8(packet.add(8)) & 1);
    let (lba, segment, count) = (hw.read32(packet.add(4)), hw.read16(packet.add(0xc)), hw.read16(packet.add(0xe)));
    let cd = drive_at(bios, channel, unit).ok_or(Status::NO_PARAMETERS)?;
    let entry = Entry { media: media.ok_or(Status::BAD_COMMAND)?, segment, count, lba };
    super::emulate_entry(bios, cd, &entry).map_err(|error| error.status_or(Status::BAD_COMMAND))
}

/// Loads and enters the image; returns only if that fails.
fn boot<H: Hw>(bios: &mut Bios<H>) -> Result<(), Status> {
    match super::load(bios) {
        Ok(loaded) => {
            crate::boot::enter(bios, loaded.at, loaded.drive);
            Ok(())
        }
        Err(error) => {
            super::terminate(bios);
            Err(error.status_or(Status::BAD_COMMAND))
        }
    }
}

fn terminate<H: Hw>(bios: &mut Bios<H>, drive: u8, end: bool, packet: FarPtr) -> Result<(), Status> {
    let image = bios.state.eltorito.image.get().filter(|image| drive == image.drive || drive == ALL);
    let image = image.ok_or(Status::BAD_COMMAND)?;
    write_packet(bios, &image, packet);
    if end {
        super::terminate(bios);
    }
    Ok(())
}

fn write_packet<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, at: FarPtr) {
    let (channel, unit) = media::drive(bios, image.cd).map_or((0, 0), |drive| (drive.channel, drive.unit));
    let (cx, heads) = match image.media {
        Media::NoEmulation => (0, 0),
        _ => emulate::last_sector(image.geometry),
    };
    let [lba0, lba1, lba2, lba3] = image.lba.to_le_bytes();
    let segment = if image.segment == BOOT_SEGMENT { 0 } else { image.segment };
    let [segment, segment_high] = segment.to_le_bytes();
    let [count, count_high] = image.count.to_le_bytes();
    let [cl, ch] = cx.to_le_bytes();
    let packet: [u8; SIZE as usize] = [
        SIZE,
        image.media.number(),
        image.drive,
        channel,
        lba0,
        lba1,
        lba2,
        lba3,
        unit,
        0,
        0,
        0,
        segment,
        segment_high,
        count,
        count_high,
        ch,
        cl,
        heads,
    ];
    bios.hw.copy_out(&packet, at);
}

/// Function 4Dh: copies catalogue blocks. The command packet holds their number, the buffer and the first block.
fn read_catalogue<H: Hw>(bios: &mut Bios<H>, packet: FarPtr) -> Result<(), Status> {
    const COMMAND_SIZE: u8 = 8;
    /// A transfer stays below 64 KiB.
    const MAX_BLOCKS: u8 = 31;
    let hw = &mut *bios.hw;
    let (size, count) = (hw.read8(packet), hw.read8(packet.add(1)));
    let (to, first) = (FarPtr::from_u32(hw.read32(packet.add(2))), hw.read16(packet.add(6)));
    if size < COMMAND_SIZE || count == 0 || count > MAX_BLOCKS {
        return Err(Status::BAD_COMMAND);
    }
    let cd = drive_at(bios, u8::MAX, u8::MAX).ok_or(Status::NO_PARAMETERS)?;
    let at = disc::catalogue_lba(bios, cd).map_err(|error| error.status_or(Status::NO_MEDIA_TYPE))?;
    media::read(bios, cd, u64::from(at) + u64::from(first), count.into(), to)
}
