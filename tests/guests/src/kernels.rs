//! Kernels that report what their boot loader gave them (see kernels.s): Multiboot with ELF segments or with addresses in
//! the header, PVH, and Linux' 16-bit boot protocol.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, cache::cached, file_error, shell};

const FLAT: usize = 2048;
const SETUP: usize = 1024;
/// Address to which the 32-bit kernel is linked.
const BASE: u32 = 0x10_0000;
/// Entries of the 32-bit kernel.
const MULTIBOOT_ENTRY: u32 = BASE + 0x40;
const PVH_ENTRY: u32 = BASE + 0x50;

#[allow(unsafe_code)]
mod code {
    std::arch::global_asm!(include_str!("kernels.s"), options(att_syntax));

    // SAFETY: kernels.s defines the symbols in .rodata with exactly this many bytes, which are never written.
    unsafe extern "C" {
        safe static pcvm_flat_kernel_start: [u8; super::FLAT];
        safe static pcvm_setup_start: [u8; super::SETUP];
    }

    pub fn flat() -> [u8; super::FLAT] {
        pcvm_flat_kernel_start
    }

    pub fn setup() -> [u8; super::SETUP] {
        pcvm_setup_start
    }
}

/// How a Multiboot kernel says where it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A 32-bit ELF file.
    Elf,
    /// By addresses in the Multiboot header, after 256 bytes that are not loaded.
    Addresses,
}

fn write(name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let dir = cached(name, &[bytes], |dir| {
        let path = dir.join("kernel");
        fs::write(&path, bytes).map_err(file_error(&path))
    })?;
    Ok(dir.join("kernel"))
}

fn dwords(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A Multiboot kernel; `video` is the width, height and depth that its header requests. Returns its path.
pub fn multiboot(format: Format, video: Option<[u32; 3]>) -> Result<PathBuf, Error> {
    const MAGIC: u32 = 0x1bad_b002;
    let mut code = code::flat().to_vec();
    let mut flags = 3 | u32::from(video.is_some()) << 2;
    let mut addresses = [0; 5];
    if format == Format::Addresses {
        flags |= 1 << 16;
        addresses = [BASE, BASE, 0, BASE + 2 * FLAT as u32, MULTIBOOT_ENTRY];
    }
    let header = [&[MAGIC, flags, 0u32.wrapping_sub(MAGIC.wrapping_add(flags))][..], &addresses, &[0]].concat();
    let header = [dwords(&header), dwords(&video.unwrap_or_default())].concat();
    code[..header.len()].copy_from_slice(&header);
    let file = match format {
        Format::Elf => elf32(&code),
        Format::Addresses => [vec![0xff; 256], code].concat(),
    };
    let [width, height, depth] = video.unwrap_or_default();
    write(&format!("multiboot-{format:?}-{width}x{height}x{depth}"), &file)
}

/// A 32-bit ELF file with one segment, linked at C0100000h and loaded at 100000h.
fn elf32(code: &[u8]) -> Vec<u8> {
    const VIRTUAL: u32 = 0xc000_0000;
    let size = code.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    // Entry, program headers, section headers, flags; sizes and counts; then the program header.
    file.extend(dwords(&[VIRTUAL + MULTIBOOT_ENTRY, 52, 0, 0, 0x0020_0034, 1, 0]));
    file.extend(dwords(&[1, 128, VIRTUAL + BASE, BASE, size, 2 * size, 7, 4]));
    file.resize(128, 0);
    file.extend_from_slice(code);
    file
}

/// A 64-bit ELF file with a PVH note. Returns its path.
pub fn pvh() -> Result<PathBuf, Error> {
    let quad = |value: u32| [value, 0];
    let code = code::flat();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend(dwords(&[quad(PVH_ENTRY), quad(64), quad(0)].concat()));
    file.extend(dwords(&[0, 0x0038_0040, 2, 0]));
    let segment = |kind: u32, offset: u32, address: u32, size: u32, memory: u32| {
        let quads = [quad(offset), quad(address), quad(address), quad(size), quad(memory), quad(4)].concat();
        [dwords(&[kind, 7]), dwords(&quads)].concat()
    };
    file.extend(segment(1, 256, BASE, FLAT as u32, 2 * FLAT as u32));
    file.extend(segment(4, 192, 0, 20, 20));
    file.resize(192, 0);
    file.extend(dwords(&[4, 4, 18]));
    file.extend_from_slice(b"Xen\0");
    file.extend(dwords(&[PVH_ENTRY]));
    file.resize(256, 0);
    file.extend_from_slice(&code);
    write("pvh", &file)
}

/// A Linux kernel of this boot protocol (0 for one without header), whose code is 32 KiB that count from 0. It is a zImage
/// before 2.02, else a bzImage. Returns its path.
pub fn linux(version: u16) -> Result<PathBuf, Error> {
    const CODE: usize = 32 << 10;
    let mut file = vec![0; 512];
    file.extend_from_slice(&code::setup());
    let sectors = (SETUP / 512) as u8;
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[sectors]);
    put(0x1f4, &(CODE as u16 / 16).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa]);
    if version != 0 {
        // A jump to the code at 280h, over the header.
        put(0x200, &[0xeb, 0x7e]);
        put(0x202, b"HdrS");
        put(0x206, &version.to_le_bytes());
        put(0x211, &[u8::from(version >= 0x202)]);
        put(0x22c, &0x37ff_ffffu32.to_le_bytes());
        put(0x238, &255u32.to_le_bytes());
    }
    file.extend((0..CODE).map(|n| n as u8));
    write(&format!("linux-{version:x}"), &file)
}

/// What a kernel has reported: tags and contents, in order. The firmware's messages precede the first record, the registers.
///
/// # Errors
/// If the report is cut.
pub fn records(mut output: &[u8]) -> Result<Vec<(char, Vec<u8>)>, Error> {
    let mut records = Vec::new();
    let first = output.windows(3).position(|head| matches!(head, b"r\x1c\0" | b"r\x0c\0"));
    output = &output[first.unwrap_or(output.len())..];
    loop {
        let cut = || Error::Unexpected(format!("the kernel's report ends after {} records", records.len()));
        let (&[tag, low, high], rest) = output.split_first_chunk().ok_or_else(cut)?;
        let (content, rest) = rest.split_at_checked(u16::from_le_bytes([low, high]).into()).ok_or_else(cut)?;
        if tag == b'.' {
            return Ok(records);
        }
        records.push((tag.into(), content.to_vec()));
        output = rest;
    }
}

/// The ELF file in a Linux bzImage that is compressed by xz. Returns its path.
pub fn vmlinux(bzimage: &Path) -> Result<PathBuf, Error> {
    let bytes = fs::read(bzimage).map_err(file_error(bzimage))?;
    let dword = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        word.map(|word| word as usize).ok_or_else(|| Error::Unexpected("the kernel is cut".into()))
    };
    // payload_offset and payload_length (boot.rst, protocol 2.08). The last four bytes are the length of the ELF file.
    let start = (usize::from(bytes[0x1f1]) + 1) * 512 + dword(0x248)?;
    let payload = bytes.get(start..start + dword(0x24c)? - 4);
    let payload = payload.ok_or_else(|| Error::Unexpected("the kernel's payload is cut".into()))?;
    let dir = cached("vmlinux", &[payload], |dir| {
        let path = dir.join("vmlinux.xz");
        fs::write(&path, payload).map_err(file_error(&path))?;
        shell(dir, "xz -d vmlinux.xz").map(|_| ())
    })?;
    Ok(dir.join("vmlinux"))
}
