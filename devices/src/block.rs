//! Block requests: what a disk controller requests from the host, and the completions.

use crate::ctx::Ctx;
use crate::disc::Disc;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A drive of the machine. 0 to 3 are IDE hda, hdb, hdc, hdd; another controller owns other numbers.
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

/// A medium in a drive with removable media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// Bytes of the image.
    pub size: u64,
    /// The medium cannot be written.
    pub read_only: bool,
    /// The layout of a CD. Without one, a CD-ROM drive takes the image for a single data track ([`Disc::single`]).
    pub disc: Option<Disc>,
}

impl Medium {
    /// A read-only medium of `size` bytes, without a layout (an ISO image).
    pub fn iso(size: u64) -> Self {
        Self { size, read_only: true, disc: None }
    }

    /// Its layout as a disc.
    pub fn into_disc(self) -> Disc {
        self.disc.unwrap_or_else(|| Disc::single(self.size))
    }
}

/// The tray of a drive with removable media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tray {
    /// Open.
    pub open: bool,
    /// The guest prevents the removal of the medium.
    pub locked: bool,
    /// There is a medium in the drive or on the open tray.
    pub loaded: bool,
}

/// What the host does to a tray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrayRequest {
    /// Opens it, whether it is locked or not. The medium stays on it.
    Open,
    /// Closes it.
    Close,
    /// Presses the button of a locked drive: the drive reports an eject request to the guest.
    Button,
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockOp {
    /// From the image to [`BlockRequest::data`].
    Read,
    /// From [`BlockRequest::data`] to the image.
    Write,
    /// Everything written so far reaches stable storage. Offset and data are unused.
    Flush,
    /// The guest no longer needs these bytes. They read as zero or as before.
    Discard {
        /// Bytes.
        len: u64,
    },
}

/// The memory side of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockData {
    /// No data.
    #[default]
    None,
    /// Directly to or from guest memory. Ranges that are not RAM ignore what is written and read as FFh.
    Guest(Vec<GuestRange>),
    /// To or from a buffer that the completion returns in [`BlockDone::data`]. Its length is the length of the transfer.
    Buffer(Vec<u8>),
}

impl BlockData {
    /// Bytes to transfer.
    pub fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Guest(ranges) => ranges.iter().map(|r| u64::from(r.len)).sum(),
            Self::Buffer(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there is no data to transfer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request. The device chooses `tag`, unique among its requests in flight and never reused across a reset; the
/// completion carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// The drive.
    pub disk: DiskId,
    /// The device's number for this request.
    pub tag: u64,
    /// The operation.
    pub op: BlockOp,
    /// Byte offset in the image.
    pub offset: u64,
    /// The memory side.
    pub data: BlockData,
}

/// The completion of a request.
#[derive(Clone, Debug)]
pub struct BlockDone {
    /// The drive.
    pub disk: DiskId,
    /// [`BlockRequest::tag`].
    pub tag: u64,
    /// The request's data; a read has filled its buffer.
    pub data: BlockData,
    /// The result.
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
    /// Submits a disk request. The completion is a [`crate::Wake::Block`], often before the guest runs again, never inside
    /// this call.
    pub fn submit(&mut self, request: BlockRequest) {
        self.out.requests.push(request);
    }
}
