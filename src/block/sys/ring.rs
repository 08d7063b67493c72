//! io_uring (io_uring_setup(2)): one operation at a time between a file and guest memory, completed through an eventfd.
#![allow(unsafe_code)]

use super::super::raw::RawFile;
use super::super::request::PendingRequest;
use super::{Direction, IoVec, IoVecStorage};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use pcvm_devices::Memory;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// Submission entries. One is used at a time.
const ENTRIES: u32 = 2;

/// What the kernel does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The next part of a read or write: at most as many segments as an [`IoVec`] has.
    Transfer(Direction),
    /// fdatasync(2).
    Sync,
    /// fallocate(2) that punches a hole.
    Punch {
        /// Length in bytes from the request's offset.
        len: u64,
    },
}

/// A ring with at most one operation in flight. It owns what the kernel uses until the operation is complete.
pub struct Ring {
    uring: IoUring,
    /// The segments of the operation in flight.
    storage: Box<IoVecStorage>,
    flight: Option<Flight>,
}

/// What an operation in flight belongs to.
struct Flight {
    operation: Operation,
    request: PendingRequest,
    /// Keeps the guest memory mapped.
    memory: Arc<Memory>,
}

impl Ring {
    /// A ring that writes to the eventfd `event` at each completion.
    ///
    /// # Errors
    /// If the host has no io_uring (ENOSYS), or does not allow it (EPERM).
    pub fn new(event: &EventFd) -> io::Result<Self> {
        let uring = IoUring::builder().dontfork().build(ENTRIES)?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Self { uring, storage: Box::new(IoVecStorage::new()), flight: None })
    }

    /// Whether an operation is in flight.
    pub fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Starts an operation of a request. The ring is idle.
    ///
    /// # Errors
    /// The request, if the operation cannot be started: its memory does not have the alignment that the file needs, or the
    /// kernel does not take it. In the second case the ring is broken: every later start fails too.
    pub fn start(
        &mut self,
        operation: Operation,
        file: &RawFile,
        request: PendingRequest,
        memory: &Arc<Memory>,
    ) -> Result<(), Box<PendingRequest>> {
        if self.flight.is_some() || !self.uring.submission().is_empty() {
            return Err(Box::new(request));
        }
        let flight = self.flight.insert(Flight { operation, request, memory: Arc::clone(memory) });
        match entry(flight, file, &mut self.storage) {
            Some(entry) if submit(&mut self.uring, &entry) => Ok(()),
            _ => match self.flight.take() {
                Some(flight) => Err(Box::new(flight.request)),
                None => Ok(()),
            },
        }
    }

    /// Takes the operation that was in flight, if it is complete: the request, and the number of bytes or the error.
    pub fn take_completed(&mut self) -> Option<(Operation, PendingRequest, io::Result<usize>)> {
        self.flight.as_ref()?;
        let completion: cqueue::Entry = self.uring.completion().next()?;
        let Flight { operation, request, memory: _ } = self.flight.take()?;
        let result = completion.result();
        let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.saturating_neg()));
        Some((operation, request, result))
    }
}

/// The submission entry of an operation; `None` if the memory does not have the alignment that the file needs.
fn entry(flight: &mut Flight, file: &RawFile, storage: &mut IoVecStorage) -> Option<squeue::Entry> {
    let fd = types::Fd(file.file().as_raw_fd());
    let offset = flight.request.position();
    match flight.operation {
        Operation::Transfer(direction) => {
            let mut iov = IoVec::new(storage);
            flight.request.segments(&flight.memory, direction, &mut iov);
            if !file.accepts(&iov, offset) || iov.source && direction == Direction::Read {
                return None;
            }
            let list = iov.list.as_ptr().cast::<libc::iovec>();
            let count = iov.len as u32;
            Some(match direction {
                Direction::Read => opcode::Readv::new(fd, list, count).offset(offset).build(),
                Direction::Write => opcode::Writev::new(fd, list, count).offset(offset).build(),
            })
        }
        Operation::Sync => Some(opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build()),
        Operation::Punch { len } => {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            Some(opcode::Fallocate::new(fd, len).offset(offset).mode(mode).build())
        }
    }
}

/// Gives an entry to the kernel; false if the kernel does not take it. The entry then stays in the submission queue, which is
/// never submitted again.
fn submit(uring: &mut IoUring, entry: &squeue::Entry) -> bool {
    // SAFETY: the entry's pointers are to the list in `Ring::storage`, whose entries `segments` has initialised and which is
    // on the heap, and to the segments: guest memory that `Flight::memory` keeps mapped, the heap buffer of
    // `Flight::request`, the sink in `Ring::storage`, and the static ONES for the direction Write only. `Ring` touches none
    // of them while `flight` is there, which it is until `take_completed` has the kernel's completion: `start` refuses, and
    // `drop` waits for the completion or leaks them. Guest memory is never a Rust reference, so the kernel may write it at
    // any time. The kernel holds a reference to the file from here on, so the descriptor may be closed.
    if unsafe { uring.submission().push(entry) }.is_err() {
        return false;
    }
    loop {
        match uring.submit() {
            Ok(taken) => return taken == 1,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!("io_uring takes no request: {error}");
                return false;
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.flight.is_some() {
            match self.uring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // The kernel may still use the memory.
                    std::mem::forget(self.flight.take());
                    std::mem::forget(std::mem::replace(&mut self.storage, Box::new(IoVecStorage::new())));
                    return;
                }
            }
            let _ = self.take_completed();
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("busy", &self.is_busy()).finish_non_exhaustive()
    }
}
