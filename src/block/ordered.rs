//! Order of a qcow2 image's metadata writes, so that neither a killed process nor a crash of the host damages the image.
//!
//! A pointer in the file must never point to a cluster whose refcount in the file is 0: the next user of the image would give
//! that cluster away a second time. imago (0.2.6) orders refcounts and L2 tables among its own caches, with two gaps that
//! this storage object closes beneath it:
//!
//! - It writes an L1 entry when it allocates an L2 table, long before the refcount of that table. Writes to the L1 table wait
//!   here until imago has flushed its caches.
//! - It does not wait for the device between refcounts and tables, so that the host may write them in another order. A write
//!   that follows one to a refcount block waits until that is on stable storage, and so do L1 entries.

use imago::io_buffers::{IoBuffer, IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use imago::{Storage, StorageExt};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a qcow2 image has the metadata whose order matters.
#[derive(Debug, Default)]
pub struct Layout {
    /// The L1 table, in bytes of the file.
    pub l1_table: Range<u64>,
    /// The refcount table.
    pub refcount_table: Range<u64>,
    /// Offsets of the refcount blocks.
    pub refcount_blocks: HashSet<u64>,
    /// Bytes of a cluster.
    pub cluster: u64,
}

/// Bytes of an L1 entry.
const ENTRY: usize = 8;

/// What has been written since the last time that the device was waited for.
#[derive(Debug, Default)]
struct State {
    layout: Layout,
    /// Entries of the L1 table that wait, by their offset.
    l1: BTreeMap<u64, [u8; ENTRY]>,
    /// A refcount block was written.
    refcounts: bool,
    /// Something else was written.
    other: bool,
    /// Clusters may have been freed: then tables go to the device before refcounts.
    frees: bool,
}

/// A file of an image's chain as imago accesses it.
#[derive(Debug)]
pub struct Store {
    file: imago::file::File,
    /// The file's number in the chain.
    number: usize,
    state: Mutex<State>,
}

impl Store {
    /// File `number` of a chain.
    pub fn new(file: imago::file::File, number: usize) -> Self {
        Self { file, number, state: Mutex::default() }
    }

    /// The file's number in the chain.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Orders the writes of a qcow2 image with this metadata from now on.
    pub fn order(&self, layout: Layout) {
        self.state().layout = layout;
    }

    /// Clusters are about to be freed.
    pub fn expect_frees(&self) {
        self.state().frees = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything written is on stable storage.
    fn wait(&self, state: &mut State) -> io::Result<()> {
        self.file.sync()?;
        state.refcounts = false;
        state.other = false;
        Ok(())
    }

    /// Before a write of `range`: waits for the device where the order demands it.
    fn before_write(&self, range: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let Layout { refcount_blocks, cluster, .. } = &state.layout;
        if *cluster == 0 {
            return Ok(());
        }
        if refcount_blocks.contains(&(range.start - range.start % cluster)) {
            if state.frees && state.other {
                self.wait(&mut state)?;
            }
            state.refcounts = true;
        } else {
            if state.refcounts {
                self.wait(&mut state)?;
            }
            state.other = true;
        }
        Ok(())
    }

    /// The part of `range` that is in the L1 table.
    fn in_l1(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let state = self.state();
        let Layout { l1_table, cluster, .. } = &state.layout;
        let part = range.start.max(l1_table.start)..range.end.min(l1_table.end);
        (*cluster != 0 && part.start < part.end).then_some(part)
    }

    /// Reads `range`, which has the file's alignment, past the entries that wait.
    #[allow(unsafe_code)]
    fn read_file(&self, range: &Range<u64>) -> io::Result<IoBuffer> {
        let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut buffer = IoBuffer::new(len, self.file.mem_align())?;
        // SAFETY: the buffer has the file's memory alignment, and the range its request alignment.
        unsafe { self.file.pure_readv(IoVectorMut::from(&mut buffer), range.start)? };
        Ok(buffer)
    }

    /// A write that reaches into the L1 table: its entries that differ from the file's wait, the other bytes are written.
    /// With direct I/O a write of one entry comes as a whole block, which may hold other tables as well.
    #[allow(unsafe_code)]
    fn write_around_l1(&self, bufv: &IoVector<'_>, range: &Range<u64>, l1: &Range<u64>) -> io::Result<()> {
        let mut buffer = self.read_file(range)?;
        let mut bytes = vec![0; buffer.len()];
        bufv.copy_into_slice(&mut bytes);
        let place = |at: u64| (at - range.start) as usize;
        {
            let mut state = self.state();
            let file = buffer.as_ref().into_slice();
            let first = l1.start.next_multiple_of(ENTRY as u64);
            for at in (first..l1.end).step_by(ENTRY) {
                let entry = place(at)..place(at) + ENTRY;
                let (Some(old), Some(new)) = (file.get(entry.clone()), bytes.get_mut(entry)) else { continue };
                match <[u8; ENTRY]>::try_from(&*new) {
                    Ok(changed) if *new != *old => state.l1.insert(at, changed),
                    _ => state.l1.remove(&at),
                };
                new.copy_from_slice(old);
            }
        }
        if l1 == range {
            return Ok(());
        }
        self.before_write(range.clone())?;
        buffer.as_mut().into_slice().copy_from_slice(&bytes);
        // SAFETY: as in `read_file`; the caller's request holds the range.
        unsafe { self.file.pure_writev(IoVector::from(&buffer), range.start) }
    }

    /// A write of `bytes` to the refcount table names refcount blocks.
    fn note_refcount_blocks(&self, offset: u64, bytes: &IoVector<'_>) {
        let mut state = self.state();
        let Layout { refcount_table: table, refcount_blocks, cluster, .. } = &mut state.layout;
        let end = offset.saturating_add(bytes.len());
        if *cluster == 0 || offset >= table.end || table.start >= end {
            return;
        }
        let mut copy = vec![0; usize::try_from(bytes.len()).unwrap_or_default()];
        bytes.copy_into_slice(&mut copy);
        for entry in copy.chunks_exact(8) {
            let block = entry.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            if block != 0 {
                refcount_blocks.insert(block);
            }
        }
    }

    /// Writes the L1 entries that wait, after everything that they point to.
    fn write_l1(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.l1.is_empty() {
            return Ok(());
        }
        self.wait(&mut state)?;
        while let Some((&offset, entry)) = state.l1.first_key_value() {
            self.file.write(&entry[..], offset)?;
            state.l1.pop_first();
        }
        state.other = true;
        Ok(())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

// imago declares these functions unsafe because a caller must keep alignment and exclusion. Each passes its caller's request
// on, to a file that has the same alignments and the same helper for exclusion.
#[allow(unsafe_code)]
impl Storage for Store {
    fn mem_align(&self) -> usize {
        self.file.mem_align()
    }

    fn req_align(&self) -> usize {
        self.file.req_align()
    }

    fn zero_align(&self) -> usize {
        self.file.zero_align()
    }

    fn discard_align(&self) -> usize {
        self.file.discard_align()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn resolve_relative_path<P: AsRef<Path>>(&self, relative: P) -> io::Result<PathBuf> {
        self.file.resolve_relative_path(relative)
    }

    fn get_filename(&self) -> Option<PathBuf> {
        self.file.get_filename()
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn pure_readv(&self, bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut bufv = bufv;
        let range = offset..offset.saturating_add(bufv.len());
        let waiting: Vec<_> = match self.in_l1(&range) {
            Some(part) => self.state().l1.range(part).map(|(at, entry)| (*at, *entry)).collect(),
            None => Vec::new(),
        };
        if waiting.is_empty() {
            // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
            return unsafe { self.file.pure_readv(bufv, offset) };
        }
        // A block that is read to be written again in part.
        let mut buffer = self.read_file(&range)?;
        let bytes = buffer.as_mut().into_slice();
        for (at, entry) in waiting {
            let at = (at - offset) as usize;
            if let Some(place) = bytes.get_mut(at..at + ENTRY) {
                place.copy_from_slice(&entry);
            }
        }
        bufv.copy_from_slice(bytes);
        Ok(())
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        let range = offset..offset.saturating_add(bufv.len());
        self.note_refcount_blocks(offset, &bufv);
        if let Some(l1) = self.in_l1(&range) {
            return self.write_around_l1(&bufv, &range, &l1);
        }
        self.before_write(range)?;
        // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
        unsafe { self.file.pure_writev(bufv, offset) }
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.before_write(offset..offset.saturating_add(length))?;
        // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
        unsafe { self.file.pure_write_zeroes(offset, length) }
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.before_write(offset..offset.saturating_add(length))?;
        // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
        unsafe { self.file.pure_write_allocated_zeroes(offset, length) }
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.before_write(offset..offset.saturating_add(length))?;
        // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
        unsafe { self.file.pure_discard(offset, length) }
    }

    fn flush(&self) -> io::Result<()> {
        // imago calls this after its caches have written what they hold.
        self.write_l1()?;
        self.file.flush()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.frees = false;
        self.wait(&mut state)
    }

    fn settle_writes(&self) -> io::Result<()> {
        self.file.settle_writes()
    }

    // SAFETY: nothing beyond what the trait demands of the caller.
    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        self.write_l1()?;
        // SAFETY: the caller's request has the alignment and the exclusion that imago demands, and the file has the same.
        unsafe { self.file.invalidate_cache() }
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        self.file.get_storage_helper()
    }

    fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        self.file.resize(new_size, mode)
    }
}
