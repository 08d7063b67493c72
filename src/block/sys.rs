//! System calls without a safe wrapper: preadv2/pwritev2 to and from guest memory, and OFD locks (fcntl(2)).
#![allow(unsafe_code)]

mod ring;
mod socket;

pub use ring::{Operation, Ring};
pub use socket::Wait;

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use vm_memory::VolatileSlice;

/// Segments in one system call; a longer list takes several calls.
const MAX_SEGMENTS: usize = 128;
/// Bytes in the sink, and in the longest segment for unmapped addresses.
const SINK: usize = 4096;
/// What a bus master reads at unmapped addresses.
static ONES: [u8; SINK] = [0xff; SINK];

/// Storage for an [`IoVec`]: the list of segments, and a sink for bytes read to unmapped addresses. The sink is never read.
pub struct IoVecStorage {
    list: MaybeUninit<[libc::iovec; MAX_SEGMENTS]>,
    sink: MaybeUninit<[u8; SINK]>,
}

impl IoVecStorage {
    /// Uninitialised, so that it costs nothing.
    #[inline]
    pub fn new() -> Self {
        Self { list: MaybeUninit::uninit(), sink: MaybeUninit::uninit() }
    }
}

// SAFETY: the pointers in the list are only used through an `IoVec`, which borrows the storage and what they point to, and by
// `Ring`, which owns both. Neither depends on the thread.
unsafe impl Send for IoVecStorage {}

/// An uninitialised array as a slice of uninitialised elements.
fn as_uninit<T, const N: usize>(array: &mut MaybeUninit<[T; N]>) -> &mut [MaybeUninit<T>] {
    // SAFETY: both have the same layout (MaybeUninit<T> has T's), and neither promises anything about the content.
    unsafe { &mut *std::ptr::from_mut(array).cast::<[MaybeUninit<T>; N]>() }
}

/// Direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the image to memory.
    Read,
    /// From memory to the image.
    Write,
}

/// A scatter-gather list: segments of memory that stay valid for `'a`.
pub struct IoVec<'a> {
    list: &'a mut [MaybeUninit<libc::iovec>],
    len: usize,
    sink: *mut u8,
    /// The list has a segment that may not be written: it is for the direction Write only.
    source: bool,
    _memory: PhantomData<&'a mut ()>,
}

impl<'a> IoVec<'a> {
    /// An empty list in `storage`.
    #[inline]
    pub fn new(storage: &'a mut IoVecStorage) -> Self {
        Self {
            list: as_uninit(&mut storage.list),
            len: 0,
            sink: storage.sink.as_mut_ptr().cast(),
            source: false,
            _memory: PhantomData,
        }
    }

    /// Whether the list has no room for another segment.
    pub fn is_full(&self) -> bool {
        self.len == MAX_SEGMENTS
    }

    fn push(&mut self, base: *mut u8, len: usize) -> bool {
        match self.list.get_mut(self.len) {
            Some(slot) => {
                slot.write(libc::iovec { iov_base: base.cast(), iov_len: len });
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Appends guest memory; false if the list is full.
    pub fn push_guest(&mut self, slice: &VolatileSlice<'a>) -> bool {
        self.push(slice.ptr_guard_mut().as_ptr(), slice.len())
    }

    /// Appends a buffer that a read fills.
    pub fn push_buffer(&mut self, buffer: &'a mut [u8]) -> bool {
        self.push(buffer.as_mut_ptr(), buffer.len())
    }

    /// Appends bytes that a write takes. A list with such a segment is refused by every read.
    pub fn push_source(&mut self, bytes: &'a [u8]) -> bool {
        self.source = true;
        self.push(bytes.as_ptr().cast_mut(), bytes.len())
    }

    /// Appends `len` bytes of unmapped addresses: an image read to them is discarded, an image write takes FFh from them.
    /// False if the list became full before all `len` bytes were in it.
    pub fn push_unmapped(&mut self, len: usize, direction: Direction) -> bool {
        let base = match direction {
            Direction::Read => {
                // SAFETY: the sink is SINK bytes that only this list uses. Initialised, because a copy may read it.
                unsafe { self.sink.write_bytes(0, SINK) };
                self.sink
            }
            // Never written through this pointer: a list with it is refused by every read.
            Direction::Write => {
                self.source = true;
                ONES.as_ptr().cast_mut()
            }
        };
        let mut left = len;
        while left > 0 {
            let part = left.min(SINK);
            if !self.push(base, part) {
                return false;
            }
            left -= part;
        }
        true
    }

    /// The initialised entries.
    fn entries(&self) -> &[libc::iovec] {
        // SAFETY: `push` has initialised the first `len` entries, and `len` is at most the length of the list.
        unsafe { std::slice::from_raw_parts(self.list.as_ptr().cast::<libc::iovec>(), self.len) }
    }

    /// The segments as memory that may be shared with the guest.
    fn segments(&self) -> impl Iterator<Item = VolatileSlice<'_>> {
        // SAFETY: each entry is memory that stays valid for 'a, as the comment in `transfer` says. ONES and sources are only
        // entries of lists for the direction Write, to which `scatter` and `fill_zeros` write nothing.
        self.entries().iter().map(|entry| unsafe { VolatileSlice::new(entry.iov_base.cast(), entry.iov_len) })
    }

    /// Bytes in the list.
    pub fn total(&self) -> usize {
        self.entries().iter().map(|entry| entry.iov_len).sum()
    }

    /// Shortens the list to its first `len` bytes.
    pub fn truncate(&mut self, mut len: usize) {
        for index in 0..self.len {
            let Some(slot) = self.list.get_mut(index) else { return };
            // SAFETY: `index` is below `len`, so that `push` has initialised the entry.
            let entry = unsafe { slot.assume_init_mut() };
            if len <= entry.iov_len {
                entry.iov_len = len;
                self.len = if len == 0 { index } else { index + 1 };
                return;
            }
            len -= entry.iov_len;
        }
    }

    /// Whether each segment's address is a multiple of `memory` and its length one of `length`; both are powers of two.
    pub fn is_aligned(&self, memory: usize, length: usize) -> bool {
        let aligned = |value: usize, to: usize| value & (to - 1) == 0;
        self.entries().iter().all(|entry| aligned(entry.iov_base as usize, memory) && aligned(entry.iov_len, length))
    }

    /// Copies the segments into `buffer`, from the first byte on. Gives the number of bytes copied. For writes to an image.
    pub fn gather(&self, buffer: &mut [u8]) -> usize {
        let mut copied = 0;
        for segment in self.segments() {
            let Some(rest) = buffer.get_mut(copied..).filter(|rest| !rest.is_empty()) else { break };
            copied += segment.copy_to(rest);
        }
        copied
    }

    /// Copies `bytes` into the segments, from the first byte on. Gives the number of bytes copied. For reads from an image.
    pub fn scatter(&mut self, bytes: &[u8]) -> usize {
        let mut copied = 0;
        if self.source {
            return 0;
        }
        for segment in self.segments() {
            let Some(rest) = bytes.get(copied..).filter(|rest| !rest.is_empty()) else { break };
            let part = rest.get(..segment.len()).unwrap_or(rest);
            segment.copy_from(part);
            copied += part.len();
        }
        copied
    }

    /// Fills all segments with zeros. For reads from an image.
    pub fn fill_zeros(&mut self) {
        const ZEROS: [u8; SINK] = [0; SINK];
        if self.source {
            return;
        }
        for segment in self.segments() {
            let mut at = 0;
            while at < segment.len() {
                let part = (segment.len() - at).min(SINK);
                let Ok(slice) = segment.subslice(at, part) else { return };
                slice.copy_from(ZEROS.get(..part).unwrap_or_default());
                at += part;
            }
        }
    }

    /// Moves bytes between the file at `offset` and the segments in one system call, such as preadv2(2). `nowait` sets
    /// RWF_NOWAIT: [`io::ErrorKind::WouldBlock`] instead of blocking.
    pub fn transfer(&mut self, file: &File, offset: u64, direction: Direction, nowait: bool) -> io::Result<usize> {
        if self.source && direction == Direction::Read {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        let flags = if nowait { libc::RWF_NOWAIT } else { 0 };
        let list = self.list.as_ptr().cast::<libc::iovec>();
        let count = self.len as libc::c_int;
        let fd = file.as_raw_fd();
        if let ([only], false) = (self.entries(), nowait) {
            // The kernel handles one buffer with fewer instructions than a list of one.
            // SAFETY: `only` is an initialised entry of the list: `iov_len` bytes that stay valid for 'a, which outlives self,
            // and that the kernel may write if the direction is Read, for the reasons given at the call below.
            let moved = unsafe {
                match direction {
                    Direction::Read => libc::pread(fd, only.iov_base, only.iov_len, offset),
                    Direction::Write => libc::pwrite(fd, only.iov_base, only.iov_len, offset),
                }
            };
            return usize::try_from(moved).map_err(|_| io::Error::last_os_error());
        }
        // SAFETY: the first `len` entries of the list are initialised. Each is memory that stays valid for 'a, which
        // outlives self: guest memory (a VolatileSlice<'a> of a mapping that is borrowed for 'a; without vm-memory's
        // `xen` feature the guard holds nothing but the pointer), a buffer borrowed mutably for 'a, the sink (likewise), or
        // ONES or a buffer borrowed for 'a, which make the list one for the direction Write only. Guest memory is shared
        // with the guest and is never a Rust reference, so the kernel may write it at any time.
        let moved = unsafe {
            match direction {
                Direction::Read => libc::preadv2(fd, list, count, offset, flags),
                Direction::Write => libc::pwritev2(fd, list, count, offset, flags),
            }
        };
        usize::try_from(moved).map_err(|_| io::Error::last_os_error())
    }
}

/// Locks a file without waiting, until it is closed (fcntl(2), F_OFD_SETLK). A writer locks the whole file. A reader takes
/// the byte locks of a QEMU that shares the image with readers but not with writers (QEMU's manual, "Disk image file
/// locking"; the bytes are those that /proc/locks shows for QEMU 7.2): a lock on byte 100 + n says that the process uses
/// permission n, one on byte 200 + n that it does not let other processes use permission n.
pub fn lock(file: &File, exclusive: bool) -> io::Result<()> {
    if exclusive {
        return take(file, libc::F_WRLCK, 0, 0);
    }
    for byte in [USES_READ, FORBIDS_WRITE, FORBIDS_RESIZE] {
        take(file, libc::F_RDLCK, byte, 1)?;
    }
    for byte in [USES_WRITE, USES_RESIZE] {
        if fcntl_lock(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte, 1)?.l_type != libc::F_UNLCK as libc::c_short {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
    }
    Ok(())
}

const USES_READ: i64 = 100;
const USES_WRITE: i64 = 101;
const USES_RESIZE: i64 = 103;
const FORBIDS_WRITE: i64 = 201;
const FORBIDS_RESIZE: i64 = 203;

fn take(file: &File, kind: i32, start: i64, len: i64) -> io::Result<()> {
    fcntl_lock(file, libc::F_OFD_SETLK, kind, start, len).map(drop)
}

/// A `len` of 0 reaches to the end of the file, also when the file grows.
fn fcntl_lock(file: &File, command: i32, kind: i32, start: i64, len: i64) -> io::Result<libc::flock> {
    // l_pid must be 0 for OFD locks.
    let mut request = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the kernel only reads or writes the structure, which outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut request) };
    if result == 0 { Ok(request) } else { Err(io::Error::last_os_error()) }
}
