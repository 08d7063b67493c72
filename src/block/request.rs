//! Execution of one block request: scatter-gather between an image and guest memory, resumable where it would block.

use super::image::Image;
use super::raw::Patience;
use super::sys::{Direction, IoVec, IoVecStorage, Operation};
use pcvm_devices::{BlockData, BlockError, BlockOp, BlockRequest, Memory};
use std::io;

/// A request and its position: how many of its bytes have been moved.
#[derive(Debug)]
pub struct PendingRequest {
    pub request: BlockRequest,
    moved: u64,
    /// The guest range that the next byte belongs to, and the offset in that range.
    range: usize,
    within: u32,
}

/// Outcome of an attempt to execute a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The request is complete.
    Done(Result<(), BlockError>),
    /// The rest of the request would block. The position is kept, so that the next attempt resumes there.
    WouldBlock,
}

/// What follows an operation of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    /// The request is complete.
    Done(Result<(), BlockError>),
    /// Another operation: [`PendingRequest::next_operation`].
    Next,
    /// The rest is to be executed by a thread that may block.
    Block,
}

impl PendingRequest {
    pub fn new(request: BlockRequest) -> Self {
        Self { request, moved: 0, range: 0, within: 0 }
    }

    /// A request whose execution panics.
    #[cfg(test)]
    pub fn broken(request: BlockRequest) -> Self {
        Self { within: u32::MAX, ..Self::new(request) }
    }

    /// Bytes moved so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Executes the request on a drive's medium, if the request is valid there; see [`Self::run`].
    #[inline]
    pub fn run_on(&mut self, medium: &mut Option<Image>, memory: &Memory, patience: Patience) -> Progress {
        let Some(image) = medium else { return Progress::Done(Err(BlockError::NoMedium)) };
        match check(image, &self.request) {
            Ok(()) => self.run(image, memory, patience),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    /// Executes the request: to its end, or up to the point where it would block for longer than `patience`.
    pub fn run(&mut self, image: &mut Image, memory: &Memory, patience: Patience) -> Progress {
        match self.request.op {
            BlockOp::Read => self.transfer(image, memory, Direction::Read, patience),
            BlockOp::Write if image.write_through => self.write_through(image, memory, patience),
            BlockOp::Write => {
                image.dirty = true;
                self.transfer(image, memory, Direction::Write, patience)
            }
            BlockOp::Flush => flush(image, patience),
            BlockOp::Discard { len } => discard(image, self.request.offset, len, patience),
        }
    }

    /// A write that is on stable storage when it completes.
    fn write_through(&mut self, image: &mut Image, memory: &Memory, patience: Patience) -> Progress {
        if patience != Patience::Unlimited {
            return Progress::WouldBlock;
        }
        image.dirty = true;
        match self.transfer(image, memory, Direction::Write, patience) {
            Progress::Done(Ok(())) => flush(image, patience),
            progress => progress,
        }
    }

    fn transfer(&mut self, image: &mut Image, memory: &Memory, direction: Direction, patience: Patience) -> Progress {
        if !image.backend.serves_inline(direction, patience) && patience != Patience::Unlimited {
            return Progress::WouldBlock;
        }
        let total = self.request.data.len();
        let mut storage = IoVecStorage::new();
        while self.moved < total {
            let offset = self.request.offset + self.moved;
            let mut iov = IoVec::new(&mut storage);
            self.segments(memory, direction, &mut iov);
            match image.transfer(&mut iov, offset, direction, patience) {
                Ok(0) => match self.at_end(image, memory, direction) {
                    Ok(()) => break,
                    Err(error) => return Progress::Done(Err(error)),
                },
                Ok(moved) => self.advance(moved as u64),
                Err(error) => return failed(&error, patience),
            }
        }
        Progress::Done(Ok(()))
    }

    /// Offset in the image of the next byte.
    pub fn position(&self) -> u64 {
        self.request.offset + self.moved
    }

    /// Appends the memory of the bytes that have not been moved yet, as much as the list takes.
    #[inline]
    pub fn segments<'a>(&'a mut self, memory: &'a Memory, direction: Direction, iov: &mut IoVec<'a>) {
        match &mut self.request.data {
            BlockData::None => {}
            BlockData::Buffer(buffer) => {
                if let Some(rest) = buffer.get_mut(self.moved as usize..) {
                    iov.push_buffer(rest);
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
                                Some(slice) => iov.push_guest(&slice),
                                None => iov.push_unmapped(len, direction),
                            };
                    });
                    if full || iov.is_full() {
                        break;
                    }
                }
            }
        }
    }

    /// The image has no byte at the position.
    #[cold]
    #[inline(never)]
    fn at_end(&mut self, image: &Image, memory: &Memory, direction: Direction) -> Result<(), BlockError> {
        if direction == Direction::Read && self.position() >= image.stored {
            // The part of a CD-ROM's last sector that the image does not store.
            self.fill_zeros(memory);
            self.moved = self.request.data.len();
            return Ok(());
        }
        // The image was truncated while in use, or takes no more bytes.
        Err(BlockError::Io(libc::EIO))
    }

    /// The next operation of a request for which [`Self::run_on`] said that it would block.
    pub fn next_operation(&self) -> Operation {
        match self.request.op {
            BlockOp::Read => Operation::Transfer(Direction::Read),
            // The flush of a write-through image.
            BlockOp::Write if self.moved == self.request.data.len() => Operation::Sync,
            BlockOp::Write => Operation::Transfer(Direction::Write),
            BlockOp::Flush => Operation::Sync,
            BlockOp::Discard { len } => Operation::Punch { len },
        }
    }

    /// Takes the result of an operation that the kernel has executed.
    pub fn after_operation(
        &mut self,
        operation: Operation,
        result: io::Result<usize>,
        image: &mut Image,
        memory: &Memory,
    ) -> After {
        let result = match result {
            // Not executed: because the thread that submitted it has ended, or because the file does not support it.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::EAGAIN | libc::ECANCELED | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS)
                ) =>
            {
                return After::Block;
            }
            result => result,
        };
        let done = match (operation, result) {
            (Operation::Transfer(direction), Ok(0)) => self.at_end(image, memory, direction),
            (Operation::Transfer(_), Ok(moved)) => {
                self.advance(moved as u64);
                Ok(())
            }
            (Operation::Sync, result) => {
                image.dirty = result.is_err();
                return After::Done(result.map(drop).map_err(|error| block_error(&error)));
            }
            (Operation::Punch { .. }, Ok(_)) => return After::Done(Ok(())),
            (_, Err(error)) => Err(block_error(&error)),
        };
        let unfinished = self.moved < self.request.data.len()
            || operation == Operation::Transfer(Direction::Write) && image.write_through;
        if done.is_ok() && unfinished { After::Next } else { After::Done(done) }
    }

    fn advance(&mut self, moved: u64) {
        self.moved += moved;
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

    /// Fills the rest of a read, less than a sector, with zeros.
    fn fill_zeros(&mut self, memory: &Memory) {
        const ZEROS: [u8; 512] = [0; 512];
        match &mut self.request.data {
            BlockData::None => {}
            BlockData::Buffer(buffer) => {
                if let Some(rest) = buffer.get_mut(self.moved as usize..) {
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

/// Outcome of a request whose transfer failed.
#[cold]
#[inline(never)]
fn failed(error: &io::Error, patience: Patience) -> Progress {
    if patience != Patience::Unlimited && error.kind() == io::ErrorKind::WouldBlock {
        return Progress::WouldBlock;
    }
    Progress::Done(Err(block_error(error)))
}

fn flush(image: &mut Image, patience: Patience) -> Progress {
    if image.read_only() || !image.dirty || image.no_flush {
        return Progress::Done(Ok(()));
    }
    if patience != Patience::Unlimited {
        return Progress::WouldBlock;
    }
    let result = image.backend.flush();
    image.dirty = result.is_err();
    Progress::Done(result.map_err(|error| block_error(&error)))
}

fn discard(image: &mut Image, offset: u64, len: u64, patience: Patience) -> Progress {
    if len == 0 || !image.discard || !image.backend.supports_discard() {
        return Progress::Done(Ok(()));
    }
    if patience != Patience::Unlimited {
        return Progress::WouldBlock;
    }
    image.dirty = true;
    Progress::Done(image.backend.discard(offset, len).map_err(|error| block_error(&error)))
}

fn block_error(error: &io::Error) -> BlockError {
    match error.raw_os_error().unwrap_or(libc::EIO) {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => BlockError::NoSpace,
        errno => BlockError::Io(errno),
    }
}

/// Rejects a request before any byte is moved: a write to a read-only image, or a range past the end of the drive.
fn check(image: &Image, request: &BlockRequest) -> Result<(), BlockError> {
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
