//! A CD that puts what is booted after it in virtual-8086 mode (see v86.s).

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, cache::cached, file_error, shell};

/// Bytes of the boot image, and of the code in it.
const SIZE: usize = 4096;
/// Where the image says whether it does anything.
const ARMED: usize = SIZE - 3;

/// What it says on port 402h when it has taken over.
pub const INSTALLED: &str = "V86: installed";

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("v86.s"), options(att_syntax));

    // SAFETY: v86.s defines the symbol in .rodata with exactly this many bytes behind it, which nobody writes.
    unsafe extern "C" {
        safe static pcvm_v86_start: [u8; super::SIZE];
    }

    pub fn image() -> [u8; super::SIZE] {
        pcvm_v86_start
    }
}

/// Makes the CD, or one that looks like it and does nothing, and gives its path.
pub fn iso(armed: bool) -> Result<PathBuf, Error> {
    let mut image = code::image();
    image[ARMED] = armed.into();
    let name = if armed { "v86" } else { "v86-not" };
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
