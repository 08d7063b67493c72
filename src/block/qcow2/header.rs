//! qcow2 header, versions 2 and 3, with its extensions (QEMU's docs/interop/qcow2.txt, "Header" and "Header extensions").
//!
//! The image is hostile: every offset and count is checked against the limits below before it is used, and no more than the
//! first cluster is read.

use super::source::{Source, be, read_padded};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;

/// The first four bytes of a qcow2 file.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Bytes of a version 2 header.
const V2_LENGTH: u64 = 72;
/// Bytes of the shortest version 3 header.
const V3_LENGTH: u64 = 104;
/// Bytes of the longest name of a backing file.
const NAME_MAX: u64 = 1023;
/// Bytes of the longest L1 table that QEMU opens.
const L1_MAX: u64 = 32 << 20;
/// Bytes of the longest refcount table that QEMU opens.
const REFCOUNT_TABLE_MAX: u64 = 8 << 20;
/// Internal snapshots, and bitmaps, that QEMU opens at most.
const SNAPSHOTS_MAX: u32 = 65_536;
/// Bits of an offset into the file (bits 9 to 55 of a table entry).
pub const OFFSET_END: u64 = 1 << 56;

/// Header extension: the backing file's format.
const EXT_BACKING_FORMAT: u32 = 0xe279_2aca;
/// Header extension: names of feature bits.
const EXT_FEATURE_NAMES: u32 = 0x6803_f857;
/// Header extension: persistent bitmaps.
const EXT_BITMAPS: u32 = 0x2385_2875;
/// Header extension: where the encryption header is.
const EXT_ENCRYPTION: u32 = 0x0537_be77;
/// Header extension: name of the external data file.
const EXT_DATA_FILE: u32 = 0x4441_5441;

/// Incompatible features (bits of [`Header::incompatible`]).
pub mod incompatible {
    /// Refcounts may be wrong: the image was not closed.
    pub const DIRTY: u64 = 1 << 0;
    /// A program found damaged metadata.
    pub const CORRUPT: u64 = 1 << 1;
    /// Clusters are in another file.
    pub const DATA_FILE: u64 = 1 << 2;
    /// The header names the compression.
    pub const COMPRESSION: u64 = 1 << 3;
    /// L2 entries have 128 bits and 32 subclusters.
    pub const EXTENDED_L2: u64 = 1 << 4;
    /// All of the above.
    pub const KNOWN: u64 = 0x1f;
}

/// Compatible feature: refcounts are updated lazily.
pub const LAZY_REFCOUNTS: u64 = 1 << 0;
/// Autoclear feature: the bitmaps are consistent.
pub const AUTOCLEAR_BITMAPS: u64 = 1 << 0;
/// Autoclear feature: the external data file is a raw image by itself.
pub const AUTOCLEAR_RAW_DATA: u64 = 1 << 1;

/// Why a header cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The host refused a read.
    #[error("{}", crate::error::host_error(.0))]
    Host(#[from] io::Error),
    /// The magic number is another.
    #[error("is not a qcow2 image")]
    NotQcow2,
    /// A version other than 2 and 3.
    #[error("has qcow2 version {0}; versions 2 and 3 are supported")]
    Version(u32),
    /// A field has a value that the format forbids.
    #[error("qcow2 header: {field} is {value:#x}, {why}")]
    Field {
        /// The field, as the specification calls it.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The rule.
        why: &'static str,
    },
}

/// Encryption of the clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// None.
    None,
    /// AES-CBC, the old form.
    Aes,
    /// LUKS.
    Luks,
    /// A number that the specification does not have.
    Unknown(u32),
}

/// Compression of compressed clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Deflate without a zlib header.
    Zlib,
    /// Zstandard.
    Zstd,
    /// A number that the specification does not have.
    Unknown(u8),
}

/// Where the persistent bitmaps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapsExtension {
    /// Number of bitmaps.
    pub count: u32,
    /// Bytes of the bitmap directory.
    pub directory_size: u64,
    /// Its offset in the file, a multiple of the cluster size.
    pub directory_offset: u64,
}

/// Name of a feature bit, from the image's own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureName {
    /// 0 incompatible, 1 compatible, 2 autoclear.
    pub kind: u8,
    /// Bit number.
    pub bit: u8,
    /// The name, as the image gives it.
    pub name: String,
}

/// A header extension as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawExtension {
    /// Extension type.
    pub kind: u32,
    /// Data without padding.
    pub data: Vec<u8>,
}

/// A checked header: every offset is below 2⁵⁶ and aligned, every size within QEMU's limits.
#[derive(Clone, Debug)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// log2 of the cluster size: 9 to 21.
    pub cluster_bits: u32,
    /// Virtual size in bytes.
    pub size: u64,
    /// Encryption method.
    pub encryption: Encryption,
    /// Entries of the active L1 table.
    pub l1_entries: u32,
    /// Its offset in the file.
    pub l1_offset: u64,
    /// Offset of the refcount table.
    pub refcount_table_offset: u64,
    /// Its length in clusters.
    pub refcount_table_clusters: u32,
    /// log2 of the refcount width in bits: 0 to 6.
    pub refcount_order: u32,
    /// Internal snapshots.
    pub snapshots: u32,
    /// Offset of the snapshot table.
    pub snapshots_offset: u64,
    /// Incompatible features.
    pub incompatible: u64,
    /// Compatible features.
    pub compatible: u64,
    /// Autoclear features.
    pub autoclear: u64,
    /// Bytes of the header, without extensions.
    pub length: u32,
    /// Compression of compressed clusters.
    pub compression: Compression,
    /// Backing file as the image names it.
    pub backing_file: Option<OsString>,
    /// Format of the backing file as the image names it.
    pub backing_format: Option<String>,
    /// External data file as the image names it.
    pub data_file: Option<OsString>,
    /// Names of feature bits.
    pub feature_names: Vec<FeatureName>,
    /// Persistent bitmaps.
    pub bitmaps: Option<BitmapsExtension>,
    /// Offset and length of the encryption header.
    pub encryption_header: Option<(u64, u64)>,
    /// All extensions in their order, without the end marker.
    pub extensions: Vec<RawExtension>,
    /// The extensions end with a marker. Some programs take what follows for extensions otherwise.
    pub extensions_end: bool,
}

fn field(field: &'static str, value: u64, why: &'static str) -> HeaderError {
    HeaderError::Field { field, value, why }
}

impl Header {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// If the source is not a qcow2 image, has a version other than 2 and 3, or a field breaks the format's rules.
    pub fn read(source: &(impl Source + ?Sized)) -> Result<Self, HeaderError> {
        let mut start = [0; 112];
        read_padded(source, 0, &mut start)?;
        let u32_at = |at| be(&start, at, 4) as u32;
        let u64_at = |at| be(&start, at, 8);
        if start[..4] != MAGIC {
            return Err(HeaderError::NotQcow2);
        }
        let version = u32_at(4);
        if !matches!(version, 2 | 3) {
            return Err(HeaderError::Version(version));
        }
        let cluster_bits = u32_at(20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(field("cluster_bits", cluster_bits.into(), "not 9 to 21"));
        }
        let cluster = 1_u64 << cluster_bits;
        let (incompatible, compatible, autoclear, refcount_order, length) = match version {
            2 => (0, 0, 0, 4, V2_LENGTH as u32),
            _ => (u64_at(72), u64_at(80), u64_at(88), u32_at(96), u32_at(100)),
        };
        if version == 3 && (u64::from(length) < V3_LENGTH || u64::from(length) > cluster) {
            return Err(field("header_length", length.into(), "not between 104 and the cluster size"));
        }
        if refcount_order > 6 {
            return Err(field("refcount_order", refcount_order.into(), "more than 6"));
        }
        let encryption = match u32_at(32) {
            0 => Encryption::None,
            1 => Encryption::Aes,
            2 => Encryption::Luks,
            other => Encryption::Unknown(other),
        };
        let compression = match (incompatible & incompatible::COMPRESSION != 0, start[104]) {
            (false, _) => Compression::Zlib,
            _ if length <= V3_LENGTH as u32 => Compression::Zlib,
            (true, 0) => Compression::Zlib,
            (true, 1) => Compression::Zstd,
            (true, other) => Compression::Unknown(other),
        };
        let mut header = Self {
            version,
            cluster_bits,
            size: u64_at(24),
            encryption,
            l1_entries: u32_at(36),
            l1_offset: u64_at(40),
            refcount_table_offset: u64_at(48),
            refcount_table_clusters: u32_at(56),
            refcount_order,
            snapshots: u32_at(60),
            snapshots_offset: u64_at(64),
            incompatible,
            compatible,
            autoclear,
            length,
            compression,
            backing_file: None,
            backing_format: None,
            data_file: None,
            feature_names: Vec::new(),
            bitmaps: None,
            encryption_header: None,
            extensions: Vec::new(),
            extensions_end: false,
        };
        header.check_tables()?;

        let (name_offset, name_length) = (u64_at(8), u64::from(u32_at(16)));
        if name_offset != 0 {
            if name_length > NAME_MAX {
                return Err(field("backing_file_size", name_length, "more than 1023"));
            }
            if name_offset < V2_LENGTH || name_offset.checked_add(name_length).is_none_or(|end| end > cluster) {
                return Err(field("backing_file_offset", name_offset, "outside the first cluster"));
            }
            let mut name = vec![0; name_length as usize];
            read_padded(source, name_offset, &mut name)?;
            // The length has no terminator, but some programs count one.
            name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
            header.backing_file = Some(OsString::from_vec(name)).filter(|name| !name.is_empty());
        }
        let end = if name_offset > length.into() { name_offset } else { cluster };
        header.read_extensions(source, end)?;
        Ok(header)
    }

    /// Bytes of a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Whether L2 entries have 128 bits.
    pub fn extended_l2(&self) -> bool {
        self.incompatible & incompatible::EXTENDED_L2 != 0
    }

    /// Whether clusters are in an external data file.
    pub fn external_data(&self) -> bool {
        self.incompatible & incompatible::DATA_FILE != 0
    }

    /// Whether the dirty bit is set.
    pub fn dirty(&self) -> bool {
        self.incompatible & incompatible::DIRTY != 0
    }

    /// Whether the corrupt bit is set.
    pub fn corrupt(&self) -> bool {
        self.incompatible & incompatible::CORRUPT != 0
    }

    /// Entries of an L2 table.
    pub fn l2_entries(&self) -> u64 {
        self.cluster_size() / self.l2_entry_size()
    }

    /// Bytes of an L2 entry: 8 or 16.
    pub fn l2_entry_size(&self) -> u64 {
        if self.extended_l2() { 16 } else { 8 }
    }

    /// Virtual bytes that one L1 entry covers.
    pub fn l1_reach(&self) -> u64 {
        self.l2_entries() << self.cluster_bits
    }

    /// Refcounts in a refcount block.
    pub fn refcounts_per_block(&self) -> u64 {
        (self.cluster_size() * 8) >> self.refcount_order
    }

    /// Largest refcount.
    pub fn refcount_max(&self) -> u64 {
        match self.refcount_order {
            6 => u64::MAX,
            order => (1 << (1 << order)) - 1,
        }
    }

    /// Entries of the refcount table.
    pub fn refcount_table_entries(&self) -> u64 {
        u64::from(self.refcount_table_clusters) * self.cluster_size() / 8
    }

    fn check_tables(&self) -> Result<(), HeaderError> {
        let cluster = self.cluster_size();
        let placed = |name, offset: u64, bytes: u64| {
            if !offset.is_multiple_of(cluster) {
                return Err(field(name, offset, "not a multiple of the cluster size"));
            }
            if offset.checked_add(bytes).is_none_or(|end| end > OFFSET_END) {
                return Err(field(name, offset, "beyond 2^56"));
            }
            Ok(())
        };
        if self.extended_l2() && self.cluster_bits < 14 {
            return Err(field("cluster_bits", self.cluster_bits.into(), "less than 14 with extended L2 entries"));
        }
        let l1_bytes = u64::from(self.l1_entries) * 8;
        if l1_bytes > L1_MAX {
            return Err(field("l1_size", self.l1_entries.into(), "more than 32 MiB of table"));
        }
        placed("l1_table_offset", self.l1_offset, l1_bytes)?;
        if u64::from(self.l1_entries) < self.size.div_ceil(self.l1_reach()) {
            return Err(field("l1_size", self.l1_entries.into(), "too small for the virtual size"));
        }
        let refcount_bytes = u64::from(self.refcount_table_clusters) * cluster;
        if refcount_bytes > REFCOUNT_TABLE_MAX {
            return Err(field(
                "refcount_table_clusters",
                self.refcount_table_clusters.into(),
                "more than 8 MiB of table",
            ));
        }
        placed("refcount_table_offset", self.refcount_table_offset, refcount_bytes)?;
        if self.snapshots > SNAPSHOTS_MAX {
            return Err(field("nb_snapshots", self.snapshots.into(), "more than 65536"));
        }
        if self.snapshots > 0 {
            placed("snapshots_offset", self.snapshots_offset, 0)?;
        }
        Ok(())
    }

    fn read_extensions(&mut self, source: &(impl Source + ?Sized), end: u64) -> Result<(), HeaderError> {
        let cluster = self.cluster_size();
        let mut at = u64::from(self.length);
        // Each turn consumes at least 8 bytes of the first cluster.
        while at + 8 <= end {
            let mut head = [0; 8];
            read_padded(source, at, &mut head)?;
            let (kind, length) = (be(&head, 0, 4) as u32, be(&head, 4, 4));
            at += 8;
            if kind == 0 {
                self.extensions_end = true;
                break;
            }
            if length > end - at {
                return Err(field("header extension length", length, "beyond the header"));
            }
            let mut data = vec![0; length as usize];
            read_padded(source, at, &mut data)?;
            at += length.next_multiple_of(8);
            self.take_extension(kind, &data, cluster)?;
            self.extensions.push(RawExtension { kind, data });
        }
        Ok(())
    }

    fn take_extension(&mut self, kind: u32, data: &[u8], cluster: u64) -> Result<(), HeaderError> {
        match kind {
            EXT_BACKING_FORMAT => self.backing_format = Some(String::from_utf8_lossy(data).into_owned()),
            EXT_DATA_FILE => self.data_file = Some(OsString::from_vec(data.to_vec())),
            EXT_FEATURE_NAMES => {
                self.feature_names = data
                    .chunks_exact(48)
                    .map(|entry| {
                        let name = entry[2..].split(|byte| *byte == 0).next().unwrap_or_default();
                        FeatureName { kind: entry[0], bit: entry[1], name: String::from_utf8_lossy(name).into_owned() }
                    })
                    .collect();
            }
            EXT_BITMAPS if data.len() >= 24 => {
                let bitmaps = BitmapsExtension {
                    count: be(data, 0, 4) as u32,
                    directory_size: be(data, 8, 8),
                    directory_offset: be(data, 16, 8),
                };
                if bitmaps.count > SNAPSHOTS_MAX {
                    return Err(field("nb_bitmaps", bitmaps.count.into(), "more than 65536"));
                }
                if bitmaps.directory_size > u64::from(SNAPSHOTS_MAX) * 1024 {
                    return Err(field("bitmap_directory_size", bitmaps.directory_size, "more than 64 MiB"));
                }
                if !bitmaps.directory_offset.is_multiple_of(cluster) || bitmaps.directory_offset >= OFFSET_END {
                    return Err(field(
                        "bitmap_directory_offset",
                        bitmaps.directory_offset,
                        "not an offset of a cluster",
                    ));
                }
                self.bitmaps = Some(bitmaps);
            }
            EXT_ENCRYPTION if data.len() >= 16 => {
                let (offset, length) = (be(data, 0, 8), be(data, 8, 8));
                if offset >= OFFSET_END || length >= OFFSET_END {
                    return Err(field("encryption header offset", offset, "beyond 2^56"));
                }
                self.encryption_header = Some((offset, length));
            }
            _ => {}
        }
        Ok(())
    }
}
