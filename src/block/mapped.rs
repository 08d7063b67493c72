//! Read-only image backend whose bytes are in several places: metadata in memory, ranges of files, zeros between them.

use super::folder::{HostDir, Tree};
use super::raw::{Patience, RawFile};
use super::sys::{Direction, IoVec};
use crate::error::host_error;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

/// Files of a directory that are open at a time.
const OPEN_MAX: usize = 64;
/// Messages about files that cannot be read, for each medium.
const WARNINGS: u32 = 10;

/// A range of the image that a file stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// Byte offset in the image.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// The file, by its place in [`Files`].
    pub file: usize,
    /// Byte offset in the file.
    pub offset: u64,
}

/// The files behind an image.
#[derive(Debug)]
pub enum Files {
    /// Open files.
    Open(Vec<RawFile>),
    /// Files of a directory.
    Folder(FolderFiles),
}

/// Files of a directory, by their places in the listing. Each is opened when the guest first reads it; the least recently
/// used one gives way.
#[derive(Debug)]
pub struct FolderFiles {
    dir: HostDir,
    /// The directory's name in messages.
    shown: PathBuf,
    tree: Tree,
    /// The most recently used first.
    open: VecDeque<(usize, RawFile)>,
    warnings: u32,
}

impl FolderFiles {
    /// The files of a listing of `dir`.
    pub fn new(dir: HostDir, shown: PathBuf, tree: Tree) -> Self {
        Self { dir, shown, tree, open: VecDeque::new(), warnings: 0 }
    }

    fn get(&mut self, file: usize, patience: Patience) -> io::Result<&RawFile> {
        match self.open.iter().position(|(open, _)| *open == file) {
            Some(0) => {}
            Some(at) => {
                if let Some(entry) = self.open.remove(at) {
                    self.open.push_front(entry);
                }
            }
            // Opening may wait for the host's disk.
            None if patience != Patience::Unlimited => return Err(io::ErrorKind::WouldBlock.into()),
            None => {
                let path = self.tree.path(file);
                let opened = self.dir.open_file(&path).and_then(|file| RawFile::from_file(file, true));
                let opened = opened.inspect_err(|why| {
                    self.warnings += 1;
                    if self.warnings <= WARNINGS {
                        let why = host_error(why);
                        tracing::warn!("{}: the guest cannot read it: {why}", self.shown.join(&path).display());
                    }
                })?;
                self.open.truncate(OPEN_MAX - 1);
                self.open.push_front((file, opened));
            }
        }
        self.open.front().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// An image of these ranges.
#[derive(Debug)]
pub struct MappedImage {
    /// The first bytes of the image.
    memory: Vec<u8>,
    /// Ascending and disjoint, behind `memory`.
    ranges: Vec<FileRange>,
    files: Files,
    size: u64,
}

impl MappedImage {
    /// An image of `size` bytes that begins with `memory`. What no range contains reads as zeros.
    pub fn new(memory: Vec<u8>, ranges: Vec<FileRange>, files: Files, size: u64) -> Self {
        debug_assert!(ranges.windows(2).all(|two| two[0].start + two[0].len <= two[1].start), "ranges overlap");
        Self { memory, ranges, files, size }
    }

    /// Bytes of the image.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the bytes up to the end of the place that `offset` is in. A file that has become shorter gives zeros.
    pub fn transfer(
        &mut self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        patience: Patience,
    ) -> io::Result<usize> {
        if direction == Direction::Write {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if let Some(bytes) = usize::try_from(offset).ok().and_then(|at| self.memory.get(at..)).filter(|b| !b.is_empty())
        {
            return Ok(iov.scatter(bytes));
        }
        let after = self.ranges.partition_point(|range| range.start <= offset);
        let inside =
            after.checked_sub(1).and_then(|n| self.ranges.get(n)).filter(|range| offset - range.start < range.len);
        let Some(range) = inside.copied() else {
            let end = self.ranges.get(after).map_or(self.size, |range| range.start);
            truncate(iov, end.saturating_sub(offset));
            iov.fill_zeros();
            return Ok(iov.total());
        };
        let within = offset - range.start;
        truncate(iov, range.len - within);
        let file = match &mut self.files {
            Files::Open(files) => files.get(range.file).ok_or(io::ErrorKind::NotFound)?,
            Files::Folder(files) => files.get(range.file, patience)?,
        };
        match file.transfer(iov, range.offset + within, Direction::Read, patience)? {
            0 => {
                iov.fill_zeros();
                Ok(iov.total())
            }
            moved => Ok(moved),
        }
    }
}

fn truncate(iov: &mut IoVec<'_>, len: u64) {
    iov.truncate(usize::try_from(len).unwrap_or(usize::MAX));
}
