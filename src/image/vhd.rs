//! VHD (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0): fixed and dynamic disks, read-only.
//!
//! Deliberately missing: differencing disks, and the sector bitmap of a block, which says no more than that sectors still
//! are zeros.

use crate::block::qcow2::{Source, read_padded};
use std::io;

/// Bytes of the footer ("Hard Disk Footer Format").
const FOOTER: u64 = 512;
/// The largest disk that the block table can address: 2³² sectors.
const SIZE_MAX: u64 = 512 << 32;
/// A block table entry of a block that is not in the file.
const UNUSED: u32 = u32::MAX;

/// Why a VHD cannot be read. The text follows the image's name.
#[derive(Debug, thiserror::Error)]
pub enum VhdError {
    /// The host refused a read.
    #[error("{}", crate::error::host_error(.0))]
    Host(#[from] io::Error),
    /// No footer.
    #[error("is not a VHD image: it has no footer")]
    NoFooter,
    /// Disk type 4.
    #[error("is a differencing VHD, which is not supported: merge it with its parent first")]
    Differencing,
    /// A field breaks the format's rules.
    #[error("VHD: {0}")]
    Field(&'static str),
}

/// A VHD's layout.
#[derive(Debug)]
pub struct Vhd {
    /// Virtual size in bytes.
    pub size: u64,
    blocks: Option<Blocks>,
}

#[derive(Debug)]
struct Blocks {
    table: u64,
    size: u64,
    bitmap: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

impl Vhd {
    /// Reads footer and header.
    ///
    /// # Errors
    /// If it is no VHD, or one that is not supported.
    pub fn read(source: &(impl Source + ?Sized)) -> Result<Self, VhdError> {
        let length = source.length()?;
        let mut footer = [0; FOOTER as usize];
        read_padded(source, length.saturating_sub(FOOTER), &mut footer)?;
        let at_end = footer.starts_with(b"conectix");
        if !at_end {
            // A dynamic disk has a copy at the start.
            read_padded(source, 0, &mut footer)?;
        }
        if !footer.starts_with(b"conectix") {
            return Err(VhdError::NoFooter);
        }
        let size = u64_at(&footer, 48);
        if size > SIZE_MAX {
            return Err(VhdError::Field("the current size is more than 2 TiB"));
        }
        match u32_at(&footer, 60) {
            2 if !at_end => Err(VhdError::NoFooter),
            2 if size > length - FOOTER => Err(VhdError::Field("the current size is more than the file has")),
            2 => Ok(Self { size, blocks: None }),
            3 => Ok(Self { size, blocks: Some(Blocks::read(source, u64_at(&footer, 16), size)?) }),
            4 => Err(VhdError::Differencing),
            _ => Err(VhdError::Field("the disk type is none of fixed, dynamic and differencing")),
        }
    }

    /// Where the virtual range from `offset` is in the file, `None` for zeros, and for how many bytes, at most `max`.
    ///
    /// # Errors
    /// The host's error.
    pub fn map(&self, source: &(impl Source + ?Sized), offset: u64, max: u64) -> io::Result<(Option<u64>, u64)> {
        let max = max.min(self.size.saturating_sub(offset));
        let Some(blocks) = &self.blocks else { return Ok((Some(offset), max)) };
        let (index, within) = (offset / blocks.size, offset % blocks.size);
        let mut entry = [0; 4];
        read_padded(source, blocks.table + index * 4, &mut entry)?;
        let host = match u32::from_be_bytes(entry) {
            UNUSED => None,
            sector => Some(u64::from(sector) * 512 + blocks.bitmap + within),
        };
        Ok((host, max.min(blocks.size - within)))
    }
}

impl Blocks {
    /// Reads the header of a dynamic disk ("Dynamic Disk Header Format").
    fn read(source: &(impl Source + ?Sized), offset: u64, size: u64) -> Result<Self, VhdError> {
        let mut header = [0; 1024];
        read_padded(source, offset, &mut header)?;
        if !header.starts_with(b"cxsparse") {
            return Err(VhdError::Field("the dynamic disk header is missing"));
        }
        let block = u64::from(u32_at(&header, 32));
        if !block.is_power_of_two() || !(512..=256 << 20).contains(&block) {
            return Err(VhdError::Field("the block size is not a power of two between 512 bytes and 256 MiB"));
        }
        if u64::from(u32_at(&header, 28)) < size.div_ceil(block) {
            return Err(VhdError::Field("the block table is too small for the disk"));
        }
        let table = u64_at(&header, 16);
        if table >= SIZE_MAX {
            return Err(VhdError::Field("the block table is behind 2 TiB"));
        }
        // One bit for each sector, in whole sectors.
        Ok(Self { table, size: block, bitmap: (block / 512).div_ceil(8).next_multiple_of(512) })
    }
}
