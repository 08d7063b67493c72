//! Where input comes from: a descriptor that can be watched.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor that epoll accepts.
#[derive(Debug)]
pub struct Source(Descriptor);

#[derive(Debug)]
enum Descriptor {
    Stdin,
    Owned(OwnedFd),
}

/// One read.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    End,
}

impl Source {
    /// Standard input. None if it is closed or /dev/null. A regular file, which epoll refuses, is passed through a
    /// pipe by a thread.
    pub fn stdin() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        let Ok(stat) = rustix::fs::fstat(stdin) else { return Ok(None) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let null = rustix::fs::makedev(1, 3);
        match kind {
            FileType::Fifo | FileType::Socket => Ok(Some(Self(Descriptor::Stdin))),
            FileType::CharacterDevice if stat.st_rdev == null => Ok(None),
            FileType::CharacterDevice if rustix::termios::isatty(stdin) => Ok(Some(Self(Descriptor::Stdin))),
            FileType::Directory => Ok(None),
            _ => pump().map(|end| Some(Self(Descriptor::Owned(end)))),
        }
    }

    /// A descriptor of our own that can be watched.
    pub fn descriptor(fd: OwnedFd) -> Self {
        Self(Descriptor::Owned(fd))
    }

    /// Reads what is there. Standard input is shared with others and so not ours to make nonblocking: it is asked
    /// first.
    pub fn read(&self, buffer: &mut [u8]) -> Got {
        loop {
            match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&Timespec::default())) {
                Ok(0) => return Got::Nothing,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return Got::End,
            }
            match rustix::io::read(self.as_fd(), &mut *buffer) {
                Ok(0) => return Got::End,
                Ok(count) => return Got::Bytes(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Got::Nothing,
                Err(_) => return Got::End,
            }
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Descriptor::Stdin => rustix::stdio::stdin(),
            Descriptor::Owned(fd) => fd.as_fd(),
        }
    }
}

/// Copies standard input to a pipe until either ends.
fn pump() -> io::Result<OwnedFd> {
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
