//! Errors of the NBD client: why a server cannot be used, and why a request failed.

use crate::error::host_error;
use std::io;
use std::path::PathBuf;

/// Why an NBD server or its export cannot be used, or why a connection to it ended.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// The host's name has no address.
    #[error("cannot find the host '{host}': {why}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's answer.
        why: String,
    },
    /// No connection came about.
    #[error("cannot connect: {}; is the server running?", host_error(.0))]
    Connect(io::Error),
    /// A step of connecting or negotiating took too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The connection came about, and nothing came over it. qemu-nbd serves one client unless told otherwise.
    #[error("the server does not greet: is it an NBD server, and does it allow one more client?")]
    NoGreeting,
    /// The server closed the connection.
    #[error("the server closed the connection{0}")]
    Closed(&'static str),
    /// A socket operation failed.
    #[error("{}", host_error(.0))]
    Socket(io::Error),
    /// The machine is shutting down, or gave up this request.
    #[error("given up")]
    Interrupted,
    /// The peer speaks something else.
    #[error("the peer is not an NBD server")]
    NotNbd,
    /// The server has oldstyle negotiation only.
    #[error(
        "the server has oldstyle negotiation only, which has no export names and no TLS: use a server of this decade"
    )]
    Oldstyle,
    /// The server violated the protocol.
    #[error("the server violated the protocol: {0}")]
    Protocol(&'static str),
    /// `nbds` and a server without TLS.
    #[error("the server refuses TLS{0}; nbd:// is the unencrypted form")]
    TlsRefused(String),
    /// `nbd` and a server that insists on TLS.
    #[error("the server requires TLS: write nbds:// instead of nbd://")]
    TlsRequired,
    /// The handshake failed, or a certificate was not accepted.
    #[error("TLS: {0}")]
    Tls(String),
    /// A certificate or key cannot be used.
    #[error("{}: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The export does not exist.
    #[error("the server has no export '{name}'{exports}")]
    UnknownExport {
        /// As configured.
        name: String,
        /// The exports that the server has, as the end of the sentence.
        exports: String,
    },
    /// The server refused the export.
    #[error("the server refuses the export: {0}")]
    Refused(String),
    /// The export is read-only and the drive is not.
    #[error("the export is read-only; give 'readonly' to use it without writing")]
    ReadOnly,
    /// The sizes that the server gives cannot be.
    #[error("the server gives invalid block sizes: minimum {min}, maximum {max} bytes")]
    BlockSizes {
        /// Minimum in bytes.
        min: u32,
        /// Maximum in bytes.
        max: u32,
    },
    /// The last bytes of the export cannot be accessed.
    #[error("the export has {size} bytes, which is not a whole number of the server's blocks of {min} bytes")]
    PartialBlock {
        /// Of the export, in bytes.
        size: u64,
        /// The server's minimum block size in bytes.
        min: u32,
    },
    /// After reconnecting, the export is another one.
    #[error("the export has changed: {0}")]
    Changed(String),
}

impl NbdError {
    /// A violation of the protocol.
    pub const fn protocol(what: &'static str) -> Self {
        Self::Protocol(what)
    }
}

impl From<io::Error> for NbdError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed(""),
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Socket(error),
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
pub enum RequestError {
    /// The server answered with an error; the connection can be used.
    Server(io::Error),
    /// The connection cannot be used any more; the request may or may not have been executed.
    Broken(NbdError),
}

impl From<NbdError> for RequestError {
    fn from(error: NbdError) -> Self {
        Self::Broken(error)
    }
}

/// A server's text for a message of one line: printable characters, at most `max` of them.
pub fn printable(text: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(max).collect();
    if text.chars().nth(max).is_some() {
        shown.push_str("...");
    }
    shown
}
