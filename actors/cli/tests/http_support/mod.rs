//! Support for the tests of the HTTP interface: a node in this process behind it, and a client.
#![allow(dead_code)]

pub mod examples;

use crate::node_support::{self, bounds, settled};
use crate::support::{self, Db};
use decisiongraph_http::api::{Api, ApiBounds, ApiListen, ApiParts, ApiServer};
use decisiongraph_http::identities::{Identities, IdentitiesFile, Identity, NewToken, StoredToken, now};
use decisiongraph_projections::TenantId;
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Answers, Callers, Desk, ServerTls};
use decisiongraph_runtime::node::{Node, NodeParts, NodeWatch};
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
    _watch: Arc<NodeWatch>,
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
        let parts = NodeParts::new(node_support::settings(&store, "http", 100, bounds()));
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
            bounds: bounds_of_api,
            deployment: "test".to_owned(),
        });
        let listen = ApiListen {
            address: Some("127.0.0.1:0".parse().expect("an address")),
            tls,
            directory: Some(directory.path().to_owned()),
        };
        let server = ApiServer::start(api, listen).await.expect("listens");
        Place { db, node, server, tokens, directory, _watch: watch }
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
        let url = self.server.url().expect("an address");
        url.rsplit('/').next().expect("an address").parse().expect("an address")
    }

    /// Sends a request over TCP as this identity.
    pub async fn send(&self, identity: Option<&str>, request: Ask<'_>) -> Got {
        let stream = TcpStream::connect(self.address()).await.expect("connects");
        exchange(stream, request, identity.map(|name| self.tokens[name].as_str())).await
    }

    /// Sends a request over the Unix socket.
    pub async fn send_locally(&self, identity: Option<&str>, request: Ask<'_>) -> Got {
        let stream = UnixStream::connect(self.server.socket().expect("a socket")).await.expect("connects");
        exchange(stream, request, identity.map(|name| self.tokens[name].as_str())).await
    }

    pub async fn get(&self, identity: &str, path: &str) -> Got {
        self.send(Some(identity), Ask::get(path)).await
    }

    pub async fn post(&self, identity: &str, path: &str, body: &Value) -> Got {
        let text = body.to_string();
        self.send(Some(identity), Ask::post(path, "application/json", text.as_bytes())).await
    }

    pub async fn stop(self) -> Db {
        drop(self.server);
        self.node.stop().await;
        self.db
    }
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
