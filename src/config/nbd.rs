//! NBD URI: where a network disk is and how its server proves who it is (NetworkBlockDevice/nbd, doc/uri.md).
//!
//! `nbd://HOST[:PORT]/EXPORT`, `nbds://` with TLS, `nbd+unix:///EXPORT?socket=PATH` and `nbds+unix://`. Plain values: nothing
//! here opens a file or a socket. Deliberately missing: opportunistic TLS (`nbd://` is never encrypted, `nbds://` always),
//! anonymous TLS, TLS with pre-shared keys and the user name that belongs to them, VSOCK.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port that IANA assigned to NBD.
pub const DEFAULT_PORT: u16 = 10809;
/// How long requests wait for a lost server, unless `reconnect=` says otherwise.
pub const DEFAULT_RECONNECT: Duration = Duration::from_secs(300);
/// Bytes in the longest string of the protocol (doc/proto.md, "Protocol phases").
const STRING_MAX: usize = 4096;
/// Bytes in the longest path of a Unix socket: `sun_path` without its NUL, unix(7).
const SOCKET_PATH_MAX: usize = 107;
const QUERY_KEYS: &str = "socket, tls-certificates, tls-hostname, tls-verify-peer, tls-type";
const FORMS: &str = "nbd://HOST[:PORT]/EXPORT, nbds://..., nbd+unix:///EXPORT?socket=PATH or nbds+unix://...";

/// A network disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdTarget {
    /// Where the server listens.
    pub address: NbdAddress,
    /// The export's name; empty for the server's default export.
    pub export: String,
    /// TLS, which is then mandatory; `None` for an unencrypted connection.
    pub tls: Option<NbdTls>,
    /// How long requests wait for a lost server before they fail.
    pub reconnect: Duration,
}

/// Where an NBD server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdAddress {
    /// TCP.
    Tcp {
        /// A name, or an IPv4 or IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket in the file system, or an abstract one if the first byte is NUL.
    Unix(PathBuf),
}

/// How an NBD server and its client prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdTls {
    /// A folder with `ca-cert.pem` and, if the server asks for a client certificate, `client-cert.pem` and
    /// `client-key.pem`.
    pub certificates: Option<PathBuf>,
    /// A file with the certificates of the authorities to trust. `None` for `ca-cert.pem` in `certificates`, or else the
    /// authorities that the host's system trusts.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate must have, where that is not the host's name.
    pub hostname: Option<String>,
    /// Whether the certificate is verified. False only if the URI says `tls-verify-peer=0`.
    pub verify: bool,
}

/// What is wrong with an NBD URI, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NbdUriError {
    /// The scheme is not one that this client has.
    #[error("'{0}' is not a kind of network disk: write {FORMS}")]
    Scheme(String),
    /// The path has bytes that are not UTF-8.
    #[error("an NBD URI is ASCII text: write other bytes as %XX")]
    NotText,
    /// A percent sign that two hexadecimal digits do not follow, or a NUL or other bytes that are not UTF-8.
    #[error("'{0}' is not valid percent-encoded text")]
    Encoding(String),
    /// `#`.
    #[error("'#' has no meaning in an NBD URI: write %23")]
    Fragment,
    /// `user@`.
    #[error("a user name is for TLS with pre-shared keys, which pcvm does not have: use certificates")]
    User,
    /// `nbd:///...`.
    #[error("no host: write {FORMS}")]
    NoHost,
    /// A port that is not a number, an address in brackets that is not an IPv6 address.
    #[error("'{0}' is not HOST or HOST:PORT, with an IPv6 address in brackets")]
    Authority(String),
    /// `nbd+unix://host/...`.
    #[error("a Unix socket has no host: write nbd+unix:///EXPORT?socket=PATH with three slashes")]
    HostOfSocket,
    /// `nbd+unix` without `socket`.
    #[error("no socket: write nbd+unix:///EXPORT?socket=PATH")]
    NoSocket,
    /// `socket` for TCP.
    #[error("'socket' is for nbd+unix:// and nbds+unix://")]
    SocketOfTcp,
    /// A socket's path that no socket can have.
    #[error("a socket's path has 1 to {SOCKET_PATH_MAX} bytes")]
    SocketPath,
    /// An export's name that the protocol cannot carry.
    #[error("an export's name has at most {STRING_MAX} bytes")]
    ExportName,
    /// An unknown key after `?`.
    #[error("unknown key '{0}' in the URI (keys: {QUERY_KEYS})")]
    Key(String),
    /// A key that is given twice.
    #[error("'{0}' is given twice in the URI")]
    Twice(&'static str),
    /// A value that a key does not have.
    #[error("{key} must be {expected}, not '{value}'")]
    Value {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// The valid values.
        expected: &'static str,
    },
    /// A TLS key without TLS.
    #[error("'{0}' is for TLS: write nbds:// or nbds+unix://")]
    NoTls(&'static str),
}

impl NbdTarget {
    /// Whether an image's name is meant as an NBD URI: `nbd`, then letters, digits, `+`, `-` or `.`, then `://`.
    pub fn is_uri(name: &OsStr) -> bool {
        let bytes = name.as_bytes();
        let scheme = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
        let (scheme, rest) = bytes.split_at(scheme);
        scheme.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"nbd")) && rest.starts_with(b"://")
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// If it is none, or asks for what this client does not have.
    pub fn parse(uri: &OsStr) -> Result<Self, NbdUriError> {
        let uri = uri.to_str().ok_or(NbdUriError::NotText)?;
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| NbdUriError::Scheme(uri.to_owned()))?;
        let (tls, unix) = match scheme.to_ascii_lowercase().as_str() {
            "nbd" => (false, false),
            "nbds" => (true, false),
            "nbd+unix" => (false, true),
            "nbds+unix" => (true, true),
            _ => return Err(NbdUriError::Scheme(format!("{scheme}://"))),
        };
        if rest.contains('#') {
            return Err(NbdUriError::Fragment);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let export = text(path)?;
        if export.len() > STRING_MAX {
            return Err(NbdUriError::ExportName);
        }
        let query = Query::parse(query)?;
        let address = if unix {
            if !authority.is_empty() {
                return Err(NbdUriError::HostOfSocket);
            }
            let path = query.socket.as_ref().ok_or(NbdUriError::NoSocket)?;
            let abstract_name = path.as_bytes().first() == Some(&0);
            let nul = path.as_bytes().iter().skip(1).any(|&byte| byte == 0);
            if path.is_empty() || path.len() > SOCKET_PATH_MAX || nul || (abstract_name && path.len() == 1) {
                return Err(NbdUriError::SocketPath);
            }
            NbdAddress::Unix(path.into())
        } else {
            if query.socket.is_some() {
                return Err(NbdUriError::SocketOfTcp);
            }
            parse_authority(authority)?
        };
        Ok(Self { address, export, tls: query.tls(tls)?, reconnect: DEFAULT_RECONNECT })
    }

    /// The name that the server's certificate must have: `tls-hostname`, or the host, or `localhost` for a Unix socket.
    pub fn certificate_name(&self) -> &str {
        match (self.tls.as_ref().and_then(|tls| tls.hostname.as_deref()), &self.address) {
            (Some(name), _) => name,
            (None, NbdAddress::Tcp { host, .. }) => host,
            (None, NbdAddress::Unix(_)) => "localhost",
        }
    }
}

/// The URI, without the keys for TLS.
impl fmt::Display for NbdTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "nbds" } else { "nbd" };
        let export = encode(self.export.as_bytes());
        match &self.address {
            NbdAddress::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}/{export}"),
            NbdAddress::Tcp { host, port } => write!(f, "{scheme}://{}:{port}/{export}", encode(host.as_bytes())),
            NbdAddress::Unix(path) => {
                write!(f, "{scheme}+unix:///{export}?socket={}", encode(path.as_os_str().as_bytes()))
            }
        }
    }
}

fn parse_authority(authority: &str) -> Result<NbdAddress, NbdUriError> {
    let bad = || NbdUriError::Authority(authority.to_owned());
    if authority.contains('@') {
        return Err(NbdUriError::User);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            // A zone, such as fe80::1%25eth0 (RFC 6874), is kept for the resolver.
            let host = text(host)?;
            let address = host.split('%').next().unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad());
            }
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':').ok_or_else(bad)? };
            (host, port)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            if port.contains(':') {
                return Err(bad());
            }
            (text(host)?, port)
        }
    };
    if host.is_empty() {
        return Err(NbdUriError::NoHost);
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.parse().ok().filter(|&port| digits && port > 0).ok_or_else(bad)?,
    };
    Ok(NbdAddress::Tcp { host, port })
}

/// The keys after `?`.
#[derive(Default)]
struct Query {
    socket: Option<OsString>,
    certificates: Option<PathBuf>,
    hostname: Option<String>,
    verify: Option<bool>,
    x509: Option<bool>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, NbdUriError> {
        fn set<T>(slot: &mut Option<T>, key: &'static str, value: T) -> Result<(), NbdUriError> {
            if slot.replace(value).is_some() { Err(NbdUriError::Twice(key)) } else { Ok(()) }
        }
        let bad = |key, value: &str, expected| NbdUriError::Value { key, value: value.to_owned(), expected };
        let mut found = Self::default();
        for item in query.split('&').filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            match text(key)?.as_str() {
                "socket" => set(&mut found.socket, "socket", OsString::from_vec(decode(value)?))?,
                "tls-certificates" => {
                    let folder = PathBuf::from(text(value)?);
                    if folder.as_os_str().is_empty() {
                        return Err(bad("tls-certificates", value, "a folder"));
                    }
                    set(&mut found.certificates, "tls-certificates", folder)?;
                }
                "tls-hostname" => {
                    let name = text(value)?;
                    if name.is_empty() {
                        return Err(bad("tls-hostname", value, "a name"));
                    }
                    set(&mut found.hostname, "tls-hostname", name)?;
                }
                "tls-verify-peer" => match value {
                    "0" | "1" => set(&mut found.verify, "tls-verify-peer", value == "1")?,
                    _ => return Err(bad("tls-verify-peer", value, "0 or 1")),
                },
                "tls-type" => match value {
                    "x509" => set(&mut found.x509, "tls-type", true)?,
                    _ => return Err(bad("tls-type", value, "x509, the only kind that pcvm has")),
                },
                other => return Err(NbdUriError::Key(other.to_owned())),
            }
        }
        Ok(found)
    }

    fn tls(self, wanted: bool) -> Result<Option<NbdTls>, NbdUriError> {
        if wanted {
            let verify = self.verify.unwrap_or(true);
            return Ok(Some(NbdTls { certificates: self.certificates, ca: None, hostname: self.hostname, verify }));
        }
        let given = [
            ("tls-certificates", self.certificates.is_some()),
            ("tls-hostname", self.hostname.is_some()),
            ("tls-verify-peer", self.verify.is_some()),
            ("tls-type", self.x509.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(NbdUriError::NoTls(key)),
            None => Ok(None),
        }
    }
}

/// Percent-decodes text: UTF-8 without NUL.
fn text(encoded: &str) -> Result<String, NbdUriError> {
    let bad = || NbdUriError::Encoding(encoded.to_owned());
    let text = String::from_utf8(decode(encoded)?).map_err(|_| bad())?;
    if text.contains('\0') { Err(bad()) } else { Ok(text) }
}

/// Percent-decodes bytes (RFC 3986, 2.1).
fn decode(encoded: &str) -> Result<Vec<u8>, NbdUriError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(), digit());
        let (Some(high), Some(low)) = (high, low) else { return Err(NbdUriError::Encoding(encoded.to_owned())) };
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}

/// Percent-encodes all but the characters of paths that have no other meaning in a URI, a list of options or a terminal.
fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

impl NbdTls {
    /// The file with the authorities to trust; `None` for those of the host's system.
    pub fn authorities(&self) -> Option<PathBuf> {
        self.ca.clone().or_else(|| self.certificates.as_deref().map(|folder| folder.join("ca-cert.pem")))
    }

    /// The client's certificate and private key, which exist only if the server asks for them.
    pub fn client_pair(&self) -> Option<(PathBuf, PathBuf)> {
        let folder: &Path = self.certificates.as_deref()?;
        Some((folder.join("client-cert.pem"), folder.join("client-key.pem")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<NbdTarget, NbdUriError> {
        NbdTarget::parse(OsStr::new(uri))
    }

    fn tcp(host: &str, port: u16) -> NbdAddress {
        NbdAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn the_examples_of_the_uri_standard_give_their_export_names() {
        for (uri, export) in [
            ("nbd://example.com/disk", "disk"),
            ("nbd+unix:///disk?socket=sock", "disk"),
            ("nbd://example.com/", ""),
            ("nbd://example.com", ""),
            ("nbd://example.com//disk", "/disk"),
            ("nbd://example.com/hello%20world", "hello world"),
        ] {
            assert_eq!(parse(uri).unwrap().export, export, "{uri}");
        }
    }

    #[test]
    fn every_form_of_address_is_read_and_printed_again() {
        for (uri, address) in [
            ("nbd://h/x", tcp("h", 10809)),
            ("NBD://h:1/x", tcp("h", 1)),
            ("nbd://192.0.2.1:2/x", tcp("192.0.2.1", 2)),
            ("nbd://[2001:db8::1]/x", tcp("2001:db8::1", 10809)),
            ("nbds://[::1]:65535/x", tcp("::1", 65535)),
            ("nbd+unix:///x?socket=/tmp/a%20b%3F", NbdAddress::Unix("/tmp/a b?".into())),
            ("nbds+unix:///x?socket=nbd.sock", NbdAddress::Unix("nbd.sock".into())),
            ("nbd+unix:///x?socket=%00name", NbdAddress::Unix(OsString::from_vec(b"\0name".to_vec()).into())),
        ] {
            let target = parse(uri).unwrap();
            assert_eq!(target.address, address, "{uri}");
            assert_eq!(target.tls.is_some(), uri.starts_with("nbds"), "{uri}");
            assert_eq!(parse(&target.to_string()), Ok(target));
        }
    }

    #[test]
    fn tls_keys_are_read_only_where_there_is_tls() {
        let tls = parse("nbds://h/x?tls-certificates=/etc/pki&tls-hostname=n&tls-verify-peer=1&tls-type=x509").unwrap();
        assert_eq!(tls.certificate_name(), "n");
        let tls = tls.tls.unwrap();
        assert_eq!(tls.authorities(), Some("/etc/pki/ca-cert.pem".into()));
        assert_eq!(tls.client_pair().unwrap().1, Path::new("/etc/pki/client-key.pem"));
        assert!(tls.verify && parse("nbds://h").unwrap().tls.unwrap().verify);
        assert!(!parse("nbds://h?tls-verify-peer=0").unwrap().tls.unwrap().verify);
        assert_eq!(parse("nbd://h?tls-hostname=n"), Err(NbdUriError::NoTls("tls-hostname")));
        assert_eq!(parse("nbds+unix:///?socket=s").unwrap().certificate_name(), "localhost");
    }

    #[test]
    fn other_uris_are_rejected_with_the_reason() {
        let value = |key, value: &str, expected| NbdUriError::Value { key, value: value.to_owned(), expected };
        for (uri, error) in [
            ("nbd+vsock://2/x", NbdUriError::Scheme("nbd+vsock://".into())),
            ("nbd:h:1", NbdUriError::Scheme("nbd:h:1".into())),
            ("nbd:///x", NbdUriError::NoHost),
            ("nbd://:1/x", NbdUriError::NoHost),
            ("nbd://h:/x%", NbdUriError::Encoding("x%".into())),
            ("nbd://h/%00", NbdUriError::Encoding("%00".into())),
            ("nbd://h/%ff", NbdUriError::Encoding("%ff".into())),
            ("nbd://h:0/", NbdUriError::Authority("h:0".into())),
            ("nbd://h:+1/", NbdUriError::Authority("h:+1".into())),
            ("nbd://h:65536/", NbdUriError::Authority("h:65536".into())),
            ("nbd://::1/", NbdUriError::Authority("::1".into())),
            ("nbd://[::1/", NbdUriError::Authority("[::1".into())),
            ("nbd://[h]/", NbdUriError::Authority("[h]".into())),
            ("nbd://me@h/", NbdUriError::User),
            ("nbd://h/#x", NbdUriError::Fragment),
            ("nbd://h/?socket=s", NbdUriError::SocketOfTcp),
            ("nbd://h/?x=y", NbdUriError::Key("x".into())),
            ("nbd+unix://h/?socket=s", NbdUriError::HostOfSocket),
            ("nbd+unix:///x", NbdUriError::NoSocket),
            ("nbd+unix:///x?socket=", NbdUriError::SocketPath),
            ("nbd+unix:///x?socket=%00", NbdUriError::SocketPath),
            ("nbd+unix:///x?socket=a%00", NbdUriError::SocketPath),
            ("nbd+unix:///x?socket=a&socket=b", NbdUriError::Twice("socket")),
            ("nbds://h?tls-verify-peer=no", value("tls-verify-peer", "no", "0 or 1")),
            ("nbds://h?tls-type=psk", value("tls-type", "psk", "x509, the only kind that pcvm has")),
        ] {
            assert_eq!(parse(uri), Err(error), "{uri}");
        }
        let long = format!("nbd://h/{}", "x".repeat(4097));
        assert_eq!(parse(&long), Err(NbdUriError::ExportName));
    }

    #[test]
    fn only_a_name_with_the_scheme_is_a_uri() {
        for name in ["nbd://h", "NBDS://h", "nbd+unix:///?socket=s", "nbd+ssh://h"] {
            assert!(NbdTarget::is_uri(OsStr::new(name)), "{name}");
        }
        for name in ["nbd", "nbd:h", "./nbd://h", "disk.img", "x/nbd://h", "http://h", ""] {
            assert!(!NbdTarget::is_uri(OsStr::new(name)), "{name}");
        }
    }
}
