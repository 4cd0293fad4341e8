//! The certificate that clients are shown, which can be exchanged while serving.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

/// The protocol's name in TLS's application-layer negotiation (ALPN).
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
pub const ALPN: &[u8] = b"postgresql";

/// Where the certificate and its key lie, and what they held when last read.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// Read once a connection, written on a reload; the lock is held for the copy of a pointer.
    current: RwLock<Arc<Identity>>,
}

impl Tls {
    /// Reads the certificate chain (PEM, our own first) and its private key (PEM: PKCS#8,
    /// PKCS#1 or SEC1).
    ///
    /// # Errors
    /// When a file cannot be read, holds nothing of use, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let identity = Identity::load(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(identity)),
        })
    }

    /// Reads both files again, for the connections to come.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was loaded before stays in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        let identity = Arc::new(Identity::load(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(())
    }

    /// The certificate in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// One certificate with its key, ready for handshakes.
pub struct Identity {
    config: Arc<ServerConfig>,
    scram: ScramServerAuth,
}

impl Identity {
    /// What a handshake with a client needs.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// SCRAM that is bound to this certificate (`tls-server-end-point`), where it can be.
    #[must_use]
    pub fn scram(&self) -> ScramServerAuth {
        self.scram.clone()
    }

    /// Whether SCRAM-SHA-256-PLUS can be offered. It cannot with certificates whose signature
    /// names no hash function, as with Ed25519 (RFC 5929 section 4.1).
    #[must_use]
    pub fn binds_channel(&self) -> bool {
        self.scram.supports_channel_binding()
    }

    fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read(certificate)?;
        let key_pem = read(key)?;
        let chain = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Pem(certificate.to_owned(), error))?;
        let own = chain.first().ok_or_else(|| TlsError::NoCertificate(certificate.to_owned()))?;
        let scram = bound_scram(own);
        let key_der = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(key.to_owned()),
            other => TlsError::Pem(key.to_owned(), other),
        })?;
        let config = server_config(chain, key_der)
            .map_err(|error| TlsError::Unusable(certificate.to_owned(), error))?;
        Ok(Self { config: Arc::new(config), scram })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("binds_channel", &self.binds_channel())
            .finish_non_exhaustive()
    }
}

/// Why a certificate cannot be shown to clients.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is not PEM.
    Pem(PathBuf, pem::Error),
    /// The file is PEM without a certificate in it.
    NoCertificate(PathBuf),
    /// The file is PEM without a private key in it.
    NoKey(PathBuf),
    /// The certificate cannot be used with this key, or not at all.
    Unusable(PathBuf, rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Pem(path, error) => write!(f, "{} is not PEM: {error}", path.display()),
            Self::NoCertificate(path) => write!(f, "{} holds no certificate", path.display()),
            Self::NoKey(path) => write!(f, "{} holds no private key", path.display()),
            Self::Unusable(path, error) => {
                write!(f, "the certificate in {} cannot be used: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for TlsError {}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read(path.to_owned(), error))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // As PostgreSQL: no resumption. Its clients do not use it, and it would cost memory.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// SCRAM bound to `own`, or unbound when pgwire knows no hash for its signature.
fn bound_scram(own: &CertificateDer<'_>) -> ScramServerAuth {
    let mut scram = ScramServerAuth::new();
    let body = STANDARD.encode(own);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    // It takes the first certificate it finds. Given the whole file, that would be up to another
    // reader of PEM than the one whose first certificate the handshake shows. Where it knows no
    // hash it stays as it was, unbound.
    let _unbound = scram.configure_certificate(pem.as_bytes());
    scram
}
