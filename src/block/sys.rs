//! The system calls that safe crates do not have: scatter-gather to guest memory, and OFD locks.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use vm_memory::VolatileSlice;

/// How many pieces one call moves; a longer list takes more calls.
const PIECES: usize = 128;
/// The size of [`Scratch`], and the longest piece of nothing.
const SCRATCH: usize = 4096;
/// What a bus master reads where there is no memory.
static ONES: [u8; SCRATCH] = [0xff; SCRATCH];

/// Room for a list of pieces, and where bytes go that nobody wants, which is never read.
pub struct Scratch {
    list: MaybeUninit<[libc::iovec; PIECES]>,
    sink: MaybeUninit<[u8; SCRATCH]>,
}

impl Scratch {
    /// Not initialised: it costs nothing.
    #[inline]
    pub fn new() -> Self {
        Self { list: MaybeUninit::uninit(), sink: MaybeUninit::uninit() }
    }
}

/// An array of uninitialised elements for an uninitialised array.
fn as_uninit<T, const N: usize>(array: &mut MaybeUninit<[T; N]>) -> &mut [MaybeUninit<T>] {
    // SAFETY: both have the same layout (MaybeUninit<T> has T's), and neither promises anything about the content.
    unsafe { &mut *std::ptr::from_mut(array).cast::<[MaybeUninit<T>; N]>() }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// File to memory.
    Read,
    /// Memory to file.
    Write,
}

/// A list of pieces of memory that live at least for `'a`.
pub struct Pieces<'a> {
    list: &'a mut [MaybeUninit<libc::iovec>],
    len: usize,
    sink: *mut u8,
    _memory: PhantomData<&'a mut ()>,
}

impl<'a> Pieces<'a> {
    /// An empty list in `scratch`, which [`Self::push_nothing`] uses, too.
    #[inline]
    pub fn new(scratch: &'a mut Scratch) -> Self {
        Self {
            list: as_uninit(&mut scratch.list),
            len: 0,
            sink: scratch.sink.as_mut_ptr().cast(),
            _memory: PhantomData,
        }
    }

    /// Whether no more pieces fit.
    pub fn is_full(&self) -> bool {
        self.len == PIECES
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

    /// Appends `len` bytes of no memory at all: reads as FFh, swallows what is written. False if the list got full
    /// before it was all there.
    pub fn push_nothing(&mut self, len: usize, direction: Direction) -> bool {
        let base = match direction {
            Direction::Read => self.sink,
            // Only ever read: a Write takes bytes out of memory.
            Direction::Write => ONES.as_ptr().cast_mut(),
        };
        let mut left = len;
        while left > 0 {
            let part = left.min(SCRATCH);
            if !self.push(base, part) {
                return false;
            }
            left -= part;
        }
        true
    }

    /// Moves bytes between the file at `offset` and the pieces, in one call: preadv2(2), pwritev2(2). `nowait` is
    /// RWF_NOWAIT: [`io::ErrorKind::WouldBlock`] instead of waiting.
    pub fn transfer(&mut self, file: &File, offset: u64, direction: Direction, nowait: bool) -> io::Result<usize> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        let flags = if nowait { libc::RWF_NOWAIT } else { 0 };
        let list = self.list.as_ptr().cast::<libc::iovec>();
        let count = self.len as libc::c_int;
        // SAFETY: the first `len` entries of the list are initialised. Each is memory that stays valid for 'a, which
        // outlives self: guest memory (a VolatileSlice<'a> of a mapping that is borrowed for 'a; without vm-memory's
        // `xen` feature the guard holds nothing but the pointer), a buffer borrowed mutably for 'a, the scratch buffer
        // (likewise, and never read by us), or ONES, which is only an entry of lists to be written to a file. Guest
        // memory is shared with the guest and is never a Rust reference, so that the kernel may write it at any time.
        let moved = unsafe {
            match direction {
                Direction::Read => libc::preadv2(file.as_raw_fd(), list, count, offset, flags),
                Direction::Write => libc::pwritev2(file.as_raw_fd(), list, count, offset, flags),
            }
        };
        usize::try_from(moved).map_err(|_| io::Error::last_os_error())
    }
}

/// Locks a file without waiting, as long as it is open (fcntl(2), F_OFD_SETLK): for writing as a whole; for reading by the
/// bytes that QEMU locks of an image that others may read but not write or resize (its manual's "Disk image file
/// locking"; the bytes are those that /proc/locks shows for QEMU 7.2: from 100 on what somebody does, from 200 on what he
/// does not let others do).
pub fn lock(file: &File, exclusive: bool) -> io::Result<()> {
    if exclusive {
        return take(file, libc::F_WRLCK, 0, 0);
    }
    for byte in [READS, FORBIDS_WRITING, FORBIDS_RESIZING] {
        take(file, libc::F_RDLCK, byte, 1)?;
    }
    for byte in [WRITES, RESIZES] {
        if fcntl_lock(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte, 1)?.l_type != libc::F_UNLCK as libc::c_short {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
    }
    Ok(())
}

const READS: i64 = 100;
const WRITES: i64 = 101;
const RESIZES: i64 = 103;
const FORBIDS_WRITING: i64 = 201;
const FORBIDS_RESIZING: i64 = 203;

fn take(file: &File, kind: i32, start: i64, len: i64) -> io::Result<()> {
    fcntl_lock(file, libc::F_OFD_SETLK, kind, start, len).map(drop)
}

/// `len` 0: to the end of the file, wherever it is.
fn fcntl_lock(file: &File, command: i32, kind: i32, start: i64, len: i64) -> io::Result<libc::flock> {
    // All fields are numbers; l_pid must be 0 for OFD locks.
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
