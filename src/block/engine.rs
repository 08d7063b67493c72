//! Block I/O engine: executes requests inline where that does not block, and on one worker thread per drive otherwise.

use super::image::Image;
use super::request::{self, PendingRequest, Progress};
use super::stats::{DriveCounters, DriveStats};
use pcvm_devices::{BlockDone, BlockError, BlockRequest, Memory};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Instant;
use vmm_sys_util::eventfd::EventFd;

/// Stack of a worker thread in bytes.
const WORKER_STACK: usize = 128 << 10;

/// The engine could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot create an eventfd for disk requests: {0}")]
pub struct EngineError(io::Error);

/// The images of all drives and the requests in flight. Shared by the vCPU threads and the main loop.
#[derive(Debug)]
pub struct BlockEngine {
    shared: Arc<Shared>,
}

/// What the engine shares with its worker threads.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    /// By [`pcvm_devices::DiskId`]; `None` for a drive without an image.
    drives: Vec<Option<Drive>>,
    /// Requests that `start` has queued and that are not complete.
    in_flight: AtomicUsize,
    completions: Mutex<Vec<BlockDone>>,
    /// Signalled after each completion.
    completed: Condvar,
    /// Counts while `completions` is not empty.
    event: EventFd,
}

#[derive(Debug)]
struct Drive {
    image: Image,
    counters: DriveCounters,
    queue: Mutex<Queue>,
    /// Signalled when `queue` changes.
    queue_changed: Condvar,
    /// Requests in the queue or executing on the worker thread. No other request may overtake them.
    pending: AtomicUsize,
    /// Held while a request executes. It keeps the order of requests of two vCPUs: one from before a reset and the one
    /// after it.
    execution: Mutex<()>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<QueuedRequest>,
    stop: bool,
}

#[derive(Debug)]
struct QueuedRequest {
    request: PendingRequest,
    arrival: Instant,
}

/// Locks a mutex, also after a panic: every critical section in this file leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockEngine {
    /// An engine for these drives, by [`pcvm_devices::DiskId`], that reads and writes this memory. Starts no thread.
    ///
    /// # Errors
    /// If the host has no eventfd.
    pub fn new(images: Vec<Option<Image>>, memory: Arc<Memory>) -> Result<Self, EngineError> {
        let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(EngineError)?;
        let drive = |image| Drive {
            image,
            counters: DriveCounters::default(),
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            pending: AtomicUsize::new(0),
            execution: Mutex::default(),
            worker: Mutex::default(),
        };
        let shared = Shared {
            memory,
            drives: images.into_iter().map(|image| image.map(drive)).collect(),
            in_flight: AtomicUsize::new(0),
            completions: Mutex::default(),
            completed: Condvar::new(),
            event,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The image behind a drive.
    pub fn image(&self, disk: usize) -> Option<&Image> {
        Some(&self.shared.drive(disk)?.image)
    }

    /// Statistics of the drives that have an image.
    pub fn stats(&self) -> Vec<DriveStats> {
        self.shared.drives.iter().flatten().map(|drive| drive.counters.snapshot(drive.image.name())).collect()
    }

    /// Executes a request on the calling thread and returns its completion if that does not block. Otherwise queues it for
    /// the drive's worker thread, whose completion comes from [`Self::take_completions`]. Never waits for a device.
    pub fn start(&self, request: BlockRequest) -> Option<BlockDone> {
        let index = usize::from(request.disk.0);
        let Some(drive) = self.shared.drive(index) else {
            return Some(completion(request, Err(BlockError::NoMedium)));
        };
        if let Err(error) = request::check(&drive.image, &request) {
            drive.counters.rejected();
            return Some(completion(request, Err(error)));
        }
        let mut pending = PendingRequest::new(request);
        let execution = match drive.execution.try_lock() {
            Ok(execution) => Some(execution),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let first = execution.is_some() && drive.pending.load(Ordering::Acquire) == 0;
        if first && let Progress::Done(result) = pending.run(&drive.image, &self.shared.memory, false) {
            drive.counters.completed_inline(pending.request.op, pending.moved(), result);
            return Some(completion(pending.request, result));
        }
        self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        let queued = QueuedRequest { request: pending, arrival: Instant::now() };
        let mut queue = lock(&drive.queue);
        if first {
            // Other vCPUs may have queued requests during the inline attempt; this one arrived before them.
            queue.requests.push_front(queued);
        } else {
            queue.requests.push_back(queued);
        }
        drop(queue);
        drop(execution);
        drive.queue_changed.notify_one();
        self.ensure_worker(index);
        None
    }

    /// Readable while there are completions to take.
    pub fn completion_event(&self) -> &EventFd {
        &self.shared.event
    }

    /// The requests that have completed since the last call, in the order of their completion.
    pub fn take_completions(&self) -> Vec<BlockDone> {
        // Reset before the list is taken: a completion in between sets it again.
        let _ = self.shared.event.read();
        std::mem::take(&mut *lock(&self.shared.completions))
    }

    /// Requests in flight: queued by [`Self::start`] and not complete.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no request is in flight. [`Self::take_completions`] then gives all completions.
    pub fn wait_idle(&self) {
        let mut completions = lock(&self.shared.completions);
        while self.in_flight() > 0 {
            completions = self.shared.completed.wait(completions).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ensure_worker(&self, index: usize) {
        let Some(drive) = self.shared.drive(index) else { return };
        let mut worker = lock(&drive.worker);
        if worker.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(format!("block-{}", drive.image.name())).stack_size(WORKER_STACK);
        match thread.spawn(move || run_worker(&shared, index)) {
            Ok(handle) => *worker = Some(handle),
            Err(error) => {
                // The calling thread executes the queue instead, and blocks meanwhile.
                tracing::warn!("drive {}: cannot start a thread for disk requests: {error}", drive.image.name());
                while self.shared.execute_next(drive) {}
            }
        }
    }
}

impl Drop for BlockEngine {
    /// Completes all queued requests: a write that was accepted reaches the image.
    fn drop(&mut self) {
        for drive in self.shared.drives.iter().flatten() {
            lock(&drive.queue).stop = true;
            drive.queue_changed.notify_all();
        }
        for drive in self.shared.drives.iter().flatten() {
            if let Some(handle) = lock(&drive.worker).take() {
                let _ = handle.join();
            }
        }
    }
}

impl Shared {
    #[inline]
    fn drive(&self, index: usize) -> Option<&Drive> {
        self.drives.get(index)?.as_ref()
    }

    /// Executes the first request of the queue, also if it blocks; false if the queue is empty.
    fn execute_next(&self, drive: &Drive) -> bool {
        let _execution = lock(&drive.execution);
        let Some(queued) = lock(&drive.queue).requests.pop_front() else { return false };
        self.execute(drive, queued);
        true
    }

    fn execute(&self, drive: &Drive, QueuedRequest { mut request, arrival }: QueuedRequest) {
        // A panic fails the request. Without a completion a machine reset would wait for it without end.
        let progress = catch_unwind(AssertUnwindSafe(|| request.run(&drive.image, &self.memory, true)));
        let result = match progress {
            Ok(Progress::Done(result)) => result,
            Ok(Progress::WouldBlock) => Err(BlockError::Io(libc::EAGAIN)),
            Err(_) => Err(BlockError::Io(libc::EIO)),
        };
        drive.counters.completed_by_worker(request.request.op, request.moved(), result, arrival.elapsed());
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
    }
}

/// Body of a drive's worker thread.
fn run_worker(shared: &Shared, index: usize) {
    let Some(drive) = shared.drive(index) else { return };
    loop {
        let mut queue = lock(&drive.queue);
        while queue.requests.is_empty() {
            if queue.stop {
                return;
            }
            queue = drive.queue_changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        // `execute_next` picks the request only when it holds the execution lock: until then `start` may put one in front.
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

    fn image(name: &str, sectors: u64) -> Image {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(sectors * 512).unwrap();
        let drive =
            DriveConfig { path: Some(file.path().to_owned()), media: Media::Disk, read_only: false, serial: None };
        Image::open(name, &drive).unwrap()
    }

    fn engine_of(images: Vec<Option<Image>>) -> BlockEngine {
        BlockEngine::new(images, Arc::new(Memory::new(1 << 20, 0).unwrap())).unwrap()
    }

    fn engine() -> BlockEngine {
        engine_of(vec![Some(image("hda", 128)), None, None, None])
    }

    fn request(disk: u8, op: BlockOp, data: BlockData) -> BlockRequest {
        BlockRequest { disk: DiskId(disk), tag: 7, op, offset: 0, data }
    }

    /// Puts a request that panics into the queue of hda.
    fn queue_broken(engine: &BlockEngine, request: BlockRequest) {
        let drive = engine.shared.drive(0).unwrap();
        engine.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        let queued = QueuedRequest { request: PendingRequest::broken(request), arrival: Instant::now() };
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
        let inline = engine.start(request);
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
            drive.image.dirty.store(false, Ordering::Relaxed);
            assert!(engine.start(flush(1)).is_some(), "an idle drive does not complete inline");
            let _execution = lock(&drive.execution);
            assert!(engine.start(flush(2)).is_none());
            assert!(engine.start(flush(3)).is_none());
            assert!(engine.take_completions().is_empty());
        }
        engine.wait_idle();
        let tags: Vec<_> = engine.take_completions().into_iter().map(|done| done.tag).collect();
        assert_eq!(tags, [2, 3]);
    }

    #[test]
    fn statistics_count_operations_bytes_errors_and_where_they_completed() {
        let engine = engine();
        let drive = engine.shared.drive(0).unwrap();
        let run = |op, data| {
            let inline = engine.start(request(0, op, data));
            engine.wait_idle();
            engine.take_completions().into_iter().chain(inline).next().unwrap().result
        };
        assert_eq!(run(BlockOp::Read, one_sector()), Ok(()));
        assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 1024])), Ok(()));
        assert_eq!(run(BlockOp::Write, one_sector()), Ok(()));
        assert_eq!(run(BlockOp::Discard { len: 0 }, BlockData::None), Ok(()));
        // An image with unflushed writes is flushed by the worker thread, one without them inline.
        drive.image.dirty.store(true, Ordering::Relaxed);
        assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
        assert_eq!(run(BlockOp::Flush, BlockData::None), Ok(()));
        // Past the end: a rejected request. A panic: a failed one.
        assert_eq!(run(BlockOp::Read, BlockData::Buffer(vec![0; 128 * 512 + 1])), Err(BlockError::OutOfRange));
        queue_broken(&engine, request(0, BlockOp::Read, one_sector()));
        engine.wait_idle();

        let all = engine.stats();
        let [stats] = &all[..] else { panic!("statistics of drives without an image: {all:?}") };
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
        let images = (0..10).map(|n| (n % 3 != 1).then(|| image(&format!("drive{n}"), n + 1))).collect();
        let engine = engine_of(images);
        for n in 0..10 {
            let done = engine.start(request(n, BlockOp::Flush, BlockData::None));
            if n % 3 == 1 {
                assert_eq!(done.unwrap().result, Err(BlockError::NoMedium));
                continue;
            }
            assert!(done.is_none(), "the first flush of a writable image completes inline");
            let drive = engine.shared.drive(n.into()).unwrap();
            assert_eq!(drive.image.size(), (u64::from(n) + 1) * 512);
            let worker = lock(&drive.worker);
            assert_eq!(worker.as_ref().unwrap().thread().name(), Some(&*format!("block-drive{n}")));
        }
        engine.wait_idle();
        let mut disks: Vec<_> = engine.take_completions().iter().map(|done| done.disk.0).collect();
        disks.sort_unstable();
        assert_eq!(disks, [0, 2, 3, 5, 6, 8, 9]);
        assert_eq!(
            engine.start(request(10, BlockOp::Flush, BlockData::None)).unwrap().result,
            Err(BlockError::NoMedium)
        );
        assert_eq!(engine.stats().len(), 7);
    }
}
