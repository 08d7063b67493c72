//! Drive images (raw files and block devices) and the block I/O engine.
//!
//! The engine tries each request on the calling thread first: preadv2(2) or pwritev2(2) with RWF_NOWAIT, straight to and
//! from guest memory. A request that would block goes to the drive's worker thread, which starts when the first such
//! request arrives. Requests of one drive execute in the order in which they arrived. A stalled host delays a completion
//! and never turns it into an error.
//!
//! The image format is the configured one (raw) and is never probed from the content.
//! Deliberately missing: io_uring (IDE has a queue depth of one) and formats other than raw. A new format or protocol is
//! one file beside `raw` and one arm per method in `backend`.

mod backend;
mod engine;
mod image;
pub mod qcow2;
mod raw;
mod request;
mod stats;
mod sys;
#[cfg(test)]
mod tests;

pub use engine::{BlockEngine, EngineError};
pub use image::{Image, ImageError};
pub use stats::DriveStats;
pub use sys::lock;
