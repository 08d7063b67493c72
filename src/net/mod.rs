//! What network cards are plugged into on the host.
//!
//! A [`Port`] takes frames from any thread and never waits: what the host cannot take at once is lost, as on a wire. Frames
//! that come in are read by the main loop, a batch at a time.

mod cut;
mod dump;
mod stream;
mod sys;
mod tap;
#[cfg(test)]
mod tests;

pub use cut::received;
pub use dump::Dump;

use crate::config::{NetBackend, NicConfig};
use pcvm_devices::net::{Frame, MAX_SEND};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// Frames read before the guest gets them.
pub const BATCH: usize = 64;
/// The longest frame that may come in, in bytes: a segment that nobody has cut, and a tag.
const LONGEST: usize = MAX_SEND;

/// A card could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Something about a network interface.
    #[error("{what} {name}: {why}")]
    Interface {
        /// What was being done, or what it is.
        what: &'static str,
        /// The interface, bridge or program.
        name: String,
        /// Why not.
        why: String,
    },
    /// A file or socket.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
}

impl NetError {
    fn interface(what: &'static str, name: &str, error: &io::Error) -> Self {
        Self::Interface { what, name: name.to_owned(), why: crate::error::host_error(error) }
    }

    fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::File { path: path.display().to_string(), why: crate::error::host_error(error) }
    }
}

enum Cable {
    Tap(tap::Tap),
    Stream(stream::Stream),
}

/// The host's end of a card's cable.
pub struct Port {
    cable: Cable,
    dump: Option<Mutex<Dump>>,
}

/// What a try to read a frame gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// One, which may be a long segment that is left to [`received`].
    Frame(Frame),
    /// None now.
    Nothing,
    /// The other end is gone.
    Gone,
}

impl Port {
    /// Connects a card.
    ///
    /// # Errors
    /// If what it is to be connected to is not there or does not let us.
    pub fn open(config: &NicConfig) -> Result<Self, NetError> {
        let dump = config.dump.as_deref().map(Dump::create).transpose()?.map(Mutex::new);
        let cable = match &config.backend {
            NetBackend::Tap(tap) => Cable::Tap(tap::Tap::open(tap)?),
            NetBackend::Passt(socket) => Cable::Stream(stream::Stream::passt(socket.as_deref())?),
            NetBackend::Pair(path) => Cable::Stream(stream::Stream::pair(path)?),
        };
        Ok(Self { cable, dump })
    }

    /// What tells that frames came in.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.cable {
            Cable::Tap(tap) => tap.as_fd(),
            Cable::Stream(stream) => stream.as_fd(),
        }
    }

    /// Sends a frame, or loses it.
    pub fn send(&self, frame: &Frame) {
        if let Some(dump) = &self.dump {
            let mut dump = dump.lock().unwrap_or_else(PoisonError::into_inner);
            cut::pieces(frame, |bytes| dump.frame(bytes));
        }
        match &self.cable {
            Cable::Tap(tap) => tap.send(frame),
            Cable::Stream(stream) => cut::pieces(frame, |bytes| stream.send(bytes)),
        }
    }

    /// Reads a frame. `buffer` is an empty one to put it in.
    pub fn receive(&self, scratch: &mut Scratch, buffer: &mut Vec<u8>) -> Received {
        let received = match &self.cable {
            Cable::Tap(tap) => tap.receive(scratch, buffer),
            Cable::Stream(stream) => stream.receive(buffer),
        };
        if let (Some(dump), Received::Frame(frame)) = (&self.dump, &received) {
            let mut dump = dump.lock().unwrap_or_else(PoisonError::into_inner);
            cut::pieces(frame, |bytes| dump.frame(bytes));
        }
        received
    }

    /// Whether [`Port::tend`] has something to do soon: a frame that went only in part.
    pub fn is_untended(&self) -> bool {
        matches!(&self.cable, Cable::Stream(stream) if stream.is_untended())
    }

    /// Goes on with what could not be done at once.
    pub fn tend(&self) {
        if let Cable::Stream(stream) = &self.cable {
            stream.tend();
        }
    }
}

/// Room for the longest frame while it is read.
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; LONGEST].into_boxed_slice())
    }
}
