//! What the server listens on, and what it needs to know before it lets anybody in: all that can be wrong is told before
//! the machine starts.

use crate::config::{VncAddress, VncConfig};
use crate::error::host_error;
use crate::socket_path::{self, SocketPath, SocketPathError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Display 0's port.
const FIRST_PORT: u16 = 5900;
/// How many displays are tried for one that is free.
const TRIES: u16 = 100;
/// A password has so many characters at most that count.
const PASSWORD_MAX: usize = 8;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address.
    #[error("VNC on {address}: {}", host_error(why))]
    Address {
        /// Which.
        address: String,
        /// Why.
        why: io::Error,
    },
    /// No display is free.
    #[error("VNC on {host}: displays {first} to {last} are all in use")]
    NoneFree {
        /// Where.
        host: String,
        /// The first that was tried.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A Unix socket.
    #[error(transparent)]
    Socket(#[from] SocketPathError),
    /// A file with the password, the certificate or its key.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Everything that is opened before the machine starts.
#[derive(Debug)]
pub struct Listeners {
    /// For viewers.
    pub tcp: Option<TcpListener>,
    /// For viewers, as a file.
    pub unix: Option<SocketPath>,
    /// For browsers.
    pub websocket: Option<TcpListener>,
    /// If clients must use TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// If clients must know it.
    pub password: Option<Vec<u8>>,
}

fn file(path: &Path, why: impl Into<String>) -> ListenError {
    ListenError::File { path: path.to_owned(), why: why.into() }
}

impl Listeners {
    /// Opens what the configuration asks for.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn open(config: &VncConfig) -> Result<Self, ListenError> {
        let password = config.password.as_deref().map(read_password).transpose()?;
        let tls = config.tls.as_ref().map(|(certificate, key)| load_tls(certificate, key)).transpose()?;
        let (mut tcp, mut unix) = (None, None);
        match &config.address {
            VncAddress::Unix(path) => unix = Some(socket_path::claim_path(path)?),
            VncAddress::Tcp { host, display } => {
                let last = if config.unused { display.saturating_add(TRIES - 1) } else { *display };
                tcp = Some(first_free(host, *display, last.min(u16::MAX - FIRST_PORT), config.unused)?);
            }
        }
        let websocket = match &config.websocket {
            None => None,
            Some((host, port)) => Some(listen(host, *port)?),
        };
        Ok(Self { tcp, unix, websocket, tls, password })
    }

    /// Where the TCP listener is, as a person says it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// A display's number, by its port.
    pub fn display(address: SocketAddr) -> Option<u16> {
        address.port().checked_sub(FIRST_PORT)
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

fn first_free(host: &str, first: u16, last: u16, many: bool) -> Result<TcpListener, ListenError> {
    for display in first..=last {
        match listen(host, FIRST_PORT + display) {
            Err(ListenError::Address { why, .. }) if many && why.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    Err(ListenError::NoneFree { host: host.to_owned(), first, last })
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<Vec<u8>, ListenError> {
    let text = std::fs::read(path).map_err(|error| file(path, host_error(&error)))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        0 => Err(file(path, "has no password in its first line")),
        1..=PASSWORD_MAX => Ok(line.to_vec()),
        _ => Err(file(path, format!("VNC knows no password of more than {PASSWORD_MAX} characters"))),
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
        .map_err(|error| file(key, format!("does not go with {}: {error}", certificate.display())))?;
    // Nobody resumes a session, and TigerVNC 1.12 was seen to wait for ever after tickets that came with data behind them.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
