//! Raw image backend: a regular file or block device, read and written by preadv2(2) and pwritev2(2), through the page cache
//! or past it (O_DIRECT).

use super::image::ImageError;
use super::sys::{self, Direction, IoVec};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// `f_type` of tmpfs, statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// `f_type` of ramfs, statfs(2).
const RAMFS: u64 = 0x8584_58f6;

/// A write that took longer than this, in nanoseconds, on a vCPU's thread shows that the host has stopped taking writes
/// into its page cache at once.
const SLOW_WRITE_NS: u64 = 1_000_000;
/// After a slow write of T, vCPU threads do not write for this many T, so that they wait at most 1.5 % of the time.
const SLOW_WRITE_PENALTY: u64 = 64;
/// Bytes that one system call moves through a bounce buffer.
const BOUNCE: usize = 1 << 20;

/// How long a caller may be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: the main loop.
    None,
    /// As long as the page cache takes to accept a write: a vCPU, whose guest waits for this write.
    Briefly,
    /// Until the request is complete: a worker thread.
    Unlimited,
}

/// An open raw image.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    size: u64,
    /// A file on tmpfs or ramfs: I/O never waits for a device.
    in_memory: bool,
    /// The file is open with O_DIRECT and needs this alignment.
    direct: Option<Alignment>,
    /// The file system does not support RWF_NOWAIT for reads.
    nowait_read_refused: AtomicBool,
    /// The file system does not support RWF_NOWAIT for writes.
    nowait_write_refused: AtomicBool,
    /// Until this time, in nanoseconds of [`clock`], writes without RWF_NOWAIT go to the worker thread.
    writes_slow_until: AtomicU64,
    /// The file system or device does not support hole punching.
    discard_refused: AtomicBool,
}

/// What O_DIRECT needs, in bytes; both are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Of memory addresses.
    memory: usize,
    /// Of offsets and lengths.
    request: usize,
}

/// Nanoseconds since the first call.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl RawFile {
    /// Opens a regular file or block device; with `direct` past the page cache.
    ///
    /// # Errors
    /// If the path names anything but a file or block device, or if the host refuses.
    pub fn open(path: &Path, read_only: bool, direct: bool) -> Result<Self, ImageError> {
        let failed = |why| ImageError::Host { path: path.to_owned(), why };
        check_kind(path, &std::fs::metadata(path).map_err(failed)?)?;
        Self::new(open_file(path, read_only, direct)?, path, read_only, direct)
    }

    /// An image in a file that is open, with O_DIRECT if `direct` is set. `path` is for messages.
    ///
    /// # Errors
    /// If it is anything but a file or block device, or if the host refuses.
    pub fn new(file: File, path: &Path, read_only: bool, direct: bool) -> Result<Self, ImageError> {
        let failed = |why| ImageError::Host { path: path.to_owned(), why };
        let metadata = file.metadata().map_err(failed)?;
        check_kind(path, &metadata)?;
        let mut raw = Self::from_file(file, metadata.is_file()).map_err(failed)?;
        if direct {
            let alignment = probe_alignment(&raw.file).ok_or_else(|| ImageError::NoDirectIo(path.to_owned()))?;
            if !read_only && !raw.size.is_multiple_of(alignment.request as u64) {
                return Err(ImageError::UnalignedSize {
                    path: path.to_owned(),
                    size: raw.size,
                    unit: alignment.request,
                });
            }
            raw.direct = Some(alignment);
        }
        Ok(raw)
    }

    /// An image in an open file without O_DIRECT. `regular` is false for a device.
    pub fn from_file(mut file: File, regular: bool) -> io::Result<Self> {
        // Seeking also finds the end of a block device, whose metadata gives a length of 0.
        let size = file.seek(SeekFrom::End(0))?;
        let in_memory = regular && rustix::fs::fstatfs(&file).is_ok_and(|fs| matches!(fs.f_type as u64, TMPFS | RAMFS));
        Ok(Self {
            file,
            size,
            in_memory,
            direct: None,
            nowait_read_refused: AtomicBool::new(false),
            nowait_write_refused: AtomicBool::new(false),
            writes_slow_until: AtomicU64::new(0),
            discard_refused: AtomicBool::new(false),
        })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn lock(&self, exclusive: bool) -> io::Result<()> {
        sys::lock(&self.file, exclusive)
    }

    #[inline]
    fn nowait_refused(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::Read => &self.nowait_read_refused,
            Direction::Write => &self.nowait_write_refused,
        }
    }

    #[inline]
    pub fn serves_inline(&self, direction: Direction, patience: Patience) -> bool {
        self.in_memory
            || self.direct.is_none()
                && (!self.nowait_refused(direction).load(Ordering::Relaxed)
                    || patience == Patience::Briefly && direction == Direction::Write && self.writes_are_fast())
    }

    /// Whether the host has lately taken writes into its page cache at once.
    #[inline]
    fn writes_are_fast(&self) -> bool {
        let until = self.writes_slow_until.load(Ordering::Relaxed);
        // The clock is only read after a slow write.
        until == 0 || clock() >= until
    }

    #[inline]
    pub fn transfer(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        if let Some(alignment) = self.direct {
            return self.transfer_direct(iov, offset, direction, patience, alignment);
        }
        let nowait = patience != Patience::Unlimited && !self.in_memory;
        if nowait && self.nowait_refused(direction).load(Ordering::Relaxed) {
            return self.write_briefly(iov, offset, direction, patience);
        }
        match iov.transfer(&self.file, offset, direction, nowait) {
            Ok(moved) => Ok(moved),
            Err(error) => self.retry(error, iov, offset, direction, patience, nowait),
        }
    }

    /// Handles an error of a transfer: retries it, or finds that it would block. Out of line, for the speed of transfers
    /// that succeed.
    #[cold]
    #[inline(never)]
    fn retry(
        &self,
        mut error: io::Error,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
        nowait: bool,
    ) -> io::Result<usize> {
        loop {
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if !nowait => self.wait_until_ready(direction),
                Some(libc::EOPNOTSUPP | libc::EINVAL) if nowait => {
                    self.nowait_refused(direction).store(true, Ordering::Relaxed);
                    return self.write_briefly(iov, offset, direction, patience);
                }
                _ => return Err(error),
            }
            match iov.transfer(&self.file, offset, direction, nowait) {
                Ok(moved) => return Ok(moved),
                Err(next) => error = next,
            }
        }
    }

    /// A transfer of a vCPU's thread on a file system that refuses RWF_NOWAIT, such as ext4 for writes. The page cache takes a
    /// write in microseconds, less than the way to the worker thread and back takes, until the host has too many dirty
    /// pages: then such a write waits for the device, and the following ones go to the worker thread for some time.
    fn write_briefly(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        if direction == Direction::Read || patience != Patience::Briefly || !self.writes_are_fast() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let start = clock();
        let result = match iov.transfer(&self.file, offset, direction, false) {
            Err(error) => self.retry(error, iov, offset, direction, Patience::Unlimited, false),
            result => result,
        };
        let end = clock();
        let elapsed = end - start;
        if elapsed > SLOW_WRITE_NS {
            let until = end.saturating_add(elapsed.saturating_mul(SLOW_WRITE_PENALTY));
            self.writes_slow_until.store(until, Ordering::Relaxed);
        }
        result
    }

    /// A transfer past the page cache: straight to and from the segments if they are aligned, else through a buffer.
    fn transfer_direct(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
        alignment: Alignment,
    ) -> io::Result<usize> {
        if patience != Patience::Unlimited {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let unit = alignment.request as u64;
        if self.accepts(iov, offset) {
            return match iov.transfer(&self.file, offset, direction, false) {
                Err(error) => self.retry(error, iov, offset, direction, patience, false),
                result => result,
            };
        }
        let len = iov.total().min(BOUNCE) as u64;
        let start = offset - offset % unit;
        let end = offset.checked_add(len).and_then(|end| end.checked_next_multiple_of(unit));
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        let skip = (offset - start) as usize;
        let mut buffer = AlignedBuffer::new((end - start) as usize, alignment.memory);
        let bytes = buffer.bytes();
        match direction {
            Direction::Read => {
                let read = read_to_end(&self.file, bytes, start)?;
                let got = bytes.get(skip..read).unwrap_or_default();
                iov.truncate(len as usize);
                Ok(iov.scatter(got))
            }
            Direction::Write => {
                iov.truncate(len as usize);
                if len < end - start {
                    // The sectors at both ends keep the bytes that the request does not write.
                    read_to_end(&self.file, bytes, start)?;
                }
                let Some(written) = bytes.get_mut(skip..skip + len as usize) else { return Ok(0) };
                let moved = iov.gather(written);
                self.file.write_all_at(bytes, start)?;
                Ok(moved)
            }
        }
    }

    /// Whether a transfer between the segments and `offset` needs no bounce buffer.
    pub fn accepts(&self, iov: &IoVec<'_>, offset: u64) -> bool {
        self.direct.is_none_or(|alignment| {
            offset.is_multiple_of(alignment.request as u64) && iov.is_aligned(alignment.memory, alignment.request)
        })
    }

    /// Some devices return EAGAIN for a descriptor opened with O_NONBLOCK.
    fn wait_until_ready(&self, direction: Direction) {
        use rustix::event::{PollFd, PollFlags, poll};
        let events = if direction == Direction::Read { PollFlags::IN } else { PollFlags::OUT };
        let _ = poll(&mut [PollFd::new(&self.file, events)], None);
    }

    pub fn flush(&self) -> io::Result<()> {
        loop {
            match rustix::fs::fdatasync(&self.file) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    pub fn supports_discard(&self) -> bool {
        !self.discard_refused.load(Ordering::Relaxed)
    }

    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
            {
                Err(Errno::INTR) => {}
                // A discard is a hint: without support for it the bytes stay as they are.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.discard_refused.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                result => return Ok(result?),
            }
        }
    }

    /// The image format whose header the file starts with, if it is not raw.
    pub fn foreign_format(&self) -> Option<&'static str> {
        foreign_format_of(&self.file)
    }

    /// Whether RWF_NOWAIT reads were refused, so that every read goes to the worker thread.
    #[cfg(test)]
    pub fn refuses_nowait_reads(&self) -> bool {
        self.nowait_read_refused.load(Ordering::Relaxed)
    }
}

/// The image format whose header the file starts with, if it is not raw.
pub fn foreign_format_of(file: &File) -> Option<&'static str> {
    let mut start = AlignedBuffer::new(4096, 4096);
    let start = start.bytes();
    let read = read_to_end(file, start, 0).ok()?;
    foreign_format(start.get(..read)?)
}

/// The format that a file with these first bytes seems to have, if that is not raw.
pub fn foreign_format(start: &[u8]) -> Option<&'static str> {
    let magics: [(usize, &[u8], &str); 11] = [
        (0, b"QFI\xfb", "qcow2"),
        (0, b"KDMV", "vmdk"),
        (0, b"COWD", "vmdk"),
        (0, b"# Disk DescriptorFile", "vmdk"),
        (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
        (0, b"conectix", "VHD"),
        (0, b"vhdxfile", "VHDX"),
        (0, b"QED\0", "QED"),
        (0, b"WithoutFreeSpace", "Parallels"),
        (0, b"WithouFreSpacExt", "Parallels"),
        (0, &[0x1f, 0x8b], "gzip"),
    ];
    magics.iter().find(|(at, magic, _)| start.get(*at..).is_some_and(|s| s.starts_with(magic))).map(|m| m.2)
}

fn check_kind(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ImageError> {
    let kind = metadata.file_type();
    let what = if kind.is_file() || kind.is_block_device() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a character device"
    };
    Err(ImageError::NotAnImage { path: path.to_owned(), what })
}

/// Opens an image. Gives the reason if the host refuses.
pub fn open_file(path: &Path, read_only: bool, direct: bool) -> Result<File, ImageError> {
    // O_NONBLOCK, so that open() does not block if the path has become a FIFO since its kind was checked. It has no effect
    // on files and block devices.
    let flags = libc::O_NONBLOCK | if direct { libc::O_DIRECT } else { 0 };
    let open = |write, flags| OpenOptions::new().read(true).write(write).custom_flags(flags).open(path);
    open(!read_only, flags).map_err(|why| {
        if direct && why.raw_os_error() == Some(libc::EINVAL) {
            ImageError::NoDirectIo(path.to_owned())
        } else if !read_only && open(false, libc::O_NONBLOCK).is_ok() {
            ImageError::NotWritable { path: path.to_owned(), why }
        } else {
            ImageError::Host { path: path.to_owned(), why }
        }
    })
}

/// Memory at an aligned address.
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    fn new(len: usize, alignment: usize) -> Self {
        let memory = vec![0; len + alignment];
        let start = memory.as_ptr().align_offset(alignment).min(alignment);
        Self { memory, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// Reads until the buffer is full or the file ends.
fn read_to_end(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // With O_DIRECT the end of the file need not be aligned, and no read begins there.
            Err(error) if read > 0 && error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// The alignment that O_DIRECT needs for this file, found by reading its start; `None` if every read is refused.
fn probe_alignment(file: &File) -> Option<Alignment> {
    let candidates = [(512, 512), (4096, 512), (4096, 4096), (65536, 65536)];
    candidates.into_iter().map(|(memory, request)| Alignment { memory, request }).find(|alignment| {
        // At an address that has this alignment and no larger one.
        let mut buffer = AlignedBuffer::new(alignment.memory + alignment.request, 2 * alignment.memory);
        let part = buffer.bytes().get_mut(alignment.memory..).unwrap_or_default();
        file.read_at(part, 0).is_ok()
    })
}
