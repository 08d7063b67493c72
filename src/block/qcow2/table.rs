//! L1 and L2 tables: where the clusters of the virtual disk are (qcow2.txt, "Cluster mapping").
//!
//! Tables are read in pieces of 4 KiB, so memory does not depend on the image.

use super::header::{Header, OFFSET_END};
use super::source::{Source, be, read_padded};
use std::io;

/// Bytes of a table that are read and kept at once.
const PIECE: u64 = 4096;
/// Bits 9 to 55 of an entry: the offset.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// The cluster has a refcount of exactly one.
pub const COPIED: u64 = 1 << 63;
/// The cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros.
const ZERO: u64 = 1;
/// Subclusters of a cluster with extended L2 entries.
pub const SUBCLUSTERS: u64 = 32;

/// Why a table entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Reserved bits are set.
    #[error("has reserved bits set")]
    Reserved,
    /// The offset is not a multiple of the cluster size.
    #[error("has an offset that is not a multiple of the cluster size")]
    Unaligned,
    /// A subcluster is both allocated and zero, or part of a compressed cluster.
    #[error("has contradicting subcluster bits")]
    Subclusters,
}

/// Why a mapping cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The host refused a read.
    #[error("{}", crate::error::host_error(.0))]
    Host(#[from] io::Error),
    /// A bad L1 entry.
    #[error("qcow2: L1 entry {index} ({value:#x}) {why}")]
    L1 {
        /// Index in the L1 table.
        index: u64,
        /// The entry.
        value: u64,
        /// The rule that it breaks.
        why: EntryError,
    },
    /// A bad L2 entry.
    #[error("qcow2: L2 entry for offset {offset:#x} ({value:#x}) {why}")]
    L2 {
        /// Virtual offset of the cluster.
        offset: u64,
        /// The entry.
        value: u64,
        /// The rule that it breaks.
        why: EntryError,
    },
}

/// A decoded L2 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the entry describes.
    pub kind: EntryKind,
    /// The copied flag.
    pub copied: bool,
    /// Subclusters that are in the host cluster, bit n for subcluster n. All ones or none with standard entries.
    pub allocated: u32,
    /// Subclusters that read as zeros.
    pub zero: u32,
}

/// Kind of an L2 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// No host cluster.
    Unallocated,
    /// A host cluster.
    Standard {
        /// Its offset.
        host: u64,
    },
    /// Compressed data.
    Compressed {
        /// Offset of the first byte.
        host: u64,
        /// Bytes up to the end of the last sector.
        length: u64,
    },
}

/// Decodes an L1 entry: the offset of the L2 table, if there is one.
///
/// # Errors
/// If reserved bits are set or the offset is unaligned.
pub fn decode_l1(header: &Header, value: u64) -> Result<Option<u64>, EntryError> {
    let offset = value & OFFSET_MASK;
    if value & !(OFFSET_MASK | COPIED) != 0 {
        return Err(EntryError::Reserved);
    }
    if !offset.is_multiple_of(header.cluster_size()) {
        return Err(EntryError::Unaligned);
    }
    Ok(Some(offset).filter(|offset| *offset != 0))
}

/// Decodes an L2 entry. `bitmap` is the second half of an extended entry.
///
/// # Errors
/// If reserved bits are set, the offset is unaligned or the subclusters contradict each other.
pub fn decode_l2(header: &Header, value: u64, bitmap: u64) -> Result<Entry, EntryError> {
    if value & COMPRESSED != 0 {
        if value & COPIED != 0 {
            return Err(EntryError::Reserved);
        }
        if header.extended_l2() && bitmap != 0 {
            return Err(EntryError::Subclusters);
        }
        // qcow2.txt, "Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8).
        let x = 62 - (header.cluster_bits - 8);
        let host = value & ((1 << x) - 1);
        if host >= OFFSET_END {
            return Err(EntryError::Reserved);
        }
        let sectors = (value & (COMPRESSED - 1)) >> x;
        let length = (sectors + 1) * 512 - host % 512;
        return Ok(Entry { kind: EntryKind::Compressed { host, length }, copied: false, allocated: !0, zero: 0 });
    }
    let host = value & OFFSET_MASK;
    if value & !(OFFSET_MASK | COPIED | ZERO) != 0 || header.extended_l2() && value & ZERO != 0 {
        return Err(EntryError::Reserved);
    }
    if !host.is_multiple_of(header.cluster_size()) {
        return Err(EntryError::Unaligned);
    }
    let copied = value & COPIED != 0;
    // With an external data file, a host offset of 0 is a cluster if its copied flag is set.
    let present = host != 0 || header.external_data() && copied;
    let kind = if present { EntryKind::Standard { host } } else { EntryKind::Unallocated };
    let (allocated, zero) = match (header.extended_l2(), value & ZERO != 0) {
        (true, _) => (bitmap as u32, (bitmap >> 32) as u32),
        (false, true) => (0, !0),
        (false, false) if present => (!0, 0),
        (false, false) => (0, 0),
    };
    if allocated & zero != 0 || !present && allocated != 0 {
        return Err(EntryError::Subclusters);
    }
    Ok(Entry { kind, copied, allocated, zero })
}

/// Where a range of the virtual disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// In the backing file, or zeros without one.
    Unallocated,
    /// Zeros, whatever the backing file has. `host` is the preallocated cluster's place for the range.
    Zero {
        /// Offset in the file.
        host: Option<u64>,
    },
    /// In the file at `host`.
    Data {
        /// Offset in the file.
        host: u64,
    },
    /// In one compressed cluster.
    Compressed {
        /// Offset of the compressed data.
        host: u64,
        /// Its bytes, up to the end of the last sector.
        length: u64,
    },
}

impl Mapping {
    /// The mapping `bytes` further on, for ranges that continue in the file.
    fn advanced(self, bytes: u64) -> Self {
        match self {
            Self::Data { host } => Self::Data { host: host + bytes },
            Self::Zero { host: Some(host) } => Self::Zero { host: Some(host + bytes) },
            other => other,
        }
    }
}

/// Pieces of tables that were read last.
#[derive(Debug, Default)]
pub struct TableCache {
    l1: Piece,
    l2: Piece,
}

#[derive(Debug, Default)]
struct Piece {
    start: Option<u64>,
    bytes: Vec<u8>,
}

impl Piece {
    /// The big-endian value of 8 bytes at `offset`, a multiple of 8.
    fn value(&mut self, source: &(impl Source + ?Sized), offset: u64) -> io::Result<u64> {
        let start = offset - offset % PIECE;
        if self.start != Some(start) {
            self.start = None;
            self.bytes.resize(PIECE as usize, 0);
            read_padded(source, start, &mut self.bytes)?;
            self.start = Some(start);
        }
        Ok(be(&self.bytes, (offset - start) as usize, 8))
    }
}

/// Finds where the virtual range from `offset` is: the mapping, and for how many bytes, at most `max`, it holds. Stays within
/// one L2 table, so the time is bounded by its entries.
///
/// `offset` must be below the virtual size, and `max` above 0.
///
/// # Errors
/// If the host refuses a read or a table entry breaks the format's rules.
pub fn map(
    source: &(impl Source + ?Sized),
    header: &Header,
    cache: &mut TableCache,
    offset: u64,
    max: u64,
) -> Result<(Mapping, u64), MapError> {
    let max = max.min(header.size.saturating_sub(offset));
    let reach = header.l1_reach();
    let index = offset / reach;
    let in_table = max.min(reach - offset % reach);
    if index >= header.l1_entries.into() {
        return Ok((Mapping::Unallocated, max));
    }
    let value = cache.l1.value(source, header.l1_offset + index * 8)?;
    let Some(table) = decode_l1(header, value).map_err(|why| MapError::L1 { index, value, why })? else {
        return Ok((Mapping::Unallocated, in_table));
    };
    // Standard entries are handled as subclusters, too: all 32 alike.
    let unit = if header.extended_l2() { header.cluster_size() / SUBCLUSTERS } else { header.cluster_size() };
    let mut found: Option<Mapping> = None;
    let mut length = 0;
    while length < in_table {
        let at = offset + length;
        let (entry, value) = read_entry(source, header, cache, table, at)?;
        let entry = match entry {
            Ok(entry) => entry,
            // What precedes a bad entry can still be read.
            Err(_) if length > 0 => break,
            Err(why) => return Err(MapError::L2 { offset: at, value, why }),
        };
        let in_cluster = at % header.cluster_size();
        let bit = if header.extended_l2() { 1_u32 << (in_cluster / unit) } else { 1 };
        let mapping = match entry.kind {
            EntryKind::Compressed { host, length } => Mapping::Compressed { host, length },
            EntryKind::Standard { host } if entry.allocated & bit != 0 => Mapping::Data { host: host + in_cluster },
            EntryKind::Standard { host } if entry.zero & bit != 0 => Mapping::Zero { host: Some(host + in_cluster) },
            _ if entry.zero & bit != 0 => Mapping::Zero { host: None },
            _ => Mapping::Unallocated,
        };
        match found {
            None => found = Some(mapping),
            Some(first) if first.advanced(length) == mapping => {}
            Some(_) => break,
        }
        // A compressed cluster is a mapping of its own.
        if matches!(mapping, Mapping::Compressed { .. }) {
            length += header.cluster_size() - in_cluster;
            break;
        }
        length += unit - at % unit;
    }
    Ok((found.unwrap_or(Mapping::Unallocated), length.min(in_table)))
}

/// The L2 entry for the virtual offset `at` in the L2 table at `table`, and its first 8 bytes.
fn read_entry(
    source: &(impl Source + ?Sized),
    header: &Header,
    cache: &mut TableCache,
    table: u64,
    at: u64,
) -> Result<(Result<Entry, EntryError>, u64), MapError> {
    let place = table + at % header.l1_reach() / header.cluster_size() * header.l2_entry_size();
    let value = cache.l2.value(source, place)?;
    let bitmap = if header.extended_l2() { cache.l2.value(source, place + 8)? } else { 0 };
    Ok((decode_l2(header, value, bitmap), value))
}
