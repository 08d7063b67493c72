//! A stream socket with frames, each behind its length as four bytes, the highest first: what passt(1) speaks (its section
//! "--socket"), QEMU's `-netdev stream` and two of our own machines with each other.

use super::{NetError, Received};
use pcvm_devices::net::Frame;
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Bytes of a length.
const LENGTH: usize = 4;
/// The longest frame that is believed: passt's, of 64 KiB, with headers.
const LONGEST: usize = 65_535 + 64;
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// One end of such a socket.
pub struct Stream {
    /// The listening socket, until somebody comes; a connection replaces it under the same number, so that whoever
    /// watches the descriptor goes on.
    place: Option<UnixListener>,
    socket: Mutex<Option<OwnedFd>>,
    name: String,
    outgoing: Mutex<Vec<u8>>,
    incoming: Mutex<Incoming>,
    /// The other end is a passt, which drops IPv4 packets with Ethernet's padding behind them (Debian 12's: an acknowledgement
    /// would be lost).
    takes_no_padding: bool,
    /// A passt of our own.
    passt: Option<Mutex<Child>>,
    /// What the main loop watches: the socket, and `more`.
    epoll: OwnedFd,
    /// Counts while whole frames are left of what was read: the socket does not tell of them.
    more: OwnedFd,
    path: Option<std::path::PathBuf>,
}

#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// How many of them were given out.
    taken: usize,
    /// `Stream::more` counts.
    told: bool,
}

impl Incoming {
    /// Whether the next frame is there, or a length that cannot be.
    fn has_more(&self) -> bool {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        rest.split_first_chunk::<LENGTH>().is_some_and(|(length, rest)| {
            let length = u32::from_be_bytes(*length) as usize;
            length > LONGEST || rest.len() >= length
        })
    }

    /// The next whole frame. An error is a length that cannot be.
    fn frame(&mut self, buffer: &mut Vec<u8>) -> Result<bool, ()> {
        let Some(rest) = self.bytes.get(self.taken..) else { return Err(()) };
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Ok(false) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > LONGEST {
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

impl Stream {
    fn new(name: String, socket: Option<OwnedFd>, place: Option<UnixListener>) -> io::Result<Self> {
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)?;
        let more = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stream = Self {
            place,
            socket: Mutex::new(None),
            name,
            outgoing: Mutex::default(),
            incoming: Mutex::default(),
            takes_no_padding: false,
            passt: None,
            epoll,
            more,
            path: None,
        };
        stream.watch(stream.more.as_fd())?;
        if let Some(place) = &stream.place {
            place.set_nonblocking(true)?;
            stream.watch(place.as_fd())?;
        }
        if let Some(socket) = socket {
            stream.connected(socket)?;
        }
        Ok(stream)
    }

    fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        use rustix::event::epoll::{EventData, EventFlags, add};
        Ok(add(&self.epoll, fd, EventData::new_u64(0), EventFlags::IN)?)
    }

    fn connected(&self, socket: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        self.watch(socket.as_fd())?;
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        Ok(())
    }

    /// passt, listening there, or started by us.
    ///
    /// # Errors
    /// If it is not there.
    pub fn passt(socket: Option<&Path>) -> Result<Self, NetError> {
        let Some(path) = socket else { return Self::start_passt() };
        let fail = |error| NetError::file(path, &error);
        let socket = UnixStream::connect(path).map_err(fail)?;
        let mut stream = Self::new(path.display().to_string(), Some(socket.into()), None).map_err(fail)?;
        stream.takes_no_padding = true;
        Ok(stream)
    }

    fn start_passt() -> Result<Self, NetError> {
        let fail = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => NetError::Interface {
                what: "cannot start",
                name: "passt".to_owned(),
                why: "there is no such program (package passt)".to_owned(),
            },
            _ => NetError::interface("cannot start", "passt", error),
        };
        // It gets one end of a pair of sockets: there is nothing that others could connect to.
        let (ours, its) = UnixStream::pair().map_err(|error| fail(&error))?;
        // Without close-on-exec: for the child, by its number. Nothing else is started at this time.
        let inherited = rustix::io::dup(&its).map_err(|errno| fail(&errno.into()))?;
        let child = Command::new("passt")
            .args(["--foreground", "--quiet", "--fd"])
            .arg(inherited.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // What it says of itself is for whoever starts it by hand.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| fail(&error))?;
        let mut stream = Self::new("passt".to_owned(), Some(ours.into()), None).map_err(|error| fail(&error))?;
        stream.takes_no_padding = true;
        stream.passt = Some(Mutex::new(child));
        Ok(stream)
    }

    /// The other machine's end: whoever comes first waits for the other.
    ///
    /// # Errors
    /// If the socket can neither be connected nor made.
    pub fn pair(path: &Path) -> Result<Self, NetError> {
        let fail = |error: io::Error| NetError::file(path, &error);
        let name = path.display().to_string();
        match UnixStream::connect(path) {
            Ok(stream) => Self::new(name, Some(stream.into()), None).map_err(fail),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    // Left by a machine that is no more.
                    std::fs::remove_file(path).map_err(fail)?;
                }
                let place = UnixListener::bind(path).map_err(fail)?;
                let mut stream = Self::new(name, None, Some(place)).map_err(fail)?;
                stream.path = Some(path.to_owned());
                Ok(stream)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Sends a frame, or loses it: whole, or not at all.
    pub fn send(&self, bytes: &[u8]) {
        let bytes = if self.takes_no_padding { without_padding(bytes) } else { bytes };
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(socket) = &*socket else { return };
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        flush(socket, &mut outgoing);
        if !outgoing.is_empty() || bytes.is_empty() || bytes.len() > LONGEST {
            return;
        }
        let length = (bytes.len() as u32).to_be_bytes();
        let pieces = [rustix::io::IoSlice::new(&length), rustix::io::IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(socket, &pieces, &mut Default::default(), flags).unwrap_or(0);
        if sent > 0 && sent < LENGTH + bytes.len() {
            outgoing.extend(length.iter().chain(bytes).skip(sent));
        }
    }

    /// Part of a frame waits to be sent.
    pub fn is_untended(&self) -> bool {
        !self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Sends what is left of a frame.
    pub fn tend(&self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &*socket {
            flush(socket, &mut self.outgoing.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Reads a frame.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> Received {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match incoming.frame(buffer) {
                Ok(true) => {
                    let more = incoming.has_more();
                    self.tell(&mut incoming, more);
                    return Received::Frame(Frame::from(std::mem::take(buffer)));
                }
                Ok(false) => {}
                Err(()) => return self.ended("a length that cannot be", &mut incoming),
            }
            let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(connected) = &*socket else {
                drop(socket);
                if !self.accept() {
                    return Received::Nothing;
                }
                continue;
            };
            let start = incoming.bytes.len();
            incoming.bytes.resize(start + CHUNK, 0);
            let read =
                rustix::net::recv(connected, incoming.bytes.get_mut(start..).unwrap_or_default(), RecvFlags::DONTWAIT);
            let got = read.map_or(0, |(_, got)| got);
            incoming.bytes.truncate(start + got);
            match read {
                Ok((_, 0)) => {
                    *socket = None;
                    drop(socket);
                    return self.ended("the other end is gone", &mut incoming);
                }
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
                Err(errno) => {
                    *socket = None;
                    drop(socket);
                    return self.ended(&crate::error::host_error(&errno.into()), &mut incoming);
                }
            }
        }
    }

    /// Has the main loop know that there are more frames, or that there are none.
    fn tell(&self, incoming: &mut Incoming, more: bool) {
        if std::mem::replace(&mut incoming.told, more) == more {
            return;
        }
        // Neither can fail: it counts from 0 to 1 and back.
        let mut count = 1_u64.to_ne_bytes();
        let _ = if more { rustix::io::write(&self.more, &count) } else { rustix::io::read(&self.more, &mut count) };
    }

    fn accept(&self) -> bool {
        let Some(place) = &self.place else { return false };
        match place.accept() {
            Ok((stream, _)) => self.connected(stream.into()).is_ok(),
            Err(_) => false,
        }
    }

    fn ended(&self, why: &str, incoming: &mut Incoming) -> Received {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tell(incoming, false);
        *incoming = Incoming::default();
        tracing::warn!("{}: {why}", self.name);
        // Somebody else may come to the place that is ours.
        if self.place.is_some() { Received::Nothing } else { Received::Gone }
    }
}

/// A frame without what makes a short IPv4 packet as long as Ethernet wants it (IEEE 802.3, 4.2.3.3; RFC 894).
fn without_padding(bytes: &[u8]) -> &[u8] {
    const ETHERNET: usize = 14;
    const SHORTEST: usize = 60;
    let ipv4 = bytes.get(12..14) == Some(&[0x08, 0x00]) && bytes.len() <= SHORTEST;
    match bytes.get(16..18) {
        Some(&[high, low]) if ipv4 => {
            let end = ETHERNET + usize::from(u16::from_be_bytes([high, low]));
            bytes.get(..end).filter(|packet| packet.len() > ETHERNET).unwrap_or(bytes)
        }
        _ => bytes,
    }
}

/// Sends what waits, as far as it goes at once.
fn flush(socket: &OwnedFd, outgoing: &mut Vec<u8>) {
    while !outgoing.is_empty() {
        match rustix::net::send(socket, outgoing, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) if sent > 0 => drop(outgoing.drain(..sent)),
            _ => return,
        }
    }
}

impl AsFd for Stream {
    /// Of a set that the socket is in, whichever it is now.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
        if let Some(passt) = &self.passt {
            let mut passt = passt.lock().unwrap_or_else(PoisonError::into_inner);
            // It ends by itself when its only client goes; this is sooner.
            let _ = passt.kill();
            let _ = passt.wait();
        }
    }
}
