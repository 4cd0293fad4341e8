//! A folder of a test's own, gone when dropped, and certificates to put there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// An empty folder.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("files-{}-{number}", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Left by a process of the same number that died here. Mostly there is none.
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    /// The path of a file, which need not be there.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    /// Writes a file, or replaces it, and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        // Renamed into place, so that nobody reads a half of it.
        let draft = self.0.join(format!("{name}.draft"));
        fs::write(&draft, text).expect("a file");
        fs::rename(&draft, &path).expect("a file");
        path.to_str().expect("a name in UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A certificate for `localhost`, signed by itself.
pub(crate) struct Certificate {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        Self { certificate_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() }
    }

    /// The same, but as one that others could be signed by.
    pub(crate) fn of_an_authority() -> Self {
        let mut made = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = made.self_signed(&key).expect("a certificate");
        Self { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    /// What a client needs that trusts this certificate and no other.
    pub(crate) fn trusted(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).expect("a PEM");
        roots.add(der).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().expect("versions");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}
