//! Output of character devices: discarded, written to a file, or queued for a reader that may be slow.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Size of the queue, in bytes.
const QUEUE_SIZE: usize = 64 << 10;
/// Bytes that a write to a descriptor in blocking mode can take without blocking after poll(2) reports POLLOUT: Linux'
/// WAKEUP_CHARS for a terminal; a pipe takes PIPE_BUF, 4096.
const BLOCKING_PART: usize = 256;

/// What happens when the queue is full and the reader does not read.
#[derive(Clone, Copy, Debug)]
pub struct StallPolicy {
    /// The reader is stalled after this time without progress.
    pub stall_after: Duration,
    /// A stalled reader loses the oldest queued bytes; else the new ones, with a warning.
    pub lose_oldest: bool,
}

impl StallPolicy {
    /// For standard output: a log must be complete, so output waits long for a reader.
    pub fn stdio() -> Self {
        Self { stall_after: Duration::from_secs(10), lose_oldest: false }
    }

    /// For a pty: mostly no program reads it, and one that attaches needs the latest output.
    pub fn pty() -> Self {
        Self { stall_after: Duration::from_millis(200), lose_oldest: true }
    }
}

/// An output.
#[derive(Debug)]
pub struct Output(OutputKind);

#[derive(Debug)]
enum OutputKind {
    Null,
    File { file: File, warned: AtomicBool },
    Queued(Arc<OutputQueue>),
}

#[derive(Debug)]
struct OutputQueue {
    fd: OwnedFd,
    /// O_NONBLOCK is set; no other process shares the file description.
    nonblocking: bool,
    policy: StallPolicy,
    state: Mutex<QueueState>,
    /// Notified when bytes are queued, and at the end.
    work: Condvar,
    /// Notified when the writer thread wrote bytes or gave up.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    queue: VecDeque<u8>,
    /// The writer thread holds bytes that it took from the queue.
    busy: bool,
    /// The reader made no progress for the policy's time, and has not read since.
    stalled: bool,
    /// How often the reader stalled.
    stalls: u32,
    warned: bool,
    /// The reader closed its end.
    closed: bool,
    /// The writer thread must end.
    stop: bool,
    /// The writer thread runs.
    writer: bool,
    /// Bytes written by the writer thread.
    written: u64,
}

impl Output {
    /// Discards all bytes.
    pub fn null() -> Self {
        Self(OutputKind::Null)
    }

    /// Writes to a file without buffering.
    pub fn file(file: File) -> Self {
        Self(OutputKind::File { file, warned: AtomicBool::new(false) })
    }

    /// Writes to standard output.
    pub fn stdout() -> io::Result<Self> {
        let stdout = rustix::stdio::stdout();
        let Ok(stat) = rustix::fs::fstat(stdout) else { return Ok(Self::null()) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(Self::file(stdout.try_clone_to_owned()?.into()));
        }
        // Standard output's file description is shared with the shell, which would see O_NONBLOCK: open another one.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            Ok(own) => Self::queued(own, StallPolicy::stdio()),
            Err(_) => Self::blocking(stdout.try_clone_to_owned()?, StallPolicy::stdio()),
        })
    }

    /// Queues for a descriptor in nonblocking mode.
    pub fn queued(fd: OwnedFd, policy: StallPolicy) -> Self {
        Self::start(fd, true, policy)
    }

    /// Queues for a descriptor in blocking mode: poll(2) precedes each write of at most [`BLOCKING_PART`] bytes.
    pub fn blocking(fd: OwnedFd, policy: StallPolicy) -> Self {
        Self::start(fd, false, policy)
    }

    fn start(fd: OwnedFd, nonblocking: bool, policy: StallPolicy) -> Self {
        Self(OutputKind::Queued(Arc::new(OutputQueue {
            fd,
            nonblocking,
            policy,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        })))
    }

    /// See [`super::Chardev::write`].
    pub fn write(&self, bytes: &[u8]) {
        match &self.0 {
            OutputKind::Null => {}
            OutputKind::File { file, warned } => {
                let mut file = file;
                if let Err(error) = file.write_all(bytes)
                    && !warned.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!("serial output is lost: {}", crate::error::host_error(&error));
                }
            }
            OutputKind::Queued(queue) => OutputQueue::write(queue, bytes),
        }
    }

    /// How often the reader stalled: no progress for the policy's time with a full queue.
    #[cfg(test)]
    pub fn stalls(&self) -> u32 {
        match &self.0 {
            OutputKind::Queued(queue) => queue.lock().stalls,
            _ => 0,
        }
    }

    /// See [`super::Chardev::flush`].
    pub fn flush(&self) {
        if let OutputKind::Queued(queue) = &self.0 {
            queue.flush();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
        if let OutputKind::Queued(queue) = &self.0 {
            queue.lock().stop = true;
            queue.work.notify_all();
        }
    }
}

impl OutputQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(this: &Arc<Self>, bytes: &[u8]) {
        let mut state = this.lock();
        let mut rest = bytes;
        if state.queue.is_empty() && !state.busy {
            while !rest.is_empty() && !state.closed {
                match this.try_write(rest) {
                    Ok(0) => break,
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                    Err(_) => state.closed = true,
                }
            }
        }
        while !rest.is_empty() && !state.closed {
            let room = QUEUE_SIZE.saturating_sub(state.queue.len());
            if room == 0 {
                if !state.stalled {
                    let before = state.written;
                    let (next, timeout) = this
                        .progress
                        .wait_timeout(state, this.policy.stall_after)
                        .unwrap_or_else(PoisonError::into_inner);
                    state = next;
                    if timeout.timed_out() && state.written == before {
                        state.stalled = true;
                        state.stalls += 1;
                    }
                    continue;
                }
                if !this.policy.lose_oldest {
                    if !std::mem::replace(&mut state.warned, true) {
                        tracing::warn!("serial output is lost: standard output is not read");
                    }
                    return;
                }
                let drop = rest.len().min(state.queue.len());
                state.queue.drain(..drop);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            state.queue.extend(now);
            rest = later;
            if !state.writer {
                state.writer = true;
                let shared = Arc::clone(this);
                let spawned = std::thread::Builder::new()
                    .name("serial-out".to_owned())
                    .stack_size(64 << 10)
                    .spawn(move || shared.drain());
                if spawned.is_err() {
                    state.writer = false;
                    state.closed = true;
                }
            }
            this.work.notify_one();
        }
    }

    /// The writer thread: moves bytes from the queue to the descriptor.
    fn drain(&self) {
        let mut part = [0; 4096];
        loop {
            let mut state = self.lock();
            while state.queue.is_empty() && !state.stop && !state.closed {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed || state.stop {
                return;
            }
            let count = state.queue.len().min(part.len());
            for (to, from) in part.iter_mut().zip(state.queue.drain(..count)) {
                *to = from;
            }
            state.busy = true;
            drop(state);
            let mut rest = part.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                // The time-out is for `stop`, which does not interrupt poll(2).
                let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                let _ = poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], Some(&second));
                let result = self.try_write(rest);
                let mut state = self.lock();
                match result {
                    Ok(0) if state.stop => return,
                    Ok(0) => continue,
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        state.written = state.written.wrapping_add(count as u64);
                        state.stalled = false;
                    }
                    Err(_) => {
                        state.closed = true;
                        state.queue.clear();
                        rest = &[];
                    }
                }
                state.busy = !rest.is_empty();
                self.progress.notify_all();
            }
        }
    }

    /// Writes as much as possible without blocking; `Ok(0)` if the descriptor takes nothing now.
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            let part = if self.nonblocking {
                bytes
            } else {
                match poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], Some(&Timespec::default())) {
                    Ok(0) | Err(Errno::INTR) => return Ok(0),
                    _ => bytes.get(..BLOCKING_PART).unwrap_or(bytes),
                }
            };
            match rustix::io::write(self.fd.as_fd(), part) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                other => return other,
            }
        }
    }

    fn flush(&self) {
        let mut state = self.lock();
        while (!state.queue.is_empty() || state.busy) && !state.closed && !state.stalled {
            let before = state.written;
            let (next, timeout) =
                self.progress.wait_timeout(state, self.policy.stall_after).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() && state.written == before {
                return;
            }
        }
    }
}
