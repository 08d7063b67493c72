//! CD that runs the next boot device in virtual-8086 mode (see v86.s).

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, cache::cached, file_error, shell};

/// Size of the boot image, which is all code.
const SIZE: usize = 4096;
/// Offset of the byte that arms the monitor.
const ARMED: usize = SIZE - 3;

/// What the monitor prints on port 402h when it has entered V86 mode.
pub const INSTALLED: &str = "V86: installed";

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("v86.s"), options(att_syntax));

    // SAFETY: v86.s defines the symbol in .rodata with exactly this many bytes, which are never written.
    unsafe extern "C" {
        safe static pcvm_v86_start: [u8; super::SIZE];
    }

    pub fn image() -> [u8; super::SIZE] {
        pcvm_v86_start
    }
}

/// Builds the CD; unless `armed`, it boots the next device in real mode. Returns its path.
pub fn iso(armed: bool) -> Result<PathBuf, Error> {
    let mut image = code::image();
    image[ARMED] = armed.into();
    let name = if armed { "v86" } else { "v86-unarmed" };
    let dir = cached(name, &[&image, include_bytes!("v86.rs")], |dir: &Path| {
        fs::create_dir(dir.join("iso")).map_err(file_error(dir))?;
        let file = dir.join("iso/v86.bin");
        fs::write(&file, image).map_err(file_error(&file))?;
        shell(
            dir,
            "xorriso -as mkisofs -quiet -V V86 -o v86.iso -b v86.bin -c boot.cat -no-emul-boot -boot-load-size 8 iso
             rm -r iso",
        )?;
        Ok(())
    })?;
    Ok(dir.join("v86.iso"))
}
