//! Raw image backend: a regular file or block device, read and written by preadv2(2) and pwritev2(2).

use super::image::ImageError;
use super::sys::{self, Direction, IoVec};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// `f_type` of tmpfs, statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// `f_type` of ramfs, statfs(2).
const RAMFS: u64 = 0x8584_58f6;

/// An open raw image.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    size: u64,
    /// A file on tmpfs or ramfs: I/O never waits for a device.
    in_memory: bool,
    /// The file system does not support RWF_NOWAIT for reads.
    nowait_read_refused: AtomicBool,
    /// The file system does not support RWF_NOWAIT for writes.
    nowait_write_refused: AtomicBool,
    /// The file system or device does not support hole punching.
    discard_refused: AtomicBool,
}

impl RawFile {
    /// Opens a regular file or block device.
    ///
    /// # Errors
    /// If the path names anything but a file or block device, or if the host refuses.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, ImageError> {
        let failed = |why| ImageError::Host { path: path.to_owned(), why };
        check_kind(path, &std::fs::metadata(path).map_err(failed)?)?;
        let file = open_file(path, read_only)?;
        // Again on the descriptor: the path may have been replaced since.
        let metadata = file.metadata().map_err(failed)?;
        check_kind(path, &metadata)?;
        Self::from_file(file, metadata.is_file()).map_err(failed)
    }

    /// An image in an open file. `regular` is false for a device.
    pub fn from_file(mut file: File, regular: bool) -> io::Result<Self> {
        // Seeking also finds the end of a block device, whose metadata gives a length of 0.
        let size = file.seek(SeekFrom::End(0))?;
        let in_memory = regular && rustix::fs::fstatfs(&file).is_ok_and(|fs| matches!(fs.f_type as u64, TMPFS | RAMFS));
        Ok(Self {
            file,
            size,
            in_memory,
            nowait_read_refused: AtomicBool::new(false),
            nowait_write_refused: AtomicBool::new(false),
            discard_refused: AtomicBool::new(false),
        })
    }

    pub fn size(&self) -> u64 {
        self.size
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
    pub fn serves_inline(&self, direction: Direction) -> bool {
        self.in_memory || !self.nowait_refused(direction).load(Ordering::Relaxed)
    }

    #[inline]
    pub fn transfer(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        may_block: bool,
    ) -> io::Result<usize> {
        let nowait = !may_block && !self.in_memory;
        match iov.transfer(&self.file, offset, direction, nowait) {
            Ok(moved) => Ok(moved),
            Err(error) => self.retry(error, iov, offset, direction, nowait),
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
        nowait: bool,
    ) -> io::Result<usize> {
        loop {
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if !nowait => self.wait_until_ready(direction),
                Some(libc::EOPNOTSUPP | libc::EINVAL) if nowait => {
                    self.nowait_refused(direction).store(true, Ordering::Relaxed);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                _ => return Err(error),
            }
            match iov.transfer(&self.file, offset, direction, nowait) {
                Ok(moved) => return Ok(moved),
                Err(next) => error = next,
            }
        }
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

    /// The other image format whose magic number is in the first bytes.
    pub fn foreign_format(&self) -> Option<&'static str> {
        let mut start = [0; 68];
        let read = self.file.read_at(&mut start, 0).ok()?;
        let start = start.get(..read)?;
        let magics: [(usize, &[u8], &str); 6] = [
            (0, b"QFI\xfb", "qcow2"),
            (0, b"KDMV", "VMDK"),
            (0, b"# Disk DescriptorFile", "VMDK descriptor"),
            (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
            (0, &[0x1f, 0x8b], "gzip"),
            (0, b"vhdxfile", "VHDX"),
        ];
        magics.iter().find(|(at, magic, _)| start.get(*at..).is_some_and(|s| s.starts_with(magic))).map(|m| m.2)
    }

    /// Whether RWF_NOWAIT reads were refused, so that every read goes to the worker thread.
    #[cfg(test)]
    pub fn refuses_nowait_reads(&self) -> bool {
        self.nowait_read_refused.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub fn file(&self) -> &File {
        &self.file
    }
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

fn open_file(path: &Path, read_only: bool) -> Result<File, ImageError> {
    // O_NONBLOCK, so that open() does not block if the path has become a FIFO since its kind was checked. It has no effect
    // on files and block devices.
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK).open(path);
    open(!read_only).map_err(|why| {
        if !read_only && open(false).is_ok() {
            ImageError::NotWritable { path: path.to_owned(), why }
        } else {
            ImageError::Host { path: path.to_owned(), why }
        }
    })
}
