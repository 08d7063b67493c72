//! Refcount table and blocks of every width, and the checks that an image must pass before `imago` writes to it
//! (qcow2.txt, "Host cluster management").

use super::header::{Header, HeaderError, OFFSET_END};
use super::source::{Source, be, read_padded};
use super::table::decode_l1;
use std::collections::HashSet;
use std::io;

/// Refcount of index `index` in the bytes of a refcount block.
pub fn refcount_in(block: &[u8], order: u32, index: u64) -> u64 {
    let index = index as usize;
    match order {
        // Below a byte, the first refcount is in the least significant bits.
        0..=2 => {
            let per_byte = 8 >> order;
            let byte = block.get(index / per_byte).copied().unwrap_or(0);
            u64::from(byte >> ((index % per_byte) << order)) & ((1 << (1 << order)) - 1)
        }
        _ => {
            let size = 1 << (order - 3);
            be(block, index * size, size)
        }
    }
}

/// Stores a refcount in the bytes of a refcount block; bits of `value` beyond the width are dropped.
pub fn set_refcount_in(block: &mut [u8], order: u32, index: u64, value: u64) {
    let index = index as usize;
    match order {
        0..=2 => {
            let per_byte = 8 >> order;
            let mask = (1_u8 << (1 << order)) - 1;
            let shift = (index % per_byte) << order;
            if let Some(byte) = block.get_mut(index / per_byte) {
                *byte = *byte & !(mask << shift) | (value as u8 & mask) << shift;
            }
        }
        _ => {
            let size = 1_usize << (order - 3);
            if let Some(slot) = block.get_mut(index * size..(index + 1) * size) {
                slot.copy_from_slice(&value.to_be_bytes()[8 - size..]);
            }
        }
    }
}

/// Why an image must not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteCheckError {
    /// The host refused a read, or the header is bad.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A table that the writer would follow is damaged.
    #[error("qcow2: {what}: run 'pcvm image check'")]
    Damaged {
        /// The damage.
        what: String,
    },
}

impl From<io::Error> for WriteCheckError {
    fn from(error: io::Error) -> Self {
        Self::Header(error.into())
    }
}

fn damaged(what: String) -> WriteCheckError {
    WriteCheckError::Damaged { what }
}

/// Checks the tables that a writer allocates by: the refcount table's entries are aligned, distinct and within the file, the
/// header, L1 table, refcount table, refcount blocks and L2 tables have refcounts above 0, and none is two of these. An
/// allocator that trusts such tables neither overwrites metadata nor searches longer than the file has refcounts.
///
/// Reads the L1 and refcount tables once (32 and 8 MiB at most) and one refcount for each L2 table.
///
/// # Errors
/// The first rule that the image breaks.
pub fn check_for_writing(source: &(impl Source + ?Sized), header: &Header) -> Result<(), WriteCheckError> {
    let cluster = header.cluster_size();
    let end = source.length()?.next_multiple_of(cluster);
    let table = read_table(source, header.refcount_table_offset, header.refcount_table_entries())?;
    let mut metadata = HashSet::new();
    let claim = |metadata: &mut HashSet<u64>, what: &str, offset: u64| {
        if offset >= end {
            return Err(damaged(format!("{what} at {offset:#x} is behind the end of the file")));
        }
        if !metadata.insert(offset / cluster) {
            return Err(damaged(format!("{what} at {offset:#x} overlaps other metadata")));
        }
        Ok(())
    };
    claim(&mut metadata, "the header", 0)?;
    for i in 0..u64::from(header.refcount_table_clusters) {
        claim(&mut metadata, "the refcount table", header.refcount_table_offset + i * cluster)?;
    }
    for i in 0..(u64::from(header.l1_entries) * 8).div_ceil(cluster) {
        claim(&mut metadata, "the L1 table", header.l1_offset + i * cluster)?;
    }
    let covered = header.refcounts_per_block() * cluster;
    for (index, &offset) in table.iter().enumerate().filter(|(_, offset)| **offset != 0) {
        if !offset.is_multiple_of(cluster) || offset >= OFFSET_END {
            return Err(damaged(format!("refcount table entry {index} ({offset:#x}) is not an offset of a cluster")));
        }
        claim(&mut metadata, "a refcount block", offset)?;
        // One block may cover what a shrunken file no longer has.
        if (index as u64).checked_mul(covered).is_none_or(|start| start > end.saturating_add(covered)) {
            return Err(damaged(format!("refcount table entry {index} is for clusters behind the end of the file")));
        }
    }
    let l1 = read_table(source, header.l1_offset, header.l1_entries.into())?;
    for (index, &value) in l1.iter().enumerate() {
        match decode_l1(header, value) {
            Ok(None) => {}
            Ok(Some(offset)) => claim(&mut metadata, "an L2 table", offset)?,
            Err(why) => return Err(damaged(format!("L1 entry {index} ({value:#x}) {why}"))),
        }
    }
    let mut clusters: Vec<u64> = metadata.into_iter().collect();
    clusters.sort_unstable();
    let mut block = Vec::new();
    let mut loaded = None;
    for at in clusters {
        let (index, within) = (at / header.refcounts_per_block(), at % header.refcounts_per_block());
        let offset = table.get(index as usize).copied().unwrap_or(0);
        if loaded != Some(index) {
            block.clear();
            block.resize(cluster as usize, 0);
            if offset != 0 {
                read_padded(source, offset, &mut block)?;
            }
            loaded = Some(index);
        }
        if refcount_in(&block, header.refcount_order, within) == 0 {
            return Err(damaged(format!("the metadata cluster at {:#x} has a refcount of 0", at * cluster)));
        }
    }
    Ok(())
}

/// Reads a table of 8-byte entries, whose length [`Header::read`] has bounded.
///
/// # Errors
/// The host's error.
pub fn read_table(source: &(impl Source + ?Sized), offset: u64, entries: u64) -> io::Result<Vec<u64>> {
    let mut table = Vec::new();
    let mut bytes = vec![0; 64 << 10];
    let mut at = 0;
    let end = source.length()?;
    while at < entries {
        let count = (entries - at).min(bytes.len() as u64 / 8);
        // The rest of a table behind the end of the file is empty, whatever its header claims.
        if offset + at * 8 >= end {
            break;
        }
        let part = &mut bytes[..count as usize * 8];
        read_padded(source, offset + at * 8, part)?;
        table.extend(part.chunks_exact(8).map(|entry| be(entry, 0, 8)));
        at += count;
    }
    Ok(table)
}
