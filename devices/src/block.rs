//! What a disk controller asks of the host: reads and writes of a drive's image.

use crate::ctx::Ctx;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A drive of the machine: 0 to 3 are IDE hda, hdb, hdc, hdd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskId(pub u8);

/// A range of guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRange {
    /// Guest-physical address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
}

/// What to do to the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockOp {
    /// Image to [`BlockRequest::data`].
    Read,
    /// [`BlockRequest::data`] to image.
    Write,
    /// Everything written so far reaches stable storage. Offset and data are unused.
    Flush,
    /// The bytes from the offset on, this many, are no longer needed and read as zero or as before.
    Discard {
        /// Bytes.
        len: u64,
    },
}

/// Where a request's bytes come from or go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockData {
    /// Nothing is moved.
    #[default]
    None,
    /// Straight to or from guest memory. Parts that are not RAM swallow what is written and read as FFh.
    Guest(Vec<GuestRange>),
    /// To or from a buffer that travels with the request and comes back in [`BlockDone::data`]; its length is the
    /// length of the transfer.
    Buffer(Vec<u8>),
}

impl BlockData {
    /// Bytes to move.
    pub fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Guest(ranges) => ranges.iter().map(|r| u64::from(r.len)).sum(),
            Self::Buffer(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there is nothing to move.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One request. The device chooses `tag`, unique among its requests under way (and never reused across a reset), and
/// finds it again in the [`BlockDone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// The drive.
    pub disk: DiskId,
    /// The device's own name for this request.
    pub tag: u64,
    /// What to do.
    pub op: BlockOp,
    /// Byte offset in the image.
    pub offset: u64,
    /// The bytes.
    pub data: BlockData,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub struct BlockDone {
    /// The drive.
    pub disk: DiskId,
    /// [`BlockRequest::tag`].
    pub tag: u64,
    /// The request's data, given back (a read's buffer is filled).
    pub data: BlockData,
    /// How it went.
    pub result: Result<(), BlockError>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum BlockError {
    /// Part of the request lies past the end of the image.
    #[error("past the end of the image")]
    OutOfRange,
    /// A write to a read-only image.
    #[error("the image is read-only")]
    ReadOnly,
    /// The host's file system is full.
    #[error("no space left on the host")]
    NoSpace,
    /// There is no image behind the drive.
    #[error("no medium")]
    NoMedium,
    /// The host failed, with this errno.
    #[error("host error {0}")]
    Io(i32),
}

impl Ctx<'_> {
    /// Starts a disk request. The answer comes as [`crate::Wake::Block`], often before the guest runs again, never
    /// inside this call.
    pub fn submit(&mut self, request: BlockRequest) {
        self.out.requests.push(request);
    }
}
