//! Image backends: the seam between [`super::Image`] and the format or protocol that stores a drive's bytes.
//!
//! An enum and no trait object: each call compiles to a direct call of the backend.

use super::fat::FatDir;
use super::format::FormatImage;
use super::mapped::MappedImage;
use super::nbd::NbdClient;
use super::raw::{Patience, RawFile};
use super::sys::{Direction, IoVec};
use std::io;

/// Where the bytes of an image are.
#[derive(Debug)]
pub enum Backend {
    /// A raw file or block device.
    File(RawFile),
    /// An image in a format with tables, such as qcow2.
    Format(Box<FormatImage>),
    /// A disc of a directory or of the files of a cue sheet.
    Mapped(Box<MappedImage>),
    /// A floppy disk made from a directory.
    FatDir(Box<FatDir>),
    /// A network disk.
    Nbd(Box<NbdClient>),
}

impl Backend {
    /// Size in bytes when the image was opened.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
            Self::Format(image) => image.size(),
            Self::Mapped(image) => image.size(),
            Self::FatDir(disk) => disk.size(),
            Self::Nbd(client) => client.size(),
        }
    }

    /// Whether [`Self::transfer`] can succeed with this patience. A false saves building the list of segments.
    #[inline]
    pub fn serves_inline(&self, direction: Direction, patience: Patience) -> bool {
        match self {
            Self::File(file) => file.serves_inline(direction, patience),
            Self::Format(image) => image.serves_inline(direction, patience),
            Self::Mapped(_) => direction == Direction::Read,
            Self::FatDir(_) => true,
            Self::Nbd(_) => false,
        }
    }

    /// Moves bytes between the image at `offset` and the segments of `iov`, which may be shortened. Gives the number of bytes
    /// moved, which may be less than all; 0 is the end of the image.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing could be moved without blocking and the patience is not unlimited.
    #[inline]
    pub fn transfer(
        &mut self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        match self {
            Self::File(file) => file.transfer(iov, offset, direction, patience),
            Self::Format(image) => image.transfer(iov, offset, direction, patience),
            Self::Mapped(image) => image.transfer(iov, offset, direction, patience),
            Self::FatDir(disk) => disk.transfer(iov, offset, direction),
            Self::Nbd(client) => client.transfer(iov, offset, direction, patience == Patience::Unlimited),
        }
    }

    /// Brings everything written so far to stable storage. Blocks.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Format(image) => image.flush(),
            Self::Mapped(_) => Ok(()),
            Self::FatDir(disk) => disk.write_back(),
            Self::Nbd(client) => client.flush(),
        }
    }

    /// Whether [`Self::discard`] may free space; false once the host has refused it.
    pub fn supports_discard(&self) -> bool {
        match self {
            Self::File(file) => file.supports_discard(),
            Self::Format(image) => image.supports_discard(),
            Self::Mapped(_) | Self::FatDir(_) => false,
            Self::Nbd(client) => client.supports_discard(),
        }
    }

    /// Frees the space of a range, or leaves the range unchanged where that is not supported. Blocks.
    pub fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.discard(offset, len),
            Self::Format(image) => image.discard(offset, len),
            Self::Mapped(_) | Self::FatDir(_) => Ok(()),
            Self::Nbd(client) => client.discard(offset, len),
        }
    }
}
