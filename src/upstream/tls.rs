//! TLS towards upstreams: libpq's `sslmode`, and what channel binding needs.
//!
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::config::{RootCertificates, SslMode, UpstreamConfig};

/// Why TLS could not be set up from the settings.
#[derive(Debug)]
pub enum TlsSetupError {
    /// The file of root certificates cannot be read, or holds none.
    RootFile(PathBuf, String),
    /// The operating system trusts nobody that we can read.
    NoSystemRoots,
    /// The TLS library refused the set-up.
    Library(Error),
}

impl std::fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RootFile(path, why) => {
                write!(f, "UPSTREAM_SSLROOTCERT {}: {why}", path.display())
            }
            Self::NoSystemRoots => {
                f.write_str("the system has no root certificates to verify with")
            }
            Self::Library(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsSetupError {}

/// The TLS set-up that `config` asks for, or `None` where it asks for none.
///
/// # Errors
/// When the root certificates cannot be had.
pub fn client_config(config: &UpstreamConfig) -> Result<Option<Arc<ClientConfig>>, TlsSetupError> {
    if config.sslmode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(config, &provider)?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Library)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(Arc::new(tls)))
}

fn verifier(
    config: &UpstreamConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsSetupError> {
    if !config.sslmode.is_verifying() {
        return Ok(Arc::new(Verifier { chain: None, provider: Arc::clone(provider) }));
    }
    let roots = Arc::new(roots(&config.root_certificates)?);
    let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|_| TlsSetupError::NoSystemRoots)?;
    match config.sslmode {
        SslMode::VerifyFull => Ok(chain),
        _ => Ok(Arc::new(Verifier { chain: Some(chain), provider: Arc::clone(provider) })),
    }
}

fn roots(from: &RootCertificates) -> Result<RootCertStore, TlsSetupError> {
    let mut store = RootCertStore::empty();
    match from {
        RootCertificates::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(TlsSetupError::NoSystemRoots);
            }
        }
        RootCertificates::File(path) => {
            let bad = |why: String| TlsSetupError::RootFile(path.clone(), why);
            let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                store.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(bad("holds no certificate".to_owned()));
            }
        }
    }
    Ok(store)
}

/// Verifies as `sslmode` says, for the modes that do not verify everything.
#[derive(Debug)]
struct Verifier {
    /// Whom the chain must lead to; `None` for the modes that do not look (`prefer`, `require`).
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // `verify-ca` is exactly this: signed by a trusted one, whatever the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The name that TLS verifies `host` under.
///
/// # Errors
/// When `host` is neither a DNS name nor an IP address.
pub fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// The certificate's hash for `tls-server-end-point` channel binding, or `None` where the
/// certificate's signature names no hash that we know.
///
/// <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
#[must_use]
pub fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    use ring::digest::{SHA256, SHA384, SHA512, digest};
    use x509_certificate::{DigestAlgorithm, X509Certificate};

    let parsed = X509Certificate::from_der(certificate.as_ref()).ok()?;
    let algorithm = match parsed.signature_algorithm()?.digest_algorithm()? {
        // RFC 5929: a hash weaker than SHA-256 is replaced by SHA-256.
        DigestAlgorithm::Sha1 | DigestAlgorithm::Sha256 => &SHA256,
        DigestAlgorithm::Sha384 => &SHA384,
        DigestAlgorithm::Sha512 => &SHA512,
    };
    Some(digest(algorithm, certificate.as_ref()).as_ref().to_vec())
}
