//! Listing of everything below a directory, in a fixed order.

use super::HostDir;
use crate::error::host_error;
use rustix::fs::{Access, AtFlags, Dir, FileType};
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Warnings of one listing that are printed one by one.
const WARNINGS: usize = 5;
/// Bytes of a symbolic link's target that a medium keeps.
const TARGET_MAX: usize = 512;

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory, with its entries by index, sorted by the bytes of their names.
    Dir(Vec<usize>),
    /// A regular file, and its size in bytes.
    File(u64),
    /// A symbolic link and its target, which is never followed.
    Symlink(OsString),
}

/// A directory, file or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index of the directory that it is in; 0 for the top.
    pub parent: usize,
    /// Its name; empty for the top.
    pub name: OsString,
    /// Kind, and what belongs to it.
    pub content: Content,
    /// Time of the last modification in seconds since 1970.
    pub modified: i64,
    /// Permission bits.
    pub mode: u32,
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    /// Bytes of a file.
    pub fn size(&self) -> u64 {
        match self.content {
            Content::File(size) => size,
            Content::Dir(_) | Content::Symlink(_) => 0,
        }
    }
}

/// The directory cannot be the source of a medium.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The host refused.
    #[error("{}: {}", path.display(), host_error(why))]
    Host {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Too many entries.
    #[error("{}: more than {} files and directories; name a directory with fewer", .0.display(), Tree::ENTRIES_MAX)]
    TooMany(PathBuf),
    /// Too many levels.
    #[error("{}: more than {} levels of directories", .0.display(), Tree::DEPTH_MAX)]
    TooDeep(PathBuf),
}

/// The listing. Node 0 is the top, and each directory comes before its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// All nodes.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The most files, directories and links.
    pub const ENTRIES_MAX: usize = 100_000;
    /// The most levels of directories.
    pub const DEPTH_MAX: usize = 64;

    /// A tree of one empty directory.
    pub fn new(modified: i64) -> Self {
        let top = Node { parent: 0, name: OsString::new(), content: Content::Dir(Vec::new()), modified, mode: 0o755 };
        Self { nodes: vec![top] }
    }

    /// Appends a node to a directory.
    pub fn push(&mut self, node: Node) -> usize {
        let index = self.nodes.len();
        if let Some(Content::Dir(entries)) = self.nodes.get_mut(node.parent).map(|parent| &mut parent.content) {
            entries.push(index);
        }
        self.nodes.push(node);
        index
    }

    /// The node's path below the top.
    pub fn path(&self, index: usize) -> PathBuf {
        let mut names = Vec::new();
        let mut at = index;
        // Ends: a parent has a smaller index.
        while let Some(node) = self.nodes.get(at).filter(|_| at > 0) {
            names.push(node.name.as_os_str());
            at = node.parent;
        }
        names.into_iter().rev().collect()
    }

    /// The indexes of a directory's entries.
    pub fn entries(&self, index: usize) -> &[usize] {
        match self.nodes.get(index).map(|node| &node.content) {
            Some(Content::Dir(entries)) => entries,
            _ => &[],
        }
    }

    /// Lists everything below `dir`. `shown` is its name in messages. Skipped with a warning: sockets, FIFOs and devices, and
    /// what cannot be read.
    ///
    /// # Errors
    /// If the directory cannot be read or exceeds the bounds.
    pub fn list(dir: &HostDir, shown: &Path) -> Result<Self, TreeError> {
        let failed = |why| TreeError::Host { path: shown.to_owned(), why };
        let top = dir.open_dir(Path::new("")).map_err(failed)?;
        let status = rustix::fs::fstat(&top).map_err(|errno| failed(errno.into()))?;
        let mut tree = Self::new(status.st_mtime);
        let mut warnings = Warnings { shown, count: 0 };
        // Breadth first: one descriptor is open at a time. `next` runs through the nodes that the loop itself appends.
        let (mut next, mut levels) = (0, vec![0]);
        while let Some(node) = tree.nodes.get(next) {
            let level = levels.get(next).copied().unwrap_or(0);
            if node.is_dir() {
                let path = tree.path(next);
                match dir.open_dir(&path).and_then(|fd| tree.list_one(next, &path, fd, &mut warnings)) {
                    Ok(()) => {}
                    Err(why) if next == 0 => return Err(failed(why)),
                    Err(why) => warnings.skip(&path, &host_error(&why)),
                }
                levels.resize(tree.nodes.len(), level + 1);
                if level >= Self::DEPTH_MAX && !tree.entries(next).is_empty() {
                    return Err(TreeError::TooDeep(shown.join(path)));
                }
                if tree.nodes.len() > Self::ENTRIES_MAX {
                    return Err(TreeError::TooMany(shown.to_owned()));
                }
            }
            next += 1;
        }
        warnings.summary();
        Ok(tree)
    }

    fn list_one(&mut self, parent: usize, path: &Path, fd: OwnedFd, warnings: &mut Warnings<'_>) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(entry.file_name().to_owned());
            }
            if self.nodes.len() + names.len() > Self::ENTRIES_MAX + 1 {
                break;
            }
        }
        names.sort();
        for name in names {
            let shown = || path.join(OsStr::from_bytes(name.to_bytes()));
            match node(&fd, &name, parent) {
                Ok(Ok(node)) => drop(self.push(node)),
                Ok(Err(what)) => warnings.skip(&shown(), what),
                // Removed since it was listed.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => warnings.skip(&shown(), &host_error(&why)),
            }
        }
        Ok(())
    }
}

/// The node of a directory entry, or what it is instead.
fn node(dir: &OwnedFd, name: &CStr, parent: usize) -> io::Result<Result<Node, &'static str>> {
    let status = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let content = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Content::Dir(Vec::new()),
        FileType::RegularFile => {
            rustix::fs::accessat(dir, name, Access::READ_OK, AtFlags::EACCESS)?;
            Content::File(u64::try_from(status.st_size).unwrap_or(0))
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
            if target.as_bytes().is_empty() || target.as_bytes().len() > TARGET_MAX {
                return Ok(Err("is a symbolic link with a long target"));
            }
            Content::Symlink(OsStr::from_bytes(target.as_bytes()).to_owned())
        }
        FileType::Fifo => return Ok(Err("is a FIFO")),
        FileType::Socket => return Ok(Err("is a socket")),
        _ => return Ok(Err("is a device")),
    };
    let name = OsStr::from_bytes(name.to_bytes()).to_owned();
    Ok(Ok(Node { parent, name, content, modified: status.st_mtime, mode: status.st_mode & 0o7777 }))
}

/// Messages about what a listing skips: the first few, then one with the number of the others.
struct Warnings<'a> {
    shown: &'a Path,
    count: usize,
}

impl Warnings<'_> {
    fn skip(&mut self, path: &Path, why: &str) {
        self.count += 1;
        if self.count <= WARNINGS {
            tracing::warn!("dir:{}: skips '{}': {why}", self.shown.display(), path.display());
        }
    }

    fn summary(&self) {
        if let Some(more @ 1..) = self.count.checked_sub(WARNINGS) {
            tracing::warn!("dir:{}: skips {more} more files", self.shown.display());
        }
    }
}
