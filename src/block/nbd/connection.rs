//! Transmission phase of one NBD connection: one request at a time, and its reply (doc/proto.md, "Transmission").
//!
//! A request costs one sendmsg(2) and a reply that comes in one piece one recvmsg(2), data included: data moves between the
//! socket and the caller's segments. Reads of up to 64 KiB ask the server not to fragment, where it can promise that, so
//! that the place of the data is known before the header is. Every length, offset and cookie of a reply is checked.

use super::error::{NbdError, RequestError, printable};
use super::link::Link;
use super::negotiate::Export;
use super::wire::*;
use crate::block::sys::{IoVec, IoVecStorage};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// A read of up to this length may not be fragmented by a server that can do without (doc/proto.md, NBD_CMD_READ).
const UNFRAGMENTED_MAX: usize = 64 << 10;
/// Error chunks in one reply.
const ERROR_CHUNKS_MAX: usize = 64;
/// Separate ranges of a reply's data that are known at a time. Data that comes in order is one range.
const RANGES_MAX: usize = 4096;
/// Characters of a server's text in a log message.
const TEXT_MAX: usize = 200;
/// How long closing a connection may wait for the socket to take the last request.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// A connection in the transmission phase.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    export: Export,
    cookie: u64,
}

/// What became of a chunk of a structured reply.
enum Outcome {
    /// The last chunk.
    Done,
    More,
}

impl Connection {
    pub fn new(mut link: Link, export: Export) -> Self {
        link.set_deadline(None);
        Self { link, export, cookie: 0 }
    }

    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Ends all waits for the connection.
    pub fn shut_down(&self) {
        self.link.shut_down();
    }

    /// Bounds the time of the next requests.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.link.set_deadline(deadline);
    }

    /// Sends a request. Gives its cookie.
    fn send(
        &mut self,
        command: u16,
        flags: u16,
        (offset, len): (u64, usize),
        data: Option<&IoVec<'_>>,
    ) -> Result<u64, NbdError> {
        self.cookie = self.cookie.wrapping_add(1);
        let length = u32::try_from(len).map_err(|_| NbdError::Socket(std::io::ErrorKind::InvalidInput.into()))?;
        let request = Request::new(command, flags, self.cookie, offset, length);
        match data {
            Some(iov) => self.link.send(request.as_bytes(), iov, len)?,
            None => self.link.send_bytes(request.as_bytes())?,
        }
        Ok(self.cookie)
    }

    /// Reads `len` bytes at `offset` into the segments. The range is within the export and aligned, the length is at most its
    /// maximum.
    pub fn read(&mut self, iov: &mut IoVec<'_>, len: usize, offset: u64) -> Result<(), RequestError> {
        let whole = len <= UNFRAGMENTED_MAX && self.export.flags.has(ExportFlags::SEND_DF);
        let flags = if whole && self.export.structured { FLAG_DF } else { 0 };
        let cookie = self.send(CMD_READ, flags, (offset, len), None)?;
        if !self.export.structured {
            return self.simple_read(cookie, iov, len);
        }
        let mut reply = ReadReply { iov, len, offset, covered: Coverage::default(), error: None, errors: 0 };
        let mut direct = flags == FLAG_DF;
        while let Outcome::More = self.read_chunk(cookie, &mut reply, direct)? {
            direct = false;
        }
        self.end_of_reply()?;
        match reply.error {
            Some(error) => Err(server_error(error)),
            None if reply.covered.bytes == len => Ok(()),
            None => Err(NbdError::protocol("a read reply with missing data").into()),
        }
    }

    fn simple_read(&mut self, cookie: u64, iov: &mut IoVec<'_>, len: usize) -> Result<(), RequestError> {
        let mut header = [0; SIMPLE_REPLY_LEN];
        let count = self.link.receive_some(&mut header, SIMPLE_REPLY_LEN, iov, len)?;
        let received = count.saturating_sub(SIMPLE_REPLY_LEN);
        let error = simple_reply(&header, cookie)?;
        if error != 0 {
            if received > 0 {
                return Err(NbdError::protocol("data after an error").into());
            }
            return Err(server_error(error));
        }
        self.link.receive_data(iov, received, len.saturating_sub(received))?;
        self.end_of_reply()
    }

    /// Receives one chunk of a structured reply to a read. `direct`: its data is expected at the start of the range.
    fn read_chunk(
        &mut self,
        cookie: u64,
        reply: &mut ReadReply<'_, '_>,
        direct: bool,
    ) -> Result<Outcome, RequestError> {
        let mut header = [0; DATA_CHUNK_LEN];
        let room = if direct { reply.len } else { 0 };
        let count = self.link.receive_some(&mut header, CHUNK_LEN, reply.iov, room)?;
        let in_header = count.min(DATA_CHUNK_LEN);
        let mut in_data = count - in_header;
        let chunk = chunk(&header, cookie)?;
        let (kind, length) = (chunk.kind.get(), chunk.length.get() as usize);
        let expected_here = kind == CHUNK_OFFSET_DATA && length == 8 + reply.len;
        if !expected_here {
            // What followed the header is not the expected data, or not only: read it in order.
            let mut rest = header.get(CHUNK_LEN..in_header).unwrap_or_default().to_vec();
            let start = rest.len();
            rest.resize(start + in_data, 0);
            reply.iov.copy_out(0, rest.get_mut(start..).unwrap_or_default());
            self.link.unreceive(rest);
            in_data = 0;
        }
        match kind {
            CHUNK_OFFSET_DATA => {
                if length <= 8 {
                    return Err(NbdError::protocol("a data chunk without data").into());
                }
                let from = if expected_here { in_header } else { CHUNK_LEN };
                self.link.receive_bytes(header.get_mut(from..).unwrap_or_default())?;
                let offset = header.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let len = length - 8;
                let at = reply.cover(offset, len)?;
                self.link.receive_data(reply.iov, at + in_data, len - in_data)?;
            }
            CHUNK_OFFSET_HOLE => {
                let mut payload = [0; size_of::<Hole>()];
                if length != payload.len() {
                    return Err(NbdError::protocol("a hole chunk of a wrong length").into());
                }
                self.link.receive_bytes(&mut payload)?;
                let hole: Hole = parse(&payload).ok_or(NbdError::protocol("a short chunk"))?;
                let len = hole.size.get() as usize;
                let at = reply.cover(hole.offset.get(), len)?;
                reply.iov.zero_range(at, len);
            }
            _ => {
                if let Some(error) = self.other_chunk(&chunk)? {
                    reply.errors += 1;
                    if reply.errors > ERROR_CHUNKS_MAX {
                        return Err(NbdError::protocol("error chunks without end").into());
                    }
                    reply.error.get_or_insert(error);
                }
            }
        }
        Ok(if chunk.flags.get() & CHUNK_DONE != 0 { Outcome::Done } else { Outcome::More })
    }

    /// Receives the payload of a chunk without content. Gives the error of an error chunk.
    fn other_chunk(&mut self, chunk: &Chunk) -> Result<Option<u32>, RequestError> {
        let (kind, length) = (chunk.kind.get(), chunk.length.get() as usize);
        if kind == CHUNK_NONE && length == 0 && chunk.flags.get() & CHUNK_DONE != 0 {
            return Ok(None);
        }
        if kind & CHUNK_ERROR_BIT == 0 {
            return Err(NbdError::protocol("a chunk that does not belong to the request").into());
        }
        let mut start = [0; size_of::<ChunkError>()];
        if !(start.len()..=start.len() + STRING_MAX as usize + 64).contains(&length) {
            return Err(NbdError::protocol("an error chunk of a wrong length").into());
        }
        self.link.receive_bytes(&mut start)?;
        let error: ChunkError = parse(&start).ok_or(NbdError::protocol("a short chunk"))?;
        let mut rest = vec![0; length - start.len()];
        self.link.receive_bytes(&mut rest)?;
        let message = rest.get(..error.message.get().into()).ok_or(NbdError::protocol("an overlong error message"))?;
        if error.error.get() == 0 {
            return Err(NbdError::protocol("an error chunk without an error").into());
        }
        if !message.is_empty() {
            tracing::debug!("NBD server: {}", printable(message, TEXT_MAX));
        }
        Ok(Some(error.error.get()))
    }

    /// Writes the first `len` bytes of the segments at `offset`; with `fua` to stable storage. Calls `meanwhile` while the
    /// server is at work.
    pub fn write(
        &mut self,
        iov: &IoVec<'_>,
        len: usize,
        offset: u64,
        fua: bool,
        meanwhile: impl FnOnce(),
    ) -> Result<(), RequestError> {
        let flags = if fua { FLAG_FUA } else { 0 };
        let cookie = self.send(CMD_WRITE, flags, (offset, len), Some(iov))?;
        meanwhile();
        self.acknowledged(cookie)
    }

    /// Executes a request without data.
    pub fn command(&mut self, command: u16, flags: u16, offset: u64, len: u32) -> Result<(), RequestError> {
        let cookie = self.send(command, flags, (offset, len as usize), None)?;
        self.acknowledged(cookie)
    }

    pub fn flush(&mut self) -> Result<(), RequestError> {
        self.command(CMD_FLUSH, 0, 0, 0)
    }

    /// Receives the reply to a request that gets no data.
    fn acknowledged(&mut self, cookie: u64) -> Result<(), RequestError> {
        let mut storage = IoVecStorage::new();
        let mut none = IoVec::new(&mut storage);
        let mut failure = None;
        for _ in 0..ERROR_CHUNKS_MAX {
            let mut header = [0; CHUNK_LEN];
            let count = self.link.receive_some(&mut header, SIMPLE_REPLY_LEN, &mut none, 0)?;
            let magic = parse::<SimpleReply>(&header).map_or(0, |reply| reply.magic.get());
            if magic != CHUNK_MAGIC || !self.export.structured {
                if count > SIMPLE_REPLY_LEN {
                    return Err(NbdError::protocol("data after a reply").into());
                }
                return finish(simple_reply(&header, cookie)?);
            }
            self.link.receive_bytes(header.get_mut(count..).unwrap_or_default())?;
            let chunk = chunk(&header, cookie)?;
            if let Some(error) = self.other_chunk(&chunk)? {
                failure.get_or_insert(error);
            }
            if chunk.flags.get() & CHUNK_DONE != 0 {
                self.end_of_reply()?;
                return finish(failure.unwrap_or(0));
            }
        }
        Err(NbdError::protocol("error chunks without end").into())
    }

    /// With one request at a time nothing follows a reply.
    fn end_of_reply(&mut self) -> Result<(), RequestError> {
        if self.link.has_rest() { Err(NbdError::protocol("data after a reply").into()) } else { Ok(()) }
    }

    /// Ends the session: the server executes what it has received and closes the connection.
    pub fn disconnect(mut self) {
        self.link.set_deadline(Some(Instant::now() + CLOSE_TIME));
        if self.send(CMD_DISC, 0, (0, 0), None).is_ok() {
            self.link.close();
        }
    }
}

fn finish(error: u32) -> Result<(), RequestError> {
    if error == 0 { Ok(()) } else { Err(server_error(error)) }
}

/// A server that shuts down says so by an error; its connection is as good as lost.
fn server_error(error: u32) -> RequestError {
    if error == ESHUTDOWN {
        return RequestError::Broken(NbdError::Closed(": it is shutting down"));
    }
    RequestError::Server(host_io_error(error))
}

/// Checks a simple reply's header. Gives its error value.
fn simple_reply(header: &[u8], cookie: u64) -> Result<u32, NbdError> {
    let reply: SimpleReply = parse(header).ok_or(NbdError::protocol("a short reply"))?;
    if reply.magic.get() != SIMPLE_REPLY_MAGIC {
        return Err(NbdError::protocol("a reply without its magic number"));
    }
    if reply.cookie.get() != cookie {
        return Err(NbdError::protocol("a reply to a request that was not sent"));
    }
    Ok(reply.error.get())
}

/// Checks a chunk's header.
fn chunk(header: &[u8], cookie: u64) -> Result<Chunk, NbdError> {
    let chunk: Chunk = parse(header).ok_or(NbdError::protocol("a short chunk"))?;
    if chunk.magic.get() != CHUNK_MAGIC {
        return Err(NbdError::protocol("a structured reply without its magic number"));
    }
    if chunk.cookie.get() != cookie {
        return Err(NbdError::protocol("a reply to a request that was not sent"));
    }
    Ok(chunk)
}

/// A structured reply to a read, as far as it has arrived.
struct ReadReply<'r, 'm> {
    iov: &'r mut IoVec<'m>,
    len: usize,
    offset: u64,
    covered: Coverage,
    error: Option<u32>,
    errors: usize,
}

impl ReadReply<'_, '_> {
    /// Accepts a content chunk. Gives its place in the segments.
    fn cover(&mut self, offset: u64, len: usize) -> Result<usize, NbdError> {
        let start = offset.checked_sub(self.offset).and_then(|start| usize::try_from(start).ok());
        let start = start.filter(|&start| start.checked_add(len).is_some_and(|end| end <= self.len));
        let start = start.ok_or(NbdError::protocol("a chunk outside the request"))?;
        self.covered.add(start, len)?;
        Ok(start)
    }
}

/// The ranges of a read that content chunks have covered.
#[derive(Default)]
struct Coverage {
    /// End by start. Adjacent ranges are one.
    ranges: BTreeMap<usize, usize>,
    bytes: usize,
}

impl Coverage {
    fn add(&mut self, mut start: usize, len: usize) -> Result<(), NbdError> {
        let mut end = start + len;
        if len == 0 {
            return Err(NbdError::protocol("an empty chunk"));
        }
        let before = self.ranges.range(..=start).next_back().map(|(&start, &end)| (start, end));
        let after = self.ranges.range(start..).next().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, before)| before > start) || after.is_some_and(|(after, _)| after < end) {
            return Err(NbdError::protocol("chunks that overlap"));
        }
        self.bytes += len;
        if let Some((key, before)) = before
            && before == start
        {
            self.ranges.remove(&key);
            start = key;
        }
        if let Some((key, after)) = after
            && key == end
        {
            self.ranges.remove(&key);
            end = after;
        }
        if self.ranges.len() >= RANGES_MAX {
            return Err(NbdError::protocol("a reply in too many pieces"));
        }
        self.ranges.insert(start, end);
        Ok(())
    }
}
