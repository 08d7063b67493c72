//! Requests of raw images that would block, by io_uring: no thread executes them or waits for them.
//!
//! The thread whose request would block gives it to the drive's ring, the kernel signals the engine's eventfd, and the main
//! loop takes the completion. A ring has one request at a time, because the requests of a drive execute in order; the next
//! one waits in the drive's queue for the worker thread. The worker thread also executes what a throttle delays, what
//! direct I/O needs a bounce buffer for, and what a drive that stopped repeats.
//!
//! While a request is in the ring the medium is locked only for moments, so that the main loop may lock it. Who needs the
//! medium for longer waits for the ring ([`Shared::settled`]).

use super::super::request::{After, PendingRequest};
use super::super::sys::Ring;
use super::super::{backend::Backend, image::Image};
use super::{BlockEngine, Drive, QueuedRequest, Shared, Signal, Way, lock};
use pcvm_devices::{BlockError, BlockOp, Memory};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::EventFd;

/// How often a thread that waits for a ring looks whether the kernel has completed the request. Such waits are rare: a
/// reset, a change of the medium, a second request.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// The medium of a drive, and the ring for its requests.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) image: Option<Image>,
    ring: RingState,
}

#[derive(Debug)]
enum RingState {
    /// No request has needed it.
    Unused,
    Open {
        ring: Box<Ring>,
        /// Of the request in the ring.
        arrival: Instant,
    },
    /// The host does not allow it, or it is broken.
    Refused,
}

impl Medium {
    pub(super) fn new(image: Option<Image>, io_uring: bool) -> Self {
        Self { image, ring: if io_uring { RingState::Unused } else { RingState::Refused } }
    }

    /// Whether a request is in the ring.
    pub(super) fn is_busy(&self) -> bool {
        matches!(&self.ring, RingState::Open { ring, .. } if ring.is_busy())
    }

    /// Starts the next operation of a request.
    ///
    /// # Errors
    /// The request, if the worker thread has to execute it.
    fn start(
        &mut self,
        request: PendingRequest,
        arrival: Instant,
        memory: &Arc<Memory>,
        event: &EventFd,
    ) -> Result<(), Box<PendingRequest>> {
        let Some(Image { backend: Backend::File(file), dirty, .. }) = &mut self.image else {
            return Err(Box::new(request));
        };
        if matches!(self.ring, RingState::Unused) {
            self.ring = match Ring::new(event) {
                Ok(ring) => RingState::Open { ring: Box::new(ring), arrival },
                Err(error) => {
                    tracing::debug!("no io_uring: {error}");
                    RingState::Refused
                }
            };
        }
        let RingState::Open { ring, arrival: when } = &mut self.ring else { return Err(Box::new(request)) };
        *when = arrival;
        *dirty |= matches!(request.request.op, BlockOp::Write | BlockOp::Discard { .. });
        ring.start(request.next_operation(), file, request, memory)
    }

    /// Starts the next operation of the request in the ring, if the last one is complete. Returns what is left to do outside
    /// the ring.
    fn advance(&mut self, memory: &Arc<Memory>) -> Option<Left> {
        let RingState::Open { ring, arrival } = &mut self.ring else { return None };
        let arrival = *arrival;
        let (operation, mut request, result) = ring.take_completed()?;
        let Some(image) = &mut self.image else {
            return Some(Left::Complete(request, arrival, Err(BlockError::NoMedium)));
        };
        let after = catch_unwind(AssertUnwindSafe(|| request.after_operation(operation, result, image, memory)));
        match (after, &image.backend) {
            (Ok(After::Done(result)), _) => Some(Left::Complete(request, arrival, result)),
            (Ok(After::Next), Backend::File(file)) => {
                let started = ring.start(request.next_operation(), file, request, memory);
                started.err().map(|request| Left::Block(*request, arrival))
            }
            (Ok(After::Next | After::Block), _) => Some(Left::Block(request, arrival)),
            // A panic fails the request. Without a completion a machine reset would wait for it without end.
            (Err(_), _) => Some(Left::Complete(request, arrival, Err(BlockError::Io(libc::EIO)))),
        }
    }
}

/// What is left to do for a request that has left the ring.
enum Left {
    /// To complete it with this result.
    Complete(PendingRequest, Instant, Result<(), BlockError>),
    /// To execute the rest of it on the worker thread.
    Block(PendingRequest, Instant),
}

impl Drive {
    /// Locks the medium if a request is in its ring and no other thread has the lock. Does not wait: the worker thread may
    /// have taken the completion and the next request, which it executes with the lock. Else the other thread looks at the
    /// ring (`settled`), or calls [`Shared::look_was_missed`] when it has let go.
    fn lock_ring(&self) -> Option<MutexGuard<'_, Medium>> {
        if !self.in_ring.load(Ordering::Acquire) {
            return None;
        }
        self.try_lock_medium().or_else(|| {
            self.look_missed.store(true, Ordering::SeqCst);
            // The other thread may have let go before it could see that.
            self.try_lock_medium()
        })
    }

    /// Locks the medium if no other thread has.
    #[inline]
    pub(super) fn try_lock_medium(&self) -> Option<MutexGuard<'_, Medium>> {
        match self.medium.try_lock() {
            Ok(medium) => Some(medium),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Shared {
    /// Gives the drive's ring a request that would block. No request of the drive is in flight.
    ///
    /// # Errors
    /// The request, if the worker thread has to execute it.
    #[cold]
    pub(super) fn submit(
        &self,
        drive: &Drive,
        medium: &mut Medium,
        request: PendingRequest,
    ) -> Result<(), Box<PendingRequest>> {
        // Before the submission: the completion may come at once, and `take_completions` looks at drives in this state only.
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        drive.in_ring.store(true, Ordering::Release);
        let started = medium.start(request, Instant::now(), &self.memory, &self.event);
        if started.is_err() {
            drive.in_ring.store(false, Ordering::Release);
            drive.pending.fetch_sub(1, Ordering::AcqRel);
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
        started
    }

    /// Wakes the main loop again if it could not look at the drive's ring, because the caller had the lock until now.
    #[cold]
    pub(super) fn look_was_missed(&self, drive: &Drive) {
        if drive.look_missed.swap(false, Ordering::SeqCst) {
            let _ = self.event.write(1);
        }
    }

    /// Takes the completion of the drive's ring, if there is one, and completes its request or starts the next operation.
    fn look(&self, drive: &Drive, medium: &mut Medium, signal: Signal) {
        let Some(left) = medium.advance(&self.memory) else { return };
        drive.in_ring.store(false, Ordering::Release);
        drive.ring_idle.notify_all();
        match left {
            Left::Complete(request, arrival, result) => {
                let queued = QueuedRequest { request, arrival, admitted: true };
                if let Some(done) = self.conclude(drive, queued, result, Way::Ring) {
                    self.deliver(drive, done, signal);
                }
            }
            Left::Block(request, arrival) => {
                lock(&drive.queue).requests.push_front(QueuedRequest { request, arrival, admitted: true });
                drive.queue_changed.notify_all();
                // `take_completions` starts the worker thread.
                let _ = self.event.write(1);
            }
        }
    }

    /// Locks the medium when no request is in the drive's ring.
    pub(super) fn settled<'a>(&self, drive: &'a Drive) -> MutexGuard<'a, Medium> {
        let mut medium = lock(&drive.medium);
        loop {
            self.look(drive, &mut medium, Signal::Event);
            if !medium.is_busy() {
                return medium;
            }
            // Another thread may be the one that takes the completion.
            medium = drive.ring_idle.wait_timeout(medium, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl BlockEngine {
    /// Takes what the kernel has completed of the requests in rings. Starts the worker threads of drives whose requests have
    /// left the ring incomplete. Gives whether a request is in a ring still.
    pub(super) fn look_at_rings(&self) -> bool {
        let mut busy = false;
        for (index, drive) in self.shared.drives.iter().enumerate() {
            let Some(drive) = drive else { continue };
            if let Some(mut medium) = drive.lock_ring() {
                self.shared.look(drive, &mut medium, Signal::None);
            }
            if drive.in_ring.load(Ordering::Acquire) {
                busy = true;
            } else if drive.pending.load(Ordering::Acquire) > 0 {
                self.ensure_worker(index);
            }
        }
        busy
    }
}
