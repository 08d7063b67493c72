//! Floppies on a CD, by El Torito's floppy emulation: one with a boot sector of the project's own, and FreeDOS.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, cache::cached, file_error, shell};

const SECTOR: usize = 512;
/// A 1.44 MB floppy: 80 cylinders, 2 heads, 18 sectors.
const SECTORS: usize = 2880;

/// Where the boot sector keeps the sum of all the other sectors' words.
const SUM: usize = 506;

/// Bytes of the program that draws: one cluster.
const PROGRAM: usize = 1024;

/// The boot sector: reads every other sector of the floppy by INT 13h, sums their words, and reports on the screen and
/// on COM1.
#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("floppy.s"), options(att_syntax));

    // SAFETY: floppy.s defines the symbol in .rodata with exactly this many bytes behind it, which nobody writes.
    unsafe extern "C" {
        safe static pcvm_floppy_start: [u8; super::SECTOR];
    }

    pub fn boot_sector() -> [u8; super::SECTOR] {
        pcvm_floppy_start
    }

    std::arch::global_asm!(include_str!("dos-draw.s"), options(att_syntax));

    // SAFETY: as above, in dos-draw.s.
    unsafe extern "C" {
        safe static pcvm_dos_draw_start: [u8; super::PROGRAM];
    }

    pub fn dos_draw() -> [u8; super::PROGRAM] {
        pcvm_dos_draw_start
    }
}

/// The CD with the boot sector of the project's own.
pub fn own_iso() -> Result<PathBuf, Error> {
    let mut image = vec![0_u8; SECTORS * SECTOR];
    // Any data whose sectors differ.
    let mut state = 0x2545_F491_u32;
    for word in image[SECTOR..].chunks_exact_mut(2) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        word.copy_from_slice(&((state >> 16) as u16).to_le_bytes());
    }
    let sum = image[SECTOR..]
        .chunks_exact(2)
        .fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    image[..SECTOR].copy_from_slice(&code::boot_sector());
    image[SUM..SUM + 2].copy_from_slice(&sum.to_le_bytes());
    iso("floppy", &image)
}

/// The CD with FreeDOS, its console on COM1, if there is an image of it: `PCVM_FREEDOS`, else
/// `../shared/images/freedos722.img` beside the project.
pub fn freedos_iso() -> Result<Option<PathBuf>, Error> {
    let path = match std::env::var_os("PCVM_FREEDOS") {
        Some(path) => PathBuf::from(path),
        None => {
            let project = pcvm_test_host::project();
            match project
                .ancestors()
                .skip(1)
                .map(|dir| dir.join("shared/images/freedos722.img"))
                .find(|path| path.exists())
            {
                Some(path) => path,
                None => return Ok(None),
            }
        }
    };
    let mut image = fs::read(&path).map_err(file_error(&path))?;
    prepare_freedos(&mut image)
        .ok_or_else(|| Error::Unexpected(format!("{}: not FreeDOS's floppy", path.display())))?;
    iso("freedos", &image).map(Some)
}

/// El Torito knows no 720 KiB floppy: the file system is put on a 1.44 MB one, whose tracks have 18 sectors. Its
/// AUTOEXEC.BAT begins with a move of the console to COM1, and there is a DRAW.COM (dos-draw.s).
fn prepare_freedos(image: &mut Vec<u8>) -> Option<()> {
    let word = |image: &[u8], at: usize| image.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let (reserved, fats, root_entries) = (word(image, 14)?, usize::from(*image.get(16)?), word(image, 17)?);
    let (fat_sectors, cluster) = (word(image, 22)?, usize::from(*image.get(13)?) * SECTOR);
    image.get_mut(24..26)?.copy_from_slice(&18_u16.to_le_bytes());

    let root = (reserved + fats * fat_sectors) * SECTOR;
    let entry = (0..root_entries).map(|n| root + n * 32).find(|&at| image.get(at..at + 11) == Some(b"AUTOEXECBAT"))?;
    let start = root + root_entries * 32 + (word(image, entry + 26)?.checked_sub(2)?) * cluster;
    let old = word(image, entry + 28)?;
    let mut text = b"CTTY AUX\r\n".to_vec();
    text.extend(image.get(start..start + old)?);
    if text.len() > cluster {
        return None;
    }
    image.get_mut(start..start + text.len())?.copy_from_slice(&text);
    image.get_mut(entry + 28..entry + 32)?.copy_from_slice(&(text.len() as u32).to_le_bytes());

    // A file of one cluster, the first that is free: the root's entry and FAT12's, in each copy (ECMA-107).
    let free = (0..root_entries).map(|n| root + n * 32).find(|&at| matches!(image.get(at), Some(0 | 0xe5)))?;
    let entry_of = |image: &[u8], cluster: usize| {
        let both = word(image, reserved * SECTOR + cluster * 3 / 2)?;
        Some(if cluster.is_multiple_of(2) { both & 0xfff } else { both >> 4 })
    };
    let number = (2..fat_sectors * SECTOR * 2 / 3).find(|&cluster| entry_of(image, cluster) == Some(0))?;
    for fat in 0..fats {
        let at = (reserved + fat * fat_sectors) * SECTOR + number * 3 / 2;
        let last = if number.is_multiple_of(2) { 0x0fff } else { 0xfff0 };
        let both = (word(image, at)? | last) as u16;
        image.get_mut(at..at + 2)?.copy_from_slice(&both.to_le_bytes());
    }
    let mut file = *b"DRAW    COM\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    file[26..28].copy_from_slice(&(number as u16).to_le_bytes());
    file[28..].copy_from_slice(&(PROGRAM as u32).to_le_bytes());
    image.get_mut(free..free + 32)?.copy_from_slice(&file);
    let start = root + root_entries * 32 + (number - 2) * cluster;
    image.get_mut(start..start + PROGRAM)?.copy_from_slice(&code::dos_draw());
    image.resize(SECTORS * SECTOR, 0);
    Some(())
}

fn iso(name: &str, image: &[u8]) -> Result<PathBuf, Error> {
    let dir = cached(name, &[image, include_bytes!("floppy.rs")], |dir: &Path| {
        fs::create_dir(dir.join("iso")).map_err(file_error(dir))?;
        let floppy = dir.join("iso/floppy.img");
        fs::write(&floppy, image).map_err(file_error(&floppy))?;
        // Without an option to the contrary, xorriso's boot image is an emulated floppy of its size.
        shell(dir, "xorriso -as mkisofs -quiet -V FLOPPY -o floppy.iso -b floppy.img -c boot.cat iso && rm -r iso")?;
        Ok(())
    })?;
    Ok(dir.join("floppy.iso"))
}
