//! Connection of a VNC client: a nonblocking socket, optionally TLS on it, optionally WebSocket on that.

use super::websocket::WebSocket;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Bytes read from a socket at a time, so that one client does not delay the others.
const READ_MAX: usize = 16 << 10;
/// The first byte of a TLS connection: record type handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The connection ended or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionClosed;

pub enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ClientSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A connection.
pub struct Connection {
    /// Nonblocking.
    pub socket: ClientSocket,
    tls: Option<Box<ServerConnection>>,
    /// Nothing was received yet: TLS starts if the first byte is [`TLS_HANDSHAKE`].
    maybe_tls: Option<Arc<rustls::ServerConfig>>,
    websocket: Option<WebSocket>,
    /// Bytes for the socket.
    out: Vec<u8>,
}

impl Connection {
    /// A connection that carries RFB directly.
    pub fn new(socket: ClientSocket) -> Self {
        Self { socket, tls: None, maybe_tls: None, websocket: None, out: Vec::new() }
    }

    /// A connection that carries RFB in WebSocket; if the server has TLS, the client may use it or not.
    pub fn websocket(socket: ClientSocket, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self { maybe_tls: tls, websocket: Some(WebSocket::default()), ..Self::new(socket) }
    }

    /// Starts TLS with the next byte.
    pub fn start_tls(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), ConnectionClosed> {
        self.tls = Some(Box::new(ServerConnection::new(config).map_err(|_| ConnectionClosed)?));
        Ok(())
    }

    /// Whether the TLS handshake is complete.
    pub fn is_encrypted(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Whether RFB data can be sent: there is no WebSocket, or its upgrade is done.
    pub fn is_ready(&self) -> bool {
        self.websocket.as_ref().is_none_or(WebSocket::is_open)
    }

    /// Bytes that the socket has not taken yet.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Reads the socket once and appends the RFB data to `payload`.
    pub fn receive(&mut self, payload: &mut Vec<u8>) -> Result<(), ConnectionClosed> {
        let mut part = [0; READ_MAX];
        let count = match self.socket.read(&mut part) {
            Ok(0) => return Err(ConnectionClosed),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return Err(ConnectionClosed),
        };
        let bytes = part.get(..count).unwrap_or_default();
        if let Some(config) = self.maybe_tls.take()
            && bytes.first() == Some(&TLS_HANDSHAKE)
        {
            self.start_tls(config)?;
        }
        let Some(tls) = &mut self.tls else { return self.receive_plaintext(bytes, payload) };
        let mut rest = bytes;
        let mut plaintext = Vec::new();
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            // read_tls takes at least one byte of a valid stream.
            match tls.read_tls(&mut rest) {
                Ok(0) | Err(_) => result = Err(ConnectionClosed),
                Ok(_) => result = tls.process_new_packets().map(|_| ()).map_err(|_| ConnectionClosed),
            }
            // Data before an error or a close counts.
            let _ = tls.reader().read_to_end(&mut plaintext);
        }
        // Handshake messages, and the alert after an error.
        while tls.wants_write() && tls.write_tls(&mut self.out).is_ok_and(|count| count > 0) {}
        self.receive_plaintext(&plaintext, payload)?;
        result
    }

    fn receive_plaintext(&mut self, bytes: &[u8], payload: &mut Vec<u8>) -> Result<(), ConnectionClosed> {
        let Some(websocket) = &mut self.websocket else {
            payload.extend_from_slice(bytes);
            return Ok(());
        };
        let mut reply = Vec::new();
        let result = websocket.receive(bytes, payload, &mut reply);
        self.write(&reply);
        result.map_err(|_| ConnectionClosed)
    }

    /// Queues RFB data for [`Self::flush`].
    pub fn send(&mut self, data: &[u8]) {
        match &self.websocket {
            None => self.write(data),
            Some(websocket) => {
                let mut framed = Vec::with_capacity(data.len() + data.len() / 1024 + 16);
                websocket.send(data, &mut framed);
                self.write(&framed);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.out.extend_from_slice(bytes) };
        let mut rest = bytes;
        while !rest.is_empty() {
            // rustls buffers a limited amount: encrypt it before the next write.
            let Ok(count @ 1..) = tls.writer().write(rest) else { return };
            rest = rest.get(count..).unwrap_or_default();
            while tls.wants_write() && tls.write_tls(&mut self.out).is_ok_and(|count| count > 0) {}
        }
    }

    /// Writes as much to the socket as it takes without blocking.
    pub fn flush(&mut self) -> Result<(), ConnectionClosed> {
        let mut done = 0;
        let result = loop {
            let rest = self.out.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.socket.write(rest) {
                Ok(0) => break Err(ConnectionClosed),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(_) => break Err(ConnectionClosed),
            }
        };
        self.out.drain(..done);
        if self.out.is_empty() && self.out.capacity() > 1 << 20 {
            self.out = Vec::new();
        }
        result
    }
}
