//! INT 13h extensions AH=41h to 49h and 4Eh: 64-bit LBA (Phoenix, "Enhanced Disk Drive Specification" 3.0; T13 1572D,
//! EDD-3, for the longer device path).
//!
//! A disk address packet may have a 64-bit flat buffer address. Memory above 1 MiB is accessed through protected mode,
//! and therefore not under a memory manager.

use super::ata::{self, Action};
use super::buffer::Buffer;
use super::geometry::Translation;
use super::int13::Completion;
use super::status::{Result, Status};
use super::{DriveInfo, DriveKind, access, atapi, cd_ready};
use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Hw, Regs, ebda};

const CHECK_INPUT: u16 = 0x55aa;
const CHECK_OUTPUT: u16 = 0xaa55;
/// EDD 3.0.
const VERSION: u8 = 0x30;
/// Supported subsets: 42h-44h, 47h, 48h; locking and ejecting 45h, 46h, 48h, 49h; the tables of 48h and 4Eh.
const ACCESS: u16 = 1;
const LOCKING: u16 = 2;
const EXTENDED_TABLES: u16 = 4;

/// Size of the disk address packet, without and with a flat address.
const PACKET: u8 = 0x10;
const LONG_PACKET: u8 = 0x18;
/// Buffer pointer of a packet that uses the flat address.
const USE_FLAT_ADDRESS: u32 = 0xffff_ffff;

/// Sizes of function 48h's result: version 1.x, with the extension pointer, with the device path, with T13's device
/// path.
const RESULT_1: u16 = 0x1a;
const RESULT_2: u16 = 0x1e;
const RESULT_3: u16 = 0x42;
const RESULT_T13: u16 = 0x4a;

/// Larger disks have no physical geometry: 16383 cylinders, 16 heads, 63 sectors.
const MAX_CHS_SECTORS: u64 = 16383 * 16 * 63;
/// Maximum lock count of a drive.
const MAX_LOCKS: u8 = 255;

/// Serves an extension function.
pub fn call<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, index: u8, info: &DriveInfo) -> Completion {
    let removable = info.kind == DriveKind::Cdrom;
    match regs.ah() {
        0x41 => return check(regs, removable),
        0x42 => move_blocks(bios, regs, info, Action::Read, false),
        0x43 => match (regs.al(), info.kind) {
            (_, DriveKind::Cdrom) => Err(Status::WRITE_PROTECTED),
            (0 | 1, _) => move_blocks(bios, regs, info, Action::Write, false),
            (2, _) => move_blocks(bios, regs, info, Action::Write, true),
            _ => Err(Status::BAD_COMMAND),
        },
        0x44 if removable => check_range(bios, regs, index, info),
        0x44 => move_blocks(bios, regs, info, Action::Verify, false),
        0x45 if removable => lock(bios, regs, info),
        0x46 if removable => eject(bios, regs, info),
        0x46 => Err(Status::NOT_REMOVABLE),
        0x47 => check_range(bios, regs, index, info),
        0x48 => parameters(bios, regs, index, info),
        0x49 if removable => changed(bios, info),
        0x4e => configure(regs),
        _ => Err(Status::BAD_COMMAND),
    }
    .into()
}

/// 41h: installation check.
fn check(regs: &mut Regs, removable: bool) -> Completion {
    if regs.bx() != CHECK_INPUT {
        return Err(Status::BAD_COMMAND).into();
    }
    regs.set_bx(CHECK_OUTPUT);
    regs.set_ah(VERSION);
    regs.set_cx(ACCESS | EXTENDED_TABLES | if removable { LOCKING } else { 0 });
    regs.set_cf(false);
    Completion::Done
}

/// A disk address packet.
struct Request {
    count: u16,
    lba: u64,
    buffer: u32,
    flat: u64,
}

fn request<H: Hw>(bios: &mut Bios<H>, regs: &Regs) -> Result<Request> {
    let at = FarPtr::new(regs.ds, regs.si());
    let size = bios.hw.read8(at);
    if size < PACKET {
        return Err(Status::BAD_COMMAND);
    }
    let long = |bios: &mut Bios<H>, offset: u16| {
        u64::from(bios.hw.read32(at.add(offset))) | u64::from(bios.hw.read32(at.add(offset + 4))) << 32
    };
    Ok(Request {
        count: bios.hw.read16(at.add(2)),
        buffer: bios.hw.read32(at.add(4)),
        lba: long(bios, 8),
        flat: if size >= LONG_PACKET { long(bios, 16) } else { u64::MAX },
    })
}

/// 42h, 43h, 44h: read, write, verify. After an error the packet's count is the number of blocks transferred.
fn move_blocks<H: Hw>(bios: &mut Bios<H>, regs: &Regs, info: &DriveInfo, action: Action, verify: bool) -> Result<()> {
    let request = request(bios, regs)?;
    let Request { count, lba, .. } = request;
    let (mut done, mut result) = match buffer(bios, info, action, &request) {
        Ok(mut buffer) => access(bios, info, action, lba, count, &mut buffer),
        Err(status) => (0, Err(status)),
    };
    if verify && result.is_ok() {
        (done, result) = access(bios, info, Action::Verify, lba, count, &mut Buffer::SCRATCH.clone());
    }
    if result.is_err() {
        bios.hw.write16(FarPtr::new(regs.ds, regs.si()).add(2), done);
    }
    result
}

fn buffer<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo, action: Action, request: &Request) -> Result<Buffer> {
    let bytes = u32::from(request.count) * u32::from(info.block.get());
    match (action, request.buffer) {
        (Action::Verify, _) => Ok(Buffer::SCRATCH),
        (_, USE_FLAT_ADDRESS) if request.flat != u64::MAX => Buffer::flat(bios.hw, request.flat, bytes),
        (_, buffer) => Buffer::far(FarPtr::from_u32(buffer), bytes),
    }
}

/// 47h, and 44h of a CD: checks that the blocks exist.
fn check_range<H: Hw>(bios: &mut Bios<H>, regs: &Regs, index: u8, info: &DriveInfo) -> Result<()> {
    let Request { lba, count, .. } = request(bios, regs)?;
    if info.sectors.get() == 0 {
        cd_ready(bios, index)?;
    }
    match lba.checked_add(count.max(1).into()) {
        Some(end) if end <= info.sectors.get() => Ok(()),
        _ => Err(Status::NOT_FOUND),
    }
}

/// 45h: AL 0 locks, 1 unlocks, 2 queries. Locks are counted; AL returns whether the drive is locked.
fn lock<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs, info: &DriveInfo) -> Result<()> {
    let before = info.locks.get();
    let locks = match regs.al() {
        0 if before == MAX_LOCKS => return Err(Status::LOCK_COUNT),
        0 => before + 1,
        1 if before == 0 => return Err(Status::NOT_LOCKED),
        1 => before - 1,
        2 => before,
        _ => return Err(Status::BAD_COMMAND),
    };
    if (locks == 0) != (before == 0) {
        atapi::prevent_removal(bios, info.location, locks != 0)?;
    }
    info.locks.set(locks);
    regs.set_al(u8::from(locks != 0));
    Ok(())
}

/// 46h: ejects the medium. INT 15h AH=52h is called first, and its carry flag forbids the eject.
fn eject<H: Hw>(bios: &mut Bios<H>, regs: &Regs, info: &DriveInfo) -> Result<()> {
    if regs.al() != 0 {
        return Err(Status::BAD_COMMAND);
    }
    if info.locks.get() != 0 {
        return Err(Status::LOCKED);
    }
    const MEDIA_EJECT: u8 = 0x52;
    let mut query = Regs::default();
    query.set_dx(regs.dl().into());
    query.set_ah(MEDIA_EJECT);
    bios.hw.call_interrupt(0x15, &mut query);
    // Carry with AH=86h or 80h means that INT 15h AH=52h is not supported, and does not forbid the eject.
    if query.cf() && !matches!(query.ah(), 0x80 | 0x86) {
        return Err(Status(query.ah()));
    }
    atapi::eject(bios, info.location)
}

/// 49h: whether the medium has changed.
fn changed<H: Hw>(bios: &mut Bios<H>, info: &DriveInfo) -> Result<()> {
    let changed = atapi::changed(bios, info.location)? | info.changed.take();
    if changed { Err(Status::CHANGED) } else { Ok(()) }
}

/// 4Eh: set hardware configuration. Only requests for the present configuration succeed: no DMA, no prefetch.
fn configure(regs: &mut Regs) -> Result<()> {
    match regs.al() {
        // Disable prefetch; PIO mode 0, default PIO mode; no DMA.
        1 | 3 | 4 | 6 => {
            // AL=0: the call affected only this drive.
            regs.set_al(0);
            Ok(())
        }
        _ => Err(Status::BAD_COMMAND),
    }
}

/// 48h: drive parameters.
fn parameters<H: Hw>(bios: &mut Bios<H>, regs: &Regs, index: u8, info: &DriveInfo) -> Result<()> {
    let at = FarPtr::new(regs.ds, regs.si());
    let room = bios.hw.read16(at);
    if room < RESULT_1 {
        return Err(Status::BAD_COMMAND);
    }
    if info.kind == DriveKind::Cdrom && info.sectors.get() == 0 {
        // After a failure the flags report "no medium".
        let _ = cd_ready(bios, index);
    }
    let mut result = [0; RESULT_T13 as usize];
    fill(&mut result, info, bios.state.disk.ide_function.get());
    let size = match room {
        RESULT_T13.. => RESULT_T13,
        RESULT_3.. => RESULT_3,
        RESULT_2.. => RESULT_2,
        _ => RESULT_1,
    };
    if size >= RESULT_2 && info.kind != DriveKind::Floppy {
        let table = extension(info);
        let table_at = ebda::DISK_EXTENSIONS.at.add(u16::from(index) * 16);
        bios.hw.copy_out(&table, table_at);
        result[0x1a..0x1e].copy_from_slice(&table_at.to_u32().to_le_bytes());
    }
    if size >= RESULT_3 {
        // The length of the device path, and its checksum in the last byte.
        let size = usize::from(size);
        result[0x20] = (size - 0x1e) as u8;
        let sum = result.get(0x1e..size - 1).unwrap_or(&[]).iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        if let Some(last) = result.get_mut(size - 1) {
            *last = sum.wrapping_neg();
        }
    }
    result[..2].copy_from_slice(&size.to_le_bytes());
    bios.hw.copy_out(result.get(..usize::from(size)).unwrap_or(&[]), at);
    Ok(())
}

/// Fills in everything except size, extension pointer and checksum.
fn fill(result: &mut [u8; RESULT_T13 as usize], info: &DriveInfo, function: u16) {
    const DMA_SAFE: u16 = 1 << 0;
    const GEOMETRY: u16 = 1 << 1;
    const REMOVABLE: u16 = 1 << 2;
    const CHANGE_LINE: u16 = 1 << 4;
    const LOCKABLE: u16 = 1 << 5;
    const NO_MEDIUM: u16 = 1 << 6;
    let (mut flags, mut sectors) = (DMA_SAFE, info.sectors.get());
    if info.kind == DriveKind::Cdrom {
        flags |= REMOVABLE | CHANGE_LINE | LOCKABLE;
        if sectors == 0 {
            flags |= NO_MEDIUM;
            sectors = u64::MAX;
        }
    } else {
        let physical = info.physical;
        if sectors <= MAX_CHS_SECTORS {
            flags |= GEOMETRY;
        }
        result[4..8].copy_from_slice(&u32::from(physical.cylinders).to_le_bytes());
        result[8..12].copy_from_slice(&u32::from(physical.heads).to_le_bytes());
        result[12..16].copy_from_slice(&u32::from(physical.sectors).to_le_bytes());
    }
    result[2..4].copy_from_slice(&flags.to_le_bytes());
    result[16..24].copy_from_slice(&sectors.to_le_bytes());
    result[24..26].copy_from_slice(&info.block.get().to_le_bytes());
    result[26..30].fill(0xff);
    // The device path: host bus, interface, location.
    result[30..32].copy_from_slice(&[0xdd, 0xbe]);
    let (bus, location) = if function == NOT_PCI {
        let [low, high] = info.location.base().to_le_bytes();
        (b"ISA ", [low, high, 0, 0])
    } else {
        let [device, bus] = function.to_le_bytes();
        (b"PCI ", [bus, device >> 3, device & 7, info.location.channel])
    };
    result[36..40].copy_from_slice(bus);
    result[40..48].copy_from_slice(if info.kind == DriveKind::Cdrom { b"ATAPI   " } else { b"ATA     " });
    result[48..52].copy_from_slice(&location);
    result[56] = info.location.unit;
}

/// Value of [`super::State`]'s IDE function if there is no PCI bus.
pub const NOT_PCI: u16 = 0xffff;

/// Builds the device parameter table extension of 16 bytes.
fn extension(info: &DriveInfo) -> [u8; 16] {
    const FAST_PIO: u16 = 1 << 0;
    const MULTIPLE: u16 = 1 << 2;
    const TRANSLATED: u16 = 1 << 3;
    const LBA: u16 = 1 << 4;
    const REMOVABLE: u16 = 1 << 5;
    const ATAPI: u16 = 1 << 6;
    const DWORDS: u16 = 1 << 7;
    const LBA_ASSIST: u16 = 1 << 9;
    const VERSION: u8 = 0x11;
    let flag = |flag: u16, on: bool| if on { flag } else { 0 };
    let flags = DWORDS
        | flag(FAST_PIO, info.pio > 2)
        | flag(MULTIPLE, info.multiple > 1)
        | flag(TRANSLATED, info.translation != Translation::None)
        | flag(LBA, info.lba)
        | flag(REMOVABLE | ATAPI, info.kind == DriveKind::Cdrom)
        | flag(LBA_ASSIST, info.translation == Translation::Lba);
    let mut table = [0; 16];
    table[0..2].copy_from_slice(&info.location.base().to_le_bytes());
    table[2..4].copy_from_slice(&info.location.control().to_le_bytes());
    table[4] = ata::device_bits(info);
    // Byte 5 is vendor specific. Byte 8, the DMA channel and type, is 0.
    table[6] = info.location.irq();
    table[7] = info.multiple.max(1);
    table[9] = info.pio;
    table[10..12].copy_from_slice(&flags.to_le_bytes());
    table[14] = VERSION;
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[15] = sum.wrapping_neg();
    table
}
