//! Support for the tests of the HTTP interface: a node in this process behind it, and a client.
#![allow(dead_code)]

pub mod examples;

use crate::node_support::{self, bounds, settled};
use crate::support::{self, Db};
use decisiongraph_engine::seal::Sealing;
use decisiongraph_http::api::{Api, ApiBounds, ApiListen, ApiParts, ApiServer};
use decisiongraph_http::identities::{Identities, IdentitiesFile, Identity, NewToken, StoredToken, now};
use decisiongraph_projections::TenantId;
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Answers, Callers, Desk, ServerTls};
use decisiongraph_runtime::node::{Node, NodeParts, NodeSettings, NodeWatch};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A node behind its HTTP interface.
pub struct Place {
    pub db: Db,
    pub node: Node,
    pub server: ApiServer,
    /// Token of each identity.
    pub tokens: BTreeMap<String, String>,
    pub directory: tempfile::TempDir,
    api: Arc<Api>,
    tls: Option<(ApiServer, tokio_rustls::TlsConnector)>,
    _watch: Arc<NodeWatch>,
}

/// Way to a node's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Tcp,
    Tls,
    Socket,
}

/// An open connection, by whatever way.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// A certificate for `localhost` with its key, as files and as a root of trust.
pub struct Certificate {
    pub cert: std::path::PathBuf,
    pub key: std::path::PathBuf,
    pub roots: Arc<rustls::RootCertStore>,
}

impl Certificate {
    /// Makes a certificate in this folder.
    pub fn make(folder: &std::path::Path) -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("written");
        std::fs::write(&key, made.key_pair.serialize_pem()).expect("written");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        Certificate { cert, key, roots: Arc::new(roots) }
    }

    /// Reads the certificate for a server.
    pub fn server(&self) -> Arc<ServerTls> {
        ServerTls::load(self.cert.clone(), self.key.clone()).expect("a certificate")
    }

    /// Makes a client that trusts the certificate, and speaks these versions.
    pub fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> tokio_rustls::TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("a version")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }
}

impl Place {
    /// Starts a node on this database, with these identities: name to roles, rights and tenants as in the file.
    pub async fn start(db: Db, identities: &Value, bounds_of_api: ApiBounds) -> Place {
        Place::start_with(db, identities, bounds_of_api, None).await
    }

    /// Starts such a node, with TLS.
    pub async fn start_with(
        db: Db,
        identities: &Value,
        bounds_of_api: ApiBounds,
        tls: Option<Arc<ServerTls>>,
    ) -> Place {
        Place::start_on(db, identities, bounds_of_api, tls, None).await
    }

    /// Starts a node that seals the log, with these identities.
    pub async fn sealing(db: Db, identities: &Value, sealing: Arc<Sealing>) -> Place {
        Place::start_on(db, identities, ApiBounds::default(), None, Some(sealing)).await
    }

    async fn start_on(
        db: Db,
        identities: &Value,
        bounds_of_api: ApiBounds,
        tls: Option<Arc<ServerTls>>,
        sealing: Option<Arc<Sealing>>,
    ) -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("identities.json");
        let (mut file, mut tokens) = (IdentitiesFile::default(), BTreeMap::new());
        for (name, facts) in identities.as_object().expect("identities") {
            let token = NewToken::draw();
            let mut facts = facts.clone();
            facts["name"] = name.clone().into();
            let mut identity: Identity = serde_json::from_value(facts).expect("an identity");
            identity.tokens.push(StoredToken {
                id: token.id.clone(),
                hash: token.hash(),
                created_at: now(),
                expires_at: None,
                note: None,
            });
            tokens.insert(name.clone(), token.reveal().to_owned());
            file.identities.push(identity);
        }
        file.write(&path).expect("identities are written");
        let store = db.store().await;
        let settings = node_support::settings(&store, "http", 100, bounds());
        let parts = NodeParts::new(NodeSettings { sealing, ..settings });
        let watch = NodeWatch::start(&parts);
        let node = Node::start(parts).await.expect("the node starts");
        let answers: Arc<dyn Answers> = Arc::new(node.answers());
        let budget = node.parts().engine.budget().clone();
        let desk = Arc::new(Desk::new(Arc::clone(&answers), Versions::ours(), Arc::<Callers>::default(), budget));
        let api = Api::new(ApiParts {
            answers,
            desk,
            identities: Arc::new(Identities::of_file(&path).expect("identities are read")),
            surroundings: watch.clone(),
            telemetry: node.parts().telemetry().clone(),
            adopt: None,
            bounds: bounds_of_api,
            deployment: "test".to_owned(),
        });
        let listen = ApiListen {
            address: Some("127.0.0.1:0".parse().expect("an address")),
            tls,
            directory: Some(directory.path().to_owned()),
        };
        let server = ApiServer::start(Arc::clone(&api), listen).await.expect("listens");
        Place { db, node, server, tokens, directory, api, tls: None, _watch: watch }
    }

    /// Serves the interface over TLS, too, on an address of its own.
    #[must_use]
    pub async fn and_over_tls(mut self) -> Place {
        let made = Certificate::make(self.directory.path());
        let listen = ApiListen {
            address: Some("127.0.0.1:0".parse().expect("an address")),
            tls: Some(made.server()),
            directory: None,
        };
        let server = ApiServer::start(Arc::clone(&self.api), listen).await.expect("listens");
        self.tls = Some((server, made.client(rustls::DEFAULT_VERSIONS)));
        self
    }

    /// Starts a node whose log is the demo's, with its projections current.
    pub async fn filled(db: Db, identities: &Value, bounds_of_api: ApiBounds) -> Place {
        let lines = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/enterprise.jsonl"));
        let events: Vec<_> = lines.expect("the demo's log").lines().map(support::read_line).collect();
        let store = db.store().await;
        let tenant = TenantId::default();
        for part in events.chunks(500) {
            node_support::insist(&store, &tenant, part).await;
        }
        let place = Place::start(db, identities, bounds_of_api).await;
        place.current().await;
        place
    }

    /// Waits until the projections of `default` are current.
    pub async fn current(&self) {
        let store = self.db.store().await;
        let tenant = TenantId::default();
        node_support::until("the demo's log is applied", PATIENCE, async || {
            let view = store.view().await.expect("a view");
            let last = view.last_log_seq(&tenant, None).await.expect("a position");
            let rows = view.scopes(Some(&tenant)).await.expect("scopes");
            rows.len() == decisiongraph_projections::catalogue::ALL.len()
                && rows.iter().all(|row| row.position.cursor == last)
        })
        .await;
    }

    pub fn address(&self) -> SocketAddr {
        address(&self.server)
    }

    /// Connects by this way.
    pub async fn connect(&self, way: Way) -> Box<dyn Connection> {
        match way {
            Way::Tcp => Box::new(TcpStream::connect(self.address()).await.expect("connects")),
            Way::Socket => {
                Box::new(UnixStream::connect(self.server.socket().expect("a socket")).await.expect("connects"))
            }
            Way::Tls => {
                let (server, connector) = self.tls.as_ref().expect("served over TLS");
                let stream = TcpStream::connect(address(server)).await.expect("connects");
                let name = "localhost".try_into().expect("a name");
                Box::new(connector.connect(name, stream).await.expect("a handshake"))
            }
        }
    }

    /// Sends a request by this way as this identity.
    pub async fn send_by(&self, way: Way, identity: Option<&str>, request: Ask<'_>) -> Got {
        exchange(self.connect(way).await, request, identity.map(|name| self.tokens[name].as_str())).await
    }

    /// Sends a request over TCP as this identity.
    pub async fn send(&self, identity: Option<&str>, request: Ask<'_>) -> Got {
        self.send_by(Way::Tcp, identity, request).await
    }

    /// Sends a request over the Unix socket.
    pub async fn send_locally(&self, identity: Option<&str>, request: Ask<'_>) -> Got {
        self.send_by(Way::Socket, identity, request).await
    }

    pub async fn get(&self, identity: &str, path: &str) -> Got {
        self.send(Some(identity), Ask::get(path)).await
    }

    pub async fn post(&self, identity: &str, path: &str, body: &Value) -> Got {
        let text = body.to_string();
        self.send(Some(identity), Ask::post(path, "application/json", text.as_bytes())).await
    }

    pub async fn stop(self) -> Db {
        drop((self.server, self.tls));
        self.node.stop().await;
        self.db
    }
}

fn address(server: &ApiServer) -> SocketAddr {
    let url = server.url().expect("an address");
    url.rsplit('/').next().expect("an address").parse().expect("an address")
}

/// A request.
#[derive(Clone)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// Makes a request to read of the tenant `default`.
    pub fn get(path: &'a str) -> Ask<'a> {
        Ask { method: "GET", path, headers: vec![("x-tenant-id", "default".to_owned())], body: b"" }
    }

    /// Makes a request with a body, of the tenant `default`.
    pub fn post(path: &'a str, kind: &str, body: &'a [u8]) -> Ask<'a> {
        let mut ask = Ask { method: "POST", body, ..Ask::get(path) };
        ask.headers.push(("content-type", kind.to_owned()));
        ask
    }

    /// Makes the request one of another tenant, or of none.
    #[must_use]
    pub fn tenant(mut self, tenant: Option<&str>) -> Ask<'a> {
        self.headers.retain(|(name, _)| *name != "x-tenant-id");
        self.headers.extend(tenant.map(|tenant| ("x-tenant-id", tenant.to_owned())));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: &str) -> Ask<'a> {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    /// Reads the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns the code of an error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends the request on a connection of its own, and reads the answer's head.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    ask: Ask<'_>,
    token: Option<&str>,
) -> hyper::Response<Incoming> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut request = Request::builder().method(ask.method).uri(ask.path).header("host", "node");
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(ask.body))).expect("a request");
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer")
}

/// Sends the request on this connection, and reads the whole answer.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    ask: Ask<'_>,
    token: Option<&str>,
) -> Got {
    let response = open(stream, ask, token).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("in time").expect("a body");
    let text = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
    Got { status, headers, text }
}

/// Messages of a stream, without comments and the line `retry`.
pub struct Messages {
    body: Incoming,
    rest: String,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Messages {
    pub fn of(response: hyper::Response<Incoming>) -> Messages {
        Messages { body: response.into_body(), rest: String::new() }
    }

    /// Returns the next message; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.rest.split_once("\n\n") {
                let field = |name: &str| {
                    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
                };
                let found = field("event").map(|event| Message {
                    event,
                    id: field("id"),
                    data: serde_json::from_str(&field("data").expect("data")).expect("JSON"),
                });
                self.rest = rest.to_owned();
                match found {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("in time")?.ok()?;
            self.rest.push_str(std::str::from_utf8(frame.data_ref()?).expect("UTF-8"));
        }
    }
}

/// Waits until the first `tenants` tenants are current.
pub async fn all_current(place: &Place, tenants: usize) {
    settled(&place.node, tenants, PATIENCE).await;
}
