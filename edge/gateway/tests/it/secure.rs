//! Certificates of a test's own, and clients that trust them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use banyan_gateway::config::{CertificateFiles, TlsConfig};

use crate::client::{Answer, Ask, PATIENCE};

/// An authority, and a folder of certificates that it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a new certificate for this name, and its key.
    pub fn issue(&self, name: &str) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = self.files(name);
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        files
    }

    /// Where certificate and key of this name are.
    pub fn files(&self, name: &str) -> CertificateFiles {
        let path = |extension: &str| -> PathBuf { self.folder.path().join(format!("{name}.{extension}")) };
        CertificateFiles { certificate: path("pem"), key: path("key") }
    }

    /// The options of a gateway with a certificate for `shop.example`.
    pub fn options(&self) -> TlsConfig {
        let CertificateFiles { certificate, key } = self.issue("shop.example");
        TlsConfig { certificate, key, more: Vec::new(), handshake_timeout_ms: 30_000, watch_ms: 10 }
    }

    /// Connects and asks for this name and these protocols.
    pub async fn connect(&self, to: SocketAddr, (name, protocols): (&str, &[&str])) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

/// The certificate that the other side has shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A connection of HTTP/2.
pub struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    _driver: tokio::task::JoinSet<()>,
}

impl Http2 {
    /// Connects.
    pub async fn open(authority: &Authority, to: SocketAddr) -> Self {
        let stream = authority.connect(to, ("shop.example", &["h2", "http/1.1"])).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move {
            let _ = driver.await;
        });
        Self { sender, _driver: running }
    }

    /// Sends a request and reads the head of its answer, which is 200.
    pub async fn begin(&self, ask: Ask) -> Incoming {
        let (mut sender, request) = (self.sender.clone(), ask.request_to("https://shop.example"));
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body()
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, ask: Ask) -> Answer {
        let (mut sender, request) = (self.sender.clone(), ask.request_to("https://shop.example"));
        let exchange = async {
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}
