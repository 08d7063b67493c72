//! Stream socket backend: each frame behind its length as four bytes, big-endian. passt(1) speaks this protocol (its section
//! "--socket"), as do QEMU's `-netdev stream` and two pcvm machines with each other.

use super::{Backend, NetError, Received, Scratch, gso, lock};
use pcvm_devices::net::Frame;
use rustix::event::{EventfdFlags, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes of the length before each frame.
const LENGTH: usize = 4;
/// The longest accepted frame in bytes: passt's, 64 KiB with headers.
const MAX_FRAME: usize = 65_535 + 64;
/// Bytes that one recv(2) reads at most.
const CHUNK: usize = 64 << 10;
/// A listening port logs at most one disconnection in this time: its peers may connect and disconnect in a loop.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One end of a stream socket.
pub struct Stream {
    /// The listening socket of the machine that came first to a pair's path. It accepts one peer at a time, and the next one
    /// when that has disconnected.
    listener: Option<UnixListener>,
    socket: Mutex<Option<OwnedFd>>,
    /// The socket's path, or "passt", for log lines.
    name: String,
    tx: Mutex<PendingTx>,
    rx: Mutex<RxBuffer>,
    /// The peer is a passt, which drops IPv4 packets that have Ethernet padding behind them. (Debian 12's does; TCP
    /// acknowledgements would be lost.)
    strip_padding: bool,
    /// The passt process that this machine started.
    passt: Option<Mutex<Child>>,
    /// Contains `buffered` and either the socket or the listener: readable when there is something to receive or accept.
    rx_epoll: OwnedFd,
    /// Contains the socket with EPOLLOUT while `tx` has pending bytes, else nothing.
    tx_epoll: OwnedFd,
    /// An eventfd that counts while `rx` has whole frames: epoll does not report bytes that recv(2) has already read.
    buffered: OwnedFd,
    /// The listener's path, which is removed at the end.
    path: Option<PathBuf>,
}

/// The unsent rest of a frame of which the socket has taken a part.
#[derive(Default)]
struct PendingTx {
    bytes: Vec<u8>,
    /// The socket is in [`Stream::tx_epoll`].
    polled: bool,
}

/// Received bytes.
#[derive(Default)]
struct RxBuffer {
    bytes: Vec<u8>,
    /// How many of `bytes` have been returned as frames.
    taken: usize,
    /// [`Stream::buffered`] counts.
    signalled: bool,
    log: LogLimit,
}

impl RxBuffer {
    /// Whether the next frame is complete, or its length is invalid.
    fn has_frame(&self) -> bool {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        rest.split_first_chunk::<LENGTH>().is_some_and(|(length, rest)| {
            let length = u32::from_be_bytes(*length) as usize;
            length > MAX_FRAME || rest.len() >= length
        })
    }

    /// Appends the next frame to `buffer` if it is complete. An error is an invalid length.
    fn take_frame(&mut self, buffer: &mut Vec<u8>) -> Result<bool, ()> {
        let Some(rest) = self.bytes.get(self.taken..) else { return Err(()) };
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Ok(false) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(());
        }
        let Some(frame) = rest.get(..length) else { return Ok(false) };
        buffer.extend_from_slice(frame);
        self.taken += LENGTH + length;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > CHUNK {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        Ok(true)
    }
}

/// Rate limit of log lines that a peer can cause.
#[derive(Default)]
struct LogLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be logged now: then the number of lines suppressed since the one before it.
    fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Stream {
    fn new(name: String, socket: Option<OwnedFd>, listener: Option<UnixListener>) -> io::Result<Self> {
        let stream = Self {
            listener,
            socket: Mutex::new(None),
            name,
            tx: Mutex::default(),
            rx: Mutex::default(),
            strip_padding: false,
            passt: None,
            rx_epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            tx_epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffered: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            path: None,
        };
        stream.poll_rx(stream.buffered.as_fd())?;
        if let Some(listener) = &stream.listener {
            listener.set_nonblocking(true)?;
            stream.poll_rx(listener.as_fd())?;
        }
        if let Some(socket) = socket {
            stream.set_peer(socket)?;
        }
        Ok(stream)
    }

    fn poll_rx(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.rx_epoll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?)
    }

    /// Polls the listener, or ignores it: a second client would keep it readable for as long as the first is connected.
    fn poll_listener(&self, enabled: bool) {
        if let Some(listener) = &self.listener {
            let events = if enabled { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
            // The listener is in the set, so this cannot fail.
            let _ = epoll::modify(&self.rx_epoll, listener, epoll::EventData::new_u64(0), events);
        }
    }

    fn set_peer(&self, socket: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        self.poll_rx(socket.as_fd())?;
        self.poll_listener(false);
        *lock(&self.socket) = Some(socket);
        Ok(())
    }

    /// Connects to a passt at `socket`, or starts one.
    ///
    /// # Errors
    /// If the socket cannot be connected or passt cannot be started.
    pub fn passt(socket: Option<&Path>) -> Result<Self, NetError> {
        let Some(path) = socket else { return Self::start_passt() };
        let fail = |error| NetError::file(path, &error);
        let socket = UnixStream::connect(path).map_err(fail)?;
        let mut stream = Self::new(path.display().to_string(), Some(socket.into()), None).map_err(fail)?;
        stream.strip_padding = true;
        Ok(stream)
    }

    fn start_passt() -> Result<Self, NetError> {
        let fail = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => NetError::Interface {
                what: "cannot start",
                name: "passt".to_owned(),
                why: "program not found; install the package passt".to_owned(),
            },
            _ => NetError::interface("cannot start", "passt", error),
        };
        // A socket pair, so that no other process can connect.
        let (socket, passt_socket) = UnixStream::pair().map_err(|error| fail(&error))?;
        // The child inherits this descriptor by number, so it lacks close-on-exec. No other process is started meanwhile.
        let inherited = rustix::io::dup(&passt_socket).map_err(|errno| fail(&errno.into()))?;
        let child = Command::new("passt")
            .args(["--foreground", "--quiet", "--fd"])
            .arg(inherited.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // passt's banner is for interactive use.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| fail(&error))?;
        let mut stream = Self::new("passt".to_owned(), Some(socket.into()), None).map_err(|error| fail(&error))?;
        stream.strip_padding = true;
        stream.passt = Some(Mutex::new(child));
        Ok(stream)
    }

    /// Connects to the other machine at `path`; the machine that comes first listens there for the other.
    ///
    /// # Errors
    /// If the socket can be neither connected nor created.
    pub fn pair(path: &Path) -> Result<Self, NetError> {
        let fail = |error: io::Error| NetError::file(path, &error);
        let name = path.display().to_string();
        match UnixStream::connect(path) {
            Ok(stream) => Self::new(name, Some(stream.into()), None).map_err(fail),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    // A stale socket: its machine has exited.
                    std::fs::remove_file(path).map_err(fail)?;
                }
                let listener = UnixListener::bind(path).map_err(fail)?;
                let mut stream = Self::new(name, None, Some(listener)).map_err(fail)?;
                stream.path = Some(path.to_owned());
                Ok(stream)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Sends a wire frame as a whole, or drops it. False if it was dropped.
    fn send_bytes(&self, bytes: &[u8]) -> bool {
        let bytes = if self.strip_padding { without_padding(bytes) } else { bytes };
        let socket = lock(&self.socket);
        let Some(socket) = &*socket else { return false };
        let mut tx = lock(&self.tx);
        self.flush_pending(socket, &mut tx);
        if !tx.bytes.is_empty() || bytes.is_empty() || bytes.len() > MAX_FRAME {
            return false;
        }
        let length = (bytes.len() as u32).to_be_bytes();
        let iov = [io::IoSlice::new(&length), io::IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(socket, &iov, &mut Default::default(), flags).unwrap_or(0);
        if sent == 0 {
            return false;
        }
        if sent < LENGTH + bytes.len() {
            tx.bytes.extend(length.iter().chain(bytes).skip(sent));
            self.poll_tx(socket, &mut tx);
        }
        true
    }

    /// Sends pending bytes as far as the socket takes them without blocking.
    fn flush_pending(&self, socket: &OwnedFd, tx: &mut PendingTx) {
        while !tx.bytes.is_empty() {
            match rustix::net::send(socket, &tx.bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) if sent > 0 => drop(tx.bytes.drain(..sent)),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => break,
                // The connection is broken, which `receive` reports. Until then epoll would report the socket as ready for
                // bytes that it never takes.
                Err(_) => tx.bytes.clear(),
            }
        }
        self.poll_tx(socket, tx);
    }

    /// Polls the socket for EPOLLOUT while bytes are pending.
    fn poll_tx(&self, socket: &OwnedFd, tx: &mut PendingTx) {
        let pending = !tx.bytes.is_empty();
        if pending == tx.polled {
            return;
        }
        if pending {
            // If the host refuses (ENOMEM), the next call of `send` flushes.
            let added =
                epoll::add(&self.tx_epoll, socket, epoll::EventData::new_u64(0), epoll::EventFlags::OUT).is_ok();
            tx.polled = added;
        } else {
            let _ = epoll::delete(&self.tx_epoll, socket);
            tx.polled = false;
        }
    }

    /// Makes `rx_epoll` readable while there are whole frames in `rx`.
    fn signal_buffered(&self, rx: &mut RxBuffer, buffered: bool) {
        if std::mem::replace(&mut rx.signalled, buffered) == buffered {
            return;
        }
        // Neither can fail: the count goes from 0 to 1 and back.
        let mut count = 1_u64.to_ne_bytes();
        let _ = if buffered {
            rustix::io::write(&self.buffered, &count)
        } else {
            rustix::io::read(&self.buffered, &mut count)
        };
    }

    fn accept(&self) -> bool {
        let Some(listener) = &self.listener else { return false };
        match listener.accept() {
            Ok((stream, _)) => self.set_peer(stream.into()).is_ok(),
            Err(_) => false,
        }
    }

    /// Closes the socket. A listening port then waits for the next peer.
    fn disconnect(&self, why: &str, rx: &mut RxBuffer) -> Received {
        // Closing takes the socket out of both epoll sets.
        *lock(&self.socket) = None;
        *lock(&self.tx) = PendingTx::default();
        self.signal_buffered(rx, false);
        let mut log = std::mem::take(&mut rx.log);
        match log.allow(Instant::now()) {
            Some(0) => tracing::warn!("{}: {why}", self.name),
            Some(suppressed) => {
                tracing::warn!("{}: {why} ({suppressed} more disconnections since the last message)", self.name);
            }
            None => {}
        }
        *rx = RxBuffer { log, ..RxBuffer::default() };
        self.poll_listener(true);
        if self.listener.is_some() { Received::Nothing } else { Received::Disconnected }
    }
}

impl Backend for Stream {
    fn send(&self, frame: &Frame) -> bool {
        let mut taken = true;
        let valid = gso::segments(frame, |bytes| taken &= self.send_bytes(bytes));
        valid && taken
    }

    fn receive(&self, _: &mut Scratch, buffer: &mut Vec<u8>) -> Received {
        let mut rx = lock(&self.rx);
        loop {
            match rx.take_frame(buffer) {
                Ok(true) => {
                    let buffered = rx.has_frame();
                    self.signal_buffered(&mut rx, buffered);
                    return Received::Frame(Frame::from(std::mem::take(buffer)));
                }
                Ok(false) => {}
                Err(()) => return self.disconnect("the peer sent a frame with an invalid length", &mut rx),
            }
            let mut socket = lock(&self.socket);
            let Some(connected) = &*socket else {
                drop(socket);
                if !self.accept() {
                    return Received::Nothing;
                }
                continue;
            };
            let start = rx.bytes.len();
            rx.bytes.resize(start + CHUNK, 0);
            let read = rustix::net::recv(connected, rx.bytes.get_mut(start..).unwrap_or_default(), RecvFlags::DONTWAIT);
            let got = read.map_or(0, |(_, got)| got);
            rx.bytes.truncate(start + got);
            match read {
                Ok((_, 0)) => {
                    *socket = None;
                    drop(socket);
                    return self.disconnect("the peer has disconnected", &mut rx);
                }
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
                Err(errno) => {
                    *socket = None;
                    drop(socket);
                    return self.disconnect(&crate::error::host_error(&errno.into()), &mut rx);
                }
            }
        }
    }

    fn rx_fd(&self) -> BorrowedFd<'_> {
        self.rx_epoll.as_fd()
    }

    fn tx_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.tx_epoll.as_fd())
    }

    fn flush_tx(&self) {
        if let Some(socket) = &*lock(&self.socket) {
            self.flush_pending(socket, &mut lock(&self.tx));
        }
    }
}

/// A frame without the padding that brings a short IPv4 packet to Ethernet's minimum length (IEEE 802.3, 4.2.3.3; RFC 894).
fn without_padding(bytes: &[u8]) -> &[u8] {
    const ETHERNET: usize = 14;
    const MIN_FRAME: usize = 60;
    let ipv4 = bytes.get(12..14) == Some(&[0x08, 0x00]) && bytes.len() <= MIN_FRAME;
    match bytes.get(16..18) {
        Some(&[high, low]) if ipv4 => {
            let end = ETHERNET + usize::from(u16::from_be_bytes([high, low]));
            bytes.get(..end).filter(|packet| packet.len() > ETHERNET).unwrap_or(bytes)
        }
        _ => bytes,
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
        if let Some(passt) = &self.passt {
            let mut passt = lock(passt);
            // passt also exits when its client disconnects, but later.
            let _ = passt.kill();
            let _ = passt.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Bytes of payload in the frames that fill a socket. A socket takes a shorter frame as a whole or not at all.
    const LARGE: usize = 60_000;

    fn receive(stream: &Stream) -> Received {
        stream.receive(&mut Scratch::default(), &mut Vec::new())
    }

    /// Whether poll(2) reports the transmit descriptor as readable.
    fn tx_ready(stream: &Stream) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let fd = stream.tx_fd().unwrap();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    /// A listening stream, and a function that connects a peer to it, with a small send buffer.
    fn listen(dir: &Path) -> (Stream, impl Fn(&Stream) -> UnixStream) {
        let path = dir.join("socket");
        let stream = Stream::pair(&path).unwrap();
        let connect = move |stream: &Stream| {
            let peer = UnixStream::connect(&path).unwrap();
            assert_eq!(receive(stream), Received::Nothing);
            rustix::net::sockopt::set_socket_send_buffer_size(lock(&stream.socket).as_ref().unwrap(), 4096).unwrap();
            peer
        };
        (stream, connect)
    }

    /// Sends large frames until the socket takes one only in part. Gives the number of frames taken.
    fn fill(stream: &Stream, byte: u8) -> usize {
        for frames in 1..100 {
            assert!(stream.send(&Frame::from(vec![byte; LARGE])), "a frame is dropped before one is taken in part");
            if !lock(&stream.tx).bytes.is_empty() {
                return frames;
            }
        }
        panic!("the socket takes every frame");
    }

    #[test]
    fn the_tx_descriptor_is_readable_only_while_pending_bytes_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let (stream, connect) = listen(dir.path());
        for round in 1..4 {
            let mut peer = connect(&stream);
            assert!(!tx_ready(&stream), "{round}: readable without pending bytes");
            let frames = fill(&stream, round);
            assert!(!tx_ready(&stream), "{round}: readable while the socket is full");
            assert!(!stream.send(&Frame::from(vec![0; 60])), "{round}: a frame is sent inside another");

            let mut bytes = vec![0; frames * (LENGTH + LARGE)];
            let mut received = 0;
            peer.set_nonblocking(true).unwrap();
            while received < bytes.len() {
                match peer.read(&mut bytes[received..]) {
                    Ok(count) => received += count,
                    Err(_) => {
                        assert!(tx_ready(&stream), "{round}: not readable when the socket is empty");
                        stream.flush_tx();
                    }
                }
            }
            assert!(!tx_ready(&stream), "{round}: readable after all bytes are written");
            for frame in bytes.chunks(LENGTH + LARGE) {
                assert_eq!(frame[..LENGTH], (LARGE as u32).to_be_bytes(), "{round}");
                assert!(frame[LENGTH..].iter().all(|&byte| byte == round), "{round}");
            }
            drop(peer);
            assert_eq!(receive(&stream), Received::Nothing);
        }
    }

    #[test]
    fn send_flushes_pending_bytes_before_the_next_frame() {
        let dir = tempfile::tempdir().unwrap();
        let (stream, connect) = listen(dir.path());
        let mut peer = connect(&stream);
        let frames = fill(&stream, 7);
        let mut bytes = vec![0; frames * (LENGTH + LARGE) + LENGTH + 60];
        let mut received = 0;
        let mut sent = false;
        peer.set_nonblocking(true).unwrap();
        while received < bytes.len() {
            match peer.read(&mut bytes[received..]) {
                Ok(count) => received += count,
                Err(_) => sent |= stream.send(&Frame::from(vec![8; 60])),
            }
        }
        assert!(sent && !tx_ready(&stream) && !lock(&stream.tx).polled);
        assert_eq!(bytes[frames * (LENGTH + LARGE)..][..LENGTH + 1], [0, 0, 0, 60, 8]);
    }

    #[test]
    fn pending_bytes_of_a_broken_connection_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (stream, connect) = listen(dir.path());
        for flushed in [true, false] {
            let peer = connect(&stream);
            fill(&stream, 1);
            drop(peer);
            if flushed {
                // The main loop may see the hang-up at the transmit descriptor first: under back-pressure from the guest it
                // does not poll the receive descriptor.
                assert!(tx_ready(&stream), "a hang-up is not reported");
                stream.flush_tx();
                assert!(!tx_ready(&stream), "a broken connection stays readable");
            }
            assert_eq!(receive(&stream), Received::Nothing);
            assert!(!tx_ready(&stream), "a closed socket stays readable");

            // The first bytes for the next peer are a length.
            let mut peer = connect(&stream);
            stream.send(&Frame::from(vec![2; 60]));
            let mut got = [0; LENGTH + 60];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(got[..LENGTH + 1], [0, 0, 0, 60, 2]);
            drop(peer);
            assert_eq!(receive(&stream), Received::Nothing);
        }
    }

    #[test]
    fn frames_of_a_peer_that_has_shut_down_reading_are_received() {
        let dir = tempfile::tempdir().unwrap();
        let (stream, connect) = listen(dir.path());
        let mut peer = connect(&stream);
        fill(&stream, 1);
        peer.shutdown(std::net::Shutdown::Read).unwrap();
        stream.flush_tx();
        assert!(!tx_ready(&stream));
        peer.write_all(&[0, 0, 0, 1, 9]).unwrap();
        assert_eq!(receive(&stream), Received::Frame(Frame::from(vec![9])));
    }

    #[test]
    fn the_log_limit_passes_one_line_per_interval_and_counts_the_others() {
        let mut limit = LogLimit::default();
        let start = Instant::now();
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start + LOG_INTERVAL / 2), None);
        assert_eq!(limit.allow(start + LOG_INTERVAL * 9 / 10), None);
        assert_eq!(limit.allow(start + LOG_INTERVAL), Some(2));
        assert_eq!(limit.allow(start + LOG_INTERVAL * 3), Some(0));
    }
}
