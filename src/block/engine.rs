//! Block I/O engine: executes requests inline where that does not block, and otherwise by io_uring or on one worker thread per
//! drive.
//!
//! The engine also applies each drive's policies: throttling, and what happens when the host fails a request. A drive whose
//! policy is to stop keeps the failed request at the head of its queue and reports the error; the machine pauses, and the
//! request is tried again when the machine resumes.

mod uring;

use self::uring::Medium;
use super::image::Image;
use super::nbd::Interrupt;
use super::raw::Patience;
use super::request::{PendingRequest, Progress};
use super::stats::{DriveCounters, DriveStats};
use super::throttle::Throttle;
use crate::config::ErrorAction;
use pcvm_devices::{BlockDone, BlockError, BlockOp, BlockRequest, DiskId, Memory};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::EventFd;

/// Stack of a worker thread in bytes. imago recurses once for each image of a chain.
const WORKER_STACK: usize = 1 << 20;
/// The longest that a worker thread sleeps for a throttle at a time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long a machine that resets or ends waits for requests before it gives up those that wait for a network disk's server.
const SERVER_GRACE: Duration = Duration::from_secs(5);

/// The engine could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot create an eventfd for disk requests: {0}")]
pub struct EngineError(io::Error);

/// A drive: its medium and its policies.
#[derive(Debug)]
pub struct DriveParts {
    /// The label in statistics, messages and the worker thread's name ("hda").
    pub name: String,
    /// The medium; `None` for a drive without one.
    pub image: Option<Image>,
    /// When a write, flush or discard fails.
    pub write_error: ErrorAction,
    /// When a read fails.
    pub read_error: ErrorAction,
    /// The limits of its I/O rate.
    pub throttle: Option<Arc<Throttle>>,
}

impl DriveParts {
    /// A drive without limits that reports errors to the guest.
    pub fn new(name: &str, image: Option<Image>) -> Self {
        Self {
            name: name.to_owned(),
            image,
            write_error: ErrorAction::Report,
            read_error: ErrorAction::Report,
            throttle: None,
        }
    }
}

/// A failed request whose drive waits for the machine to be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedDrive {
    /// The drive's name.
    pub drive: String,
    /// The operation that failed.
    pub op: BlockOp,
    /// Why.
    pub error: BlockError,
}

/// The media of all drives and the requests in flight. Shared by the vCPU threads and the main loop.
#[derive(Debug)]
pub struct BlockEngine {
    shared: Arc<Shared>,
}

/// The media of drives that execute no request.
#[derive(Debug)]
pub struct Frozen<'a>(Vec<MutexGuard<'a, Medium>>);

impl Frozen<'_> {
    /// The media, in the order of the drives' ids.
    pub fn media(&mut self) -> impl Iterator<Item = &mut Option<Image>> {
        self.0.iter_mut().map(|guard| &mut guard.image)
    }
}

/// What the engine shares with its worker threads.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    /// By [`DiskId`].
    drives: Vec<Option<Drive>>,
    /// Requests that `start` has not completed, and that are not complete.
    in_flight: AtomicUsize,
    /// All requests in flight are to complete soon: no throttling, and errors go to the guest.
    draining: AtomicBool,
    completions: Mutex<Vec<BlockDone>>,
    stopped: Mutex<Vec<StoppedDrive>>,
    /// Signalled after each completion.
    completed: Condvar,
    /// Counts while `completions` or `stopped` is not empty.
    event: EventFd,
}

#[derive(Debug)]
struct Drive {
    name: String,
    write_error: ErrorAction,
    read_error: ErrorAction,
    throttle: Option<Arc<Throttle>>,
    counters: DriveCounters,
    queue: Mutex<Queue>,
    /// Signalled when `queue` changes.
    queue_changed: Condvar,
    /// Requests in the queue, in the ring or executing on the worker thread. No other request may overtake them.
    pending: AtomicUsize,
    /// The medium. Locked while a thread executes a request, which keeps the order of requests of two vCPUs: one from before
    /// a reset and the one after it.
    medium: Mutex<Medium>,
    /// A request is in the medium's ring.
    in_ring: AtomicBool,
    /// The main loop could not look at the ring, because another thread had locked the medium.
    look_missed: AtomicBool,
    /// Signalled when no request is in the ring any more.
    ring_idle: Condvar,
    /// Of the medium, if it is a network disk: a request that waits for its server holds the medium's lock.
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<QueuedRequest>,
    /// The first request has failed and waits for the machine to be resumed.
    stopped: bool,
    /// The engine is being dropped.
    end: bool,
}

#[derive(Debug)]
struct QueuedRequest {
    request: PendingRequest,
    arrival: Instant,
    /// The throttle has let it pass.
    admitted: bool,
}

/// How a request was executed that did not complete on the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By io_uring.
    Ring,
    /// On the worker thread.
    Worker,
}

/// Whether the main loop is to be woken for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// By the eventfd.
    Event,
    /// The caller takes it.
    None,
}

/// Locks a mutex, also after a panic: every critical section in this file leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockEngine {
    /// An engine for these drives that reads and writes this memory. Starts no thread.
    ///
    /// # Errors
    /// If the host has no eventfd.
    pub fn new(parts: BTreeMap<DiskId, DriveParts>, memory: Arc<Memory>) -> Result<Self, EngineError> {
        Self::with_io_uring(parts, memory, true)
    }

    /// The same; with `io_uring` false as on a host that does not allow io_uring.
    ///
    /// # Errors
    /// If the host has no eventfd.
    pub(super) fn with_io_uring(
        parts: BTreeMap<DiskId, DriveParts>,
        memory: Arc<Memory>,
        io_uring: bool,
    ) -> Result<Self, EngineError> {
        let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(EngineError)?;
        let mut drives = Vec::new();
        for (DiskId(index), parts) in parts {
            drives.resize_with(usize::from(index) + 1, || None);
            if let Some(slot) = drives.last_mut() {
                *slot = Some(Drive::new(parts, io_uring));
            }
        }
        let shared = Shared {
            memory,
            drives,
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            completions: Mutex::default(),
            stopped: Mutex::default(),
            completed: Condvar::new(),
            event,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Statistics of the drives.
    pub fn stats(&self) -> Vec<DriveStats> {
        self.shared.drives.iter().flatten().map(|drive| drive.counters.snapshot(&drive.name)).collect()
    }

    /// Executes a request on the calling thread and returns its completion if that takes no longer than `patience`. Otherwise
    /// gives it to the drive's ring or worker thread, and the completion comes from [`Self::take_completions`].
    pub fn start(&self, request: BlockRequest, patience: Patience) -> Option<BlockDone> {
        let index = usize::from(request.disk.0);
        let Some(drive) = self.shared.drive(index) else {
            return Some(completion(request, Err(BlockError::NoMedium)));
        };
        let mut pending = PendingRequest::new(request);
        let mut medium = drive.try_lock_medium();
        let idle = drive.pending.load(Ordering::Acquire) == 0;
        let mut admitted = false;
        let mut stop = None;
        if let Some(locked) = medium.as_deref_mut().filter(|_| idle) {
            admitted = drive.admit(&pending.request, Instant::now).is_ok();
            if admitted {
                match pending.run_on(&mut locked.image, &self.shared.memory, patience) {
                    Progress::Done(result) => match drive.action(pending.request.op, result) {
                        Ok(result) => {
                            drive.counters.completed_inline(pending.request.op, pending.moved(), result);
                            return Some(completion(pending.request, result));
                        }
                        Err(error) => stop = Some((pending.request.op, error)),
                    },
                    Progress::WouldBlock => match self.shared.submit(drive, locked, pending) {
                        Ok(()) => {
                            drop(medium);
                            self.shared.look_was_missed(drive);
                            return None;
                        }
                        Err(request) => pending = *request,
                    },
                }
            }
        }
        self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        let queued = QueuedRequest { request: pending, arrival: Instant::now(), admitted };
        let mut queue = lock(&drive.queue);
        if medium.is_some() && idle {
            // Other vCPUs may have queued requests during the inline attempt; this one arrived before them.
            queue.requests.push_front(queued);
        } else {
            queue.requests.push_back(queued);
        }
        queue.stopped |= stop.is_some();
        drop(queue);
        drop(medium);
        self.shared.look_was_missed(drive);
        if let Some((op, error)) = stop {
            self.shared.report_stop(drive, op, error);
        }
        drive.queue_changed.notify_one();
        self.ensure_worker(index);
        None
    }

    /// Readable while there are completions or stopped drives to take.
    pub fn completion_event(&self) -> &EventFd {
        &self.shared.event
    }

    /// The requests that have completed since the last call, in the order of their completion.
    pub fn take_completions(&self) -> Vec<BlockDone> {
        // Reset before the rings and the list are looked at: a completion in between sets it again.
        let _ = self.shared.event.read();
        self.look_at_rings();
        std::mem::take(&mut *lock(&self.shared.completions))
    }

    /// The drives that have stopped since the last call, each with the error. The machine is to pause.
    pub fn take_stopped(&self) -> Vec<StoppedDrive> {
        std::mem::take(&mut *lock(&self.shared.stopped))
    }

    /// Tries the failed requests of stopped drives again: the machine is resumed.
    pub fn resume(&self) {
        for drive in self.shared.drives.iter().flatten() {
            lock(&drive.queue).stopped = false;
            drive.queue_changed.notify_all();
        }
    }

    /// Requests in flight: queued by [`Self::start`] and not complete.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no request is in flight. [`Self::take_completions`] then gives all completions. Requests do not wait for
    /// their throttles, those of stopped drives are tried once more, and those that have waited for the server of a network
    /// disk for 5 seconds fail.
    pub fn wait_idle(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.resume();
        while !self.wait_for_completions(SERVER_GRACE) {
            self.shared.interrupt_network(Interrupt::cancel);
        }
        self.shared.draining.store(false, Ordering::SeqCst);
    }

    /// Replaces a drive's medium and gives the old one. Waits for the request that executes; queued requests meet the new
    /// medium.
    pub fn replace(&self, disk: DiskId, image: Option<Image>) -> Option<Image> {
        let drive = self.shared.drive(usize::from(disk.0))?;
        let next = image.as_ref().and_then(Image::interrupt);
        if let Some(interrupt) = std::mem::replace(&mut *lock(&drive.interrupt), next) {
            // A lost server must not keep its medium in the drive.
            interrupt.cancel();
        }
        std::mem::replace(&mut self.shared.settled(drive).image, image)
    }

    /// Locks the media of these drives together, in the order of their ids: no request executes until the result is dropped.
    pub fn freeze(&self, disks: &[DiskId]) -> Frozen<'_> {
        let mut disks: Vec<_> = disks.iter().filter_map(|disk| self.shared.drive(usize::from(disk.0))).collect();
        Frozen(disks.drain(..).map(|drive| self.shared.settled(drive)).collect())
    }

    /// Waits until no request is in flight, at most for `time`. False if there still are some.
    fn wait_for_completions(&self, time: Duration) -> bool {
        let Shared { in_flight, completions, completed, .. } = &*self.shared;
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let wait = if self.look_at_rings() { left.min(uring::LOOK) } else { left };
            let completions = lock(completions);
            let busy = |_: &mut Vec<BlockDone>| in_flight.load(Ordering::Acquire) > 0;
            let waited = completed.wait_timeout_while(completions, wait, busy);
            match waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                false => return true,
                true if left.is_zero() => return false,
                true => {}
            }
        }
    }

    fn ensure_worker(&self, index: usize) {
        let Some(drive) = self.shared.drive(index) else { return };
        let mut worker = lock(&drive.worker);
        if worker.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(format!("block-{}", drive.name)).stack_size(WORKER_STACK);
        match thread.spawn(move || run_worker(&shared, index)) {
            Ok(handle) => *worker = Some(handle),
            Err(error) => {
                // The calling thread executes the queue instead, and blocks meanwhile.
                tracing::warn!("drive {}: cannot start a thread for disk requests: {error}", drive.name);
                while self.shared.execute_next(drive) {}
            }
        }
    }
}

impl Drop for BlockEngine {
    /// Completes all queued requests: a write that was accepted reaches the image.
    fn drop(&mut self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        for drive in self.shared.drives.iter().flatten() {
            let mut queue = lock(&drive.queue);
            queue.end = true;
            queue.stopped = false;
            drop(queue);
            drive.queue_changed.notify_all();
        }
        if !self.wait_for_completions(SERVER_GRACE) {
            self.shared.interrupt_network(Interrupt::shut_down);
        }
        for drive in self.shared.drives.iter().flatten() {
            if let Some(handle) = lock(&drive.worker).take() {
                let _ = handle.join();
            }
            // Closed here, also while another thread holds `shared`: a floppy disk made from a directory is written back.
            drop(self.shared.settled(drive).image.take());
        }
    }
}

impl Shared {
    /// Ends waits for the servers of network disks.
    fn interrupt_network(&self, how: impl Fn(&Interrupt)) {
        let interrupts = self.drives.iter().flatten().filter_map(|drive| lock(&drive.interrupt).clone());
        interrupts.for_each(|interrupt| how(&interrupt));
    }
}

impl Drive {
    fn new(parts: DriveParts, io_uring: bool) -> Self {
        let DriveParts { name, image, write_error, read_error, throttle } = parts;
        Self {
            name,
            write_error,
            read_error,
            throttle,
            counters: DriveCounters::default(),
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            pending: AtomicUsize::new(0),
            interrupt: Mutex::new(image.as_ref().and_then(Image::interrupt)),
            medium: Mutex::new(Medium::new(image, io_uring)),
            in_ring: AtomicBool::new(false),
            look_missed: AtomicBool::new(false),
            ring_idle: Condvar::new(),
            worker: Mutex::default(),
        }
    }

    /// Lets a request pass the throttle at `now`. Only reads and writes count.
    ///
    /// # Errors
    /// The time after which to try again.
    #[inline]
    fn admit(&self, request: &BlockRequest, now: impl FnOnce() -> Instant) -> Result<(), Duration> {
        match (&self.throttle, request.op) {
            (Some(throttle), BlockOp::Read | BlockOp::Write) => throttle.admit(request.data.len(), now()),
            _ => Ok(()),
        }
    }

    /// Applies the drive's policy to a request's result.
    ///
    /// # Errors
    /// The error for which the drive is to stop.
    #[inline]
    fn action(&self, op: BlockOp, result: Result<(), BlockError>) -> Result<Result<(), BlockError>, BlockError> {
        match result {
            Err(error @ (BlockError::NoSpace | BlockError::Io(_))) => self.action_for(op, error),
            _ => Ok(result),
        }
    }

    #[cold]
    fn action_for(&self, op: BlockOp, error: BlockError) -> Result<Result<(), BlockError>, BlockError> {
        let action = if op == BlockOp::Read { self.read_error } else { self.write_error };
        match action {
            ErrorAction::Stop => Err(error),
            ErrorAction::StopIfFull if error == BlockError::NoSpace => Err(error),
            ErrorAction::Report | ErrorAction::StopIfFull => Ok(Err(error)),
            ErrorAction::Ignore => Ok(Ok(())),
        }
    }
}

impl Shared {
    #[inline]
    fn drive(&self, index: usize) -> Option<&Drive> {
        self.drives.get(index)?.as_ref()
    }

    fn report_stop(&self, drive: &Drive, op: BlockOp, error: BlockError) {
        lock(&self.stopped).push(StoppedDrive { drive: drive.name.clone(), op, error });
        let _ = self.event.write(1);
    }

    /// Executes the first request of the queue, also if it blocks; false if the queue is empty or its drive has stopped.
    fn execute_next(&self, drive: &Drive) -> bool {
        let medium = self.settled(drive);
        let mut queue = lock(&drive.queue);
        if queue.stopped {
            return false;
        }
        let Some(queued) = queue.requests.pop_front() else { return false };
        drop(queue);
        self.execute(drive, medium, queued)
    }

    /// Executes a request on the worker thread. False if the drive has stopped.
    fn execute(&self, drive: &Drive, mut medium: MutexGuard<'_, Medium>, mut queued: QueuedRequest) -> bool {
        let request = &mut queued.request;
        // A panic fails the request. Without a completion a machine reset would wait for it without end.
        let progress =
            catch_unwind(AssertUnwindSafe(|| request.run_on(&mut medium.image, &self.memory, Patience::Unlimited)));
        let result = match progress {
            Ok(Progress::Done(result)) => result,
            Ok(Progress::WouldBlock) => Err(BlockError::Io(libc::EAGAIN)),
            Err(_) => Err(BlockError::Io(libc::EIO)),
        };
        let Some(done) = self.conclude(drive, queued, result, Way::Worker) else { return false };
        // Before the completion, so that the guest's next request finds the drive idle.
        drop(medium);
        self.deliver(drive, done, Signal::Event);
        true
    }

    /// Applies the drive's policy to a request that has been executed and counts it. The caller has locked the medium. `None`
    /// if the drive stops: the request is the first of the queue again.
    fn conclude(
        &self,
        drive: &Drive,
        queued: QueuedRequest,
        result: Result<(), BlockError>,
        way: Way,
    ) -> Option<BlockDone> {
        let op = queued.request.request.op;
        let result = match drive.action(op, result) {
            Ok(result) => result,
            Err(error) if self.draining.load(Ordering::SeqCst) => {
                tracing::warn!("drive {}: a request failed and is not repeated: {error}", drive.name);
                Err(error)
            }
            Err(error) => {
                let mut queue = lock(&drive.queue);
                queue.requests.push_front(queued);
                queue.stopped = true;
                drop(queue);
                self.report_stop(drive, op, error);
                return None;
            }
        };
        let QueuedRequest { request, arrival, .. } = queued;
        drive.counters.completed_later(op, request.moved(), result, arrival.elapsed(), way == Way::Ring);
        Some(completion(request.request, result))
    }

    /// Passes a completion on.
    fn deliver(&self, drive: &Drive, done: BlockDone, signal: Signal) {
        // A request that arrives after this line sees the effect of this one.
        drive.pending.fetch_sub(1, Ordering::AcqRel);
        let mut completions = lock(&self.completions);
        completions.push(done);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let first = completions.len() == 1;
        drop(completions);
        if first && signal == Signal::Event {
            // Fails only when the counter is at its maximum, and then the eventfd is readable as well.
            let _ = self.event.write(1);
        }
        self.completed.notify_all();
    }
}

/// Body of a drive's worker thread.
fn run_worker(shared: &Shared, index: usize) {
    let Some(drive) = shared.drive(index) else { return };
    loop {
        let mut queue = lock(&drive.queue);
        loop {
            let draining = queue.end || shared.draining.load(Ordering::SeqCst);
            let Queue { requests, stopped, end } = &mut *queue;
            let wait = match requests.front_mut() {
                None if *end => return,
                Some(first) if !*stopped => {
                    if first.admitted || draining {
                        break;
                    }
                    match drive.admit(&first.request.request, Instant::now) {
                        Err(wait) => wait.min(LONGEST_WAIT),
                        Ok(()) => {
                            first.admitted = true;
                            break;
                        }
                    }
                }
                None | Some(_) => LONGEST_WAIT,
            };
            queue = drive.queue_changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        // `execute_next` picks the request only when it holds the medium: until then `start` may put one in front.
        drop(queue);
        shared.execute_next(drive);
    }
}

fn completion(request: BlockRequest, result: Result<(), BlockError>) -> BlockDone {
    BlockDone { disk: request.disk, tag: request.tag, data: request.data, result }
}

#[cfg(test)]
mod tests;
