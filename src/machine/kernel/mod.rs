//! Direct kernel boot (`--kernel`): Linux, Multiboot and PVH kernels, started by the firmware through the loader ROM.
//!
//! This module reads and checks the files, and decides where everything goes. The firmware initialises the machine as for
//! a disk; then the loader ROM (`firmware/loader`) copies the parts from fw_cfg (QEMU's `docs/specs/fw_cfg.rst`, keys 07h
//! to 18h) to memory and enters the kernel. A Linux kernel starts with its 16-bit setup code, which calls the BIOS
//! (`linux`); Multiboot kernels (`multiboot`) and ELF kernels with a PVH note (`pvh`) start in 32-bit mode.
//!
//! SeaBIOS runs the same ROM, and firmware that reads these items itself (OVMF, coreboot) finds them.
//!
//! Deliberately missing: Multiboot 2, compressed files that do not unpack themselves, kernels with parts both below and
//! above the hole at A0000h to FFFFFh.

mod elf_image;
mod linux;
mod multiboot;
mod pvh;
#[cfg(test)]
mod tests;

use crate::config::KernelConfig;
use crate::error::host_error;
use crate::tables::e820;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The loader ROM, as `firmware/build` made it.
const LOADER: &[u8] = include_bytes!("../../../firmware/prebuilt/loader.bin");
/// Offset of the ROM's checksum byte.
const ROM_CHECKSUM: usize = 7;
/// Offset of the ROM's parameter block.
const ROM_PARAMETERS: usize = 0x60;

/// fw_cfg keys: address, size and content of each part (QEMU, `include/standard-headers/linux/qemu_fw_cfg.h`).
mod key {
    pub const KERNEL_ENTRY: u16 = 0x10;
    pub const KERNEL: [u16; 3] = [0x07, 0x08, 0x11];
    pub const INITRD: [u16; 3] = [0x0a, 0x0b, 0x12];
    pub const COMMAND_LINE: [u16; 3] = [0x13, 0x14, 0x15];
    pub const SETUP: [u16; 3] = [0x16, 0x17, 0x18];
}

const PAGE: u64 = 0x1000;
/// Memory from here to the EBDA is free for a kernel; below are the BIOS's data, the loader and the boot information.
const LOW: u64 = 0x1_0000;
const LOW_END: u64 = 0x9_f000;
const HIGH: u64 = 0x10_0000;
/// Bytes below the end of low RAM that stay free for the firmware's tables.
const FIRMWARE_TABLES: u64 = 256 << 10;
/// Address of the boot information of Multiboot and PVH kernels.
const BOOT_INFO: u64 = 0x8000;
/// Limit of what pcvm writes there. The loader appends the memory map and the BIOS's information.
const BOOT_INFO_MAX: usize = 0x5000;

/// The kernel cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A file cannot be read.
    #[error("{}: {}", path.display(), host_error(why))]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The content of a file is not usable.
    #[error("{}: {why}", path.display())]
    Bad {
        /// File.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The kernel or the initial RAM disk does not fit into RAM.
    #[error("{}: needs {need} MiB of memory below 3 GiB, but the machine has {have} MiB (--memory)", path.display())]
    TooBig {
        /// File.
        path: PathBuf,
        /// MiB of RAM needed.
        need: u64,
        /// MiB of RAM below 3 GiB.
        have: u64,
    },
    /// The command line is longer than the kernel accepts.
    #[error("--append: {len} bytes, but {} takes at most {max}", path.display())]
    CommandLine {
        /// Kernel.
        path: PathBuf,
        /// Bytes of the command line.
        len: usize,
        /// The most bytes that the kernel accepts.
        max: usize,
    },
    /// A value of the command line that the boot loader has to interpret.
    #[error("--append: {0}")]
    Argument(String),
}

/// What the firmware needs to start the kernel.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// fw_cfg items.
    pub keys: BTreeMap<u16, Vec<u8>>,
    /// The loader ROM with its parameters.
    pub rom: Vec<u8>,
}

impl Kernel {
    fn new(parameters: &[u32]) -> Self {
        let mut rom = LOADER.to_vec();
        for (to, word) in rom[ROM_PARAMETERS..].chunks_exact_mut(4).zip(parameters) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        rom[ROM_CHECKSUM] = 0;
        rom[ROM_CHECKSUM] = 0u8.wrapping_sub(rom.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        let mut keys = BTreeMap::new();
        for [address, size, data] in [key::KERNEL, key::INITRD, key::COMMAND_LINE, key::SETUP] {
            keys.extend([(address, vec![0; 4]), (size, vec![0; 4]), (data, Vec::new())]);
        }
        Self { keys, rom }
    }

    /// Adds a part: where the loader puts it, and its content.
    fn part(&mut self, [address, size, data]: [u16; 3], at: u64, bytes: Vec<u8>) {
        self.keys.insert(address, (at as u32).to_le_bytes().to_vec());
        self.keys.insert(size, (bytes.len() as u32).to_le_bytes().to_vec());
        self.keys.insert(data, bytes);
    }
}

/// Reads the files and places the kernel in a machine with `ram` bytes of memory.
///
/// # Errors
/// If a file cannot be read, is no kernel, or does not fit.
pub fn load(config: &KernelConfig, ram: u64) -> Result<Kernel, KernelError> {
    let loading = Loading { config, low: e820::low_ram(ram) };
    if config.append.contains('\0') {
        return Err(KernelError::Argument("contains a zero byte".into()));
    }
    let bytes = loading.read(&config.kernel)?;
    load_bytes(&loading, bytes)
}

/// Loads the kernel that has this content.
fn load_bytes(loading: &Loading<'_>, bytes: Vec<u8>) -> Result<Kernel, KernelError> {
    if linux::has_header(&bytes) {
        return linux::load(loading, bytes);
    }
    if let Some(header) = multiboot::Header::find(&bytes) {
        return multiboot::load(loading, &bytes, header);
    }
    if elf_image::is_elf(&bytes) {
        return pvh::load(loading, &bytes);
    }
    if linux::is_old(&bytes) {
        return linux::load(loading, bytes);
    }
    Err(loading.bad(if bytes.starts_with(&[0x1f, 0x8b]) {
        "is compressed by gzip and does not unpack itself: unpack it by gunzip"
    } else if multiboot::is_version_2(&bytes) {
        "is a kernel for Multiboot 2, which pcvm does not have: start it by GRUB from a disk"
    } else {
        "is not a kernel: neither Linux (bzImage, zImage) nor Multiboot nor an ELF file with a PVH entry"
    }))
}

/// A file of `--initrd` for a kernel that takes several.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    bytes: Vec<u8>,
    /// As given: the file and its arguments.
    command_line: String,
}

/// Modules in memory, each at a page.
#[derive(Debug)]
struct PlacedModules {
    /// Address and length of each.
    places: Vec<(u64, u64)>,
    /// Address of the first.
    start: u64,
    /// Content from there on.
    bytes: Vec<u8>,
}

/// A kernel while its files are read.
struct Loading<'a> {
    config: &'a KernelConfig,
    /// Bytes of RAM below the PCI hole.
    low: u64,
}

impl Loading<'_> {
    fn path(&self) -> &Path {
        &self.config.kernel
    }

    fn bad(&self, why: impl Into<String>) -> KernelError {
        KernelError::Bad { path: self.path().to_owned(), why: why.into() }
    }

    fn too_big(&self, path: &Path, need: u64) -> KernelError {
        KernelError::TooBig { path: path.to_owned(), need: need.div_ceil(1 << 20), have: self.low >> 20 }
    }

    /// The whole file, if it is smaller than the machine's memory.
    fn read(&self, path: &Path) -> Result<Vec<u8>, KernelError> {
        let fail = |why| KernelError::Read { path: path.to_owned(), why };
        // Check the type before opening: opening a FIFO blocks until it has a writer.
        let metadata = std::fs::metadata(path).map_err(fail)?;
        let bad = |why: &str| Err(KernelError::Bad { path: path.to_owned(), why: why.to_owned() });
        if metadata.is_dir() {
            return bad("is a directory");
        }
        if !metadata.is_file() {
            return bad("is not a regular file");
        }
        if metadata.len() == 0 {
            return bad("is empty");
        }
        if metadata.len() > self.low {
            return Err(self.too_big(path, metadata.len()));
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        File::open(path).map_err(fail)?.take(self.low).read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    /// `--append`, if it has at most `max` bytes.
    fn command_line(&self, max: usize) -> Result<&str, KernelError> {
        let append = self.config.append.as_str();
        if append.len() > max {
            return Err(KernelError::CommandLine { path: self.path().to_owned(), len: append.len(), max });
        }
        Ok(append)
    }

    /// Checks that the kernel's memory image is where RAM is free.
    fn check_range(&self, start: u64, end: u64) -> Result<(), KernelError> {
        if start < LOW || (start < HIGH && end > LOW_END) {
            return Err(self.bad(format!(
                "is loaded to {start:x}h to {:x}h, but memory is free at 10000h to 9EFFFh and from 100000h on",
                end.saturating_sub(1)
            )));
        }
        let needed = end.saturating_add(FIRMWARE_TABLES);
        if needed > self.low && end > HIGH {
            return Err(self.too_big(self.path(), needed));
        }
        Ok(())
    }

    /// The files of `--initrd` for a kernel that takes several: `FILE ARGUMENTS,FILE ARGUMENTS`, a comma in a name doubled.
    fn modules(&self) -> Result<Vec<Module>, KernelError> {
        let Some(list) = &self.config.initrd else { return Ok(Vec::new()) };
        let Some(list) = list.to_str() else {
            return Err(KernelError::Bad { path: list.clone(), why: "the list of modules is not UTF-8".into() });
        };
        split_list(list)
            .into_iter()
            .map(|command_line| {
                let file = command_line.split(' ').next().unwrap_or_default();
                Ok(Module { bytes: self.read(Path::new(file))?, command_line })
            })
            .collect()
    }

    /// Puts modules behind a kernel that ends at `end`.
    fn place_modules(&self, modules: &[Module], end: u64) -> Result<PlacedModules, KernelError> {
        let start = end.max(HIGH).next_multiple_of(PAGE);
        let mut bytes: Vec<u8> = Vec::new();
        let mut places = Vec::new();
        for module in modules {
            let len = module.bytes.len() as u64;
            places.push((start + bytes.len() as u64, len));
            let end = start + bytes.len() as u64 + len;
            if end + FIRMWARE_TABLES > self.low {
                let file = module.command_line.split(' ').next().unwrap_or_default();
                return Err(self.too_big(Path::new(file), end + FIRMWARE_TABLES));
            }
            bytes.extend_from_slice(&module.bytes);
            bytes.resize(bytes.len().next_multiple_of(PAGE as usize), 0);
        }
        Ok(PlacedModules { places, start, bytes })
    }

    /// Checks the size of boot information.
    fn check_info(&self, info: &[u8]) -> Result<(), KernelError> {
        if info.len() > BOOT_INFO_MAX {
            return Err(KernelError::Argument(format!(
                "command line and modules take {} bytes, but at most {BOOT_INFO_MAX} are possible",
                info.len()
            )));
        }
        Ok(())
    }
}

/// Splits a list at commas; two commas stand for one in a name. Leading spaces of an entry are dropped.
fn split_list(list: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        let last = entries.last_mut().expect("it starts with one entry, and entries are only added");
        if c == ',' && chars.next_if_eq(&',').is_none() {
            entries.push(String::new());
        } else if c != ' ' || !last.is_empty() {
            last.push(c);
        }
    }
    entries
}

/// Appends a zero-terminated string to boot information. Returns its address.
fn push_text(info: &mut Vec<u8>, text: &str) -> u32 {
    let at = BOOT_INFO as u32 + info.len() as u32;
    info.extend_from_slice(text.as_bytes());
    info.push(0);
    at
}

/// The dword at `at`; 0 beyond the end.
fn dword(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// The word at `at`; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_le_bytes(*word))
}
