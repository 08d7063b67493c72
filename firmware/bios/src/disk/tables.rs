//! Hard disk parameter tables at INT 41h and INT 46h (IBM PS/2 and PC BIOS Interface Technical Reference, "fixed disk
//! parameter table"; the translated form: Phoenix, "Enhanced Disk Drive Specification" 1.1, section 4.1).

use super::geometry::Translation;
use super::{DriveInfo, HARD};
use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Hw, bda, ebda};

/// Control byte: more than 8 heads; no retries.
const MANY_HEADS: u8 = 0x08;
const NO_RETRIES: u8 = 0xc0;
/// Signature of a table with a translated geometry.
const TRANSLATED: u8 = 0xa0;

/// Builds the table of one disk.
pub fn parameters(info: &DriveInfo) -> [u8; 16] {
    let mut table = [0; 16];
    let (logical, physical) = (info.logical, info.physical);
    let control = NO_RETRIES | if physical.heads > 8 { MANY_HEADS } else { 0 };
    let [low, high] = logical.cylinders.to_le_bytes();
    table[..3].copy_from_slice(&[low, high, logical.heads]);
    // No write precompensation.
    table[5..7].copy_from_slice(&[0xff, 0xff]);
    table[8] = control;
    if info.translation == Translation::None {
        // The landing zone, and sectors per track.
        table[12..15].copy_from_slice(&[low, high, logical.sectors]);
    } else {
        let [low, high] = physical.cylinders.to_le_bytes();
        table[3] = TRANSLATED;
        table[4] = physical.sectors;
        table[9..15].copy_from_slice(&[low, high, physical.heads, low, high, logical.sectors]);
        let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        table[15] = sum.wrapping_neg();
    }
    table
}

/// Writes the tables of hard disks 80h and 81h, sets their vectors, and sets the number of hard disks.
pub fn install<H: Hw>(bios: &mut Bios<H>) {
    let state = &bios.state.disk;
    bios.hw.set(bda::DISK_COUNT, state.hard_disks.get());
    bios.hw.set(bda::DISK_CONTROL, NO_RETRIES);
    for (n, vector, at) in [(0, 0x41, ebda::DISK_0.at), (1, 0x46, ebda::DISK_1.at)] {
        let Some(info) = state.index(HARD + n).and_then(|index| state.info(index)) else { continue };
        bios.hw.copy_out(&parameters(info), at);
        bios.hw.write32(FarPtr::vector(vector), at.to_u32());
    }
}
