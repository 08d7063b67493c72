//! Replay log: what the server has acknowledged and may still lose, because no flush has followed.
//!
//! A server that is killed may lose every write since its last flush. The guest relies on reading them back. The log keeps
//! them, in order, until a flush succeeds; after a reconnection they are written again before any other request. The log
//! is bounded: when it is full, the client flushes.

use super::connection::Connection;
use super::error::RequestError;
use super::wire::{CMD_TRIM, CMD_WRITE_ZEROES};
use crate::block::sys::{IoVec, IoVecStorage};

/// Bytes in a full log.
pub const CAPACITY: usize = 32 << 20;
/// What an entry costs apart from its data.
const ENTRY_COST: usize = 64;
/// Bytes that an empty log may keep allocated, however little the guest writes between flushes.
const KEPT: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
enum Change {
    /// Bytes of `data`: start and length.
    Write {
        start: usize,
        len: usize,
    },
    Trim {
        len: u32,
    },
    WriteZeroes {
        len: u32,
        flags: u16,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    change: Change,
}

/// Changes of the export in order.
#[derive(Debug, Default)]
pub struct ReplayLog {
    entries: Vec<Entry>,
    /// The data of the entries, up to `used`. Longer than that, so that it is not cleared before each write.
    data: Vec<u8>,
    used: usize,
    /// The last entry was not acknowledged yet.
    pending: bool,
}

impl ReplayLog {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Changes in the log.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a change with `len` bytes of data can be added.
    pub fn fits(&self, len: usize) -> bool {
        self.entries.len() * ENTRY_COST + self.used + ENTRY_COST + len <= CAPACITY
    }

    /// Adds a write that the server has not acknowledged, with a copy of its data: the first `len` bytes of the segments.
    pub fn begin_write(&mut self, iov: &IoVec<'_>, len: usize, offset: u64) {
        self.abandon();
        let (start, end) = (self.used, self.used + len);
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        iov.copy_out(0, self.data.get_mut(start..end).unwrap_or_default());
        self.used = end;
        self.begin(Entry { offset, change: Change::Write { start, len } });
    }

    pub fn begin_trim(&mut self, offset: u64, len: u32) {
        self.abandon();
        self.begin(Entry { offset, change: Change::Trim { len } });
    }

    pub fn begin_zeroes(&mut self, offset: u64, len: u32, flags: u16) {
        self.abandon();
        self.begin(Entry { offset, change: Change::WriteZeroes { len, flags } });
    }

    fn begin(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.pending = true;
    }

    /// The server has acknowledged the last change.
    pub fn acknowledge(&mut self) {
        self.pending = false;
    }

    /// Forgets the last change if the server has not acknowledged it: it failed.
    pub fn abandon(&mut self) {
        if std::mem::take(&mut self.pending)
            && let Some(Entry { change: Change::Write { start, .. }, .. }) = self.entries.pop()
        {
            self.used = start;
        }
    }

    /// Forgets all: it has reached stable storage. Keeps as much memory as the next such interval will need.
    pub fn clear(&mut self) {
        let needed = (2 * self.used).max(KEPT);
        self.data.truncate(needed);
        self.data.shrink_to(needed);
        let entries = self.entries.len();
        self.entries.clear();
        self.entries.shrink_to((2 * entries).max(KEPT / size_of::<Entry>()));
        self.used = 0;
        self.pending = false;
    }

    /// Sends all acknowledged changes again.
    pub fn replay(&self, connection: &mut Connection) -> Result<(), RequestError> {
        let acknowledged = self.entries.len() - usize::from(self.pending);
        self.entries.iter().take(acknowledged).try_for_each(|entry| self.send(entry, connection))
    }

    fn send(&self, entry: &Entry, connection: &mut Connection) -> Result<(), RequestError> {
        match entry.change {
            Change::Write { start, len } => {
                let mut storage = IoVecStorage::new();
                let mut iov = IoVec::new(&mut storage);
                iov.push_source(self.data.get(start..start + len).unwrap_or_default());
                connection.write(&iov, len, entry.offset, false, || ())
            }
            Change::Trim { len } => connection.command(CMD_TRIM, 0, entry.offset, len),
            Change::WriteZeroes { len, flags } => connection.command(CMD_WRITE_ZEROES, flags, entry.offset, len),
        }
    }
}
