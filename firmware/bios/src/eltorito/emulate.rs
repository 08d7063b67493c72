//! INT 13h for the emulated drive ("El Torito" specification, section 1.5: 512-byte sectors, four to a CD block;
//! Enhanced Disk Drive Specification 3.0 for the extensions).

use super::{BootedImage, CACHE, Geometry, Media, SECTOR, SECTORS_PER_BLOCK};
use crate::Bios;
use crate::boot::media::{self, Status};
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda};

/// Maximum number of CD blocks per read: 32 KiB.
const MAX_BLOCKS_PER_READ: u32 = 16;

/// Reads `count` sectors, the first being sector `first` of the image. An error carries the number of sectors read.
pub fn read<H: Hw>(
    bios: &mut Bios<H>,
    image: &BootedImage,
    first: u32,
    count: u32,
    to: FarPtr,
) -> Result<(), (u32, Status)> {
    let per_block = u32::from(SECTORS_PER_BLOCK);
    /// The first linear address that real mode cannot address.
    const REACH: u32 = 0x10_fff0;
    let start = to.linear();
    if start + count * u32::from(SECTOR) > REACH {
        return Err((0, Status::BOUNDARY));
    }
    let mut done = 0;
    while done < count {
        let at = first + done;
        let (block, part) = (image.lba + at / per_block, at % per_block);
        let left = count - done;
        // DOS may have its buffers in the high memory area, above 1 MiB.
        let to = FarPtr::from_linear(start + done * u32::from(SECTOR));
        let sectors = if part == 0 && left >= per_block {
            let blocks = (left / per_block).min(MAX_BLOCKS_PER_READ);
            media::read(bios, image.cd, block.into(), blocks as u16, to).map_err(|status| (done, status))?;
            blocks * per_block
        } else {
            fill_cache(bios, image.cd, block).map_err(|status| (done, status))?;
            let sectors = left.min(per_block - part);
            bios.hw.copy(CACHE.add(part as u16 * SECTOR), to, sectors as u16 * SECTOR);
            sectors
        };
        done += sectors;
    }
    Ok(())
}

fn fill_cache<H: Hw>(bios: &mut Bios<H>, cd: u8, block: u32) -> Result<(), Status> {
    let cached = &bios.state.eltorito.cached;
    if cached.get() == Some((cd, block)) {
        return Ok(());
    }
    cached.set(None);
    media::read(bios, cd, block.into(), 1, CACHE)?;
    cached.set(Some((cd, block)));
    Ok(())
}

/// A service has set its result registers, or failed with this status.
type Outcome = Result<(), Status>;

/// Serves a call for the emulated drive.
pub fn int13<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &mut Regs) {
    const LAST_STATUS: u8 = 0x01;
    let hard = image.media == Media::HardDisk;
    let status_at = if hard { bda::DISK_STATUS } else { bda::FLOPPY_STATUS };
    let function = regs.ah();
    if function == LAST_STATUS {
        let status = bios.hw.get(status_at);
        // Function 01h clears the last status of a hard disk, but not that of a floppy drive.
        if hard {
            bios.hw.set(status_at, 0);
        }
        regs.set_ah(status);
        regs.set_cf(status != 0);
        return;
    }
    // Functions that return a value in AH set it themselves; otherwise AH becomes the status.
    let before = regs.ah();
    let outcome = serve(bios, image, regs, function);
    let status = outcome.err().map_or(0, |status| status.0);
    if regs.ah() == before || status != 0 {
        regs.set_ah(status);
    }
    regs.set_cf(status != 0);
    bios.hw.set(status_at, status);
}

fn serve<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &mut Regs, function: u8) -> Outcome {
    let hard = image.media == Media::HardDisk;
    match function {
        0x00 => Ok(()),
        0x02 => {
            let (first, count) = range(image, regs)?;
            let to = FarPtr::new(regs.es, regs.bx());
            read(bios, image, first, count, to).map_err(|(done, status)| {
                regs.set_al(done as u8);
                status
            })
        }
        0x03 | 0x05 => Err(Status::WRITE_PROTECTED),
        0x04 => range(image, regs).map(|_| ()),
        0x08 => {
            parameters(bios, image, regs);
            Ok(())
        }
        0x15 => {
            drive_type(image, regs);
            Ok(())
        }
        // Seek, reset, ready test, recalibrate and diagnostics have nothing to do.
        0x09 | 0x0d | 0x10 | 0x11 | 0x14 if hard => Ok(()),
        0x0c if hard => track(image, regs).map(|_| ()),
        // The disk in an emulated floppy drive never changes.
        0x16 if !hard => Ok(()),
        0x18 if !hard => set_media_type(bios, image, regs),
        0x41 if hard => extensions(regs),
        0x42 if hard => extended_read(bios, image, regs),
        0x43 if hard => Err(Status::WRITE_PROTECTED),
        0x44 | 0x47 if hard => AddressPacket::read(bios, image, regs).map(|_| ()),
        0x48 if hard => extended_parameters(bios, image, regs),
        _ => Err(Status::BAD_COMMAND),
    }
}

/// The first sector of the track in CX and DH.
fn track(image: &BootedImage, regs: &Regs) -> Result<u32, Status> {
    let Geometry { cylinders, heads, sectors } = image.geometry;
    let cylinder = u16::from(regs.cl() & 0xc0) << 2 | u16::from(regs.ch());
    let head = u16::from(regs.dh());
    if cylinder >= cylinders || head >= heads {
        return Err(Status::NOT_FOUND);
    }
    Ok((u32::from(cylinder) * u32::from(heads) + u32::from(head)) * u32::from(sectors))
}

/// The first sector and the sector count in AL, CX and DH.
fn range(image: &BootedImage, regs: &Regs) -> Result<(u32, u32), Status> {
    let (sector, count) = (regs.cl() & 0x3f, u32::from(regs.al()));
    // The limit of a real controller: 128 sectors of 512 bytes, 64 KiB, per command.
    if count == 0 || count > 128 {
        return Err(Status::BAD_COMMAND);
    }
    let track = track(image, regs)?;
    if sector == 0 || sector > image.geometry.sectors {
        return Err(Status::NOT_FOUND);
    }
    let first = track + u32::from(sector) - 1;
    if first + count > image.sectors { Err(Status::NOT_FOUND) } else { Ok((first, count)) }
}

/// CX and DH of the drive's last sector.
pub fn last_sector(geometry: Geometry) -> (u16, u8) {
    let Geometry { cylinders, heads, sectors } = geometry;
    let cylinder = cylinders.clamp(1, 1024) - 1;
    (cylinder << 8 | cylinder >> 2 & 0xc0 | u16::from(sectors & 0x3f), (heads.max(1) - 1) as u8)
}

fn parameters<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &mut Regs) {
    let (cx, dh) = last_sector(image.geometry);
    regs.set_ax(0);
    regs.set_cx(cx);
    regs.set_dh(dh);
    if image.media == Media::HardDisk {
        regs.set_dl(bios.hw.get(bda::DISK_COUNT));
        return;
    }
    let equipment = bios.hw.get(bda::EQUIPMENT);
    regs.set_dl((equipment >> 6 & 3) as u8 + 1);
    // Drive types as in CMOS: 2 is 1.2 MB, 4 is 1.44 MB, 5 is 2.88 MB.
    let kind = match image.media {
        Media::Floppy1200 => 2,
        Media::Floppy2880 => 5,
        _ => 4,
    };
    regs.set_bx(kind);
    const TABLE_VECTOR: u8 = 0x1e;
    let table = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(TABLE_VECTOR)));
    regs.es = table.segment;
    regs.set_di(table.offset);
}

fn drive_type(image: &BootedImage, regs: &mut Regs) {
    const FLOPPY_WITHOUT_CHANGE_LINE: u8 = 1;
    const DISK: u8 = 3;
    if image.media == Media::HardDisk {
        regs.set_ah(DISK);
        regs.set_cx((image.sectors >> 16) as u16);
        regs.set_dx(image.sectors as u16);
    } else {
        regs.set_ah(FLOPPY_WITHOUT_CHANGE_LINE);
    }
}

/// Function 18h accepts only the format of the emulated medium.
fn set_media_type<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &mut Regs) -> Outcome {
    let (cx, _) = last_sector(image.geometry);
    if regs.cx() != cx {
        return Err(Status::NO_MEDIA_TYPE);
    }
    let table = FarPtr::from_u32(bios.hw.read32(FarPtr::vector(0x1e)));
    regs.es = table.segment;
    regs.set_di(table.offset);
    Ok(())
}

fn extensions(regs: &mut Regs) -> Outcome {
    const CHECK_INPUT: u16 = 0x55aa;
    const VERSION_3: u8 = 0x30;
    const FIXED_DISK_ACCESS: u16 = 0x0001;
    if regs.bx() != CHECK_INPUT {
        return Err(Status::BAD_COMMAND);
    }
    regs.set_bx(0xaa55);
    regs.set_cx(FIXED_DISK_ACCESS);
    regs.set_ah(VERSION_3);
    Ok(())
}

/// A disk address packet (EDD 3.0, section 7.1).
struct AddressPacket {
    at: FarPtr,
    first: u32,
    count: u16,
    buffer: FarPtr,
}

impl AddressPacket {
    fn read<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &Regs) -> Result<Self, Status> {
        const SMALLEST: u8 = 0x10;
        /// Buffer pointer of a packet with a 64-bit flat buffer address, which is not supported here.
        const FLAT: u32 = 0xffff_ffff;
        let at = FarPtr::new(regs.ds, regs.si());
        let hw = &mut *bios.hw;
        let (size, count) = (hw.read8(at), hw.read16(at.add(2)));
        let buffer = hw.read32(at.add(4));
        let (first, high) = (hw.read32(at.add(8)), hw.read32(at.add(12)));
        if size < SMALLEST || count > 127 || buffer == FLAT && regs.ah() == 0x42 {
            return Err(Status::BAD_COMMAND);
        }
        match first.checked_add(count.into()) {
            Some(end) if high == 0 && end <= image.sectors => {
                Ok(Self { at, first, count, buffer: FarPtr::from_u32(buffer) })
            }
            _ => Err(Status::NOT_FOUND),
        }
    }
}

fn extended_read<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &Regs) -> Outcome {
    let packet = AddressPacket::read(bios, image, regs)?;
    read(bios, image, packet.first, packet.count.into(), packet.buffer).map_err(|(done, status)| {
        bios.hw.write16(packet.at.add(2), done as u16);
        status
    })
}

/// EDD 3.0, section 7.5, without device parameters: no controller has the emulated drive.
fn extended_parameters<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, regs: &Regs) -> Outcome {
    const SIZE: u16 = 0x1a;
    /// Information flag: the CHS values are valid.
    const GEOMETRY_VALID: u16 = 0x0002;
    let at = FarPtr::new(regs.ds, regs.si());
    let hw = &mut *bios.hw;
    if hw.read16(at) < SIZE {
        return Err(Status::BAD_COMMAND);
    }
    let Geometry { cylinders, heads, sectors } = image.geometry;
    hw.write16(at, SIZE);
    hw.write16(at.add(2), GEOMETRY_VALID);
    hw.write32(at.add(4), cylinders.into());
    hw.write32(at.add(8), heads.into());
    hw.write32(at.add(12), sectors.into());
    hw.write32(at.add(16), image.sectors);
    hw.write32(at.add(20), 0);
    hw.write16(at.add(24), SECTOR);
    Ok(())
}
