//! Drive images and the block I/O engine: raw files and block devices, qcow2 and VMDK with their backing chains, discs of
//! several tracks, and host directories as discs and floppy disks.
//!
//! The engine tries each request on the calling thread first: preadv2(2) or pwritev2(2) with RWF_NOWAIT, straight to and
//! from guest memory. A request to a raw image that would block goes to the drive's io_uring. Where the host does not allow
//! io_uring, and for the other formats and protocols, it goes to the drive's worker thread. Both start when the first such
//! request arrives. Requests of one drive execute in the order in which they arrived. A stalled host delays a completion
//! and never turns it into an error.
//!
//! The image format is the configured one and is never chosen by the content. A new format or protocol is one file beside
//! `raw` and one arm per method in `backend`.

mod backend;
mod create;
pub mod cue;
mod directories;
mod disc;
#[cfg(test)]
mod disc_tests;
mod engine;
mod extents;
pub mod fat;
mod folder;
mod format;
#[cfg(test)]
mod format_tests;
mod holder;
mod image;
mod iso;
mod mapped;
pub mod nbd;
#[cfg(test)]
mod nbd_tests;
mod ordered;
pub mod qcow2;
mod raw;
mod request;
mod stats;
mod sys;
#[cfg(test)]
mod tests;
mod throttle;
#[cfg(test)]
mod uring_tests;

pub use create::qcow2_can_have;
pub use directories::Directories;
pub use engine::{BlockEngine, DriveParts, EngineError, StoppedDrive};
pub use format::layout;
pub use holder::{Holder, holders};
pub use image::{Image, ImageError};
pub use ordered::{Layout, Store};
pub use raw::{Patience, foreign_format_of};
pub use stats::DriveStats;
pub use sys::lock;
pub use throttle::{GroupConflict, ThrottleGroups};
