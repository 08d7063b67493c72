//! Booting from CD-ROM ("El Torito" Bootable CD-ROM Format Specification 1.0), and the drives that it emulates.
//!
//! An emulated drive takes the number 00h or 80h, and the drives of its kind move up by one while it is there. It is read
//! from the CD through a cache of one CD sector; it cannot be written, which the specification leaves open.
//! Left out: discs of several sessions (the first one's catalogue is used).

mod catalogue;
mod disc;
mod emulate;
mod packet;
#[cfg(test)]
mod tests;

pub use catalogue::{Entry, Media};
pub use disc::{ENTRIES, Found, find};

use crate::Bios;
use crate::boot::Reason;
use crate::boot::media;
use core::cell::Cell;
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda, ebda};

/// Bytes of a CD's block, and of a sector of anything else.
const BLOCK: u16 = 2048;
const SECTOR: u16 = 512;
const SECTORS_PER_BLOCK: u16 = BLOCK / SECTOR;
/// One block of the CD: see the memory map in `pcvm_firmware_rt`.
const CACHE: FarPtr = pcvm_firmware_rt::CD_BLOCK;
/// Where a boot image goes that says nothing else.
const BOOT_SEGMENT: u16 = 0x07c0;

/// Cylinders, heads, sectors of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Geometry {
    cylinders: u16,
    heads: u16,
    sectors: u8,
}

impl Geometry {
    fn total(self) -> u32 {
        u32::from(self.cylinders) * u32::from(self.heads) * u32::from(self.sectors)
    }
}

/// What was booted from a CD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    /// What the BIOS emulates.
    media: Media,
    /// The emulated drive's number, or without emulation the CD-ROM drive's.
    drive: u8,
    /// The CD-ROM drive's index.
    cd: u8,
    /// The image's first block.
    lba: u32,
    /// The image's size, in sectors of 512 bytes.
    sectors: u32,
    geometry: Geometry,
    segment: u16,
    count: u16,
}

/// What is remembered about the CD that was booted.
#[derive(Debug)]
pub struct State {
    session: Cell<Option<Session>>,
    /// Which block of which CD the cache has.
    cached: Cell<Option<(u8, u32)>>,
    /// A call is on its way to the drive that has this number when nothing is emulated.
    passing: Cell<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// At power-on.
    pub const fn new() -> Self {
        Self { session: Cell::new(None), cached: Cell::new(None), passing: Cell::new(false) }
    }
}

/// What to jump to, and with what drive number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The first instruction.
    pub at: FarPtr,
    /// For DL.
    pub drive: u8,
}

/// Makes the entry's drive if it emulates one, and loads what it boots.
pub fn start<H: Hw>(bios: &mut Bios<H>, cd: u8, entry: &Entry) -> Result<Loaded, Reason> {
    emulate_entry(bios, cd, entry)?;
    let loaded = load(bios);
    if loaded.is_err() {
        end(bios);
    }
    loaded
}

/// Makes the entry's drive without loading anything.
fn emulate_entry<H: Hw>(bios: &mut Bios<H>, cd: u8, entry: &Entry) -> Result<(), Reason> {
    end(bios);
    let drive = media::drive(bios, cd).ok_or(Reason::new("no such drive"))?;
    // In sectors the image's place must be a number too.
    if entry.lba > u32::MAX / u32::from(SECTORS_PER_BLOCK) {
        return Err(Reason::new("damaged boot catalogue (image address)"));
    }
    let segment = if entry.segment == 0 { BOOT_SEGMENT } else { entry.segment };
    let mut session = Session {
        media: entry.media,
        drive: drive.number,
        cd,
        lba: entry.lba,
        sectors: 0,
        geometry: Geometry::default(),
        segment,
        count: entry.count.max(1),
    };
    match entry.media {
        Media::NoEmulation => {}
        Media::HardDisk => {
            session.drive = 0x80;
            (session.geometry, session.sectors) = disc::hard_disk_geometry(bios, cd, entry.lba)?;
        }
        floppy => {
            session.drive = 0;
            session.geometry = Geometry { cylinders: 80, heads: 2, sectors: floppy.floppy_sectors().unwrap_or(18) };
            session.sectors = session.geometry.total();
        }
    }
    bios.state.eltorito.session.set(Some(session));
    count_drives(bios, session.media, 1);
    Ok(())
}

/// Loads the first sectors of what was started.
fn load<H: Hw>(bios: &mut Bios<H>) -> Result<Loaded, Reason> {
    /// The data areas and the stack of whoever is at 0000:7C00 later lie below.
    const LOWEST: u16 = 0x0060;
    let session = bios.state.eltorito.session.get().ok_or(Reason::new("nothing was started"))?;
    let blocks = session.count.div_ceil(SECTORS_PER_BLOCK);
    let end = (u32::from(session.segment) << 4) + u32::from(blocks) * u32::from(BLOCK);
    if session.segment < LOWEST || end > u32::from(ebda::SEGMENT) << 4 {
        return Err(Reason::new("the boot image does not fit into memory"));
    }
    let to = FarPtr::new(session.segment, 0);
    if session.media == Media::NoEmulation {
        read_blocks(bios, &session, blocks, to)?;
    } else {
        emulate::read(bios, &session, 0, session.count.into(), to)
            .map_err(|(_, status)| Reason::because("the boot image cannot be read", status))?;
        if session.media == Media::HardDisk && !crate::boot::has_signature(bios.hw, to) {
            return Err(Reason::new("the boot image has no boot signature (55AAh)"));
        }
    }
    if !crate::boot::looks_like_code(bios.hw, to) {
        return Err(Reason::new("the boot image has no code"));
    }
    // 0000:7C00 rather than 07C0:0000: boot code counts on it.
    let at = match session.segment {
        low @ 0..0x1000 => FarPtr::new(0, low << 4),
        high => FarPtr::new(high, 0),
    };
    Ok(Loaded { at, drive: session.drive })
}

fn read_blocks<H: Hw>(bios: &mut Bios<H>, session: &Session, blocks: u16, mut to: FarPtr) -> Result<(), Reason> {
    const AT_ONCE: u16 = 16;
    let mut lba = u64::from(session.lba);
    let mut left = blocks;
    while left > 0 {
        let count = left.min(AT_ONCE);
        media::read(bios, session.cd, lba, count, to)
            .map_err(|status| Reason::because("the boot image cannot be read", status))?;
        lba += u64::from(count);
        left -= count;
        to.segment = to.segment.wrapping_add(count * (BLOCK >> 4));
    }
    Ok(())
}

/// Takes an emulated drive away again.
pub fn end<H: Hw>(bios: &mut Bios<H>) {
    if let Some(session) = bios.state.eltorito.session.take() {
        count_drives(bios, session.media, -1);
    }
}

/// One more or less drive of a kind, in the BIOS data area.
fn count_drives<H: Hw>(bios: &mut Bios<H>, media: Media, change: i8) {
    match media {
        Media::NoEmulation => {}
        Media::HardDisk => {
            let disks = bios.hw.get(bda::DISK_COUNT);
            bios.hw.set(bda::DISK_COUNT, disks.wrapping_add_signed(change));
        }
        _ => {
            // Bit 0: there are any; bits 6-7: one less than their number.
            const FLOPPIES: u16 = 0x00c1;
            let equipment = bios.hw.get(bda::EQUIPMENT);
            let before = if equipment & 1 == 0 { 0 } else { (equipment >> 6 & 3) + 1 };
            let after = before.saturating_add_signed(change.into()).min(4);
            let bits = if after == 0 { 0 } else { (after - 1) << 6 | 1 };
            bios.hw.set(bda::EQUIPMENT, equipment & !FLOPPIES | bits);
        }
    }
}

/// INT 13h for a drive that a CD emulates, and functions 4Ah to 4Dh. Returns whether the call was one of these and is done.
pub fn int13<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    let state = &bios.state.eltorito;
    if state.passing.get() {
        return false;
    }
    if (0x4a..=0x4d).contains(&regs.ah()) {
        return packet::int13(bios, regs);
    }
    let Some(session) = state.session.get().filter(|session| session.media != Media::NoEmulation) else {
        return false;
    };
    // CD-ROM drives' numbers stay.
    let kind = |number: u8| {
        if number < 0x80 {
            0
        } else if number < 0xe0 {
            0x80
        } else {
            0xe0
        }
    };
    let number = regs.dl();
    if kind(number) != session.drive {
        return false;
    }
    if number == session.drive {
        emulate::int13(bios, &session, regs);
        return true;
    }
    const PARAMETERS: u8 = 0x08;
    let function = regs.ah();
    regs.set_dl(number - 1);
    state.passing.set(true);
    media::int13(bios, regs);
    state.passing.set(false);
    // The parameters' DL is the number of drives.
    regs.set_dl(if function == PARAMETERS && !regs.cf() { regs.dl().wrapping_add(1) } else { number });
    true
}
