//! Mutual TLS between machines: client and node each show a certificate of the cluster's own authority.
//!
//! *Guarantees.* TLS 1.3 only, one crypto provider, no session is resumed: each connection is verified anew. The client
//! checks the other side's certificate against the authority and one name. Every node's certificate carries that name,
//! so addresses may change. Files that change on disk are read again before the next handshake. While they are faulty,
//! the last good ones stay in use.
//!
//! *Never here:* deadlines and counts (the listener's and the client's), the secret, which is proven inside.

use super::private_file;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, client};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_cert::der::Decode as _;

/// The name that certificates carry unless another is configured.
pub const CLUSTER_NAME: &str = "decisiongraph";
/// Largest certificate or key file, in bytes.
const PEM_BYTES_MAX: u64 = 256 * 1024;
/// Time for which a refused side may still send, so that it receives the reason. Its unread data would reset the
/// connection.
const FAREWELL: Duration = Duration::from_millis(250);
/// Most bytes that are read meanwhile.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// Paths of certificates and key, and the name of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authority, PEM.
    pub ca: PathBuf,
    /// This side's certificate and the intermediate certificates below the authority, PEM.
    pub cert: PathBuf,
    /// This side's private key, PEM, which others may not read.
    pub key: PathBuf,
    /// Name that a node's certificate must carry.
    pub name: String,
}

/// One side of TLS.
pub struct Tls {
    files: TlsFiles,
    name: ServerName<'static>,
    loaded: Mutex<Loaded>,
}

/// Times of the last change of the three files, and their lengths.
type Stamp = [Option<(SystemTime, u64)>; 3];

struct Loaded {
    stamp: Stamp,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// True when a certificate can be for this name.
pub fn is_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

impl Tls {
    /// Reads the files. `invalid_argument` when one of them cannot be used.
    pub fn load(files: TlsFiles) -> Result<Arc<Tls>, AdminError> {
        let name = ServerName::try_from(files.name.clone()).map_err(|_| {
            AdminError::new(
                Category::InvalidArgument,
                format!("`{}` is not a valid name for a certificate", files.name),
            )
            .next("a DNS name, for example decisiongraph")
        })?;
        let loaded = Mutex::new(files.read()?);
        Ok(Arc::new(Tls { files, name, loaded }))
    }

    /// Runs the node's side of the handshake. The error gives the reason in a few words.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.current().0);
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, mut stream)) => {
                // The alert was sent. What the other side sent meanwhile is read, so that the alert arrives.
                let _ = stream.shutdown().await;
                let mut rest = stream.take(FAREWELL_BYTES_MAX);
                let _ = tokio::time::timeout(FAREWELL, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
                Err(error)
            }
        }
    }

    /// Runs the client's side.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        TlsConnector::from(self.current().1).connect(self.name.clone(), stream).await
    }

    /// Returns the configurations in force now.
    fn current(&self) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let stamp = self.files.stamp();
        if stamp != loaded.stamp {
            match self.files.read() {
                Ok(new) => *loaded = new,
                Err(error) => {
                    tracing::warn!("the changed certificates are not used: {}", error.message);
                    loaded.stamp = stamp;
                }
            }
        }
        (Arc::clone(&loaded.server), Arc::clone(&loaded.client))
    }
}

/// Returns the subject of the other side's certificate, which the handshake has verified: `CN=node-1`. A certificate
/// without one is named by its serial number.
pub fn subject(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> String {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let parsed = certificate.and_then(|der| x509_cert::Certificate::from_der(der).ok());
    let Some(parsed) = parsed else { return "that cannot be read".to_owned() };
    match parsed.tbs_certificate.subject.to_string() {
        subject if subject.is_empty() => format!("number {}", parsed.tbs_certificate.serial_number),
        subject => subject,
    }
}

impl TlsFiles {
    fn stamp(&self) -> Stamp {
        stamps([&self.ca, &self.cert, &self.key])
    }

    fn read(&self) -> Result<Loaded, AdminError> {
        // Taken first: a change while the files are read is seen at the next check.
        let stamp = self.stamp();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| unusable(&self.ca, &error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&self.cert)?;
        let key = private_key(&self.key)?;
        let provider = Arc::new(default_provider());
        let versions = &[&rustls::version::TLS13];
        let both =
            |error: rustls::Error| unusable(&self.cert, &format!("with the key {}: {error}", self.key.display()));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&self.ca, &error))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(both)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(both)?;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(both)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(both)?;
        client.resumption = client::Resumption::disabled();
        Ok(Loaded { stamp, server: Arc::new(server), client: Arc::new(client) })
    }
}

/// The server's side of TLS for clients without certificates.
pub struct ServerTls {
    cert: PathBuf,
    key: PathBuf,
    loaded: Mutex<(ServerStamp, Arc<ServerConfig>)>,
}

type ServerStamp = [Option<(SystemTime, u64)>; 2];

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads certificate and key. `invalid_argument` when one of them cannot be used.
    pub fn load(cert: PathBuf, key: PathBuf) -> Result<Arc<ServerTls>, AdminError> {
        let loaded = Mutex::new((stamps([&cert, &key]), server_config(&cert, &key)?));
        Ok(Arc::new(ServerTls { cert, key, loaded }))
    }

    /// Runs the server's side of the handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }

    /// Returns the configuration in force. Files that changed are read again; faulty ones change nothing.
    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let stamp = stamps([&self.cert, &self.key]);
        if stamp != loaded.0 {
            loaded.0 = stamp;
            match server_config(&self.cert, &self.key) {
                Ok(config) => loaded.1 = config,
                Err(error) => tracing::warn!("the changed certificates are not used: {}", error.message),
            }
        }
        Arc::clone(&loaded.1)
    }
}

fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, AdminError> {
    let (chain, private) = (certificates(cert)?, private_key(key)?);
    let both = |error: rustls::Error| unusable(cert, &format!("with the key {}: {error}", key.display()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(both)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(both)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, AdminError> {
    PrivateKeyDer::from_pem_slice(private_file::read(path, "key", PEM_BYTES_MAX)?.as_bytes())
        .map_err(|_| unusable(path, &"it contains no private key in PEM"))
}

fn stamps<const N: usize>(paths: [&PathBuf; N]) -> [Option<(SystemTime, u64)>; N] {
    paths.map(|path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AdminError> {
    let facts = std::fs::metadata(path).map_err(|error| unusable(path, &error))?;
    if !facts.is_file() || facts.len() > PEM_BYTES_MAX {
        return Err(unusable(path, &format!("it is not a file of at most {PEM_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(path, &"it contains no certificate in PEM")),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &dyn fmt::Display) -> AdminError {
    AdminError::new(Category::InvalidArgument, format!("cannot use {}: {error}", path.display()))
        .next("docs/operations/CLUSTER.md describes how to create certificates and keys")
}

/// Returns the TLS fault of a failed connection, if TLS is the cause. Either the other side is not the expected one, or
/// it does not accept this side.
pub fn fault(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}
