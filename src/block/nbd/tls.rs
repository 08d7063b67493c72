//! TLS of the NBD client: which certificates it trusts and which it shows.
//!
//! Certificates are verified as on the web (RFC 6125): the server's must have the host's name or address as subject
//! alternative name; a common name alone does not count. `tls-verify-peer=0` is obeyed with a warning.

use super::error::NbdError;
use crate::config::nbd::{NbdTarget, NbdTls};
use crate::error::host_error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// What a connection needs for TLS.
#[derive(Clone, Debug)]
pub struct TlsClient {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

impl TlsClient {
    /// Reads the certificates. They are not read again when the connection is made again.
    pub fn new(target: &NbdTarget, tls: &NbdTls) -> Result<Self, NbdError> {
        let name = target.certificate_name();
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| NbdError::Tls(format!("'{name}' cannot be in a certificate; give 'tls-hostname'")))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| NbdError::Tls(error.to_string()))?;
        let builder = if tls.verify {
            builder.with_root_certificates(authorities(tls)?)
        } else {
            tracing::warn!("{target}: tls-verify-peer=0: any server is taken for the right one");
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer::new(&provider)))
        };
        let config = match client_pair(tls)? {
            None => builder.with_no_client_auth(),
            Some((path, certificates, key)) => builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| NbdError::Certificate { path, why: error.to_string() })?,
        };
        Ok(Self { config: Arc::new(config), name })
    }
}

fn authorities(tls: &NbdTls) -> Result<RootCertStore, NbdError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = tls.authorities() {
        for certificate in certificates(&path)? {
            let added = roots.add(certificate);
            added.map_err(|error| NbdError::Certificate { path: path.clone(), why: error.to_string() })?;
        }
        return Ok(roots);
    }
    // Some systems' collections have certificates that are not usable; one that is missing matters only if it is needed.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = "this system has no collection of certificate authorities: give 'tls-ca' or 'tls-certificates'";
        return Err(NbdError::Tls(why.to_owned()));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NbdError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, pem::Error::NoItemsFound, "certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, error, "certificate")),
    }
}

type ClientPair = (std::path::PathBuf, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client's certificate, if there is one.
fn client_pair(tls: &NbdTls) -> Result<Option<ClientPair>, NbdError> {
    let Some((certificate, key)) = tls.client_pair() else { return Ok(None) };
    if !certificate.exists() && !key.exists() {
        return Ok(None);
    }
    let chain = certificates(&certificate)?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, error, "private key"))?;
    Ok(Some((certificate, chain, private)))
}

fn unusable(path: &Path, error: pem::Error, what: &str) -> NbdError {
    let why = match error {
        pem::Error::Io(error) => host_error(&error),
        pem::Error::NoItemsFound => format!("has no {what}"),
        error => error.to_string(),
    };
    NbdError::Certificate { path: path.to_owned(), why }
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl AnyServer {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
