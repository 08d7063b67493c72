//! Where output goes: nowhere, to a file, or through a queue to a reader who may be slow.

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

/// Bytes that wait for a reader at most.
const QUEUE: usize = 64 << 10;
/// What a descriptor in blocking mode takes without blocking once poll says that it is writable: a terminal promises
/// this much (its wake-up mark), a pipe more.
const BLOCKING_PART: usize = 256;

/// How a full queue is dealt with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long without any progress until the reader counts as gone.
    pub without_progress: Duration,
    /// What is lost then: the oldest bytes, or the newest, with a warning.
    pub lose_oldest: bool,
}

impl Patience {
    /// A log must be whole: only a reader who does not read at all for this long loses something.
    pub fn stdio() -> Self {
        Self { without_progress: Duration::from_secs(10), lose_oldest: false }
    }

    /// Mostly nobody is there, and whoever comes wants the latest.
    pub fn pty() -> Self {
        Self { without_progress: Duration::from_millis(200), lose_oldest: true }
    }
}

/// Where bytes go.
#[derive(Debug)]
pub struct Output(Kind);

#[derive(Debug)]
enum Kind {
    Null,
    File { file: File, warned: AtomicBool },
    Queued(Arc<Queued>),
}

#[derive(Debug)]
struct Queued {
    fd: OwnedFd,
    /// O_NONBLOCK is set, on a description that nobody shares.
    nonblocking: bool,
    patience: Patience,
    state: Mutex<State>,
    /// Work for the writer, or the end.
    work: Condvar,
    /// The writer wrote something, or gave up.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<u8>,
    /// The writer holds bytes that were taken from the queue.
    busy: bool,
    /// The reader counts as gone until it reads again.
    stalled: bool,
    warned: bool,
    /// The reader is gone for good.
    closed: bool,
    stop: bool,
    writer: bool,
    /// Bytes written by the writer.
    written: u64,
}

impl Output {
    /// Nowhere.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// To a file, at once.
    pub fn file(file: File) -> Self {
        Self(Kind::File { file, warned: AtomicBool::new(false) })
    }

    /// To standard output.
    pub fn stdout() -> io::Result<Self> {
        let stdout = rustix::stdio::stdout();
        let Ok(stat) = rustix::fs::fstat(stdout) else { return Ok(Self::null()) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(Self::file(stdout.try_clone_to_owned()?.into()));
        }
        // The open file description is shared with the shell and others, who would see O_NONBLOCK: open our own.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            Ok(own) => Self::queued(own, Patience::stdio()),
            Err(_) => Self::blocking(stdout.try_clone_to_owned()?, Patience::stdio()),
        })
    }

    /// To a descriptor in nonblocking mode.
    pub fn queued(fd: OwnedFd, patience: Patience) -> Self {
        Self::start(fd, true, patience)
    }

    /// To a descriptor in blocking mode, which is asked before each small write.
    pub fn blocking(fd: OwnedFd, patience: Patience) -> Self {
        Self::start(fd, false, patience)
    }

    fn start(fd: OwnedFd, nonblocking: bool, patience: Patience) -> Self {
        Self(Kind::Queued(Arc::new(Queued {
            fd,
            nonblocking,
            patience,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        })))
    }

    /// See [`super::Chardev::write`].
    pub fn write(&self, bytes: &[u8]) {
        match &self.0 {
            Kind::Null => {}
            Kind::File { file, warned } => {
                let mut file = file;
                if let Err(error) = file.write_all(bytes)
                    && !warned.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!("serial output is lost: {}", crate::error::host_error(&error));
                }
            }
            Kind::Queued(queued) => Queued::write(queued, bytes),
        }
    }

    /// See [`super::Chardev::flush`].
    pub fn flush(&self) {
        if let Kind::Queued(queued) = &self.0 {
            queued.flush();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
        if let Kind::Queued(queued) = &self.0 {
            queued.lock().stop = true;
            queued.work.notify_all();
        }
    }
}

impl Queued {
    fn lock(&self) -> MutexGuard<'_, State> {
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
            let room = QUEUE.saturating_sub(state.queue.len());
            if room == 0 {
                if !state.stalled {
                    let before = state.written;
                    let (next, timeout) = this
                        .progress
                        .wait_timeout(state, this.patience.without_progress)
                        .unwrap_or_else(PoisonError::into_inner);
                    state = next;
                    if timeout.timed_out() && state.written == before {
                        state.stalled = true;
                    }
                    continue;
                }
                if !this.patience.lose_oldest {
                    if !std::mem::replace(&mut state.warned, true) {
                        tracing::warn!("serial output is lost: nobody reads it");
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

    /// The writer's thread.
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
                // Wakes now and then only to see whether it is to stop.
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

    /// Writes what can be written without waiting; `Ok(0)` if nothing can.
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
            let (next, timeout) = self
                .progress
                .wait_timeout(state, self.patience.without_progress)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() && state.written == before {
                return;
            }
        }
    }
}
