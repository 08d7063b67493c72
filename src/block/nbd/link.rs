//! Connection of the NBD client to its server: a TCP or Unix socket, with TLS on it or not.
//!
//! Requests block without a limit of time: a stalled server delays them, a dead host is noticed by TCP (keepalive and
//! TCP_USER_TIMEOUT). While a deadline is set (connecting, negotiating), each wait ends at the deadline.

use super::error::NbdError;
use crate::block::sys::{IoVec, IoVecStorage, Wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of plaintext in a TLS record, RFC 8446, 5.1.
const RECORD: usize = 16 << 10;

/// A connected stream socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Ends all waits for the socket.
    pub fn shut_down(&self) {
        // Fails only if the socket is not connected, and then nothing waits for it.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until the socket is ready, or until the deadline.
pub fn wait_ready(fd: impl AsFd, events: PollFlags, deadline: Instant) -> Result<(), NbdError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, events)], Some(&timeout)) {
            Ok(0) => return Err(NbdError::TimedOut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(NbdError::Socket(error.into())),
        }
    }
}

/// A connection.
pub struct Link {
    socket: Arc<Socket>,
    tls: Option<Box<ClientConnection>>,
    /// Plaintext for the next TLS record.
    record: Vec<u8>,
    /// Bytes that were received into segments that they were not for.
    spill: Vec<u8>,
    deadline: Option<Instant>,
}

impl Link {
    pub fn new(socket: Arc<Socket>, deadline: Instant) -> Self {
        Self { socket, tls: None, record: Vec::new(), spill: Vec::new(), deadline: Some(deadline) }
    }

    /// Sets the time at which waits end, or none.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    pub fn shut_down(&self) {
        self.socket.shut_down();
    }

    /// Handshakes.
    pub fn start_tls(&mut self, config: Arc<rustls::ClientConfig>, name: ServerName<'static>) -> Result<(), NbdError> {
        if !self.spill.is_empty() {
            // Plaintext that a man in the middle sent before TLS must not be taken for TLS' plaintext.
            return Err(NbdError::protocol("data before TLS"));
        }
        let mut tls = ClientConnection::new(config, name).map_err(|error| NbdError::Tls(error.to_string()))?;
        let mut wire = Plain { socket: &self.socket, deadline: self.deadline };
        while tls.is_handshaking() {
            flush_tls(&mut tls, &mut wire)?;
            if tls.is_handshaking() {
                fill_tls(&mut tls, &mut wire)?;
            }
        }
        flush_tls(&mut tls, &mut wire)?;
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Sends a header, then the first `len` bytes of the segments.
    pub fn send(&mut self, header: &[u8], iov: &IoVec<'_>, len: usize) -> Result<(), NbdError> {
        if self.tls.is_some() {
            return self.send_tls(header, iov, len);
        }
        let total = header.len() + len;
        let mut sent = 0;
        while sent < total {
            let rest = header.get(sent..).unwrap_or_default();
            let past = sent.saturating_sub(header.len());
            let part = Part { header: rest, iov, skip: past, len: len - past };
            match send_some(&self.socket, self.deadline, part)? {
                0 => return Err(NbdError::Closed("")),
                count => sent += count,
            }
        }
        Ok(())
    }

    fn send_tls(&mut self, header: &[u8], iov: &IoVec<'_>, len: usize) -> Result<(), NbdError> {
        let Self { socket, tls: Some(tls), record, deadline, .. } = self else { return Ok(()) };
        let mut wire = Plain { socket, deadline: *deadline };
        record.clear();
        record.extend_from_slice(header);
        let mut done = 0;
        loop {
            let start = record.len();
            let part = (RECORD.saturating_sub(start)).min(len - done);
            record.resize(start + part, 0);
            let copied = iov.copy_out(done, record.get_mut(start..).unwrap_or_default());
            if copied != part {
                return Err(NbdError::Socket(io::Error::from_raw_os_error(libc::EFAULT)));
            }
            done += part;
            tls.writer().write_all(record)?;
            record.clear();
            if done == len {
                break;
            }
            // rustls buffers 64 KiB: hand them on before that is full.
            flush_tls(tls, &mut wire)?;
        }
        flush_tls(tls, &mut wire)
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NbdError> {
        let mut storage = IoVecStorage::new();
        self.send(bytes, &IoVec::new(&mut storage), 0)
    }

    /// Receives a header of at least `min` bytes, and what follows of it and of the first `len` bytes of the segments, as far
    /// as that has arrived. Gives the number of bytes.
    pub fn receive_some(
        &mut self,
        header: &mut [u8],
        min: usize,
        iov: &mut IoVec<'_>,
        len: usize,
    ) -> Result<usize, NbdError> {
        let mut count = 0;
        if self.tls.is_some() || !self.spill.is_empty() {
            // Without the segments: copies go through this program anyway.
            while count < min {
                count += self.read(header.get_mut(count..min).unwrap_or_default())?;
            }
            return Ok(count);
        }
        while count < min {
            let rest = header.get_mut(count..).unwrap_or_default();
            match receive_plain(&self.socket, self.deadline, rest, iov, (0, len), Wait::Some)? {
                0 => return Err(NbdError::Closed("")),
                more => count += more,
            }
        }
        Ok(count)
    }

    /// Receives exactly as many bytes as the buffer has.
    pub fn receive_bytes(&mut self, buffer: &mut [u8]) -> Result<(), NbdError> {
        let mut count = 0;
        while count < buffer.len() {
            count += self.read(buffer.get_mut(count..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Receives `len` bytes into the segments from byte `skip` on.
    pub fn receive_data(&mut self, iov: &mut IoVec<'_>, skip: usize, len: usize) -> Result<(), NbdError> {
        let mut count = 0;
        while count < len {
            if self.tls.is_some() || !self.spill.is_empty() {
                let mut piece = [0; 4096];
                let part = piece.len().min(len - count);
                let got = self.read(piece.get_mut(..part).unwrap_or_default())?;
                if iov.copy_in(skip + count, piece.get(..got).unwrap_or_default()) != got {
                    return Err(NbdError::Socket(io::Error::from_raw_os_error(libc::EFAULT)));
                }
                count += got;
                continue;
            }
            let (skip, rest) = (skip + count, len - count);
            match receive_plain(&self.socket, self.deadline, &mut [], iov, (skip, rest), Wait::All)? {
                0 => return Err(NbdError::Closed("")),
                more => count += more,
            }
        }
        Ok(())
    }

    /// Receives bytes only to drop them.
    pub fn skip(&mut self, mut len: usize) -> Result<(), NbdError> {
        let mut piece = [0; 1024];
        while len > 0 {
            let part = len.min(piece.len());
            self.receive_bytes(piece.get_mut(..part).unwrap_or_default())?;
            len -= part;
        }
        Ok(())
    }

    /// Takes back bytes that [`Self::receive_some`] put into segments that they were not for: the next receive gives them.
    pub fn unreceive(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.spill = bytes;
        }
    }

    /// Whether bytes are left over: after the only outstanding request's reply a server has nothing to say.
    pub fn has_rest(&mut self) -> bool {
        !self.spill.is_empty()
            || self
                .tls
                .as_mut()
                .is_some_and(|tls| tls.process_new_packets().is_ok_and(|io| io.plaintext_bytes_to_read() > 0))
    }

    /// At least one byte.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NbdError> {
        if !self.spill.is_empty() {
            let count = buffer.len().min(self.spill.len());
            for (to, from) in buffer.iter_mut().zip(self.spill.drain(..count)) {
                *to = from;
            }
            return Ok(count);
        }
        let mut wire = Plain { socket: &self.socket, deadline: self.deadline };
        let Some(tls) = &mut self.tls else {
            return match wire.read(buffer)? {
                0 => Err(NbdError::Closed("")),
                count => Ok(count),
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(NbdError::Closed("")),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => fill_tls(tls, &mut wire)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says goodbye: TLS' close_notify. Waits for nothing but the deadline.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush_tls(tls, &mut Plain { socket: &self.socket, deadline: self.deadline });
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

struct Part<'p, 'm> {
    header: &'p [u8],
    iov: &'p IoVec<'m>,
    skip: usize,
    len: usize,
}

fn send_some(socket: &Socket, deadline: Option<Instant>, part: Part<'_, '_>) -> Result<usize, NbdError> {
    loop {
        if let Some(deadline) = deadline {
            wait_ready(socket, PollFlags::OUT, deadline)?;
        }
        match part.iov.send(socket.as_fd(), part.header, part.skip, part.len, deadline.is_some()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && deadline.is_some() => {}
            result => return Ok(result?),
        }
    }
}

fn receive_plain(
    socket: &Socket,
    deadline: Option<Instant>,
    header: &mut [u8],
    iov: &mut IoVec<'_>,
    (skip, len): (usize, usize),
    wait: Wait,
) -> Result<usize, NbdError> {
    loop {
        if let Some(deadline) = deadline {
            wait_ready(socket, PollFlags::IN, deadline)?;
        }
        let wait = if deadline.is_some() { Wait::Never } else { wait };
        match iov.receive(socket.as_fd(), header, skip, len, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && deadline.is_some() => {}
            result => return Ok(result?),
        }
    }
}

/// The socket below TLS, and of single bytes.
struct Plain<'s> {
    socket: &'s Socket,
    deadline: Option<Instant>,
}

fn io_error(error: NbdError) -> io::Error {
    match error {
        NbdError::Socket(error) => error,
        NbdError::TimedOut => ErrorKind::TimedOut.into(),
        _ => ErrorKind::UnexpectedEof.into(),
    }
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut storage = IoVecStorage::new();
        let mut none = IoVec::new(&mut storage);
        receive_plain(self.socket, self.deadline, buffer, &mut none, (0, 0), Wait::Some).map_err(io_error)
    }
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut storage = IoVecStorage::new();
        let part = Part { header: bytes, iov: &IoVec::new(&mut storage), skip: 0, len: 0 };
        send_some(self.socket, self.deadline, part).map_err(io_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush_tls(tls: &mut ClientConnection, wire: &mut Plain<'_>) -> Result<(), NbdError> {
    while tls.wants_write() {
        if tls.write_tls(wire)? == 0 {
            return Err(NbdError::Closed(""));
        }
    }
    Ok(())
}

/// Receives once from the server.
fn fill_tls(tls: &mut ClientConnection, wire: &mut Plain<'_>) -> Result<(), NbdError> {
    let handshaking = tls.is_handshaking();
    if tls.read_tls(wire)? == 0 {
        let what = if handshaking { " during the TLS handshake: does it accept the client's certificate?" } else { "" };
        return Err(NbdError::Closed(what));
    }
    let result = tls.process_new_packets();
    if result.is_err() {
        // The alert that tells the server why.
        let _ = flush_tls(tls, wire);
    }
    result.map_err(|error| NbdError::Tls(error.to_string()))?;
    flush_tls(tls, wire)
}
