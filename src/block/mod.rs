//! Drives' images: raw files and block devices, and the engine that reads and writes them.
//!
//! A request that the page cache can answer is answered on the caller's thread, in one system call, straight to and
//! from guest memory. What would wait goes to a thread of the image's own, which is started when the first such
//! request comes: requests of one image are carried out in the order in which they came, and a stalled host delays
//! the answer but never makes it an error.
//!
//! The format is what the user says, raw, and never guessed from the content.
//! Deliberately missing: io_uring (a queue depth above one is of no use to IDE) and formats other than raw.

mod engine;
mod image;
mod sys;
#[cfg(test)]
mod tests;
mod transfer;

pub use engine::{BlockEngine, EngineError};
pub use image::{Image, ImageError};
