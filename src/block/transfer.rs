//! One request's way between its image and its memory, step by step.

use super::image::Image;
use super::sys::{Direction, Pieces, Scratch};
use pcvm_devices::{BlockData, BlockError, BlockOp, BlockRequest, Memory};
use std::sync::atomic::Ordering;

/// A request and how far it has come.
#[derive(Debug)]
pub struct Job {
    pub request: BlockRequest,
    /// Bytes moved so far.
    done: u64,
    /// The guest range that `done` lies in, and how far into it.
    range: usize,
    within: u32,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is finished.
    Done(Result<(), BlockError>),
    /// It would have to wait; what has been moved is remembered.
    WouldWait,
}

impl Job {
    pub fn new(request: BlockRequest) -> Self {
        Self { request, done: 0, range: 0, within: 0 }
    }

    /// One that panics when it is carried out.
    #[cfg(test)]
    pub fn broken(request: BlockRequest) -> Self {
        Self { within: u32::MAX, ..Self::new(request) }
    }

    /// Carries the request on as far as it goes: to its end, or with `may_wait` false until it would wait.
    pub fn run(&mut self, image: &Image, memory: &Memory, may_wait: bool) -> Step {
        match self.request.op {
            BlockOp::Read => self.transfer(image, memory, Direction::Read, may_wait),
            BlockOp::Write => {
                image.dirty.store(true, Ordering::Release);
                self.transfer(image, memory, Direction::Write, may_wait)
            }
            BlockOp::Flush => flush(image, may_wait),
            BlockOp::Discard { len } => discard(image, self.request.offset, len, may_wait),
        }
    }

    fn transfer(&mut self, image: &Image, memory: &Memory, direction: Direction, may_wait: bool) -> Step {
        let refused = match direction {
            Direction::Read => &image.no_nowait_read,
            Direction::Write => &image.no_nowait_write,
        };
        let nowait = !may_wait && !image.in_memory;
        if nowait && refused.load(Ordering::Relaxed) {
            return Step::WouldWait;
        }
        let total = self.request.data.len();
        let mut scratch = Scratch::new();
        while self.done < total {
            let at = self.request.offset + self.done;
            let mut pieces = Pieces::new(&mut scratch);
            match &mut self.request.data {
                BlockData::None => {}
                BlockData::Buffer(buffer) => {
                    if let Some(rest) = buffer.get_mut(self.done as usize..) {
                        pieces.push_buffer(rest);
                    }
                }
                BlockData::Guest(ranges) => {
                    let mut skip = self.within;
                    for range in ranges.iter().skip(self.range) {
                        let addr = range.addr.wrapping_add(u64::from(skip));
                        let len = u64::from(range.len - skip);
                        skip = 0;
                        let mut full = false;
                        memory.for_each_run(addr, len, direction == Direction::Read, |slice, len| {
                            full = full
                                || !match slice {
                                    Some(slice) => pieces.push_guest(&slice),
                                    None => pieces.push_nothing(len, direction),
                                };
                        });
                        if full || pieces.is_full() {
                            break;
                        }
                    }
                }
            }
            match pieces.transfer(&image.file, at, direction, nowait) {
                Ok(0) => {
                    if direction == Direction::Read && at >= image.stored {
                        // The end of a CD-ROM's last sector that the file does not have.
                        self.fill_zeros(memory);
                        break;
                    }
                    // The file was cut short under us, or takes no more.
                    return Step::Done(Err(BlockError::Io(libc::EIO)));
                }
                Ok(moved) => self.advance(moved as u64),
                Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                    libc::EINTR => {}
                    libc::EAGAIN if nowait => return Step::WouldWait,
                    libc::EAGAIN => wait_until_ready(image, direction),
                    libc::EOPNOTSUPP | libc::EINVAL if nowait => {
                        refused.store(true, Ordering::Relaxed);
                        return Step::WouldWait;
                    }
                    errno => return Step::Done(Err(block_error(errno))),
                },
            }
        }
        Step::Done(Ok(()))
    }

    fn advance(&mut self, moved: u64) {
        self.done += moved;
        let BlockData::Guest(ranges) = &self.request.data else { return };
        let mut left = moved;
        while let Some(range) = ranges.get(self.range) {
            let rest = u64::from(range.len - self.within);
            if left < rest {
                self.within += left as u32;
                return;
            }
            left -= rest;
            self.range += 1;
            self.within = 0;
        }
    }

    /// The rest of a read is zeros; at most a sector's worth.
    fn fill_zeros(&mut self, memory: &Memory) {
        const ZEROS: [u8; 512] = [0; 512];
        match &mut self.request.data {
            BlockData::None => {}
            BlockData::Buffer(buffer) => {
                if let Some(rest) = buffer.get_mut(self.done as usize..) {
                    rest.fill(0);
                }
            }
            BlockData::Guest(ranges) => {
                let mut skip = self.within;
                for range in ranges.iter().skip(self.range) {
                    let mut addr = range.addr.wrapping_add(u64::from(skip));
                    let mut left = (range.len - skip) as usize;
                    skip = 0;
                    while left > 0 {
                        let part = left.min(ZEROS.len());
                        memory.write(addr, ZEROS.get(..part).unwrap_or_default());
                        addr = addr.wrapping_add(part as u64);
                        left -= part;
                    }
                }
            }
        }
    }
}

fn flush(image: &Image, may_wait: bool) -> Step {
    if image.read_only() || !image.dirty.load(Ordering::Acquire) {
        return Step::Done(Ok(()));
    }
    if !may_wait {
        return Step::WouldWait;
    }
    // Cleared first: a write that comes during the flush is not covered by it.
    image.dirty.store(false, Ordering::Release);
    loop {
        match rustix::fs::fdatasync(&image.file) {
            Ok(()) => return Step::Done(Ok(())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                image.dirty.store(true, Ordering::Release);
                return Step::Done(Err(block_error(error.raw_os_error())));
            }
        }
    }
}

fn discard(image: &Image, offset: u64, len: u64, may_wait: bool) -> Step {
    use rustix::fs::FallocateFlags;
    if len == 0 || image.no_discard.load(Ordering::Relaxed) {
        return Step::Done(Ok(()));
    }
    if !may_wait {
        return Step::WouldWait;
    }
    image.dirty.store(true, Ordering::Release);
    loop {
        match rustix::fs::fallocate(&image.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => return Step::Done(Ok(())),
            Err(rustix::io::Errno::INTR) => {}
            // A discard is a hint: where it cannot be taken, the bytes stay as they are.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                image.no_discard.store(true, Ordering::Relaxed);
                return Step::Done(Ok(()));
            }
            Err(error) => return Step::Done(Err(block_error(error.raw_os_error()))),
        }
    }
}

/// Some devices say EAGAIN to a descriptor that waits for nothing.
fn wait_until_ready(image: &Image, direction: Direction) {
    use rustix::event::{PollFd, PollFlags, poll};
    let events = if direction == Direction::Read { PollFlags::IN } else { PollFlags::OUT };
    let _ = poll(&mut [PollFd::new(&image.file, events)], None);
}

fn block_error(errno: i32) -> BlockError {
    match errno {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => BlockError::NoSpace,
        errno => BlockError::Io(errno),
    }
}

/// What is wrong with a request before anything is moved; a range check that nothing wraps around.
pub fn check(image: &Image, request: &BlockRequest) -> Result<(), BlockError> {
    let len = match request.op {
        BlockOp::Flush => return Ok(()),
        BlockOp::Discard { len } => len,
        BlockOp::Read | BlockOp::Write => request.data.len(),
    };
    if image.read_only() && request.op != BlockOp::Read {
        return Err(BlockError::ReadOnly);
    }
    match request.offset.checked_add(len) {
        Some(end) if end <= image.size() => Ok(()),
        _ => Err(BlockError::OutOfRange),
    }
}
