//! Reads, writes, flushes and discards of a network disk, at any offset and length.
//!
//! The server's minimum block size is kept by reading and rewriting whole blocks, its maximum payload by several requests.

use super::client::{NbdClient, Primary};
use super::connection::Connection;
use super::error::RequestError;
use super::interrupt::Ticket;
use super::replay::ReplayLog;
use super::wire::{CMD_TRIM, CMD_WRITE_ZEROES, ExportFlags, FLAG_NO_HOLE};
use crate::block::sys::{Direction, IoVec, IoVecStorage};
use std::io;
use std::sync::atomic::Ordering;

/// Bytes in the largest write: several of them fit the replay log.
const WRITE_MAX: u32 = 8 << 20;
/// Bytes of an unaligned request that are handled at a time.
const BOUNCE: u64 = 256 << 10;
/// Zeros that are written at a time to a server without WRITE_ZEROES.
const ZEROS: usize = 1 << 20;
/// Bytes in the largest TRIM or WRITE_ZEROES, unless the server finds that too many.
pub(super) const EFFECT_MAX: u32 = 1 << 30;

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl NbdClient {
    /// Size of the export in bytes.
    pub fn size(&self) -> u64 {
        self.export.size
    }

    /// Moves bytes between the export at `offset` and the segments. Gives the number of bytes moved, which may be less than
    /// all; 0 is the end of the export. See [`crate::block::Image`].
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if `may_block` is false; the server's error; EIO if the server was lost for longer than
    /// `reconnect`; ECANCELED if the request was interrupted.
    pub fn transfer(
        &self,
        iov: &mut IoVec<'_>,
        offset: u64,
        direction: Direction,
        may_block: bool,
    ) -> io::Result<usize> {
        if !may_block {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = self.export.size.saturating_sub(offset).min(iov.total() as u64);
        if len == 0 {
            return Ok(0);
        }
        match direction {
            Direction::Read => self.read_part(iov, len, offset),
            Direction::Write => self.write_part(iov, len, offset, self.through),
        }
    }

    /// A write that is on stable storage when it is complete (FUA), whatever the cache mode.
    #[cfg(test)]
    pub fn write_through(&self, iov: &mut IoVec<'_>, offset: u64) -> io::Result<usize> {
        match self.export.size.saturating_sub(offset).min(iov.total() as u64) {
            0 => Ok(0),
            len => self.write_part(iov, len, offset, true),
        }
    }

    /// Splits off the start of a range: the bytes that one request can move without rounding. None if the range does not
    /// begin at a block, or has less than one.
    fn aligned(&self, offset: u64, len: u64, max: u32) -> Option<usize> {
        let min = u64::from(self.export.min_block);
        let whole = (len - len % min).min(max.into());
        (offset.is_multiple_of(min) && whole > 0).then_some(whole as usize)
    }

    /// The whole blocks around the start of a range: their offset, and bytes.
    fn around(&self, offset: u64, len: u64) -> (u64, usize) {
        let min = u64::from(self.export.min_block);
        let start = offset - offset % min;
        let end = (offset + len).next_multiple_of(min).min(start + BOUNCE.min(self.export.max_payload.into()));
        (start, (end - start) as usize)
    }

    fn read_part(&self, iov: &mut IoVec<'_>, len: u64, offset: u64) -> io::Result<usize> {
        if let Some(part) = self.aligned(offset, len, self.export.max_payload) {
            self.run_read(|connection| connection.read(iov, part, offset))?;
            return Ok(part);
        }
        let (start, size) = self.around(offset, len);
        let mut blocks = vec![0; size];
        self.run_read(|connection| {
            let mut storage = IoVecStorage::new();
            let mut whole = IoVec::new(&mut storage);
            whole.push_buffer(&mut blocks);
            connection.read(&mut whole, size, start)
        })?;
        let wanted = blocks.get((offset - start) as usize..).unwrap_or_default();
        let wanted = wanted.get(..wanted.len().min(len as usize)).unwrap_or_default();
        Ok(iov.copy_in(0, wanted))
    }

    fn write_part(&self, iov: &mut IoVec<'_>, len: u64, offset: u64, fua: bool) -> io::Result<usize> {
        let ticket = self.ticket();
        let mut primary = self.lock_primary();
        let max = self.export.max_payload.min(WRITE_MAX.max(self.export.min_block));
        if let Some(part) = self.aligned(offset, len, max) {
            self.write_blocks(&mut primary, ticket, iov, part, offset, fua)?;
            return Ok(part);
        }
        let (start, size) = self.around(offset, len);
        let mut blocks = vec![0; size];
        self.run(&mut primary, ticket, |connection, _| {
            let mut storage = IoVecStorage::new();
            let mut whole = IoVec::new(&mut storage);
            whole.push_buffer(&mut blocks);
            connection.read(&mut whole, size, start)
        })?;
        let room = blocks.get_mut((offset - start) as usize..).unwrap_or_default();
        let part = room.len().min(len as usize);
        iov.copy_out(0, room.get_mut(..part).unwrap_or_default());
        let mut storage = IoVecStorage::new();
        let mut whole = IoVec::new(&mut storage);
        whole.push_source(&blocks);
        self.write_blocks(&mut primary, ticket, &whole, size, start, fua)?;
        Ok(part)
    }

    /// Writes whole blocks, and keeps a copy of them where the server could lose them.
    fn write_blocks(
        &self,
        primary: &mut Primary,
        ticket: Ticket,
        iov: &IoVec<'_>,
        len: usize,
        offset: u64,
        fua: bool,
    ) -> io::Result<()> {
        let can_fua = self.export.flags.has(ExportFlags::SEND_FUA);
        if !self.logs() {
            return self.run(primary, ticket, |connection, _| connection.write(iov, len, offset, can_fua, || ()));
        }
        let stable = fua && can_fua;
        if stable && primary.log.is_empty() {
            return self.run(primary, ticket, |connection, _| connection.write(iov, len, offset, true, || ()));
        }
        self.make_room(primary, ticket, len)?;
        self.run_logged(primary, ticket, |connection, log| {
            connection.write(iov, len, offset, stable, || log.begin_write(iov, len, offset))
        })?;
        if fua && !stable { self.flush_now(primary, ticket) } else { Ok(()) }
    }

    /// Makes room in the log for a change with `len` bytes of data.
    fn make_room(&self, primary: &mut Primary, ticket: Ticket, len: usize) -> io::Result<()> {
        if primary.log.fits(len) { Ok(()) } else { self.flush_now(primary, ticket) }
    }

    /// Executes a change that adds itself to the log.
    fn run_logged(
        &self,
        primary: &mut Primary,
        ticket: Ticket,
        change: impl FnMut(&mut Connection, &mut ReplayLog) -> Result<(), RequestError>,
    ) -> io::Result<()> {
        let result = self.run(primary, ticket, change);
        match result {
            Ok(()) => primary.log.acknowledge(),
            // The guest learns that this change failed: its blocks have any content.
            Err(_) => primary.log.abandon(),
        }
        result
    }

    /// Brings everything written so far to stable storage. Blocks.
    ///
    /// # Errors
    /// As for [`Self::transfer`]. The writes are then written again before the next flush.
    pub fn flush(&self) -> io::Result<()> {
        let ticket = self.ticket();
        self.flush_now(&mut self.lock_primary(), ticket)
    }

    fn flush_now(&self, primary: &mut Primary, ticket: Ticket) -> io::Result<()> {
        if !self.logs() {
            return Ok(());
        }
        let result = self.run(primary, ticket, |connection, _| connection.flush());
        match result {
            Ok(()) => primary.log.clear(),
            // A server's cache may have dropped what it could not store, and forget that by the next flush.
            Err(_) => primary.replay = !primary.log.is_empty(),
        }
        result
    }

    /// Whether [`Self::discard`] may free space.
    pub fn supports_discard(&self) -> bool {
        self.export.flags.has(ExportFlags::SEND_TRIM)
    }

    /// Frees the space of the whole blocks in a range, whose content is then undefined; leaves the range unchanged if the
    /// server cannot. Blocks.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        if !self.supports_discard() {
            return Ok(());
        }
        let min = u64::from(self.export.min_block);
        let end = offset.saturating_add(len).min(self.export.size);
        self.effect(CMD_TRIM, 0, offset.next_multiple_of(min), end - end % min)
    }

    /// Makes a range read as zeros; with `allocate` without freeing its space. Blocks.
    pub fn write_zeroes(&self, offset: u64, len: u64, allocate: bool) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|&end| end <= self.export.size).ok_or_else(|| errno(libc::ENOSPC))?;
        let min = u64::from(self.export.min_block);
        let (first, last) = (offset.next_multiple_of(min), end - end % min);
        if !self.export.flags.has(ExportFlags::SEND_WRITE_ZEROES) || first >= last {
            return self.write_zero_bytes(offset, end);
        }
        self.write_zero_bytes(offset, first)?;
        self.effect(CMD_WRITE_ZEROES, if allocate { FLAG_NO_HOLE } else { 0 }, first, last)?;
        self.write_zero_bytes(last, end)
    }

    fn write_zero_bytes(&self, mut from: u64, to: u64) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let zeros = vec![0; ZEROS.min((to - from) as usize)];
        while from < to {
            let part = zeros.len().min((to - from) as usize);
            self.write_at(zeros.get(..part).unwrap_or_default(), from)?;
            from += part as u64;
        }
        Ok(())
    }

    /// Executes a request without data for whole blocks, in parts that the server takes.
    fn effect(&self, command: u16, flags: u16, mut from: u64, to: u64) -> io::Result<()> {
        let ticket = self.ticket();
        while from < to {
            let mut primary = self.lock_primary();
            let max = self.effect_max.load(Ordering::Relaxed);
            let len = (to - from).min(max.into()) as u32;
            let can_fua = self.export.flags.has(ExportFlags::SEND_FUA);
            let result = if self.logs() {
                self.make_room(&mut primary, ticket, 0)?;
                self.run_logged(&mut primary, ticket, |connection, log| {
                    match command {
                        CMD_TRIM => log.begin_trim(from, len),
                        _ => log.begin_zeroes(from, len, flags),
                    }
                    connection.command(command, flags, from, len)
                })
            } else {
                let flags = flags | u16::from(can_fua);
                self.run(&mut primary, ticket, |connection, _| connection.command(command, flags, from, len))
            };
            match result {
                Ok(()) => from += u64::from(len),
                // A server may find more than its maximum payload too much (doc/proto.md, "Size constraints").
                Err(error)
                    if len > self.export.max_payload
                        && matches!(error.raw_os_error(), Some(libc::EOVERFLOW | libc::EINVAL)) =>
                {
                    self.effect_max.store(self.export.max_payload, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads exactly the buffer's bytes. Blocks.
    ///
    /// # Errors
    /// As for [`Self::transfer`]; [`io::ErrorKind::UnexpectedEof`] if the range is not within the export.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let mut storage = IoVecStorage::new();
            let mut iov = IoVec::new(&mut storage);
            iov.push_buffer(rest);
            match self.transfer(&mut iov, offset + done as u64, Direction::Read, true)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Writes all bytes. Blocks.
    ///
    /// # Errors
    /// As for [`Self::transfer`]; ENOSPC if the range is not within the export.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let mut storage = IoVecStorage::new();
            let mut iov = IoVec::new(&mut storage);
            iov.push_source(rest);
            match self.transfer(&mut iov, offset + done as u64, Direction::Write, true)? {
                0 => return Err(errno(libc::ENOSPC)),
                count => done += count,
            }
        }
        Ok(())
    }
}
