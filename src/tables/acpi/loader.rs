//! ACPI table loader (`etc/table-loader`): commands by which the firmware allocates and links fw_cfg files.
//!
//! An array of 128-byte entries, each a little-endian u32 command followed by its operands; file names are 56 bytes,
//! padded with zeros. Commands: allocate memory for a file (alignment, zone), add the address of a file to a pointer, set a
//! checksum. `resolve` executes the commands on the host, for tests.

use std::collections::BTreeMap;
use zerocopy::{Immutable, IntoBytes, KnownLayout, little_endian::U32};

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 128;
/// Bytes of a file name.
pub const NAME_LEN: usize = 56;

const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;

/// Memory in which the firmware allocates a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Zone {
    /// Anywhere below 4 GiB.
    High = 1,
    /// F0000h-FFFFFh, which operating systems scan for the RSDP.
    FSegment = 2,
}

/// A loader command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Allocate memory for a file and copy it there.
    Allocate {
        /// File.
        file: &'static str,
        /// Alignment in bytes, a power of two.
        align: u32,
        /// Memory to allocate from.
        zone: Zone,
    },
    /// Add the address of `target` to the `size` bytes at `offset` in `file`.
    AddPointer {
        /// File that contains the pointer.
        file: &'static str,
        /// File to which it points.
        target: &'static str,
        /// Offset of the pointer in `file`.
        offset: u32,
        /// Bytes of the pointer: 1, 2, 4 or 8.
        size: u8,
    },
    /// Set the byte at `offset`, which is zero, so that `len` bytes from `start` sum up to zero.
    AddChecksum {
        /// File.
        file: &'static str,
        /// Offset of the checksum.
        offset: u32,
        /// First byte of the range that the checksum covers.
        start: u32,
        /// Bytes of that range.
        len: u32,
    },
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AllocateEntry {
    command: U32,
    file: [u8; NAME_LEN],
    align: U32,
    zone: u8,
    pad: [u8; 63],
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AddPointerEntry {
    command: U32,
    file: [u8; NAME_LEN],
    target: [u8; NAME_LEN],
    offset: U32,
    size: u8,
    pad: [u8; 7],
}

#[derive(IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AddChecksumEntry {
    command: U32,
    file: [u8; NAME_LEN],
    offset: U32,
    start: U32,
    len: U32,
    pad: [u8; 56],
}

impl Command {
    /// The command as an entry of the file.
    pub fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        match self {
            Self::Allocate { file, align, zone } => bytes.copy_from_slice(
                AllocateEntry {
                    command: ALLOCATE.into(),
                    file: name(file),
                    align: align.into(),
                    zone: zone as u8,
                    pad: [0; 63],
                }
                .as_bytes(),
            ),
            Self::AddPointer { file, target, offset, size } => bytes.copy_from_slice(
                AddPointerEntry {
                    command: ADD_POINTER.into(),
                    file: name(file),
                    target: name(target),
                    offset: offset.into(),
                    size,
                    pad: [0; 7],
                }
                .as_bytes(),
            ),
            Self::AddChecksum { file, offset, start, len } => bytes.copy_from_slice(
                AddChecksumEntry {
                    command: ADD_CHECKSUM.into(),
                    file: name(file),
                    offset: offset.into(),
                    start: start.into(),
                    len: len.into(),
                    pad: [0; 56],
                }
                .as_bytes(),
            ),
        }
        bytes
    }
}

fn name(file: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    // Terminated by a zero. The names are constants of this crate and shorter than this.
    for (to, from) in bytes[..NAME_LEN - 1].iter_mut().zip(file.bytes()) {
        *to = from;
    }
    bytes
}

/// The content of `etc/table-loader`.
pub fn to_bytes(commands: &[Command]) -> Vec<u8> {
    commands.iter().flat_map(|command| command.to_bytes()).collect()
}

/// Commands that do not match the files.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    /// A command names a file that does not exist or is not allocated yet.
    #[error("no table file named {0}")]
    NoFile(&'static str),
    /// A command reaches past the end of its file.
    #[error("a command reaches past the end of table file {0}")]
    OutOfRange(&'static str),
    /// The files need more memory than available.
    #[error("the tables do not fit into {0} bytes")]
    NoRoom(u64),
}

/// Executes the commands on the host: gives each file an address in `room`, whatever its zone, in the order of the
/// allocations, and sets pointers and checksums. Returns the addresses by file name.
///
/// # Errors
/// If the commands do not match the files, or the files do not fit into `room`.
pub fn resolve(
    commands: &[Command],
    files: &mut BTreeMap<&'static str, Vec<u8>>,
    room: std::ops::Range<u64>,
) -> Result<BTreeMap<&'static str, u64>, ResolveError> {
    let mut addresses = BTreeMap::new();
    let mut next = room.start;
    for &command in commands {
        match command {
            Command::Allocate { file, align, zone: _ } => {
                let len = files.get(file).ok_or(ResolveError::NoFile(file))?.len() as u64;
                let at = next.next_multiple_of(align.max(1).into());
                next = at + len;
                if next > room.end {
                    return Err(ResolveError::NoRoom(room.end - room.start));
                }
                addresses.insert(file, at);
            }
            Command::AddPointer { file, target, offset, size } => {
                let add = *addresses.get(target).ok_or(ResolveError::NoFile(target))?;
                let bytes = files.get_mut(file).ok_or(ResolveError::NoFile(file))?;
                let field = bytes
                    .get_mut(offset as usize..)
                    .and_then(|rest| rest.get_mut(..size.into()))
                    .filter(|field| field.len() <= 8)
                    .ok_or(ResolveError::OutOfRange(file))?;
                let mut wide = [0; 8];
                wide[..field.len()].copy_from_slice(field);
                let sum = u64::from_le_bytes(wide).wrapping_add(add).to_le_bytes();
                field.copy_from_slice(&sum[..field.len()]);
            }
            Command::AddChecksum { file, offset, start, len } => {
                let bytes = files.get_mut(file).ok_or(ResolveError::NoFile(file))?;
                let sum = bytes
                    .get(start as usize..)
                    .and_then(|rest| rest.get(..len as usize))
                    .ok_or(ResolveError::OutOfRange(file))?
                    .iter()
                    .fold(0u8, |sum, &byte| sum.wrapping_add(byte));
                let at = bytes.get_mut(offset as usize).ok_or(ResolveError::OutOfRange(file))?;
                *at = at.wrapping_sub(sum);
            }
        }
    }
    Ok(addresses)
}
