//! qcow2 metadata parser (QEMU's docs/interop/qcow2.txt), read-only and safe on hostile images: header, L1 and L2 tables,
//! refcounts, internal snapshots and bitmaps.
//!
//! The `imago` crate reads and writes the clusters of a running machine's disk. This parser decides first whether it may
//! ([`unsupported`]), and serves `pcvm image`.

mod features;
mod header;
mod source;

pub use features::{Access, Unsupported, lost_by_writing, unreadable, unsupported};
pub use header::*;
pub use source::{Source, read_padded};
