//! fw_cfg firmware configuration device (QEMU's `docs/specs/fw_cfg.rst`): passes the configuration to SeaBIOS and
//! Linux.
//!
//! Ports: 510h selector (word), 511h data (FIFO), 514h-51Bh DMA address (big-endian; a write of its low half starts the
//! transfer). No IRQ. Not implemented: items that the guest can write. A DMA write ends with the error bit set, and a
//! write to the data port is ignored, as on QEMU since 2.4.

use crate::{Access, Ctx, Device, Memory, Region, RestoreError};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The items that the guest can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwCfgItems {
    /// Items with a fixed selector key, for example 05h, the number of CPUs.
    pub keys: BTreeMap<u16, Vec<u8>>,
    /// Named files, listed in the file directory (key 19h). Names are truncated to 55 bytes.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Selector port.
pub const SELECTOR_PORT: u16 = 0x510;
/// Data port.
pub const DATA_PORT: u16 = 0x511;
/// DMA address register.
pub const DMA_PORT: u16 = 0x514;
/// Key of the signature, "QEMU".
pub const KEY_SIGNATURE: u16 = 0x00;
/// Key of the feature bits.
pub const KEY_ID: u16 = 0x01;
/// Key of the file directory.
pub const KEY_FILE_DIR: u16 = 0x19;
/// Key of the first file; the other files follow in the order of their names.
pub const KEY_FIRST_FILE: u16 = 0x20;
/// Key bit of architecture-specific items.
pub const KEY_ARCH_LOCAL: u16 = 0x8000;
/// Key bit that selects an item for writing; ignored.
const KEY_WRITE: u16 = 0x4000;

const SIGNATURE: &[u8; 4] = b"QEMU";
/// Feature bits: traditional interface (bit 0), DMA interface (bit 1).
const FEATURES: u32 = 1 << 0 | 1 << 1;
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";
/// Bytes of a file name in the directory, including the terminating 0.
const NAME_LEN: usize = 56;
/// The most bytes that a DMA read may read past the end of an item. They read as 0; the limit bounds the time that a
/// vCPU spends here.
const MAX_OVERREAD: u64 = 1 << 20;
/// Bytes of zeros per write to guest memory.
const CHUNK: usize = 4096;

const TAG_SELECTOR: u8 = 0;
const TAG_DATA: u8 = 1;
const TAG_DMA: u8 = 2;

/// An entry of the file directory (QEMU: `FWCfgFile`).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileEntry {
    size: U32,
    key: U16,
    reserved: U16,
    name: [u8; NAME_LEN],
}

/// The structure at the DMA address (QEMU: `FWCfgDmaAccess`).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DmaAccess {
    control: U32,
    length: U32,
    address: U64,
}

/// [`DmaAccess::control`].
#[bitfield(u32)]
struct DmaControl {
    error: bool,
    read: bool,
    skip: bool,
    select: bool,
    write: bool,
    #[bits(11)]
    __: u16,
    key: u16,
}

/// The fw_cfg device.
#[derive(Debug)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    registers: Registers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    /// The selected key, without the write bit.
    key: u16,
    /// Offset of the next byte in the item; at most the item's length.
    offset: u64,
    /// The upper half of the DMA address, until the guest writes the lower half.
    dma_high: u32,
}

/// [`FwCfg`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct FwCfgState {
    registers: Registers,
}

impl FwCfg {
    /// A device with `items`, the signature, the feature bits and the file directory. A key of `items.keys` replaces
    /// the file with that key, so keys must be below [`KEY_FIRST_FILE`] or have [`KEY_ARCH_LOCAL`] set.
    pub fn new(items: FwCfgItems) -> Self {
        let FwCfgItems { mut keys, files } = items;
        let mut directory = U32::new(files.len() as u32).as_bytes().to_vec();
        for ((name, content), key) in files.into_iter().zip(KEY_FIRST_FILE..KEY_WRITE) {
            let mut entry = FileEntry {
                size: U32::new(u32::try_from(content.len()).unwrap_or(u32::MAX)),
                key: U16::new(key),
                reserved: U16::ZERO,
                name: [0; NAME_LEN],
            };
            for (to, from) in entry.name[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
                *to = from;
            }
            directory.extend_from_slice(entry.as_bytes());
            keys.entry(key).or_insert(content);
        }
        keys.insert(KEY_SIGNATURE, SIGNATURE.to_vec());
        keys.insert(KEY_ID, FEATURES.to_le_bytes().to_vec());
        keys.insert(KEY_FILE_DIR, directory);
        Self { items: keys, registers: Registers::default() }
    }

    fn select(&mut self, key: u16) {
        self.registers.key = key & !KEY_WRITE;
        self.registers.offset = 0;
    }

    /// The unread bytes of the selected item; empty if no item has the key.
    fn remaining(&self) -> &[u8] {
        let item = self.items.get(&self.registers.key).map_or(&[][..], Vec::as_slice);
        usize::try_from(self.registers.offset).ok().and_then(|at| item.get(at..)).unwrap_or(&[])
    }

    fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.remaining().len() as u64);
        self.registers.offset += bytes;
    }

    /// Reads the next bytes of the item. Bytes past its end read as 0.
    fn read_data(&mut self, data: &mut [u8]) {
        let remaining = self.remaining();
        let available = remaining.len().min(data.len());
        let (head, tail) = data.split_at_mut(available);
        head.copy_from_slice(&remaining[..available]);
        tail.fill(0);
        self.skip(available as u64);
    }

    /// Carries out the DMA access at guest address `at`.
    fn dma(&mut self, cx: &mut Ctx<'_>, at: u64) {
        let memory = cx.memory();
        if !memory.is_ram(at, size_of::<DmaAccess>() as u64, true) {
            cx.guest_error("DMA structure outside RAM");
        }
        // Fetched once: later guest writes to the structure have no effect on the transfer.
        let mut access = DmaAccess { control: U32::ZERO, length: U32::ZERO, address: U64::ZERO };
        memory.read(at, access.as_mut_bytes());
        let control = DmaControl::from_bits(access.control.get());
        let length = u64::from(access.length.get());
        if control.select() {
            self.select(control.key());
        }
        let success = if control.read() {
            if !memory.is_ram(access.address.get(), length, true) {
                cx.guest_error("DMA read to an address outside RAM");
            }
            self.dma_read(memory, access.address.get(), length)
        } else if control.write() {
            cx.guest_error("DMA write, but all items are read-only");
            false
        } else {
            if control.skip() {
                self.skip(length);
            }
            true
        };
        memory.write(at, U32::new(DmaControl::new().with_error(!success).into_bits()).as_bytes());
    }

    /// Copies the next `length` bytes of the item to guest address `to`. Returns false if the transfer is rejected.
    fn dma_read(&mut self, memory: &Memory, to: u64, length: u64) -> bool {
        let remaining = self.remaining();
        let available = remaining.len().min(length as usize);
        let zeros = length - available as u64;
        if zeros > MAX_OVERREAD || to.checked_add(length).is_none() {
            return false;
        }
        memory.write(to, &remaining[..available]);
        let mut at = to + available as u64;
        let end = to + length;
        while at < end {
            let part = (end - at).min(CHUNK as u64);
            memory.write(at, &[0; CHUNK][..part as usize]);
            at += part;
        }
        self.skip(available as u64);
        true
    }
}

impl Device for FwCfg {
    type State = FwCfgState;
    const KIND: &'static str = "fw-cfg";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        // A word access to 510h is the selector, a byte access to 511h is the data port. The data region is listed
        // first, so that it decodes 511h.
        vec![
            Region::io(DATA_PORT, 1, TAG_DATA).with_fifo(),
            Region::io(SELECTOR_PORT, 2, TAG_SELECTOR),
            Region::io(DMA_PORT, 8, TAG_DMA),
        ]
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match (at.tag, at.offset) {
            (TAG_SELECTOR, 0) => Some("Selector"),
            (TAG_SELECTOR, 1) | (TAG_DATA, _) => Some("Data"),
            (TAG_DMA, 0..4) => Some("DMA Address High"),
            (TAG_DMA, 4..8) => Some("DMA Address Low"),
            _ => None,
        }
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match at.tag {
            TAG_DATA => self.read_data(data),
            TAG_DMA => {
                for (byte, value) in data.iter_mut().zip(DMA_SIGNATURE.iter().skip(at.offset as usize)) {
                    *byte = *value;
                }
            }
            // The selector is write-only; the byte above it is the data port.
            _ if at.offset == 1 => self.read_data(data),
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        match (at.tag, at.offset, data) {
            (TAG_SELECTOR, 0, &[low, high]) => self.select(u16::from_le_bytes([low, high])),
            (TAG_DMA, 0, &[a, b, c, d]) => self.registers.dma_high = u32::from_be_bytes([a, b, c, d]),
            (TAG_DMA, 4, &[a, b, c, d]) => {
                let low = u32::from_be_bytes([a, b, c, d]);
                let high = std::mem::take(&mut self.registers.dma_high);
                self.dma(cx, u64::from(high) << 32 | u64::from(low));
            }
            // Other access sizes have no effect, and the data port is read-only.
            _ => {}
        }
    }

    fn reset(&mut self, _cx: &mut Ctx<'_>) {
        let Self { items: _, registers } = self;
        *registers = Registers::default();
    }

    fn save(&self) -> FwCfgState {
        let Self { items: _, registers } = self;
        FwCfgState { registers: *registers }
    }

    fn load(&mut self, state: FwCfgState) -> Result<(), RestoreError> {
        let FwCfgState { registers } = state;
        let len = self.items.get(&registers.key).map_or(0, Vec::len) as u64;
        if registers.key & KEY_WRITE != 0 || registers.offset > len {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "selector" });
        }
        self.registers = registers;
        Ok(())
    }

    fn resync(&mut self, _cx: &mut Ctx<'_>) {}
}

#[cfg(test)]
mod tests;
