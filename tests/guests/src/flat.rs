//! Firmware images of the project's own, for tests and measurements that want the machine to themselves.

use std::fs;
use std::path::PathBuf;

use crate::{Error, cache::cached, file_error};

/// Size of an image: one segment.
const IMAGE: usize = 64 << 10;
/// Size of the code of a guest.
const CODE: usize = 1024;
/// Where a processor starts: 16 bytes below the end.
pub(crate) const RESET: usize = IMAGE - 16;
/// `jmp 0`, near: from FFF0h the instruction pointer wraps, and the segment stays below 4 GiB.
pub(crate) const JUMP: [u8; 3] = [0xE9, 0x0D, 0x00];

/// What the hostile guest prints on port 402h when it is through.
pub const THROUGH: &str = "through";

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("hostile.s"), options(att_syntax));

    // SAFETY: hostile.s defines the symbol in .rodata with exactly this many bytes behind it, which nobody writes.
    unsafe extern "C" {
        safe static pcvm_hostile_start: [u8; super::CODE];
    }

    pub fn hostile() -> [u8; super::CODE] {
        pcvm_hostile_start
    }

    std::arch::global_asm!(include_str!("bench.s"), options(att_syntax));

    // SAFETY: as above, in bench.s.
    unsafe extern "C" {
        safe static pcvm_bench_start: [u8; super::CODE];
    }

    pub fn bench() -> [u8; super::CODE] {
        pcvm_bench_start
    }

    std::arch::global_asm!(include_str!("net-bench.s"), options(att_syntax));

    // SAFETY: as above, in net-bench.s.
    unsafe extern "C" {
        safe static pcvm_net_bench_start: [u8; super::CODE];
    }

    pub fn net_bench() -> [u8; super::CODE] {
        pcvm_net_bench_start
    }

    std::arch::global_asm!(include_str!("deaf.s"), options(att_syntax));

    // SAFETY: as above, in deaf.s.
    unsafe extern "C" {
        safe static pcvm_deaf_start: [u8; super::CODE];
    }

    pub fn deaf() -> [u8; super::CODE] {
        pcvm_deaf_start
    }

    std::arch::global_asm!(include_str!("int13.s"), options(att_syntax));

    // SAFETY: as above, in int13.s.
    unsafe extern "C" {
        safe static pcvm_int13_start: [u8; 2048];
    }

    std::arch::global_asm!(include_str!("disks.s"), options(att_syntax));

    // SAFETY: as above, in disks.s.
    unsafe extern "C" {
        safe static pcvm_disks_start: [u8; 512];
    }

    pub fn disks() -> [u8; 512] {
        pcvm_disks_start
    }

    std::arch::global_asm!(include_str!("modeset.s"), options(att_syntax));

    // SAFETY: as above, in modeset.s.
    unsafe extern "C" {
        safe static pcvm_modeset_start: [u8; 512];
    }

    pub fn modeset() -> [u8; 512] {
        pcvm_modeset_start
    }

    pub fn int13() -> [u8; 2048] {
        pcvm_int13_start
    }
}

/// A firmware image that makes `accesses` pseudo-random accesses to ports and PCI registers, and its path.
pub fn hostile(accesses: u32, seed: u32) -> Result<PathBuf, Error> {
    let mut code = code::hostile();
    // The two words behind the text that it prints last.
    let at = behind(&code, &format!("{THROUGH}\n\0"))?;
    code[at..at + 4].copy_from_slice(&accesses.to_le_bytes());
    code[at + 4..at + 8].copy_from_slice(&seed.max(1).to_le_bytes());

    image(&format!("hostile-{seed:x}"), "hostile.bin", &code)
}

/// The firmware image that `benches/compare` runs, which patches into it what is to be measured (see bench.s), and
/// its path.
pub fn bench() -> Result<PathBuf, Error> {
    image("bench", "bench.bin", &code::bench())
}

/// The firmware image that `benches/net` runs, which patches into it what is to be measured (see net-bench.s), and its
/// path.
pub fn net_bench() -> Result<PathBuf, Error> {
    image("net-bench", "net-bench.bin", &code::net_bench())
}

/// A firmware image that reads a sector so often while its network card's ring is full (see deaf.s).
pub fn deaf(sectors: u32) -> Result<PathBuf, Error> {
    let mut code = code::deaf();
    let at = behind(&code, "sectors:")?;
    code[at..at + 4].copy_from_slice(&sectors.max(1).to_le_bytes());
    image("deaf", "deaf.bin", &code)
}

/// A disk whose boot sector sets modes (see modeset.s).
pub fn modeset() -> Vec<u8> {
    let mut image = code::modeset().to_vec();
    image.resize(1 << 20, 0);
    image
}

/// The disk of 8 MiB that `benches/int13` boots, and its path.
pub fn int13() -> Result<PathBuf, Error> {
    let mut image = code::int13().to_vec();
    image.resize(8 << 20, 0);
    let dir = cached("int13", &[&image], |dir| {
        let path = dir.join("int13.img");
        fs::write(&path, &image).map_err(file_error(&path))
    })?;
    Ok(dir.join("int13.img"))
}

/// A boot sector that says on COM1 what INT 13h knows of every hard disk (see disks.s).
pub fn disks() -> [u8; 512] {
    code::disks()
}

/// Where a guest's code goes on behind a text that is in it.
fn behind(code: &[u8], text: &str) -> Result<usize, Error> {
    let at = code.windows(text.len()).position(|bytes| bytes == text.as_bytes());
    at.map(|at| at + text.len()).ok_or_else(|| Error::Unexpected(format!("a guest has no {text:?}")))
}

fn image(name: &str, file: &str, code: &[u8; CODE]) -> Result<PathBuf, Error> {
    let mut image = vec![0_u8; IMAGE];
    image[..CODE].copy_from_slice(code);
    image[RESET..RESET + JUMP.len()].copy_from_slice(&JUMP);
    let dir = cached(name, &[&image], |dir| {
        let path = dir.join(file);
        fs::write(&path, &image).map_err(file_error(&path))
    })?;
    Ok(dir.join(file))
}
