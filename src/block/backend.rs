//! Image backends: the seam between [`super::Image`] and the format or protocol that stores a drive's bytes.
//!
//! An enum and no trait object: with one variant each call compiles to a direct call of that backend.

use super::raw::RawFile;
use super::sys::{Direction, IoVec};
use std::io;

/// Where the bytes of an image are.
#[derive(Debug)]
pub enum Backend {
    /// A raw file or block device.
    File(RawFile),
}

impl Backend {
    /// Size in bytes when the image was opened.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
        }
    }

    /// Locks the image without waiting: for one writer (`exclusive`) or for any number of readers.
    ///
    /// # Errors
    /// EAGAIN or EACCES if another process holds a conflicting lock; any other error if the image cannot be locked.
    pub fn lock(&self, exclusive: bool) -> io::Result<()> {
        match self {
            Self::File(file) => file.lock(exclusive),
        }
    }

    /// The format that the content seems to have, where that differs from the backend's.
    pub fn foreign_format(&self) -> Option<&'static str> {
        match self {
            Self::File(file) => file.foreign_format(),
        }
    }

    /// Whether [`Self::transfer`] can succeed without `may_block`. A false saves building the list of segments.
    #[inline]
    pub fn serves_inline(&self, direction: Direction) -> bool {
        match self {
            Self::File(file) => file.serves_inline(direction),
        }
    }

    /// Moves bytes between the image at `offset` and the segments of `iov`. Gives the number of bytes moved, which may be
    /// less than all; 0 is the end of the image.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing could be moved without blocking and `may_block` is false.
    #[inline]
    pub fn transfer(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        may_block: bool,
    ) -> io::Result<usize> {
        match self {
            Self::File(file) => file.transfer(iov, offset, direction, may_block),
        }
    }

    /// Brings everything written so far to stable storage. Blocks.
    pub fn flush(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
        }
    }

    /// Whether [`Self::discard`] may free space; false once the host has refused it.
    pub fn supports_discard(&self) -> bool {
        match self {
            Self::File(file) => file.supports_discard(),
        }
    }

    /// Frees the space of a range, or leaves the range unchanged where that is not supported. Blocks.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.discard(offset, len),
        }
    }
}
