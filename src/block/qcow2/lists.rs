//! Internal snapshots and persistent bitmaps: names and places (qcow2.txt, "Snapshots" and "Bitmaps").

use super::header::{Header, OFFSET_END};
use super::source::{Source, be, read_padded};
use std::io;

/// Bytes of extra data or of a name that are read; longer ones are malformed (QEMU: 1024).
const PART_MAX: u64 = 1024;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The host refused a read.
    #[error("{}", crate::error::host_error(.0))]
    Host(#[from] io::Error),
    /// An entry breaks the format's rules.
    #[error("qcow2: {list} entry {index} {why}")]
    Entry {
        /// Snapshot table or bitmap directory.
        list: &'static str,
        /// Index of the entry.
        index: u32,
        /// The rule.
        why: &'static str,
    },
}

/// An internal snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalSnapshot {
    /// Unique id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Offset of its L1 table.
    pub l1_offset: u64,
    /// Entries of its L1 table.
    pub l1_entries: u32,
    /// When it was taken: seconds since 1970, UTC.
    pub seconds: u32,
    /// The nanoseconds of that time.
    pub nanoseconds: u32,
    /// The machine's running time in nanoseconds.
    pub clock: u64,
    /// Bytes of the machine's state, 0 without one.
    pub state_size: u64,
    /// Virtual size in bytes, where the entry has it.
    pub disk_size: Option<u64>,
}

/// A persistent bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Name.
    pub name: String,
    /// Offset of its table.
    pub table_offset: u64,
    /// Entries of its table.
    pub table_entries: u32,
    /// Not closed properly.
    pub in_use: bool,
    /// Writes are recorded in it.
    pub auto: bool,
    /// Bytes that one bit stands for.
    pub granularity: u64,
}

/// Reads the snapshot table. Gives the snapshots and the table's end in the file.
///
/// # Errors
/// If the host refuses a read or an entry breaks the format's rules.
pub fn internal_snapshots(
    source: &(impl Source + ?Sized),
    header: &Header,
) -> Result<(Vec<InternalSnapshot>, u64), ListError> {
    let mut found = Vec::new();
    let mut at = header.snapshots_offset;
    let end = source.length()?;
    for index in 0..header.snapshots {
        let bad = |why| ListError::Entry { list: "snapshot table", index, why };
        if at >= end {
            return Err(bad("is behind the end of the file"));
        }
        let mut fixed = [0; 40];
        read_padded(source, at, &mut fixed)?;
        let extra_size = be(&fixed, 36, 4);
        if extra_size > PART_MAX {
            return Err(bad("has more than 1024 bytes of extra data"));
        }
        let (id_size, name_size) = (be(&fixed, 12, 2), be(&fixed, 14, 2));
        let mut rest = vec![0; (extra_size + id_size + name_size) as usize];
        read_padded(source, at + 40, &mut rest)?;
        let (extra, names) = rest.split_at(extra_size as usize);
        let (id, name) = names.split_at(id_size as usize);
        let l1_offset = be(&fixed, 0, 8);
        if !l1_offset.is_multiple_of(header.cluster_size()) || l1_offset >= OFFSET_END {
            return Err(bad("has an L1 table that is not at an offset of a cluster"));
        }
        let l1_entries = be(&fixed, 8, 4) as u32;
        if l1_entries > 4 << 20 {
            return Err(bad("has an L1 table of more than 32 MiB"));
        }
        found.push(InternalSnapshot {
            id: String::from_utf8_lossy(id).into_owned(),
            name: String::from_utf8_lossy(name).into_owned(),
            l1_offset,
            l1_entries,
            seconds: be(&fixed, 16, 4) as u32,
            nanoseconds: be(&fixed, 20, 4) as u32,
            clock: be(&fixed, 24, 8),
            state_size: if extra.len() >= 8 { be(extra, 0, 8) } else { be(&fixed, 32, 4) },
            disk_size: (extra.len() >= 16).then(|| be(extra, 8, 8)),
        });
        at = (at + 40 + extra_size + id_size + name_size).next_multiple_of(8);
    }
    Ok((found, at))
}

/// Reads the bitmap directory.
///
/// # Errors
/// If the host refuses a read or an entry breaks the format's rules.
pub fn bitmaps(source: &(impl Source + ?Sized), header: &Header) -> Result<Vec<Bitmap>, ListError> {
    let Some(extension) = header.bitmaps else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut at = 0;
    let end = source.length()?;
    for index in 0..extension.count {
        let bad = |why| ListError::Entry { list: "bitmap directory", index, why };
        if at + 24 > extension.directory_size || extension.directory_offset + at >= end {
            return Err(bad("is behind the end of the directory"));
        }
        let mut fixed = [0; 24];
        read_padded(source, extension.directory_offset + at, &mut fixed)?;
        let flags = be(&fixed, 12, 4);
        let (name_size, extra_size) = (be(&fixed, 18, 2), be(&fixed, 20, 4));
        if name_size > PART_MAX || extra_size > PART_MAX {
            return Err(bad("has a name or extra data of more than 1024 bytes"));
        }
        let granularity_bits = fixed[17];
        if granularity_bits > 63 {
            return Err(bad("has a granularity of more than 63 bits"));
        }
        let mut name = vec![0; name_size as usize];
        read_padded(source, extension.directory_offset + at + 24 + extra_size, &mut name)?;
        let table_offset = be(&fixed, 0, 8);
        if !table_offset.is_multiple_of(header.cluster_size()) || table_offset >= OFFSET_END {
            return Err(bad("has a table that is not at an offset of a cluster"));
        }
        let table_entries = be(&fixed, 8, 4) as u32;
        if table_entries > 128 << 20 >> 3 {
            return Err(bad("has a table of more than 128 MiB"));
        }
        found.push(Bitmap {
            name: String::from_utf8_lossy(&name).into_owned(),
            table_offset,
            table_entries,
            in_use: flags & 1 != 0,
            auto: flags & 2 != 0,
            granularity: 1 << granularity_bits,
        });
        at = (at + 24 + extra_size + name_size).next_multiple_of(8);
    }
    Ok(found)
}
