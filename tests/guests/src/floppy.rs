//! Floppy images, as they are and on a CD with El Torito floppy emulation: a boot sector that checksums its floppy, and
//! FreeDOS.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, cache::cached, file_error, shell};

const SECTOR: usize = 512;
/// A 1.44 MB floppy: 80 cylinders, 2 heads, 18 sectors.
const SECTORS: usize = 2880;

/// Offset in the boot sector of the sum of all other sectors' words.
const SUM: usize = 506;

/// Size of each DOS program: one cluster.
const PROGRAM: usize = 1024;

/// Shell functions for jobs that run FreeDOS with its console on COM1, whose output is `serial.log`, in the process `$vm`:
/// `expect PATTERN` waits until the output contains the pattern and ends the job after 120 seconds; `type_line TEXT` types a
/// line through file descriptor 3.
pub const CONSOLE: &str = r#"
    printed() { tr -d '\r' <serial.log | grep -q -e "$1"; }
    expect() {
      wait_for 120 printed "$1" || { echo "COM1 did not print $1"; tail -n 20 serial.log; kill $vm; exit 1; }
    }
    type_line() { printf '%s\r' "$1" >&3; }
"#;

/// Code of the boot sector (floppy.s), and of the DOS programs DRAW.COM (dos-draw.s), TRAY.COM (dos-cd.s), FORM.COM and
/// SAME.COM (dos-floppy.s).
#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("floppy.s"), options(att_syntax));

    // SAFETY: floppy.s defines the symbol in .rodata with exactly this many bytes, which are never written.
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

    std::arch::global_asm!(include_str!("dos-cd.s"), options(att_syntax));

    // SAFETY: as above, in dos-cd.s.
    unsafe extern "C" {
        safe static pcvm_dos_cd_start: [u8; super::PROGRAM];
    }

    pub fn dos_cd() -> [u8; super::PROGRAM] {
        pcvm_dos_cd_start
    }

    pub fn dos_draw() -> [u8; super::PROGRAM] {
        pcvm_dos_draw_start
    }

    std::arch::global_asm!(include_str!("dos-floppy.s"), options(att_syntax));

    // SAFETY: as above, in dos-floppy.s.
    unsafe extern "C" {
        safe static pcvm_dos_form_start: [u8; super::PROGRAM];
        safe static pcvm_dos_same_start: [u8; super::PROGRAM];
    }

    pub fn dos_form() -> [u8; super::PROGRAM] {
        pcvm_dos_form_start
    }

    pub fn dos_same() -> [u8; super::PROGRAM] {
        pcvm_dos_same_start
    }
}

/// Builds a CD with a floppy whose boot sector reads and sums all sectors (see floppy.s). Returns its path.
pub fn checksum_iso() -> Result<PathBuf, Error> {
    iso("floppy", &checksum_floppy())
}

/// The same floppy as an image file.
pub fn checksum_image() -> Result<PathBuf, Error> {
    file("floppy-image", &checksum_floppy())
}

fn checksum_floppy() -> Vec<u8> {
    let mut image = vec![0_u8; SECTORS * SECTOR];
    // Pseudo-random data, different in every sector.
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
    image
}

/// Builds a CD with FreeDOS, its console on COM1, from the image `PCVM_FREEDOS` or `../shared/images/freedos722.img`
/// beside the project. Returns `None` if there is no image.
pub fn freedos_iso() -> Result<Option<PathBuf>, Error> {
    let Some((path, mut image)) = freedos()? else { return Ok(None) };
    prepare_freedos(&mut image).ok_or_else(|| unexpected(&path))?;
    iso("freedos", &image).map(Some)
}

/// The 720 KB floppy with FreeDOS that [`freedos_iso`] is made from, with its console on COM1, and FORM.COM and SAME.COM
/// (dos-floppy.s). Returns `None` if there is no image.
pub fn freedos_image() -> Result<Option<PathBuf>, Error> {
    let Some((path, mut image)) = freedos()? else { return Ok(None) };
    let prepared = Layout::of(&image).and_then(|layout| {
        layout.prepend(&mut image, b"AUTOEXECBAT", b"CTTY AUX\r\n")?;
        layout.add(&mut image, b"FORM    COM", &code::dos_form())?;
        layout.add(&mut image, b"SAME    COM", &code::dos_same())
    });
    prepared.ok_or_else(|| unexpected(&path))?;
    file("freedos-image", &image).map(Some)
}

fn unexpected(path: &Path) -> Error {
    Error::Unexpected(format!("{}: not the expected FreeDOS floppy: no FAT12 or no AUTOEXEC.BAT", path.display()))
}

/// The FreeDOS image and its path.
fn freedos() -> Result<Option<(PathBuf, Vec<u8>)>, Error> {
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
    let image = fs::read(&path).map_err(file_error(&path))?;
    Ok(Some((path, image)))
}

/// El Torito has no 720 KiB floppy: the file system is placed on a 1.44 MB one, whose tracks have 18 sectors.
/// AUTOEXEC.BAT gets a first line that moves the console to COM1, and DRAW.COM (dos-draw.s) and TRAY.COM (dos-cd.s) are
/// added.
fn prepare_freedos(image: &mut Vec<u8>) -> Option<()> {
    image.get_mut(24..26)?.copy_from_slice(&18_u16.to_le_bytes());
    let layout = Layout::of(image)?;
    layout.prepend(image, b"AUTOEXECBAT", b"CTTY AUX\r\n")?;
    layout.add(image, b"DRAW    COM", &code::dos_draw())?;
    layout.add(image, b"TRAY    COM", &code::dos_cd())?;
    image.resize(SECTORS * SECTOR, 0);
    Some(())
}

/// Layout of a FAT12 file system (ECMA-107). Only files of one cluster are supported.
struct Layout {
    /// Bytes per cluster.
    cluster: usize,
    /// Offset of the first FAT, number of FATs, bytes per FAT.
    fat: usize,
    fats: usize,
    fat_size: usize,
    root: usize,
    root_entries: usize,
}

fn word(image: &[u8], at: usize) -> Option<usize> {
    image.get(at..at + 2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

impl Layout {
    fn of(image: &[u8]) -> Option<Self> {
        let (fat, fats) = (word(image, 14)? * SECTOR, usize::from(*image.get(16)?));
        let fat_size = word(image, 22)? * SECTOR;
        Some(Self {
            cluster: usize::from(*image.get(13)?) * SECTOR,
            fat,
            fats,
            fat_size,
            root: fat + fats * fat_size,
            root_entries: word(image, 17)?,
        })
    }

    /// Offset of the first root directory entry whose name satisfies `is`.
    fn entry(&self, image: &[u8], is: impl Fn(&[u8]) -> bool) -> Option<usize> {
        (0..self.root_entries).map(|n| self.root + n * 32).find(|&at| image.get(at..at + 11).is_some_and(&is))
    }

    /// Offset of a cluster's data; the first cluster has number 2.
    fn data(&self, number: usize) -> Option<usize> {
        Some(self.root + self.root_entries * 32 + number.checked_sub(2)? * self.cluster)
    }

    /// FAT entry of a cluster: 12 bits.
    fn link(&self, image: &[u8], number: usize) -> Option<usize> {
        let both = word(image, self.fat + number * 3 / 2)?;
        Some(if number.is_multiple_of(2) { both & 0xfff } else { both >> 4 })
    }

    /// Inserts text at the beginning of a file.
    fn prepend(&self, image: &mut [u8], name: &[u8; 11], text: &[u8]) -> Option<()> {
        let entry = self.entry(image, |other| other == name)?;
        let start = self.data(word(image, entry + 26)?)?;
        let text = [text, image.get(start..start + word(image, entry + 28)?)?].concat();
        if text.len() > self.cluster {
            return None;
        }
        image.get_mut(start..start + text.len())?.copy_from_slice(&text);
        image.get_mut(entry + 28..entry + 32)?.copy_from_slice(&(text.len() as u32).to_le_bytes());
        Some(())
    }

    /// Adds a file in the first free cluster.
    fn add(&self, image: &mut [u8], name: &[u8; 11], data: &[u8]) -> Option<()> {
        let entry = self.entry(image, |name| matches!(name[0], 0 | 0xe5))?;
        let number = (2..self.fat_size * 2 / 3).find(|&number| self.link(image, number) == Some(0))?;
        for fat in 0..self.fats {
            let at = self.fat + fat * self.fat_size + number * 3 / 2;
            let last = if number.is_multiple_of(2) { 0x0fff } else { 0xfff0 };
            let both = (word(image, at)? | last) as u16;
            image.get_mut(at..at + 2)?.copy_from_slice(&both.to_le_bytes());
        }
        let mut file = [0; 32];
        file[..11].copy_from_slice(name);
        file[11] = 0x20; // archive attribute
        file[26..28].copy_from_slice(&(number as u16).to_le_bytes());
        file[28..].copy_from_slice(&(data.len() as u32).to_le_bytes());
        image.get_mut(entry..entry + 32)?.copy_from_slice(&file);
        let start = self.data(number)?;
        image.get_mut(start..start + data.len())?.copy_from_slice(data);
        (data.len() <= self.cluster).then_some(())
    }
}

fn file(name: &str, image: &[u8]) -> Result<PathBuf, Error> {
    let dir = cached(name, &[image], |dir: &Path| fs::write(dir.join("floppy.img"), image).map_err(file_error(dir)))?;
    Ok(dir.join("floppy.img"))
}

fn iso(name: &str, image: &[u8]) -> Result<PathBuf, Error> {
    let dir = cached(name, &[image, include_bytes!("floppy.rs")], |dir: &Path| {
        fs::create_dir(dir.join("iso")).map_err(file_error(dir))?;
        let floppy = dir.join("iso/floppy.img");
        fs::write(&floppy, image).map_err(file_error(&floppy))?;
        // By default xorriso emulates a floppy of the boot image's size.
        shell(dir, "xorriso -as mkisofs -quiet -V FLOPPY -o floppy.iso -b floppy.img -c boot.cat iso && rm -r iso")?;
        Ok(())
    })?;
    Ok(dir.join("floppy.iso"))
}
