//! qcow2 metadata parser (QEMU's docs/interop/qcow2.txt), read-only and safe on hostile images: header, L1 and L2 tables,
//! refcounts, internal snapshots and bitmaps.
//!
//! The `imago` crate reads and writes the clusters of a running machine's disk. This parser decides first whether it may
//! ([`unsupported`], [`check_for_writing`]), and serves `pcvm image`.

mod features;
mod header;
mod lists;
mod refcount;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use features::{Access, Unsupported, lost_by_writing, unreadable, unsupported};
pub use header::*;
pub use lists::{Bitmap, InternalSnapshot, ListError, bitmaps, internal_snapshots};
pub use refcount::{WriteCheckError, check_for_writing, read_table, refcount_in, set_refcount_in};
pub use source::{Source, read_padded};
pub use table::{
    COPIED, Entry, EntryError, EntryKind, MapError, Mapping, SUBCLUSTERS, TableCache, decode_l1, decode_l2, map,
};
