//! Operations on image files: `pcvm image` (raw, qcow2, VMDK and VHD) and snapshots of a machine's disks.
//!
//! Reading goes through pcvm's own metadata parser (`block::qcow2`), which survives hostile images and serves features that
//! a machine's disk may not have. qcow2 files are created and written by the `imago` crate, after that parser has checked
//! them. Every operation leaves either the old or the new image when the process is killed.
//!
//! Deliberately missing: writing compressed clusters, encryption, VHDX, VDI, sparse VMDK extents.

mod chain;
mod check;
mod convert;
mod create;
mod files;
mod format;
mod info;
mod map;
mod merge;
mod repair;
mod resize;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod vhd;
mod write;

pub use crate::block::Directories;
pub use chain::{Depth, Disk, Layer, Segment, SegmentKind};
pub use check::{CheckReport, check};
pub use convert::{ConvertOptions, convert};
pub use create::{CreateOptions, Preallocation, create};
pub use format::{Format, decide};
pub use info::{Info, human, info};
pub use map::{MapEntry, map};
pub use merge::{RebaseOptions, commit, rebase};
pub use repair::{RepairMode, check_file, repair};
pub use resize::{Size, resize};

use crate::error::host_error;
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on an image failed. The text names the file and, where there is one, the mend.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host refused.
    #[error("{}: {}", path.display(), host_error(why))]
    Host {
        /// The file.
        path: PathBuf,
        /// The host's error.
        why: io::Error,
    },
    /// The image, or what was asked of it, is not supported.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The reason, and the mend.
        why: String,
    },
    /// Another process has the image open.
    #[error("{}: is in use by {holder}", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process.
        holder: String,
    },
    /// A file that the image names cannot be opened.
    #[error(transparent)]
    Block(crate::block::ImageError),
    /// An option is wrong.
    #[error("{0}")]
    Usage(String),
}

impl ImageError {
    fn host(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |why| Self::Host { path: path.to_owned(), why }
    }

    /// An error of the block room, about the same image.
    fn block(error: crate::block::ImageError) -> Self {
        use crate::block::ImageError as Block;
        match error {
            Block::Host { path, why } => Self::Host { path, why },
            Block::Reference { path, name, why } if why.contains("backing-dir=") => {
                let why = format!(
                    "names '{}', which is outside its directory: allow that with --backing-dir DIRECTORY",
                    name.escape_debug()
                );
                Self::Refused { path, why }
            }
            other => Self::Block(other),
        }
    }

    fn refused(path: &Path, why: impl ToString) -> Self {
        Self::Refused { path: path.to_owned(), why: why.to_string() }
    }
}

/// Receives the bytes done and the bytes in total while an operation runs.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// The directories in which the files that an image names may be: its own, and those that the user gives.
///
/// # Errors
/// If one of them cannot be opened.
pub fn directories(image: &Path, more: &[PathBuf]) -> Result<Directories, ImageError> {
    Directories::new(image, more).map_err(ImageError::block)
}
