//! El Torito CD-ROM boot and disk emulation ("El Torito" Bootable CD-ROM Format Specification 1.0).
//!
//! An emulated drive takes drive number 00h or 80h; the numbers of the real drives of its kind move up by one while the
//! emulation is active. Sectors are read from the CD through a cache of one CD block (2048 bytes). The emulated drive
//! is read-only; the specification leaves that open. Deliberately missing: multi-session discs (the catalogue of the
//! first session is used).

mod catalogue;
mod disc;
mod emulate;
mod packet;
#[cfg(test)]
mod tests;

pub use catalogue::{Entry, Media};
pub use disc::{BootEntries, ENTRIES, find};

use crate::Bios;
use crate::boot::BootError;
use crate::boot::media;
use core::cell::Cell;
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda, ebda};

/// Bytes per CD block, and per sector of a floppy or hard disk.
const BLOCK: u16 = 2048;
const SECTOR: u16 = 512;
const SECTORS_PER_BLOCK: u16 = BLOCK / SECTOR;
/// The cache of one CD block: see the memory map in `pcvm_firmware_rt`.
const CACHE: FarPtr = pcvm_firmware_rt::CD_BLOCK;
/// Load segment of a catalogue entry whose load segment is 0.
const BOOT_SEGMENT: u16 = 0x07c0;

/// CHS geometry of an emulated drive.
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

/// The boot image in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BootedImage {
    /// Boot media type: what the BIOS emulates.
    media: Media,
    /// Drive number of the emulated drive; without emulation, that of the CD-ROM drive.
    drive: u8,
    /// Index of the CD-ROM drive.
    cd: u8,
    /// First CD block of the image.
    lba: u32,
    /// Size of the image in 512-byte sectors.
    sectors: u32,
    geometry: Geometry,
    segment: u16,
    count: u16,
}

/// El Torito state that is kept between calls.
#[derive(Debug)]
pub struct State {
    image: Cell<Option<BootedImage>>,
    /// CD-ROM drive index and block number of what is in [`CACHE`].
    cached: Cell<Option<(u8, u32)>>,
    /// Set while a call is forwarded to the real drive that the emulated drive has renumbered.
    forwarding: Cell<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self { image: Cell::new(None), cached: Cell::new(None), forwarding: Cell::new(false) }
    }
}

/// Where a loaded boot image is entered, and the drive number that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// Address of the first instruction.
    pub at: FarPtr,
    /// Drive number for DL.
    pub drive: u8,
}

/// Starts the emulation that the entry requires, and loads the boot image.
pub fn start<H: Hw>(bios: &mut Bios<H>, cd: u8, entry: &Entry) -> Result<EntryPoint, BootError> {
    emulate_entry(bios, cd, entry)?;
    let loaded = load(bios);
    if loaded.is_err() {
        terminate(bios);
    }
    loaded
}

/// Starts the emulation that the entry requires, without loading the image.
fn emulate_entry<H: Hw>(bios: &mut Bios<H>, cd: u8, entry: &Entry) -> Result<(), BootError> {
    terminate(bios);
    let drive = media::drive(bios, cd).ok_or(BootError::new("no such drive"))?;
    // The image's start must fit in 32 bits also when counted in 512-byte sectors.
    if entry.lba > u32::MAX / u32::from(SECTORS_PER_BLOCK) {
        return Err(BootError::new("damaged boot catalogue (image address)"));
    }
    let segment = if entry.segment == 0 { BOOT_SEGMENT } else { entry.segment };
    let mut image = BootedImage {
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
            image.drive = 0x80;
            (image.geometry, image.sectors) = disc::hard_disk_geometry(bios, cd, entry.lba)?;
        }
        floppy => {
            image.drive = 0;
            image.geometry = Geometry { cylinders: 80, heads: 2, sectors: floppy.floppy_sectors().unwrap_or(18) };
            image.sectors = image.geometry.total();
        }
    }
    bios.state.eltorito.image.set(Some(image));
    count_drives(bios, image.media, 1);
    Ok(())
}

/// Loads the first `count` sectors of the image.
fn load<H: Hw>(bios: &mut Bios<H>) -> Result<EntryPoint, BootError> {
    /// Below it are the BIOS data area and the stack of the code at 0000:7C00.
    const LOWEST: u16 = 0x0060;
    let image = bios.state.eltorito.image.get().ok_or(BootError::new("nothing was started"))?;
    let blocks = image.count.div_ceil(SECTORS_PER_BLOCK);
    let end = (u32::from(image.segment) << 4) + u32::from(blocks) * u32::from(BLOCK);
    if image.segment < LOWEST || end > u32::from(ebda::SEGMENT) << 4 {
        return Err(BootError::new("the boot image does not fit into memory"));
    }
    let to = FarPtr::new(image.segment, 0);
    if image.media == Media::NoEmulation {
        read_blocks(bios, &image, blocks, to)?;
    } else {
        emulate::read(bios, &image, 0, image.count.into(), to)
            .map_err(|(_, status)| BootError::with_status("the boot image cannot be read", status))?;
        if image.media == Media::HardDisk && !crate::boot::has_signature(bios.hw, to) {
            return Err(BootError::new("the boot image has no boot signature (55AAh)"));
        }
    }
    if !crate::boot::looks_like_code(bios.hw, to) {
        return Err(BootError::new("the boot image has no code"));
    }
    // Boot code expects 0000:7C00, not 07C0:0000.
    let at = match image.segment {
        low @ 0..0x1000 => FarPtr::new(0, low << 4),
        high => FarPtr::new(high, 0),
    };
    Ok(EntryPoint { at, drive: image.drive })
}

fn read_blocks<H: Hw>(bios: &mut Bios<H>, image: &BootedImage, blocks: u16, mut to: FarPtr) -> Result<(), BootError> {
    const MAX_BLOCKS_PER_READ: u16 = 16;
    let mut lba = u64::from(image.lba);
    let mut left = blocks;
    while left > 0 {
        let count = left.min(MAX_BLOCKS_PER_READ);
        media::read(bios, image.cd, lba, count, to)
            .map_err(|status| BootError::with_status("the boot image cannot be read", status))?;
        lba += u64::from(count);
        left -= count;
        to.segment = to.segment.wrapping_add(count * (BLOCK >> 4));
    }
    Ok(())
}

/// Ends the emulation.
pub fn terminate<H: Hw>(bios: &mut Bios<H>) {
    if let Some(image) = bios.state.eltorito.image.take() {
        count_drives(bios, image.media, -1);
    }
}

/// Adds `change` to the number of drives of the emulated kind in the BIOS data area.
fn count_drives<H: Hw>(bios: &mut Bios<H>, media: Media, change: i8) {
    match media {
        Media::NoEmulation => {}
        Media::HardDisk => {
            let disks = bios.hw.get(bda::DISK_COUNT);
            bios.hw.set(bda::DISK_COUNT, disks.wrapping_add_signed(change));
        }
        _ => {
            // Equipment word, bit 0: there are floppy drives; bits 6-7: their number less one.
            const FLOPPIES: u16 = 0x00c1;
            let equipment = bios.hw.get(bda::EQUIPMENT);
            let before = if equipment & 1 == 0 { 0 } else { (equipment >> 6 & 3) + 1 };
            let after = before.saturating_add_signed(change.into()).min(4);
            let bits = if after == 0 { 0 } else { (after - 1) << 6 | 1 };
            bios.hw.set(bda::EQUIPMENT, equipment & !FLOPPIES | bits);
        }
    }
}

/// INT 13h for the emulated drive and functions 4Ah to 4Dh. Returns true if the call was one of these and is complete.
pub fn int13<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    let state = &bios.state.eltorito;
    if state.forwarding.get() {
        return false;
    }
    if (0x4a..=0x4d).contains(&regs.ah()) {
        return packet::int13(bios, regs);
    }
    let Some(image) = state.image.get().filter(|image| image.media != Media::NoEmulation) else {
        return false;
    };
    // CD-ROM drive numbers (E0h and up) do not move.
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
    if kind(number) != image.drive {
        return false;
    }
    if number == image.drive {
        emulate::int13(bios, &image, regs);
        return true;
    }
    const PARAMETERS: u8 = 0x08;
    let function = regs.ah();
    regs.set_dl(number - 1);
    state.forwarding.set(true);
    media::int13(bios, regs);
    state.forwarding.set(false);
    // Function 08h returns the number of drives in DL.
    regs.set_dl(if function == PARAMETERS && !regs.cf() { regs.dl().wrapping_add(1) } else { number });
    true
}
