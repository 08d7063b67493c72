//! `pcvm image map`: which image of a chain has which part of the disk.

use super::chain::{Disk, SegmentKind};
use super::{ImageError, Progress};
use serde::Serialize;
use std::path::PathBuf;

/// A part of the disk that one image has in one piece. The fields are those of `qemu-img map --output=json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapEntry {
    /// Virtual offset in bytes.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// The image, 0 for the top.
    pub depth: usize,
    /// An image of the chain has the part; otherwise it reads as zeros because none has.
    pub present: bool,
    /// Reads as zeros.
    pub zero: bool,
    /// Is in the file as data.
    pub data: bool,
    /// Is in the file as compressed data.
    pub compressed: bool,
    /// Offset in the image's file, for uncompressed parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<PathBuf>,
}

/// Lists the whole disk, each part as long as possible.
///
/// # Errors
/// If the host refuses a read, a table is damaged, or `give` fails.
pub fn map(
    disk: &mut Disk,
    progress: Progress<'_>,
    mut give: impl FnMut(MapEntry) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let size = disk.size();
    let mut current: Option<MapEntry> = None;
    let mut at = 0;
    while at < size {
        let segment = disk.map(at, size - at)?;
        let compressed = matches!(segment.kind, SegmentKind::Compressed { .. });
        let present = segment.kind != SegmentKind::Absent;
        let next = MapEntry {
            start: at,
            length: segment.length,
            depth: segment.depth,
            present,
            zero: segment.is_zero(),
            data: !segment.is_zero(),
            compressed,
            offset: segment.host.filter(|_| !compressed),
            filename: disk.layers().get(segment.depth).filter(|_| present).map(|layer| layer.path.clone()),
        };
        at += segment.length;
        progress(at, size);
        match &mut current {
            Some(last) if continues(last, &next) => last.length += next.length,
            _ => {
                if let Some(done) = current.replace(next) {
                    give(done)?;
                }
            }
        }
    }
    current.map_or(Ok(()), give)
}

fn continues(last: &MapEntry, next: &MapEntry) -> bool {
    let same = |entry: &MapEntry| (entry.depth, entry.present, entry.zero, entry.data, entry.compressed);
    same(last) == same(next) && last.offset.map(|offset| offset + last.length) == next.offset
}
