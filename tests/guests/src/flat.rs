//! Bare-metal guests: flat firmware images and boot sectors, for tests and benchmarks that need no operating system.

use std::fs;
use std::path::PathBuf;

use crate::{Error, cache::cached, file_error};

/// Size of a firmware image: one segment.
const IMAGE: usize = 64 << 10;
/// Size of a guest's code.
const CODE: usize = 2048;
/// Offset of the reset vector: 16 bytes below the end.
pub(crate) const RESET: usize = IMAGE - 16;
/// Near `jmp 0`: IP wraps from FFF0h, and CS.base stays below 4 GiB.
pub(crate) const JUMP: [u8; 3] = [0xE9, 0x0D, 0x00];

/// What the fuzzer guest prints on port 402h when it is done.
pub const DONE: &str = "through";

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("hostile.s"), options(att_syntax));

    // SAFETY: hostile.s defines the symbol in .rodata with exactly this many bytes, which are never written.
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

    std::arch::global_asm!(include_str!("stalled-receiver.s"), options(att_syntax));

    // SAFETY: as above, in stalled-receiver.s.
    unsafe extern "C" {
        safe static pcvm_stalled_receiver_start: [u8; super::CODE];
    }

    pub fn stalled_receiver() -> [u8; super::CODE] {
        pcvm_stalled_receiver_start
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

    std::arch::global_asm!(include_str!("caller.s"), options(att_syntax));

    // SAFETY: as above, in caller.s.
    unsafe extern "C" {
        safe static pcvm_caller_start: [u8; 2048];
    }

    std::arch::global_asm!(include_str!("state.s"), options(att_syntax));

    // SAFETY: as above, in state.s.
    unsafe extern "C" {
        safe static pcvm_state_start: [u8; 2048];
    }

    pub fn state() -> [u8; 2048] {
        pcvm_state_start
    }

    pub fn caller() -> [u8; 2048] {
        pcvm_caller_start
    }

    pub fn int13() -> [u8; 2048] {
        pcvm_int13_start
    }
}

/// Fuzzer of I/O ports and PCI registers: a firmware image that makes `accesses` pseudo-random accesses (see
/// hostile.s). Returns its path.
pub fn hostile(accesses: u32, seed: u32) -> Result<PathBuf, Error> {
    let mut code = code::hostile();
    // The two dwords after the text.
    let at = offset_after(&code, &format!("{DONE}\n\0"))?;
    code[at..at + 4].copy_from_slice(&accesses.to_le_bytes());
    code[at + 4..at + 8].copy_from_slice(&seed.max(1).to_le_bytes());

    image(&format!("hostile-{seed:x}"), "hostile.bin", &code)
}

/// Firmware image for `benches/compare`, which patches the operation into it (see bench.s). Returns its path.
pub fn bench() -> Result<PathBuf, Error> {
    image("bench", "bench.bin", &code::bench())
}

/// Firmware image for `benches/net`, which patches the operation into it (see net-bench.s). Returns its path.
pub fn net_bench() -> Result<PathBuf, Error> {
    image("net-bench", "net-bench.bin", &code::net_bench())
}

/// Firmware image that reads a sector `sectors` times while the NIC's receive ring is full and never drained (see
/// stalled-receiver.s). Returns its path.
pub fn stalled_receiver(sectors: u32) -> Result<PathBuf, Error> {
    let mut code = code::stalled_receiver();
    let at = offset_after(&code, "sectors:")?;
    code[at..at + 4].copy_from_slice(&sectors.max(1).to_le_bytes());
    image("stalled-receiver", "stalled-receiver.bin", &code)
}

/// Disk image of 1 MiB whose boot sector sets video modes (see modeset.s).
pub fn modeset() -> Vec<u8> {
    let mut image = code::modeset().to_vec();
    image.resize(1 << 20, 0);
    image
}

/// Disk image of 1 MiB whose boot program prints the tables and registers that an operating system reads first (see
/// state.s).
pub fn state() -> Vec<u8> {
    let mut image = code::state().to_vec();
    image.resize(1 << 20, 0);
    image
}

/// Disk image of 1 MiB whose boot program prints what a caller of the BIOS sees (see caller.s).
pub fn caller() -> Vec<u8> {
    let mut image = code::caller().to_vec();
    image.resize(1 << 20, 0);
    image
}

/// Disk of 8 MiB for `benches/int13` (see int13.s). Returns its path.
pub fn int13() -> Result<PathBuf, Error> {
    let mut image = code::int13().to_vec();
    image.resize(8 << 20, 0);
    let dir = cached("int13", &[&image], |dir| {
        let path = dir.join("int13.img");
        fs::write(&path, &image).map_err(file_error(&path))
    })?;
    Ok(dir.join("int13.img"))
}

/// Boot sector that prints what INT 13h reports for each hard disk (see disks.s).
pub fn disks() -> [u8; 512] {
    code::disks()
}

/// Offset behind the first occurrence of `text` in a guest's code.
fn offset_after(code: &[u8], text: &str) -> Result<usize, Error> {
    let at = code.windows(text.len()).position(|bytes| bytes == text.as_bytes());
    at.map(|at| at + text.len()).ok_or_else(|| Error::Unexpected(format!("the guest's code does not contain {text:?}")))
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
