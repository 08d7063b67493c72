//! fw_cfg client: reads the hypervisor's configuration items and files (QEMU, `docs/specs/fw_cfg.rst`).
//!
//! It uses DMA if the device offers it, otherwise the data port. Values from the host are not trusted: sizes and counts
//! are limited to the size of the buffers.

use crate::{Machine, scratch};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// DMA address register, big-endian: physical address of the FWCfgDmaAccess structure. The low half starts the
/// transfer.
const DMA: u16 = 0x514;
/// Value of the DMA address register: "QEMU CFG".
const DMA_SIGNATURE: [u32; 2] = [u32::from_le_bytes(*b"QEMU"), u32::from_le_bytes(*b" CFG")];
const SIGNATURE: u32 = u32::from_le_bytes(*b"QEMU");
/// Dwords of a file name.
const NAME_WORDS: usize = 14;
/// Bytes of a directory entry.
const ENTRY: u32 = 64;
/// Directory entries that the first transfer reads, before the number of entries is known.
const FIRST_ENTRIES: u32 = 63;
const MAX_ENTRIES: u32 = (scratch::DIRECTORY_SIZE - 4) / ENTRY;
/// Limit of polls of a transfer's control word. Known hosts complete the transfer within the port access.
const MAX_POLLS: u32 = 1_000_000;

mod control {
    pub const ERROR: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const SELECT: u32 = 1 << 3;
    pub const WRITE: u32 = 1 << 4;
    pub const SKIP: u32 = 1 << 2;
}

/// Selector keys.
pub mod key {
    /// The signature.
    pub const SIGNATURE: u16 = 0x00;
    /// u16, number of processors.
    pub const PROCESSORS: u16 = 0x05;
    /// u16, not 0: show the boot menu.
    pub const BOOT_MENU: u16 = 0x0e;
    /// The file directory.
    pub const DIRECTORY: u16 = 0x19;
}

/// The fw_cfg device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FwCfg {
    dma: bool,
    files: u32,
}

/// A file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Selector key.
    pub key: u16,
    /// Size in bytes.
    pub size: u32,
}

impl FwCfg {
    /// Detects the device and reads the file directory.
    pub fn find<M: Machine>(machine: &mut M) -> Option<Self> {
        let dma = machine.inl(DMA) == DMA_SIGNATURE[0] && machine.inl(DMA + 4) == DMA_SIGNATURE[1];
        let mut found = Self { dma, files: 0 };
        if !dma {
            found.read_key(machine, key::SIGNATURE, scratch::BUFFER, 4);
            if machine.read32(scratch::BUFFER) != SIGNATURE {
                return None;
            }
        }
        let at = scratch::DIRECTORY;
        // Without DMA, each byte costs an exit, as a whole transfer does with it.
        let first = if dma { FIRST_ENTRIES } else { 0 };
        found.read_key(machine, key::DIRECTORY, at, 4 + first * ENTRY);
        found.files = machine.read32(at).swap_bytes().min(MAX_ENTRIES);
        if found.files > first {
            found.read_key(machine, key::DIRECTORY, at, 4 + found.files * ENTRY);
        }
        Some(found)
    }

    /// Bytes of the file directory in memory.
    pub fn directory_bytes(&self) -> u32 {
        4 + self.files.max(FIRST_ENTRIES) * ENTRY
    }

    /// Reads `bytes` bytes of an item to memory. The device returns zeros beyond its end.
    pub fn read_key<M: Machine>(&self, machine: &mut M, key: u16, to: u32, bytes: u32) -> bool {
        if self.dma {
            self.transfer(machine, u32::from(key) << 16 | control::SELECT | control::READ, to, bytes)
        } else {
            machine.outw(SELECTOR, key);
            machine.insb(DATA, to, bytes);
            true
        }
    }

    /// Writes `bytes` bytes from memory to an item at `offset`. Needs DMA.
    pub fn write_key<M: Machine>(&self, machine: &mut M, key: u16, offset: u32, from: u32, bytes: u32) -> bool {
        self.dma
            && self.transfer(machine, u32::from(key) << 16 | control::SELECT | control::SKIP, 0, offset)
            && self.transfer(machine, control::WRITE, from, bytes)
    }

    fn transfer<M: Machine>(&self, machine: &mut M, command: u32, at: u32, bytes: u32) -> bool {
        let access = scratch::DMA_ACCESS;
        machine.write32(access, command.swap_bytes());
        machine.write32(access + 4, bytes.swap_bytes());
        machine.write32(access + 8, 0);
        machine.write32(access + 12, at.swap_bytes());
        machine.outl(DMA + 4, access.swap_bytes());
        for _ in 0..MAX_POLLS {
            match machine.read32(access).swap_bytes() {
                0 => return true,
                control if control & control::ERROR != 0 => return false,
                _ => {}
            }
        }
        false
    }

    /// Reads a u16 item.
    pub fn word<M: Machine>(&self, machine: &mut M, key: u16) -> u16 {
        if self.read_key(machine, key, scratch::BUFFER, 2) { machine.read16(scratch::BUFFER) } else { 0 }
    }

    /// Entry `n` of the directory.
    fn entry<M: Machine>(&self, machine: &mut M, n: u32) -> File {
        let at = scratch::DIRECTORY + 4 + n * ENTRY;
        File { size: machine.read32(at).swap_bytes(), key: machine.read16(at + 4).swap_bytes() }
    }

    /// The file with this name (up to 55 bytes).
    pub fn file<M: Machine>(&self, machine: &mut M, name: &[u8]) -> Option<File> {
        let mut words = [0; NAME_WORDS];
        for (n, byte) in name.iter().take(4 * NAME_WORDS - 1).enumerate() {
            if let Some(word) = words.get_mut(n / 4) {
                *word |= u32::from(*byte) << (8 * (n % 4));
            }
        }
        self.file_by_words(machine, words.get(..name.len() / 4 + 1)?)
    }

    /// The file whose name is in memory at `at`: zero-terminated, or 56 bytes.
    pub fn file_named_at<M: Machine>(&self, machine: &mut M, at: u32) -> Option<File> {
        let mut words = [0; NAME_WORDS];
        let mut count = 0;
        for word in &mut words {
            *word = machine.read32(at + 4 * count as u32);
            count += 1;
            if has_zero(*word) {
                break;
            }
        }
        self.file_by_words(machine, words.get(..count)?)
    }

    fn file_by_words<M: Machine>(&self, machine: &mut M, words: &[u32]) -> Option<File> {
        for n in 0..self.files {
            let name = scratch::DIRECTORY + 4 + n * ENTRY + 8;
            if words.iter().enumerate().all(|(k, &word)| machine.read32(name + 4 * k as u32) == word) {
                return Some(self.entry(machine, n));
            }
        }
        None
    }

    /// Calls `each` for all files whose names start with `prefix`.
    pub fn files_under<M: Machine>(&self, machine: &mut M, prefix: &[u8; 8], mut each: impl FnMut(&mut M, File)) {
        let [a, b, c, d, e, f, g, h] = *prefix;
        let wanted = [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])];
        for n in 0..self.files {
            let name = scratch::DIRECTORY + 4 + n * ENTRY + 8;
            if machine.read32(name) == wanted[0] && machine.read32(name + 4) == wanted[1] {
                let file = self.entry(machine, n);
                each(machine, file);
            }
        }
    }

    /// Reads a whole file to memory. The caller has checked its size.
    pub fn read_file<M: Machine>(&self, machine: &mut M, file: File, to: u32) -> bool {
        self.read_key(machine, file.key, to, file.size)
    }

    /// Reads a little-endian number from a file of 1, 2, 4 or more bytes.
    pub fn number<M: Machine>(&self, machine: &mut M, name: &[u8]) -> Option<u32> {
        let file = self.file(machine, name).filter(|file| file.size > 0)?;
        let bytes = file.size.min(4);
        machine.write32(scratch::BUFFER, 0);
        self.read_key(machine, file.key, scratch::BUFFER, bytes).then(|| machine.read32(scratch::BUFFER))
    }
}

/// Whether one of the four bytes is zero.
pub fn has_zero(word: u32) -> bool {
    word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080 != 0
}
