//! Listening sockets, password and TLS certificate of the VNC server. All are opened before the machine starts, so that a
//! mistake in the configuration is reported at once.

use crate::config::{VncAddress, VncConfig};
use crate::error::host_error;
use crate::socket_path::{self, SocketPath, SocketPathError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// TCP port of display 0.
const DISPLAY_0_PORT: u16 = 5900;
/// How many displays are tried in search of a free one.
const DISPLAYS_TRIED: u16 = 100;
/// Longest password: VNC Authentication ignores further characters.
const PASSWORD_MAX: usize = 8;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be resolved or bound.
    #[error("VNC on {address}: {}", host_error(why))]
    Address {
        /// Host and port.
        address: String,
        /// The host's error.
        why: io::Error,
    },
    /// No display in the range is free.
    #[error("VNC on {host}: displays {first} to {last} are all in use")]
    NoneFree {
        /// The host's name or address.
        host: String,
        /// The first display that was tried.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// The Unix socket cannot be claimed.
    #[error(transparent)]
    Socket(#[from] SocketPathError),
    /// The password's, certificate's or key's file is unusable.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Listening sockets and credentials; a server has a TCP or a Unix socket.
#[derive(Debug)]
pub struct Listeners {
    /// TCP socket for RFB.
    pub tcp: Option<TcpListener>,
    /// Unix socket for RFB.
    pub unix: Option<SocketPath>,
    /// TCP socket for RFB in WebSocket.
    pub websocket: Option<TcpListener>,
    /// Certificate and key; clients must then use TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Clients must then authenticate with it.
    pub password: Option<Vec<u8>>,
}

fn file(path: &Path, why: impl Into<String>) -> ListenError {
    ListenError::File { path: path.to_owned(), why: why.into() }
}

impl Listeners {
    /// Opens the configured sockets and files.
    ///
    /// # Errors
    /// If one of them cannot be opened or used.
    pub fn open(config: &VncConfig) -> Result<Self, ListenError> {
        let password = config.password.as_deref().map(read_password).transpose()?;
        let tls = config.tls.as_ref().map(|(certificate, key)| load_tls(certificate, key)).transpose()?;
        let (mut tcp, mut unix) = (None, None);
        match &config.address {
            VncAddress::Unix(path) => unix = Some(socket_path::claim_path(path)?),
            VncAddress::Tcp { host, display } => {
                let last = if config.unused { display.saturating_add(DISPLAYS_TRIED - 1) } else { *display };
                tcp = Some(first_free(host, *display, last.min(u16::MAX - DISPLAY_0_PORT), config.unused)?);
            }
        }
        let websocket = match &config.websocket {
            None => None,
            Some((host, port)) => Some(listen(host, *port)?),
        };
        Ok(Self { tcp, unix, websocket, tls, password })
    }

    /// The TCP listener's address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The display number of a port; `None` below 5900.
    pub fn display(address: SocketAddr) -> Option<u16> {
        address.port().checked_sub(DISPLAY_0_PORT)
    }
}

fn listen(host: &str, port: u16) -> Result<TcpListener, ListenError> {
    let failed = |why| ListenError::Address { address: format!("{host}:{port}"), why };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (bare, port).to_socket_addrs().map_err(failed)?.collect();
    let listener = TcpListener::bind(&*addresses).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Listens on `first`, or if `any_free` on the first free display up to `last`.
fn first_free(host: &str, first: u16, last: u16, any_free: bool) -> Result<TcpListener, ListenError> {
    for display in first..=last {
        match listen(host, DISPLAY_0_PORT + display) {
            Err(ListenError::Address { why, .. }) if any_free && why.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    Err(ListenError::NoneFree { host: host.to_owned(), first, last })
}

/// Reads the password: the first line of the file.
fn read_password(path: &Path) -> Result<Vec<u8>, ListenError> {
    let text = std::fs::read(path).map_err(|error| file(path, host_error(&error)))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        0 => Err(file(path, "has no password in its first line")),
        1..=PASSWORD_MAX => Ok(line.to_vec()),
        _ => Err(file(
            path,
            format!("the password is longer than {PASSWORD_MAX} characters, which VNC does not support"),
        )),
    }
}

fn load_tls(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, ListenError> {
    let pem = |path: &Path, error: rustls::pki_types::pem::Error, what: &str| {
        let why = match error {
            rustls::pki_types::pem::Error::Io(error) => host_error(&error),
            rustls::pki_types::pem::Error::NoItemsFound => format!("has no {what}"),
            error => error.to_string(),
        };
        file(path, why)
    };
    let certificates = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(certificate, error, "certificate"))?;
    if certificates.is_empty() {
        return Err(file(certificate, "has no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, error, "private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|error| file(key, format!("does not match the certificate {}: {error}", certificate.display())))?;
    // Clients do not resume sessions, and TigerVNC 1.12 hangs if session tickets and data arrive together.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
