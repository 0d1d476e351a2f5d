//! TLS towards clients: certificates by the name that a client asks for, read anew when their files change.
//!
//! Connections go on with what they began with; a new certificate counts from the next handshake. Where files
//! cannot be used, the certificates that were read last stay, and log and metric say so.

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

use banyan_runtime::tasks::Shutdown;

use crate::config::{CertificateFiles, TlsConfig};
use crate::metrics::CERTIFICATE_LOADS;

/// The protocol that a client has chosen in its handshake (ALPN, RFC 7301).
pub const HTTP_2: &[u8] = b"h2";

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read as PEM.
    #[error("{0}: {1}")]
    File(PathBuf, String),
    /// Certificate and key cannot be used, or not with each other.
    #[error("{0} and its key: {1}")]
    Pair(PathBuf, #[source] rustls::Error),
    /// TLS cannot be set up at all.
    #[error("TLS: {0}")]
    Provider(#[source] rustls::Error),
}

/// The certificates, shared by all workers.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<CertificateFiles>,
    provider: Arc<CryptoProvider>,
    /// In the order of the files; the first answers whoever asks for no name or an unknown one.
    loaded: RwLock<Vec<Arc<CertifiedKey>>>,
    /// What the files were when they were read last.
    stamps: Mutex<Vec<Stamp>>,
}

/// By what a changed file is known: modification time (seconds, nanoseconds), length, inode.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Certificates {
    /// Reads the certificates of the configuration.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(config: &TlsConfig) -> Result<Arc<Self>, LoadError> {
        let first = CertificateFiles { certificate: config.certificate.clone(), key: config.key.clone() };
        let files: Vec<_> = [first].into_iter().chain(config.more.iter().cloned()).collect();
        let provider = Arc::new(ring::default_provider());
        let stamps = Mutex::new(stamps(&files));
        let loaded = RwLock::new(read_all(&files, &provider)?);
        Ok(Arc::new(Self { files, provider, loaded, stamps }))
    }

    /// Reads the files again. Handshakes from now on see what has been read.
    ///
    /// # Errors
    /// A file cannot be used; then nothing has changed, which is logged and counted too.
    pub fn reload(&self) -> Result<(), LoadError> {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        match read_all(&self.files, &self.provider) {
            Ok(loaded) => {
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                CERTIFICATE_LOADS.with_label_values(&["loaded"]).inc();
                tracing::info!(certificates = self.files.len(), "certificates have been read anew");
                Ok(())
            }
            Err(error) => {
                CERTIFICATE_LOADS.with_label_values(&["refused"]).inc();
                tracing::error!(%error, "certificates cannot be used; the old ones stay");
                Err(error)
            }
        }
    }

    /// Looks at the files in this interval and reads them again where one has changed.
    ///
    /// # Errors
    /// None.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: Shutdown) -> Result<(), LoadError> {
        loop {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(every) => {}
            }
            let seen = self.stamps.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if stamps(&self.files) != seen {
                // A fault has been logged and counted; the next change is another attempt.
                let _ = self.reload();
            }
        }
    }

    /// What shakes hands with clients: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// The provider lacks what TLS needs.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, LoadError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(LoadError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let name = hello.server_name().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let named = name.and_then(|name| loaded.iter().find(|certified| is_for(certified, &name)));
        named.or_else(|| loaded.first()).cloned()
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .and_then(|certificate| verify_server_name(&certificate, name))
        .is_ok()
}

fn read_all(
    files: &[CertificateFiles],
    provider: &CryptoProvider,
) -> Result<Vec<Arc<CertifiedKey>>, LoadError> {
    files.iter().map(|pair| read(pair, provider).map(Arc::new)).collect()
}

fn read(pair: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, LoadError> {
    let fault = |path: &Path, error: rustls::pki_types::pem::Error| {
        LoadError::File(path.to_owned(), error.to_string())
    };
    let chain = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(&pair.certificate, error))?;
    if chain.is_empty() {
        return Err(LoadError::File(pair.certificate.clone(), "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| fault(&pair.key, error))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| LoadError::Pair(pair.certificate.clone(), error))
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.mtime(), file.mtime_nsec(), file.len(), file.ino()))
    };
    files.iter().flat_map(|pair| [stamp(&pair.certificate), stamp(&pair.key)]).collect()
}
