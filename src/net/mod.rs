//! Network backends: the host side of an emulated NIC (tap device, passt, Unix stream socket).
//!
//! A [`NetPort`] takes frames from any thread and never blocks: a frame that the backend cannot take at once is dropped, as
//! on a wire. The main loop reads received frames in batches. A backend is one file with an implementation of `Backend`,
//! and one arm in [`NetPort::open`].

mod dump;
mod gso;
mod stats;
mod stream;
mod sys;
mod tap;
#[cfg(test)]
mod tests;

pub use gso::segment_received;
pub use stats::PortStats;

use crate::config::{NetBackend, NicConfig};
use dump::Dump;
use pcvm_devices::net::{Frame, MAX_SEND};
use stats::PortCounters;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Frames that the main loop reads before it gives them to the guest.
pub const BATCH: usize = 64;
/// The longest received frame in bytes: an IPv4 packet with segmentation offload behind an Ethernet header with a VLAN tag.
const MAX_RECEIVE: usize = MAX_SEND;

/// A network backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A network interface, descriptor or program.
    #[error("{what} {name}: {why}")]
    Interface {
        /// The failed action, or the kind of object.
        what: &'static str,
        /// The interface, bridge, descriptor or program.
        name: String,
        /// The cause.
        why: String,
    },
    /// A file or socket.
    #[error("{path}: {why}")]
    File {
        /// The file or socket.
        path: String,
        /// The cause.
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

/// Operations of a network backend. Several threads call them, except [`Backend::receive`], which
/// only the main loop calls. No method blocks.
trait Backend: Send + Sync {
    /// Sends a frame as a whole. False if it was dropped.
    fn send(&self, frame: &Frame) -> bool;

    /// Reads a frame into `buffer`, which is empty.
    fn receive(&self, scratch: &mut Scratch, buffer: &mut Vec<u8>) -> Received;

    /// Readable while [`Backend::receive`] has something to return. The descriptor never changes.
    fn rx_fd(&self) -> BorrowedFd<'_>;

    /// Readable while bytes of a partly sent frame are pending and [`Backend::flush_tx`] can write some of them. The
    /// descriptor never changes. `None` if the backend never takes a part of a frame.
    fn tx_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Writes pending bytes of a partly sent frame.
    fn flush_tx(&self) {}
}

/// A NIC's connection to the host: a backend, its packet capture and its counters.
pub struct NetPort {
    backend: Box<dyn Backend>,
    dump: Option<Mutex<Dump>>,
    counters: PortCounters,
}

/// Result of [`NetPort::receive`].
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A frame. It may have segmentation offload, which [`segment_received`] resolves.
    Frame(Frame),
    /// No frame is waiting.
    Nothing,
    /// The tap device was deleted or the peer has disconnected, for good.
    Disconnected,
}

impl NetPort {
    /// Opens the configured backend, and the packet capture if there is one.
    ///
    /// # Errors
    /// If the host object does not exist or access is denied.
    pub fn open(config: &NicConfig) -> Result<Self, NetError> {
        let dump = config.dump.as_deref().map(Dump::create).transpose()?.map(Mutex::new);
        let backend: Box<dyn Backend> = match &config.backend {
            NetBackend::Tap(tap) => Box::new(tap::Tap::open(tap)?),
            NetBackend::Passt(socket) => Box::new(stream::Stream::passt(socket.as_deref())?),
            NetBackend::Pair(path) => Box::new(stream::Stream::pair(path)?),
        };
        Ok(Self { backend, dump, counters: PortCounters::default() })
    }

    /// Readable while [`NetPort::receive`] has a frame or a disconnection to return. It stays the same for the port's life.
    pub fn rx_fd(&self) -> BorrowedFd<'_> {
        self.backend.rx_fd()
    }

    /// Readable while [`NetPort::flush_tx`] can write pending bytes. It stays the same for the port's life. `None` if the
    /// port never has pending bytes.
    pub fn tx_fd(&self) -> Option<BorrowedFd<'_>> {
        self.backend.tx_fd()
    }

    /// Sends a frame, or drops it.
    pub fn send(&self, frame: &Frame) {
        self.capture(frame);
        let taken = self.backend.send(frame);
        self.counters.transmitted(frame.bytes.len(), taken);
    }

    /// Reads a frame into `buffer`, which is empty. A returned frame takes the buffer with it.
    pub fn receive(&self, scratch: &mut Scratch, buffer: &mut Vec<u8>) -> Received {
        let received = self.backend.receive(scratch, buffer);
        if let Received::Frame(frame) = &received {
            self.capture(frame);
            self.counters.received(frame.bytes.len());
        }
        received
    }

    /// Writes pending bytes of a frame of which the backend has taken only a part.
    pub fn flush_tx(&self) {
        self.backend.flush_tx();
    }

    /// The port's traffic counters.
    pub fn stats(&self) -> PortStats {
        self.counters.snapshot()
    }

    fn capture(&self, frame: &Frame) {
        if let Some(dump) = &self.dump {
            let mut dump = lock(dump);
            gso::segments(frame, |bytes| dump.frame(bytes));
        }
    }
}

/// Buffer for the longest frame while it is read from a tap.
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; MAX_RECEIVE].into_boxed_slice())
    }
}

/// Locks a mutex, also after a panic: every critical section in this module leaves its data consistent.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
