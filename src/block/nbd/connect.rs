//! Connecting to an NBD server: name resolution and connect(2), both with a deadline and interruptible.

use super::error::NbdError;
use super::interrupt::{Interrupt, Ticket};
use super::link::{Link, Socket, wait_ready};
use crate::config::nbd::NbdAddress;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A TCP peer that acknowledges nothing for this long is lost (tcp(7), TCP_USER_TIMEOUT).
const PEER_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection is probed after this long (tcp(7), TCP_KEEPIDLE), so that a lost server is noticed before the next
/// request.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// How often a wait for the resolver looks whether it was interrupted.
const RESOLVER_POLL: Duration = Duration::from_millis(50);
/// How often a Unix socket whose queue is full is tried again.
const FULL_QUEUE_POLL: Duration = Duration::from_millis(20);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to `address`.
pub fn connect(
    address: &NbdAddress,
    interrupt: &Interrupt,
    ticket: Ticket,
    deadline: Instant,
) -> Result<Link, NbdError> {
    let (host, port) = match address {
        NbdAddress::Unix(path) => return connect_unix(path, interrupt, ticket, deadline),
        NbdAddress::Tcp { host, port } => (host, *port),
    };
    let mut failure = NbdError::Resolve { host: host.clone(), why: "it has no address".to_owned() };
    let addresses = resolve(host, port, interrupt, ticket, deadline)?;
    let count = addresses.len() as u32;
    for (left, address) in (1..=count).rev().zip(addresses) {
        // An address that does not answer leaves time for the others.
        let now = Instant::now();
        let share = now + deadline.saturating_duration_since(now) / left;
        match connect_tcp(address, interrupt, ticket, share) {
            Ok(link) => return Ok(link),
            Err(NbdError::Interrupted) => return Err(NbdError::Interrupted),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The addresses of a host. A thread asks the resolver, which cannot be interrupted; after the deadline its answer is
/// dropped.
fn resolve(
    host: &str,
    port: u16,
    interrupt: &Interrupt,
    ticket: Ticket,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, NbdError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |why: String| NbdError::Resolve { host: host.to_owned(), why };
    let (answer, answers) = mpsc::channel();
    let name = host.to_owned();
    let ask = move || {
        let found = (name.as_str(), port).to_socket_addrs().map(|all| all.take(ADDRESSES_MAX).collect::<Vec<_>>());
        // Fails if the deadline has passed.
        let _ = answer.send(found);
    };
    let thread = std::thread::Builder::new().name("nbd-resolver".to_owned());
    thread.spawn(ask).map_err(NbdError::Socket)?;
    loop {
        match answers.recv_timeout(RESOLVER_POLL) {
            Ok(found) => return found.map_err(|error| failed(resolver_text(&error))),
            Err(RecvTimeoutError::Disconnected) => return Err(failed("the resolver failed".to_owned())),
            Err(RecvTimeoutError::Timeout) if interrupt.is_over(ticket) => return Err(NbdError::Interrupted),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                return Err(failed("the resolver did not answer in time".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The text of getaddrinfo(3)'s error without std's introduction.
fn resolver_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

fn new_socket(family: AddressFamily, interrupt: &Interrupt, ticket: Ticket) -> Result<Arc<Socket>, NbdError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(socket_error)?;
    let socket = Arc::new(Socket::new(fd));
    if interrupt.register(&socket, ticket) { Ok(socket) } else { Err(NbdError::Interrupted) }
}

fn socket_error(error: Errno) -> NbdError {
    NbdError::Socket(error.into())
}

fn connect_tcp(
    address: SocketAddr,
    interrupt: &Interrupt,
    ticket: Ticket,
    deadline: Instant,
) -> Result<Link, NbdError> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family, interrupt, ticket)?;
    // Each is an improvement that a host without it does not need.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    let _ = sockopt::set_socket_keepalive(&socket, true);
    let _ = sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES);
    let _ = sockopt::set_tcp_user_timeout(&socket, PEER_TIMEOUT.as_millis() as u32);
    match rustix::net::connect(&socket, &SocketAddrAny::from(address)) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait_ready(&socket, PollFlags::OUT, deadline)?;
            let result = sockopt::socket_error(&socket).map_err(socket_error)?;
            result.map_err(|error| NbdError::Connect(error.into()))?;
        }
        Err(error) => return Err(NbdError::Connect(error.into())),
    }
    finish(socket, interrupt, ticket, deadline)
}

fn connect_unix(path: &Path, interrupt: &Interrupt, ticket: Ticket, deadline: Instant) -> Result<Link, NbdError> {
    let bytes = path.as_os_str().as_bytes();
    let address = match bytes.strip_prefix(b"\0") {
        Some(name) => SocketAddrUnix::new_abstract_name(name),
        None => SocketAddrUnix::new(path),
    };
    let address = address.map_err(socket_error)?;
    let socket = new_socket(AddressFamily::UNIX, interrupt, ticket)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return finish(socket, interrupt, ticket, deadline),
            Err(Errno::INTR) => {}
            // The server's queue is full: connect(2).
            Err(Errno::AGAIN) => {
                if Instant::now() >= deadline {
                    return Err(NbdError::TimedOut);
                }
                if !interrupt.wait_until(Instant::now() + FULL_QUEUE_POLL, ticket) {
                    return Err(NbdError::Interrupted);
                }
            }
            Err(error) => return Err(NbdError::Connect(error.into())),
        }
    }
}

/// Makes a connected socket blocking: a request then costs one system call in each direction.
fn finish(socket: Arc<Socket>, interrupt: &Interrupt, ticket: Ticket, deadline: Instant) -> Result<Link, NbdError> {
    rustix::io::ioctl_fionbio(&socket, false).map_err(socket_error)?;
    // It may have been shut down before it was connected, which has no effect.
    if interrupt.is_over(ticket) {
        return Err(NbdError::Interrupted);
    }
    Ok(Link::new(socket, deadline))
}
