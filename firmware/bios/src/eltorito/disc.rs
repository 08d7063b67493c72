//! El Torito structures on a CD: boot record volume descriptor, boot catalogue, partition table of a hard disk image.

use super::catalogue::{Entry, ParsedRecord, Parser, RECORD};
use super::{BLOCK, CACHE, Geometry};
use crate::Bios;
use crate::boot::{BootError, media};
use pcvm_firmware_rt::Hw;

/// Maximum number of bootable entries.
pub const ENTRIES: usize = 8;
/// Maximum number of catalogue blocks that are read: 256 records.
const MAX_BLOCKS: u32 = 4;
/// Block of the boot record volume descriptor (section 2.0).
const BOOT_RECORD: u64 = 17;
/// Type 0, standard identifier, version (ECMA-119, section 8.2), then El Torito's identifier (section 2.0).
const IDENTITY: &[u8] = b"\x00CD001\x01EL TORITO SPECIFICATION";
/// Offset of the catalogue's block number in it.
const CATALOGUE: u16 = 0x47;

/// The bootable entries of a CD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootEntries {
    entries: [Entry; ENTRIES],
    count: u8,
}

impl BootEntries {
    /// Entry `n`.
    pub fn entry(&self, n: u8) -> Option<Entry> {
        self.entries.get(..usize::from(self.count))?.get(usize::from(n)).copied()
    }

    /// Number of entries.
    pub fn count(&self) -> u8 {
        self.count
    }
}

/// Reads the boot record and returns the block number of the catalogue.
pub(super) fn catalogue_lba<H: Hw>(bios: &mut Bios<H>, cd: u8) -> Result<u32, BootError> {
    media::cd_ready(bios, cd).map_err(|status| BootError::with_status("no disc", status))?;
    read(bios, cd, BOOT_RECORD).map_err(|status| BootError::with_status("cannot be read", status))?;
    let mut identity = [0; IDENTITY.len()];
    bios.hw.copy_in(CACHE, &mut identity);
    if identity != *IDENTITY {
        return Err(BootError::new("the disc is not bootable"));
    }
    Ok(bios.hw.read32(CACHE.add(CATALOGUE)))
}

fn read<H: Hw>(bios: &mut Bios<H>, cd: u8, lba: u64) -> Result<(), media::Status> {
    bios.state.eltorito.cached.set(None);
    media::read(bios, cd, lba, 1, CACHE)
}

/// Reads the CD's boot catalogue.
pub fn find<H: Hw>(bios: &mut Bios<H>, cd: u8) -> Result<BootEntries, BootError> {
    let at = catalogue_lba(bios, cd)?;
    let mut found = BootEntries::default();
    let mut parser = Parser::new();
    'catalogue: for block in 0..MAX_BLOCKS {
        // A read error after the first bootable entry does not invalidate that entry.
        match read(bios, cd, u64::from(at) + u64::from(block)) {
            Err(status) if found.count == 0 => {
                return Err(BootError::with_status("the boot catalogue cannot be read", status));
            }
            Err(_) => break,
            Ok(()) => {}
        }
        for n in 0..BLOCK / RECORD as u16 {
            let mut record = [0; RECORD];
            bios.hw.copy_in(CACHE.add(n * RECORD as u16), &mut record);
            match parser.record(&record).map_err(|error| BootError::new(error.text()))? {
                ParsedRecord::Skip => {}
                ParsedRecord::End => break 'catalogue,
                ParsedRecord::Entry(entry) => match found.entries.get_mut(usize::from(found.count)) {
                    Some(slot) => {
                        *slot = entry;
                        found.count += 1;
                    }
                    None => break 'catalogue,
                },
            }
        }
    }
    if found.count == 0 { Err(BootError::new("no boot image for this processor")) } else { Ok(found) }
}

/// Geometry and size in sectors of a hard disk image, from the end of the first partition in its table. The image has
/// exactly one partition (section 1.4).
pub(super) fn hard_disk_geometry<H: Hw>(bios: &mut Bios<H>, cd: u8, lba: u32) -> Result<(Geometry, u32), BootError> {
    const TABLE: u16 = 0x1be;
    const PARTITION: u16 = 16;
    read(bios, cd, lba.into()).map_err(|status| BootError::with_status("the boot image cannot be read", status))?;
    for n in 0..4 {
        let mut entry = [0; PARTITION as usize];
        bios.hw.copy_in(CACHE.add(TABLE + n * PARTITION), &mut entry);
        let [_, _, _, _, kind, head, sector, cylinder, s0, s1, s2, s3, l0, l1, l2, l3] = entry;
        let heads = u16::from(head) + 1;
        let sectors = sector & 0x3f;
        if kind == 0 || sectors == 0 {
            continue;
        }
        let track = u32::from(heads) * u32::from(sectors);
        let end = u32::from_le_bytes([s0, s1, s2, s3]).saturating_add(u32::from_le_bytes([l0, l1, l2, l3]));
        let by_table = (u16::from(sector & 0xc0) << 2 | u16::from(cylinder)) + 1;
        let by_size = end.div_ceil(track).min(1024) as u16;
        let geometry = Geometry { cylinders: by_table.max(by_size), heads, sectors };
        return Ok((geometry, geometry.total().max(end)));
    }
    Err(BootError::new("the hard disk image has no partition"))
}
