//! A client made of bytes, and the gateway's start-up at the other end of a pipe.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::*;

pub(super) const PEER: &str = "192.0.2.7:4711";
pub(super) const V3_0: u32 = 0x0003_0000;
pub(super) const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
pub(super) const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
pub(super) const USERS: &str = "ann:hunter2";

/// Longer than anything here takes, shorter than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn trust() -> StartupSettings {
    StartupSettings {
        method: AuthMethod::Trust,
        users: Arc::new(Users::none()),
        tls: None,
        tls_required: false,
        timeout: Duration::from_mins(1),
    }
}

pub(super) fn scram_for(users: &str) -> StartupSettings {
    let users = Arc::new(Users::parse(users).unwrap());
    StartupSettings { method: AuthMethod::ScramSha256, users, ..trust() }
}

/// A packet of the startup phase: its length, a code, a body.
pub(super) fn startup_packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// One client, and `open` at work on its other end.
pub(super) struct World {
    pub(super) client: Client<DuplexStream>,
    gateway: JoinHandle<Result<Opened<DuplexStream>, StartupError>>,
}

impl World {
    pub(super) fn start(settings: StartupSettings) -> Self {
        let (client, gateway) = duplex(64 * 1024);
        let gateway =
            tokio::spawn(async move { open(gateway, PEER.parse().unwrap(), &settings).await });
        Self { client: Client(client), gateway }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes).await;
    }

    pub(super) async fn opened(&mut self) -> Result<Opened<DuplexStream>, StartupError> {
        self.opened_within(30).await
    }

    pub(super) async fn opened_within(
        &mut self,
        seconds: u64,
    ) -> Result<Opened<DuplexStream>, StartupError> {
        let opened = timeout(Duration::from_secs(seconds), &mut self.gateway).await;
        opened.expect("start-up goes on and on").unwrap()
    }

    /// The client, once it has asked for TLS and made the handshake.
    pub(super) async fn encrypt(
        mut self,
        certificate: &Certificate,
    ) -> (Client<TlsStream<DuplexStream>>, Self) {
        self.send(SSL_REQUEST).await;
        assert_eq!(self.client.byte().await, b'S');
        let (replaced, _) = duplex(1);
        let pipe = std::mem::replace(&mut self.client.0, replaced);
        (Client(certificate.connect(pipe, &[]).await.unwrap()), self)
    }
}

/// A client's end of a stream; every wait has a deadline.
pub(super) struct Client<T>(pub(super) T);

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.expect("nobody reads").unwrap();
        self.0.flush().await.unwrap();
    }

    pub(super) async fn byte(&mut self) -> u8 {
        timeout(PATIENCE, self.0.read_u8()).await.expect("no byte came").unwrap()
    }

    pub(super) async fn message(&mut self) -> (u8, Vec<u8>) {
        let tag = self.byte().await;
        let length = timeout(PATIENCE, self.0.read_u32()).await.expect("no length").unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("no body").unwrap();
        (tag, body)
    }

    /// The next message, which is of authentication: its kind and what follows.
    pub(super) async fn authentication(&mut self) -> (u32, Vec<u8>) {
        let (tag, body) = self.message().await;
        assert_eq!(tag, b'R', "{}", String::from_utf8(body).unwrap_or_default());
        let (kind, rest) = body.split_first_chunk::<4>().unwrap();
        (u32::from_be_bytes(*kind), rest.to_vec())
    }

    pub(super) async fn error(&mut self) -> Told {
        let (tag, body) = self.message().await;
        assert_eq!(char::from(tag), 'E', "{body:?}");
        Told(body)
    }

    pub(super) async fn is_closed(&mut self) {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.0.read(&mut byte)).await.expect("still open");
        assert_eq!(read.unwrap(), 0, "bytes came: {byte:?}");
    }

    /// Sends a SASL message.
    pub(super) async fn sasl(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.send(&[b"p", &length.to_be_bytes()[..], body].concat()).await;
    }
}

/// The fields of an `ErrorResponse`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told(pub(super) Vec<u8>);

impl Told {
    pub(super) fn field(&self, code: u8) -> &str {
        let mut fields = self.0.split(|byte| *byte == 0);
        let field = fields.find(|field| field.first() == Some(&code)).unwrap_or(b"?");
        str::from_utf8(&field[1..]).unwrap()
    }
}

/// A certificate for `localhost`, in files that are removed with it.
pub(super) struct Certificate {
    pub(super) folder: PathBuf,
    pub(super) der: CertificateDer<'static>,
}

impl Certificate {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pgsluice-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let der = Self::write(&folder);
        Self { folder, der }
    }

    /// Puts another certificate, with its key, in the place of this one.
    pub(super) fn renew(&mut self) {
        self.der = Self::write(&self.folder);
    }

    pub(super) fn load(&self) -> Arc<Tls> {
        Arc::new(Tls::load(&self.folder.join("crt"), &self.folder.join("key")).unwrap())
    }

    /// Makes a handshake in which nobody but this certificate is trusted.
    pub(super) async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: T,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<T>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(PATIENCE, handshake).await.expect("the handshake goes on and on")
    }

    /// The hash that `tls-server-end-point` binds to: here SHA-256.
    pub(super) fn hash(&self) -> Vec<u8> {
        let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
        suite.tls13().unwrap().common.hash_provider.hash(&self.der).as_ref().to_vec()
    }

    fn write(folder: &std::path::Path) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
