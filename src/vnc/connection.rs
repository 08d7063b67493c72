//! A client's connection: a socket, perhaps TLS over it, perhaps WebSocket over that.

use super::websocket::WebSocket;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Bytes read from a socket before others have their turn.
const PART: usize = 16 << 10;
/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;

pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
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

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A connection.
pub struct Wire {
    /// Nonblocking.
    pub socket: Socket,
    tls: Option<Box<ServerConnection>>,
    /// TLS may come first, if the first byte says so.
    maybe_tls: Option<Arc<rustls::ServerConfig>>,
    websocket: Option<WebSocket>,
    out: Vec<u8>,
}

impl Wire {
    /// A viewer's.
    pub fn new(socket: Socket) -> Self {
        Self { socket, tls: None, maybe_tls: None, websocket: None, out: Vec::new() }
    }

    /// A browser's, through TLS if it likes and there is any.
    pub fn websocket(socket: Socket, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self { maybe_tls: tls, websocket: Some(WebSocket::default()), ..Self::new(socket) }
    }

    /// TLS from the next byte on.
    pub fn start_tls(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), Over> {
        self.tls = Some(Box::new(ServerConnection::new(config).map_err(|_| Over)?));
        Ok(())
    }

    /// Whether what goes through it is encrypted by now.
    pub fn is_encrypted(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Whether RFB can begin.
    pub fn is_ready(&self) -> bool {
        self.websocket.as_ref().is_none_or(WebSocket::is_open)
    }

    /// Bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Reads what there is, once, and gives what is in it.
    pub fn receive(&mut self, payload: &mut Vec<u8>) -> Result<(), Over> {
        let mut part = [0; PART];
        let count = match self.socket.read(&mut part) {
            Ok(0) => return Err(Over),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return Err(Over),
        };
        let bytes = part.get(..count).unwrap_or_default();
        if let Some(config) = self.maybe_tls.take()
            && bytes.first() == Some(&HANDSHAKE)
        {
            self.start_tls(config)?;
        }
        let Some(tls) = &mut self.tls else { return self.plain(bytes, payload) };
        let mut rest = bytes;
        let mut plain = Vec::new();
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            // Each takes some, or the connection is broken.
            match tls.read_tls(&mut rest) {
                Ok(0) | Err(_) => result = Err(Over),
                Ok(_) => result = tls.process_new_packets().map(|_| ()).map_err(|_| Over),
            }
            // Whatever the reason for an end of it: what has come counts.
            let _ = tls.reader().read_to_end(&mut plain);
        }
        // Also an alert that says what is wrong.
        while tls.wants_write() && tls.write_tls(&mut self.out).is_ok_and(|count| count > 0) {}
        self.plain(&plain, payload)?;
        result
    }

    fn plain(&mut self, bytes: &[u8], payload: &mut Vec<u8>) -> Result<(), Over> {
        let Some(websocket) = &mut self.websocket else {
            payload.extend_from_slice(bytes);
            return Ok(());
        };
        let mut answer = Vec::new();
        let result = websocket.receive(bytes, payload, &mut answer);
        self.write(&answer);
        result.map_err(|_| Over)
    }

    /// Sends data, when the socket takes it.
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
            // It buffers some, which goes on before the next.
            let Ok(count @ 1..) = tls.writer().write(rest) else { return };
            rest = rest.get(count..).unwrap_or_default();
            while tls.wants_write() && tls.write_tls(&mut self.out).is_ok_and(|count| count > 0) {}
        }
    }

    /// Writes what the socket takes now.
    pub fn flush(&mut self) -> Result<(), Over> {
        let mut done = 0;
        let result = loop {
            let rest = self.out.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.socket.write(rest) {
                Ok(0) => break Err(Over),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(_) => break Err(Over),
            }
        };
        self.out.drain(..done);
        if self.out.is_empty() && self.out.capacity() > 1 << 20 {
            self.out = Vec::new();
        }
        result
    }
}
