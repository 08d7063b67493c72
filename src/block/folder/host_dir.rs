//! Access to files below one directory of the host, never through a symbolic link.

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// The descriptor through which a directory's files are listed.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// No symbolic link, no waiting for the writer of a FIFO, no terminal.
const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// An open directory. Paths given to its methods are relative to it and consist of plain names.
#[derive(Debug)]
pub struct HostDir {
    root: OwnedFd,
}

/// What tells whether a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Permission bits.
    pub mode: u32,
    inode: u64,
    size: i64,
    modified: (i64, u64),
}

/// A directory below a [`HostDir`]: that one itself, or a descriptor of its own.
enum Below<'a> {
    Root(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Below<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl HostDir {
    /// Opens a directory that the user named. Symbolic links in `path` itself are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: rustix::fs::open(path, LIST | OFlags::CLOEXEC, Mode::empty())? })
    }

    /// Takes the lock of flock(2) on the directory without waiting.
    pub fn lock(&self, exclusive: bool) -> io::Result<()> {
        let operation = match exclusive {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        Ok(rustix::fs::flock(&self.root, operation)?)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// ELOOP or ENOTDIR where a component is a symbolic link; [`io::ErrorKind::InvalidInput`] for a path with `..` or for
    /// anything but a regular file.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let file = File::from(rustix::fs::openat(&parent, name, OFlags::RDONLY | SAFE, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_plain("is no regular file")) }
    }

    /// Opens a directory for listing; an empty path is the directory itself.
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let below = self.below(path)?;
        Ok(rustix::fs::openat(&below, ".", LIST | SAFE, Mode::empty())?)
    }

    /// The status of a file, directory or link; none if there is none.
    pub fn status(&self, path: &Path) -> io::Result<Option<Status>> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Status {
                mode: stat.st_mode & 0o7777,
                inode: stat.st_ino,
                size: stat.st_size,
                modified: (stat.st_mtime, stat.st_mtime_nsec),
            })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Creates a directory. One that exists already is success.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => self.below(path).map(drop),
            result => Ok(result?),
        }
    }

    /// Replaces a file, or creates it, in one step: a file of another name is written, flushed and renamed. `mode` are the
    /// permission bits of the file that is replaced; a new one gets those of the process's umask. `modified` is in seconds
    /// since 1970.
    pub fn replace_file(
        &self,
        path: &Path,
        content: &[u8],
        mode: Option<u32>,
        modified: Option<i64>,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let (mut file, temporary) = create_temporary(&parent)?;
        let written = (|| {
            file.write_all(content)?;
            if let Some(mode) = mode {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
            }
            if let Some(seconds) = modified {
                let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
                rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
            file.sync_all()?;
            rustix::fs::renameat(&parent, &temporary, &parent, name)?;
            Ok(())
        })();
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        }
        written
    }

    /// Removes a file; one that is absent is success.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.remove(path, AtFlags::empty())
    }

    /// Removes an empty directory; one that is absent is success.
    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove(path, AtFlags::REMOVEDIR)
    }

    fn remove(&self, path: &Path, flags: AtFlags) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(&parent, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Brings the names in a directory to stable storage.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.open_dir(path)?)?)
    }

    /// The directory that `path` is in, and the last component.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(Below<'_>, &'a OsStr)> {
        match path.components().next_back() {
            Some(Component::Normal(name)) => Ok((self.below(path.parent().unwrap_or(Path::new("")))?, name)),
            _ => Err(not_plain("is no plain name")),
        }
    }

    fn below(&self, path: &Path) -> io::Result<Below<'_>> {
        let mut at = Below::Root(self.root.as_fd());
        for component in path.components() {
            let Component::Normal(name) = component else { return Err(not_plain("is no plain name")) };
            // O_PATH does not need the right to list the directory.
            let flags = OFlags::PATH | OFlags::DIRECTORY | SAFE;
            at = Below::Opened(rustix::fs::openat(&at, name, flags, Mode::empty())?);
        }
        Ok(at)
    }
}

fn not_plain(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// A new file with a name that no file has, in a directory.
fn create_temporary(parent: &Below<'_>) -> io::Result<(File, String)> {
    const TRIES: u32 = 1000;
    for n in 0..TRIES {
        let name = format!(".pcvm-{}-{n}.tmp", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
        match rustix::fs::openat(parent, &name, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => return Ok((file.into(), name)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EXIST.into())
}
