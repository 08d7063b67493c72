//! Input of character devices: standard input, or a pseudo-terminal's controller.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An input descriptor that epoll accepts.
#[derive(Debug)]
pub struct InputSource(SourceFd);

#[derive(Debug)]
enum SourceFd {
    Stdin,
    Owned(OwnedFd),
}

/// Result of one read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// This many bytes.
    Bytes(usize),
    /// No bytes are available now.
    WouldBlock,
    /// End of file, or an error.
    End,
}

impl InputSource {
    /// Standard input; `None` if it is closed, a directory or /dev/null. epoll refuses regular files, so a thread copies
    /// these into a pipe.
    pub fn stdin() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        let Ok(stat) = rustix::fs::fstat(stdin) else { return Ok(None) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let null = rustix::fs::makedev(1, 3);
        match kind {
            FileType::Fifo | FileType::Socket => Ok(Some(Self(SourceFd::Stdin))),
            FileType::CharacterDevice if stat.st_rdev == null => Ok(None),
            FileType::CharacterDevice if rustix::termios::isatty(stdin) => Ok(Some(Self(SourceFd::Stdin))),
            FileType::Directory => Ok(None),
            _ => copy_stdin_to_pipe().map(|end| Some(Self(SourceFd::Owned(end)))),
        }
    }

    /// A descriptor that no other process shares.
    pub fn owned(fd: OwnedFd) -> Self {
        Self(SourceFd::Owned(fd))
    }

    /// Reads without blocking. Standard input's file description is shared with other processes, which would see
    /// O_NONBLOCK: poll(2) precedes the read instead.
    pub fn read(&self, buffer: &mut [u8]) -> ReadResult {
        loop {
            match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&Timespec::default())) {
                Ok(0) => return ReadResult::WouldBlock,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return ReadResult::End,
            }
            match rustix::io::read(self.as_fd(), &mut *buffer) {
                Ok(0) => return ReadResult::End,
                Ok(count) => return ReadResult::Bytes(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return ReadResult::WouldBlock,
                Err(_) => return ReadResult::End,
            }
        }
    }
}

impl AsFd for InputSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            SourceFd::Stdin => rustix::stdio::stdin(),
            SourceFd::Owned(fd) => fd.as_fd(),
        }
    }
}

/// Starts a thread that copies standard input to a pipe until either ends; gives the read end.
fn copy_stdin_to_pipe() -> io::Result<OwnedFd> {
    let (reader, mut writer) = io::pipe()?;
    std::thread::Builder::new().name("stdin".to_owned()).stack_size(64 << 10).spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(count @ 1..) => {
                    if writer.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    })?;
    Ok(reader.into())
}
