//! The engine: answers at once what it can, and lets a thread per image do the rest in order.

use super::image::Image;
use super::transfer::{self, Job, Step};
use pcvm_devices::{BlockDone, BlockError, BlockRequest, Memory};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use vmm_sys_util::eventfd::EventFd;

/// The engine could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot create an eventfd for disk requests: {0}")]
pub struct EngineError(io::Error);

/// The drives' images and the requests under way. Shared by all vCPU threads and the main loop.
#[derive(Debug)]
pub struct BlockEngine {
    shared: Arc<Shared>,
    workers: [Mutex<Option<JoinHandle<()>>>; 4],
}

#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    drives: [Option<Drive>; 4],
    /// Requests that `start` took and that are not finished.
    in_flight: AtomicUsize,
    completions: Mutex<Vec<BlockDone>>,
    /// A request got finished.
    finished: Condvar,
    event: EventFd,
}

#[derive(Debug)]
struct Drive {
    image: Image,
    queue: Mutex<Queue>,
    work: Condvar,
    /// Requests in the queue or being carried out by the drive's thread; nothing may overtake them.
    pending: AtomicUsize,
    /// Held by whoever carries out a request, so that requests of two processors (one that was abandoned by a reset,
    /// and the one after it) keep their order, too.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stop: bool,
}

/// A panic elsewhere does not make the data wrong: every critical section leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockEngine {
    /// An engine for these drives (hda, hdb, hdc, hdd) that reads and writes this memory. Starts no thread.
    ///
    /// # Errors
    /// If there is no eventfd to be had.
    pub fn new(images: [Option<Image>; 4], memory: Arc<Memory>) -> Result<Self, EngineError> {
        let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(EngineError)?;
        let drives = images.map(|image| {
            image.map(|image| Drive {
                image,
                queue: Mutex::default(),
                work: Condvar::new(),
                pending: AtomicUsize::new(0),
                turn: Mutex::default(),
            })
        });
        let shared = Shared {
            memory,
            drives,
            in_flight: AtomicUsize::new(0),
            completions: Mutex::default(),
            finished: Condvar::new(),
            event,
        };
        Ok(Self { shared: Arc::new(shared), workers: Default::default() })
    }

    /// The image behind a drive.
    pub fn image(&self, disk: usize) -> Option<&Image> {
        Some(&self.shared.drives.get(disk)?.as_ref()?.image)
    }

    /// Carries out a request, if that needs no waiting, and answers at once; else gives it to the drive's thread,
    /// whose answer comes with [`Self::take_completions`]. Never waits for a device.
    pub fn start(&self, request: BlockRequest) -> Option<BlockDone> {
        let index = usize::from(request.disk.0);
        let Some(drive) = self.shared.drives.get(index).and_then(Option::as_ref) else {
            return Some(done(request, Err(BlockError::NoMedium)));
        };
        if let Err(error) = transfer::check(&drive.image, &request) {
            return Some(done(request, Err(error)));
        }
        let mut job = Job::new(request);
        let turn = match drive.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let first = turn.is_some() && drive.pending.load(Ordering::Acquire) == 0;
        if first && let Step::Done(result) = job.run(&drive.image, &self.shared.memory, false) {
            return Some(done(job.request, result));
        }
        self.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        let mut queue = lock(&drive.queue);
        if first {
            // Others may have come while this one was tried.
            queue.jobs.push_front(job);
        } else {
            queue.jobs.push_back(job);
        }
        drop(queue);
        drop(turn);
        drive.work.notify_one();
        self.ensure_worker(index);
        None
    }

    /// Readable when there are completions to take.
    pub fn completion_event(&self) -> &EventFd {
        &self.shared.event
    }

    /// The requests that got finished since the last call, in the order in which they did.
    pub fn take_completions(&self) -> Vec<BlockDone> {
        // Drained before the list is taken: what comes in between signals again.
        let _ = self.shared.event.read();
        std::mem::take(&mut *lock(&self.shared.completions))
    }

    /// Requests that are under way: taken by [`Self::start`] and not finished yet.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until nothing is under way; the answers are then all there for [`Self::take_completions`].
    pub fn wait_idle(&self) {
        let mut completions = lock(&self.shared.completions);
        while self.in_flight() > 0 {
            completions = self.shared.finished.wait(completions).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ensure_worker(&self, index: usize) {
        let Some(slot) = self.workers.get(index) else { return };
        let mut worker = lock(slot);
        if worker.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let name = format!("block-{}", crate::config::parse::UNITS.get(index).copied().unwrap_or_default());
        match std::thread::Builder::new().name(name).stack_size(128 << 10).spawn(move || work(&shared, index)) {
            Ok(handle) => *worker = Some(handle),
            Err(error) => {
                // Slower, but right: the caller waits for what nobody else can do.
                tracing::warn!("cannot start a thread for disk requests: {error}");
                if let Some(drive) = self.shared.drives.get(index).and_then(Option::as_ref) {
                    while self.shared.carry_out_next(drive) {}
                }
            }
        }
    }
}

impl Drop for BlockEngine {
    /// Finishes what has been started: a write that was taken is carried out.
    fn drop(&mut self) {
        for drive in self.shared.drives.iter().flatten() {
            lock(&drive.queue).stop = true;
            drive.work.notify_all();
        }
        for worker in &self.workers {
            if let Some(handle) = lock(worker).take() {
                let _ = handle.join();
            }
        }
    }
}

impl Shared {
    /// Carries out the first request of the queue; false if there is none.
    fn carry_out_next(&self, drive: &Drive) -> bool {
        let _turn = lock(&drive.turn);
        let Some(job) = lock(&drive.queue).jobs.pop_front() else { return false };
        self.carry_out(drive, job);
        true
    }

    fn carry_out(&self, drive: &Drive, mut job: Job) {
        // A bug must not leave a reset waiting for the request's end for ever: the guest is told of a failure.
        let step = catch_unwind(AssertUnwindSafe(|| job.run(&drive.image, &self.memory, true)));
        let result = match step {
            Ok(Step::Done(result)) => result,
            Ok(Step::WouldWait) => Err(BlockError::Io(libc::EAGAIN)),
            Err(_) => Err(BlockError::Io(libc::EIO)),
        };
        // From here on a request that comes in sees this one's effect.
        drive.pending.fetch_sub(1, Ordering::AcqRel);
        let mut completions = lock(&self.completions);
        completions.push(done(job.request, result));
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let first = completions.len() == 1;
        drop(completions);
        if first {
            // Fails only when the counter is at its end, and then it is readable all the same.
            let _ = self.event.write(1);
        }
        self.finished.notify_all();
    }
}

/// A drive's thread.
fn work(shared: &Shared, index: usize) {
    let Some(drive) = shared.drives.get(index).and_then(Option::as_ref) else { return };
    loop {
        let mut queue = lock(&drive.queue);
        while queue.jobs.is_empty() {
            if queue.stop {
                return;
            }
            queue = drive.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        // Which request is the next is decided only when it is its turn.
        drop(queue);
        shared.carry_out_next(drive);
    }
}

fn done(request: BlockRequest, result: Result<(), BlockError>) -> BlockDone {
    BlockDone { disk: request.disk, tag: request.tag, data: request.data, result }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DriveConfig, Media};
    use pcvm_devices::{BlockData, BlockOp, DiskId};

    fn engine() -> BlockEngine {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 16).unwrap();
        let drive =
            DriveConfig { path: Some(file.path().to_owned()), media: Media::Disk, read_only: false, serial: None };
        let image = Image::open(&drive).unwrap();
        let memory = Arc::new(Memory::new(1 << 20, 0).unwrap());
        BlockEngine::new([Some(image), None, None, None], memory).unwrap()
    }

    #[test]
    fn a_bug_in_a_request_ends_it_and_does_not_hold_up_a_reset() {
        let engine = engine();
        let data = BlockData::Guest(vec![pcvm_devices::GuestRange { addr: 0, len: 512 }]);
        let request = BlockRequest { disk: DiskId(0), tag: 7, op: BlockOp::Read, offset: 0, data };
        let drive = engine.shared.drives[0].as_ref().unwrap();
        engine.shared.in_flight.fetch_add(1, Ordering::AcqRel);
        drive.pending.fetch_add(1, Ordering::AcqRel);
        lock(&drive.queue).jobs.push_back(Job::broken(request.clone()));
        engine.ensure_worker(0);
        drive.work.notify_one();
        engine.wait_idle();
        let done = engine.take_completions();
        assert_eq!(
            done.iter().map(|done| (done.tag, done.result)).collect::<Vec<_>>(),
            [(7, Err(BlockError::Io(libc::EIO)))]
        );
        let at_once = engine.start(request);
        engine.wait_idle();
        let all: Vec<_> = engine.take_completions().into_iter().chain(at_once).collect();
        assert!(matches!(&all[..], [done] if done.result.is_ok()), "the drive goes on: {all:?}");
    }

    #[test]
    fn a_request_waits_for_one_that_another_processor_is_carrying_out() {
        let engine = engine();
        let request = |tag| BlockRequest { disk: DiskId(0), tag, op: BlockOp::Flush, offset: 0, data: BlockData::None };
        {
            let drive = engine.shared.drives[0].as_ref().unwrap();
            drive.image.dirty.store(false, Ordering::Relaxed);
            assert!(engine.start(request(1)).is_some(), "alone it is answered at once");
            let _turn = lock(&drive.turn);
            assert!(engine.start(request(2)).is_none());
            assert!(engine.start(request(3)).is_none());
            assert!(engine.take_completions().is_empty());
        }
        engine.wait_idle();
        let tags: Vec<_> = engine.take_completions().into_iter().map(|done| done.tag).collect();
        assert_eq!(tags, [2, 3]);
    }
}
