//! fw_cfg: how the machine tells its firmware what it is (the interface of QEMU's `docs/specs/fw_cfg.rst`, which
//! SeaBIOS and Linux speak).
//!
//! Ports: 510h selector (word), 511h data (FIFO), 514h-51Bh DMA address (big-endian; writing its low half starts the
//! transfer). No IRQ. Left out: items that the guest can write; a DMA write ends with an error, a written data port is
//! ignored, as on QEMU since 2.4.

use crate::{Access, Ctx, Device, Memory, Region, RestoreError};
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the firmware can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwCfgItems {
    /// Items with a fixed selector key (for example 05h, the number of CPUs).
    pub keys: BTreeMap<u16, Vec<u8>>,
    /// Named files, found through the file directory (key 19h); at most 55 bytes of name each.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The selector port.
pub const SELECTOR_PORT: u16 = 0x510;
/// The data port.
pub const DATA_PORT: u16 = 0x511;
/// The DMA address register.
pub const DMA_PORT: u16 = 0x514;
/// Key of the signature, "QEMU".
pub const KEY_SIGNATURE: u16 = 0x00;
/// Key of the feature bits.
pub const KEY_ID: u16 = 0x01;
/// Key of the file directory.
pub const KEY_FILE_DIR: u16 = 0x19;
/// Key of the first file; the others follow in the order of their names.
pub const KEY_FIRST_FILE: u16 = 0x20;
/// Set in keys of items that are particular to the architecture.
pub const KEY_ARCH_LOCAL: u16 = 0x8000;
/// Selects for writing; ignored, as nothing can be written.
const KEY_WRITE: u16 = 0x4000;

const SIGNATURE: &[u8; 4] = b"QEMU";
/// The traditional interface, and DMA.
const FEATURES: u32 = 1 << 0 | 1 << 1;
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";
const NAME_LEN: usize = 56;
/// How far a DMA read may go past the end of an item. What lies there reads as zero; more than this would only keep
/// the processor waiting.
const OVERREAD: u64 = 1 << 20;
const CHUNK: usize = 4096;

const TAG_SELECTOR: u8 = 0;
const TAG_DATA: u8 = 1;
const TAG_DMA: u8 = 2;

/// An entry of the file directory.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct File {
    size: U32,
    key: U16,
    reserved: U16,
    name: [u8; NAME_LEN],
}

/// What the DMA address points to.
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

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    registers: Registers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    /// As selected, without the write bit.
    key: u16,
    /// The next byte of the item; at most its length, as what lies beyond looks alike.
    offset: u64,
    /// The upper half of the DMA address, until the lower one comes.
    dma_high: u32,
}

/// [`FwCfg`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct FwCfgState {
    registers: Registers,
}

impl FwCfg {
    /// A device with these items, the signature, the feature bits and the directory of `items.files`. A key of
    /// `items.keys` wins over the file that would have it, so keep them below [`KEY_FIRST_FILE`] or arch-local.
    pub fn new(items: FwCfgItems) -> Self {
        let FwCfgItems { mut keys, files } = items;
        let mut directory = U32::new(files.len() as u32).as_bytes().to_vec();
        for ((name, content), key) in files.into_iter().zip(KEY_FIRST_FILE..KEY_WRITE) {
            let mut entry = File {
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

    /// What is left of the selected item; nothing if there is no such item.
    fn rest(&self) -> &[u8] {
        let item = self.items.get(&self.registers.key).map_or(&[][..], Vec::as_slice);
        usize::try_from(self.registers.offset).ok().and_then(|at| item.get(at..)).unwrap_or(&[])
    }

    fn skip(&mut self, bytes: u64) {
        let bytes = bytes.min(self.rest().len() as u64);
        self.registers.offset += bytes;
    }

    /// Reads the next bytes; past the end there are zeros.
    fn take(&mut self, data: &mut [u8]) {
        let rest = self.rest();
        let there = rest.len().min(data.len());
        let (head, tail) = data.split_at_mut(there);
        head.copy_from_slice(&rest[..there]);
        tail.fill(0);
        self.skip(there as u64);
    }

    fn dma(&mut self, memory: &Memory, at: u64) {
        // Copied out once: whatever the guest changes in it afterwards is not looked at.
        let mut access = DmaAccess { control: U32::ZERO, length: U32::ZERO, address: U64::ZERO };
        memory.read(at, access.as_mut_bytes());
        let control = DmaControl::from_bits(access.control.get());
        let length = u64::from(access.length.get());
        if control.select() {
            self.select(control.key());
        }
        let done = if control.read() {
            self.dma_read(memory, access.address.get(), length)
        } else if control.write() {
            false
        } else {
            if control.skip() {
                self.skip(length);
            }
            true
        };
        memory.write(at, U32::new(DmaControl::new().with_error(!done).into_bits()).as_bytes());
    }

    fn dma_read(&mut self, memory: &Memory, to: u64, length: u64) -> bool {
        let rest = self.rest();
        let there = rest.len().min(length as usize);
        let zeros = length - there as u64;
        if zeros > OVERREAD || to.checked_add(length).is_none() {
            return false;
        }
        memory.write(to, &rest[..there]);
        let mut at = to + there as u64;
        let end = to + length;
        while at < end {
            let part = (end - at).min(CHUNK as u64);
            memory.write(at, &[0; CHUNK][..part as usize]);
            at += part;
        }
        self.skip(there as u64);
        true
    }
}

impl Device for FwCfg {
    type State = FwCfgState;
    const KIND: &'static str = "fw-cfg";
    const VERSION: u32 = 1;

    fn regions(&self) -> Vec<Region> {
        // The selector is a word: it covers 511h too, which as a byte is the data port. The data region comes first, so
        // that it answers there.
        vec![
            Region::io(DATA_PORT, 1, TAG_DATA).with_fifo(),
            Region::io(SELECTOR_PORT, 2, TAG_SELECTOR),
            Region::io(DMA_PORT, 8, TAG_DMA),
        ]
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match at.tag {
            TAG_DATA => self.take(data),
            TAG_DMA => {
                for (byte, value) in data.iter_mut().zip(DMA_SIGNATURE.iter().skip(at.offset as usize)) {
                    *byte = *value;
                }
            }
            // The selector cannot be read; the byte above it is the data port.
            _ if at.offset == 1 => self.take(data),
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
                self.dma(cx.memory(), u64::from(high) << 32 | u64::from(low));
            }
            // Other sizes select nothing and start nothing; data cannot be written.
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
