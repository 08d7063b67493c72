//! Block I/O engine: executes requests inline where that does not block, and on one worker thread per drive otherwise.
//!
//! The engine also applies each drive's policies: throttling, and what happens when the host fails a request. A drive whose
//! policy is to stop keeps the failed request at the head of its queue and reports the error; the machine pauses, and the
//! request is tried again when the machine resumes.

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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
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
pub struct Frozen<'a>(Vec<MutexGuard<'a, Option<Image>>>);

impl Frozen<'_> {
    /// The media, in the order of the drives' ids.
    pub fn media(&mut self) -> impl Iterator<Item = &mut Option<Image>> {
        self.0.iter_mut().map(|guard| &mut **guard)
    }
}

/// What the engine shares with its worker threads.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    /// By [`DiskId`].
    drives: Vec<Option<Drive>>,
    /// Requests that `start` has queued and that are not complete.
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
    /// Requests in the queue or executing on the worker thread. No other request may overtake them.
    pending: AtomicUsize,
    /// The medium. Locked while a request executes, which keeps the order of requests of two vCPUs: one from before a reset
    /// and the one after it.
    medium: Mutex<Option<Image>>,
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
        let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(EngineError)?;
        let mut drives = Vec::new();
        for (DiskId(index), parts) in parts {
            drives.resize_with(usize::from(index) + 1, || None);
            if let Some(slot) = drives.last_mut() {
                *slot = Some(Drive::new(parts));
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
    /// queues it for the drive's worker thread, whose completion comes from [`Self::take_completions`].
    pub fn start(&self, request: BlockRequest, patience: Patience) -> Option<BlockDone> {
        let index = usize::from(request.disk.0);
        let Some(drive) = self.shared.drive(index) else {
            return Some(completion(request, Err(BlockError::NoMedium)));
        };
        let mut pending = PendingRequest::new(request);
        let mut medium = match drive.medium.try_lock() {
            Ok(medium) => Some(medium),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let idle = drive.pending.load(Ordering::Acquire) == 0;
        let mut admitted = false;
        let mut stop = None;
        if let Some(medium) = medium.as_deref_mut().filter(|_| idle) {
            admitted = drive.admit(&pending.request, Instant::now).is_ok();
            if admitted && let Progress::Done(result) = pending.run_on(medium, &self.shared.memory, patience) {
                match drive.action(pending.request.op, result) {
                    Ok(result) => {
                        drive.counters.completed_inline(pending.request.op, pending.moved(), result);
                        return Some(completion(pending.request, result));
                    }
                    Err(error) => stop = Some((pending.request.op, error)),
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
        // Reset before the list is taken: a completion in between sets it again.
        let _ = self.shared.event.read();
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
        while !self.shared.wait_for_completions(SERVER_GRACE) {
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
        std::mem::replace(&mut *lock(&drive.medium), image)
    }

    /// Locks the media of these drives together, in the order of their ids: no request executes until the result is dropped.
    pub fn freeze(&self, disks: &[DiskId]) -> Frozen<'_> {
        let mut disks: Vec<_> = disks.iter().filter_map(|disk| self.shared.drive(usize::from(disk.0))).collect();
        Frozen(disks.drain(..).map(|drive| lock(&drive.medium)).collect())
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
        if !self.shared.wait_for_completions(SERVER_GRACE) {
            self.shared.interrupt_network(Interrupt::shut_down);
        }
        for drive in self.shared.drives.iter().flatten() {
            if let Some(handle) = lock(&drive.worker).take() {
                let _ = handle.join();
            }
            // Closed here, also while another thread holds `shared`: a floppy disk made from a directory is written back.
            drop(lock(&drive.medium).take());
        }
    }
}

impl Shared {
    /// Waits until no request is in flight, at most for `time`. False if there still are some.
    fn wait_for_completions(&self, time: Duration) -> bool {
        let completions = lock(&self.completions);
        let busy = |_: &mut Vec<BlockDone>| self.in_flight.load(Ordering::Acquire) > 0;
        let waited = self.completed.wait_timeout_while(completions, time, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends waits for the servers of network disks.
    fn interrupt_network(&self, how: impl Fn(&Interrupt)) {
        let interrupts = self.drives.iter().flatten().filter_map(|drive| lock(&drive.interrupt).clone());
        interrupts.for_each(|interrupt| how(&interrupt));
    }
}

impl Drive {
    fn new(parts: DriveParts) -> Self {
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
            medium: Mutex::new(image),
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
        let medium = lock(&drive.medium);
        let mut queue = lock(&drive.queue);
        if queue.stopped {
            return false;
        }
        let Some(queued) = queue.requests.pop_front() else { return false };
        drop(queue);
        self.execute(drive, medium, queued)
    }

    /// Executes a request on the worker thread. False if the drive has stopped.
    fn execute(&self, drive: &Drive, mut medium: MutexGuard<'_, Option<Image>>, mut queued: QueuedRequest) -> bool {
        let request = &mut queued.request;
        // A panic fails the request. Without a completion a machine reset would wait for it without end.
        let progress =
            catch_unwind(AssertUnwindSafe(|| request.run_on(&mut medium, &self.memory, Patience::Unlimited)));
        let result = match progress {
            Ok(Progress::Done(result)) => result,
            Ok(Progress::WouldBlock) => Err(BlockError::Io(libc::EAGAIN)),
            Err(_) => Err(BlockError::Io(libc::EIO)),
        };
        let result = match drive.action(request.request.op, result) {
            Ok(result) => result,
            Err(error) if self.draining.load(Ordering::SeqCst) => {
                tracing::warn!("drive {}: a request failed and is not repeated: {error}", drive.name);
                Err(error)
            }
            Err(error) => {
                let op = request.request.op;
                let mut queue = lock(&drive.queue);
                queue.requests.push_front(queued);
                queue.stopped = true;
                drop(queue);
                self.report_stop(drive, op, error);
                return false;
            }
        };
        let QueuedRequest { request, arrival, .. } = queued;
        drive.counters.completed_by_worker(request.request.op, request.moved(), result, arrival.elapsed());
        // Before the completion, so that the guest's next request finds the drive idle.
        drop(medium);
        // A request that arrives after this line sees the effect of this one.
        drive.pending.fetch_sub(1, Ordering::AcqRel);
        let mut completions = lock(&self.completions);
        completions.push(completion(request.request, result));
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let first = completions.len() == 1;
        drop(completions);
        if first {
            // Fails only when the counter is at its maximum, and then the eventfd is readable as well.
            let _ = self.event.write(1);
        }
        self.completed.notify_all();
        true
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
mod tests {
    use super::*;
    use crate::config::{DriveConfig, Media};
    use pcvm_devices::{BlockData, BlockOp, DiskId};

    fn image(sectors: u64) -> Image {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(sectors * 512).unwrap();
        let drive = DriveConfig::new(Media::Disk, Some(file.path().to_owned()));
        Image::open(&drive).unwrap()
    }

    fn engine_of(parts: impl IntoIterator<Item = (u8, DriveParts)>) -> BlockEngine {
        let parts = parts.into_iter().map(|(id, parts)| (DiskId(id), parts)).collect();
        BlockEngine::new(parts, Arc::new(Memory::new(1 << 20, 0).unwrap())).unwrap()
    }

    fn engine() -> BlockEngine {
        engine_of([(0, DriveParts::new("hda", Some(image(128)))), (2, DriveParts::new("hdc", None))])
    }

    fn set_dirty(engine: &BlockEngine, dirty: bool) {
        lock(&engine.shared.drive(0).unwrap().medium).as_mut().unwrap().dirty = dirty;
    }

    fn request(disk: u8, op: BlockOp, data: BlockData) -> BlockRequest {
        BlockRequest { disk: DiskId(disk), tag: 7, op, offset: 0, data }
    }

    /// Puts a request that panics into the queue of hda.
    fn queue_broken(engine: &BlockEngine, request: BlockRequest) {
        let drive = engine.shared.drive(0).unwrap();
        engine.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        let queued =
            QueuedRequest { request: PendingRequest::broken(request), arrival: Instant::now(), admitted: true };
        lock(&drive.queue).requests.push_back(queued);
        engine.ensure_worker(0);
        drive.queue_changed.notify_one();
    }

    fn one_sector() -> BlockData {
        BlockData::Guest(vec![pcvm_devices::GuestRange { addr: 0, len: 512 }])
    }

    #[test]
    fn a_panic_fails_its_request_and_the_drive_serves_the_next() {
        let engine = engine();
        let request = request(0, BlockOp::Read, one_sector());
        queue_broken(&engine, request.clone());
        engine.wait_idle();
        let done = engine.take_completions();
        assert_eq!(
            done.iter().map(|done| (done.tag, done.result)).collect::<Vec<_>>(),
            [(7, Err(BlockError::Io(libc::EIO)))]
        );
        let inline = engine.start(request, Patience::None);
        engine.wait_idle();
        let all: Vec<_> = engine.take_completions().into_iter().chain(inline).collect();
        assert!(matches!(&all[..], [done] if done.result.is_ok()), "the next request fails: {all:?}");
    }

    #[test]
    fn a_request_waits_while_another_vcpu_executes_one() {
        let engine = engine();
        let flush = |tag| BlockRequest { tag, ..request(0, BlockOp::Flush, BlockData::None) };
        {
            let drive = engine.shared.drive(0).unwrap();
            set_dirty(&engine, false);
            assert!(engine.start(flush(1), Patience::None).is_some(), "an idle drive does not complete inline");
            let _medium = lock(&drive.medium);
            assert!(engine.start(flush(2), Patience::None).is_none());
            assert!(engine.start(flush(3), Patience::None).is_none());
            assert!(engine.take_completions().is_empty());
        }
        engine.wait_idle();
        let tags: Vec<_> = engine.take_completions().into_iter().map(|done| done.tag).collect();
        assert_eq!(tags, [2, 3]);
    }

    #[test]
    fn statistics_count_operations_bytes_errors_and_where_they_completed() {
        let engine = engine();
        let run = |op, data| {
            let inline = engine.start(request(0, op, data), Patience::None);
            engine.wait_idle();
            engine.take_completions().into_iter().chain(inline).next().unwrap().result
        };
        assert_eq!(run(BlockOp::Read, one_sector()), Ok(()));
        assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 1024])), Ok(()));
        assert_eq!(run(BlockOp::Write, one_sector()), Ok(()));
        assert_eq!(run(BlockOp::Discard { len: 0 }, BlockData::None), Ok(()));
        // An image with unflushed writes is flushed by the worker thread, one without them inline.
        set_dirty(&engine, true);
        assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
        assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
        // Past the end: a rejected request. A panic: a failed one.
        assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 128 * 512 + 1])), Err(BlockError::OutOfRange));
        queue_broken(&engine, request(0, BlockOp::Read, one_sector()));
        engine.wait_idle();

        let all = engine.stats();
        let [stats, empty] = &all[..] else { panic!("{all:?}") };
        assert_eq!((empty.name.as_str(), empty.inline), ("hdc", 0));
        assert_eq!(stats.name, "hda");
        assert_eq!([stats.reads, stats.writes, stats.flushes, stats.discards], [2, 1, 2, 1]);
        assert_eq!([stats.read_bytes, stats.written_bytes, stats.errors], [1536, 512, 2]);
        // Reads and writes go to the worker thread on file systems without RWF_NOWAIT.
        assert_eq!(stats.inline + stats.worker, 8);
        assert!(stats.worker >= 2 && stats.inline >= 3, "{stats:?}");
        assert!(stats.worker_latency_max_ns > 0, "{stats:?}");
        assert!(stats.worker_latency_total_ns >= stats.worker_latency_max_ns, "{stats:?}");
        assert!(stats.worker_latency_total_ns <= stats.worker * stats.worker_latency_max_ns, "{stats:?}");
        let json = serde_json::to_value(stats).unwrap();
        assert_eq!((&json["name"], &json["written-bytes"]), (&"hda".into(), &512.into()));
    }

    #[test]
    fn an_engine_serves_more_than_four_drives_by_threads_with_their_names() {
        let drive = |n: u8| {
            let medium = (n % 4 != 2).then(|| image(u64::from(n) + 1));
            (n % 3 != 1).then(|| (n, DriveParts::new(&format!("drive{n}"), medium)))
        };
        let engine = engine_of((0..10).filter_map(drive));
        for n in 0..10 {
            let done = engine.start(request(n, BlockOp::Flush, BlockData::None), Patience::None);
            if n % 3 == 1 || n % 4 == 2 {
                assert_eq!(done.unwrap().result, Err(BlockError::NoMedium));
                continue;
            }
            assert!(done.is_none(), "the first flush of a writable image completes inline");
            let drive = engine.shared.drive(n.into()).unwrap();
            assert_eq!(lock(&drive.medium).as_ref().unwrap().size(), (u64::from(n) + 1) * 512);
            let worker = lock(&drive.worker);
            assert_eq!(worker.as_ref().unwrap().thread().name(), Some(&*format!("block-drive{n}")));
        }
        engine.wait_idle();
        let mut disks: Vec<_> = engine.take_completions().iter().map(|done| done.disk.0).collect();
        disks.sort_unstable();
        assert_eq!(disks, [0, 3, 5, 8, 9]);
        assert_eq!(
            engine.start(request(10, BlockOp::Flush, BlockData::None), Patience::None).unwrap().result,
            Err(BlockError::NoMedium)
        );
        assert_eq!(engine.stats().len(), 7);
    }

    /// An engine with one drive whose first request finds the host's file system full.
    fn failing(write_error: ErrorAction) -> BlockEngine {
        let mut medium = image(128);
        medium.fail_next(libc::ENOSPC);
        engine_of([(0, DriveParts { write_error, ..DriveParts::new("hda", Some(medium)) })])
    }

    #[test]
    fn a_drive_that_stops_keeps_the_write_and_repeats_it_after_the_machine_resumes() {
        for action in [ErrorAction::Stop, ErrorAction::StopIfFull] {
            let engine = failing(action);
            assert!(engine.start(request(0, BlockOp::Write, one_sector()), Patience::Briefly).is_none());
            let read = BlockRequest { tag: 8, ..request(0, BlockOp::Read, one_sector()) };
            assert!(engine.start(read, Patience::Briefly).is_none(), "a read overtakes the failed write");
            pcvm_test_host::wait_until("the drive stops", || !lock(&engine.shared.stopped).is_empty());
            let stopped = StoppedDrive { drive: "hda".into(), op: BlockOp::Write, error: BlockError::NoSpace };
            assert_eq!(engine.take_stopped(), [stopped]);
            assert_eq!((engine.in_flight(), engine.take_completions().len()), (2, 0));
            engine.resume();
            engine.wait_idle();
            let done: Vec<_> = engine.take_completions().iter().map(|done| (done.tag, done.result)).collect();
            assert_eq!(done, [(7, Ok(())), (8, Ok(()))]);
        }
    }

    #[test]
    fn errors_are_reported_ignored_or_fail_when_the_machine_is_reset() {
        let result = |engine: &BlockEngine| {
            let inline = engine.start(request(0, BlockOp::Write, one_sector()), Patience::Briefly);
            if inline.is_none() {
                pcvm_test_host::wait_until("the request ends", || {
                    engine.in_flight() == 0 || !lock(&engine.shared.stopped).is_empty()
                });
            }
            inline.or_else(|| engine.take_completions().pop()).map(|done| done.result)
        };
        assert_eq!(result(&failing(ErrorAction::Report)), Some(Err(BlockError::NoSpace)));
        assert_eq!(result(&failing(ErrorAction::Ignore)), Some(Ok(())));
        let engine = failing(ErrorAction::Stop);
        assert_eq!(result(&engine), None);
        lock(&engine.shared.drive(0).unwrap().medium).as_mut().unwrap().fail_next(libc::EIO);
        engine.wait_idle();
        let done: Vec<_> = engine.take_completions().iter().map(|done| done.result).collect();
        assert_eq!(done, [Err(BlockError::Io(libc::EIO))], "a reset does not wait for the administrator");
    }

    #[test]
    fn a_throttled_drive_delays_requests_but_not_a_reset() {
        let limits =
            crate::config::Limits { requests: Some(crate::config::Rate { per_second: 1, burst: 2 }), bytes: None };
        let throttle = Throttle::new(limits).map(Arc::new);
        let engine = engine_of([(0, DriveParts { throttle, ..DriveParts::new("hda", Some(image(128))) })]);
        let start = Instant::now();
        for _ in 0..20 {
            let _ = engine.start(request(0, BlockOp::Read, one_sector()), Patience::Briefly);
        }
        assert!(engine.in_flight() >= 16, "{} of 20 wait", engine.in_flight());
        engine.wait_idle();
        assert!(start.elapsed() < Duration::from_secs(10), "a reset waits for the throttle");
    }

    #[test]
    fn a_replaced_medium_serves_the_next_request() {
        let engine = engine();
        let old = engine.replace(DiskId(0), Some(image(4)));
        assert_eq!(old.unwrap().size(), 128 * 512);
        let read = |offset| {
            let request = BlockRequest { offset, ..request(0, BlockOp::Read, one_sector()) };
            let inline = engine.start(request, Patience::Briefly);
            engine.wait_idle();
            inline.or_else(|| engine.take_completions().pop()).unwrap().result
        };
        assert_eq!(read(3 * 512), Ok(()));
        assert_eq!(read(4 * 512), Err(BlockError::OutOfRange));
        assert!(engine.replace(DiskId(0), None).is_some());
        assert_eq!(read(0), Err(BlockError::NoMedium));
        assert!(engine.replace(DiskId(9), Some(image(4))).is_none());
    }
}
