//! Eventfd that wakes a thread blocked in poll(2).

use super::Waker;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// An eventfd: readable from [`Self::wake`] until [`Self::clear`]. Clones share the descriptor.
#[derive(Clone, Debug)]
pub struct WakeFd(Arc<OwnedFd>);

impl WakeFd {
    /// Creates an eventfd that is not readable.
    ///
    /// # Errors
    /// If the process or the host has no free descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// A callback that calls [`Self::wake`].
    pub fn waker(&self) -> Waker {
        let wake_fd = self.clone();
        Arc::new(move || wake_fd.wake())
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
