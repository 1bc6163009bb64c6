//! Places of a sealed log and the auditor's memory, with the real program: a service behind TLS, a place that is away,
//! a log that is watched from its database.

mod cli_support;
mod pages;
mod seal_support;

use bytes::Bytes;
use cli_support::text;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use seal_support::{ALL, BOTH, Backend, Ground, LEAD, NAME, says, tenant};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A bucket with object lock: it takes an object once, over TLS.
struct Bucket {
    port: u16,
    objects: Objects,
    /// File with its certificate.
    ca: PathBuf,
}

impl Bucket {
    async fn open(directory: &Path) -> Bucket {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let ca = directory.join("bucket.pem");
        std::fs::write(&ca, made.cert.pem()).expect("writes");
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.key_pair.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a configuration");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let port = listener.local_addr().expect("an address").port();
        let objects = Objects::default();
        let kept = Arc::clone(&objects);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, Arc::clone(&kept)));
                    let served = hyper::server::conn::http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Bucket { port, objects, ca }
    }

    fn address(&self) -> String {
        format!("https://localhost:{}/seals#ca={}", self.port, self.ca.display())
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().expect("no panic").keys().cloned().collect()
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    objects: Objects,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let name = head.uri.path().to_owned();
    let mut objects = objects.lock().expect("no panic");
    let (status, body) = match head.method {
        Method::PUT if head.headers.get("if-none-match").is_none_or(|value| value != "*") => {
            (StatusCode::BAD_REQUEST, Bytes::new())
        }
        Method::PUT if objects.contains_key(&name) => (StatusCode::PRECONDITION_FAILED, Bytes::new()),
        Method::PUT => {
            objects.insert(name, body);
            (StatusCode::CREATED, Bytes::new())
        }
        Method::GET => match objects.get(&name) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => (StatusCode::NOT_FOUND, Bytes::new()),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

fn event(number: usize) -> String {
    LEAD.replace("lead-17", &format!("lead-{number}"))
}

fn key_of(ground: &Ground) -> String {
    let key = decisiongraph_seal::key::SigningKey::read(&ground.cli.path("seal.key")).expect("the key");
    key.verifier(&decisiongraph_projections::seal::texts::origin_of(NAME, &tenant())).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_behind_tls_gets_each_note_once_and_another_root_stops_the_seal() {
    let ground = Ground::new(Backend::Sqlite).await;
    let bucket = Bucket::open(ground.cli.dir.path()).await;
    let places = bucket.address();
    let now = |about: &str, code: i32, line: &str| {
        let ended = ground.run_with(&["seal", "now", "--wait", "5"], "DECISIONGRAPH_SEAL_PLACES", &places);
        says(&ended, code, line, about);
    };
    ground.import(&event(1));
    now("the first", 0, "https://localhost");
    let names = bucket.names();
    assert!(names.iter().any(|name| name.starts_with("/seals/") && name.ends_with("/1.checkpoint")), "{names:?}");
    // What was put is remembered beside the journal. Without that note everything is offered again, and is there.
    std::fs::remove_dir_all(ground.cli.path("journal/put")).expect("is there");
    ground.import(&event(2));
    now("the second", 0, "2 events");
    assert_eq!(bucket.names().iter().filter(|name| name.ends_with(".checkpoint")).count(), 2);
    let mine = bucket.objects.lock().expect("no panic").values().next().expect("an object").clone();
    assert!(std::str::from_utf8(&mine).expect("text").contains("— log.example/"));
    // A copy of production was here first, with another history.
    let name = bucket.names().into_iter().find(|name| name.ends_with("/2.checkpoint")).expect("is there");
    let text = String::from_utf8(bucket.objects.lock().expect("no panic")[&name].to_vec()).expect("text");
    let root = text.lines().nth(2).expect("a root").to_owned();
    let other = decisiongraph_projections::seal::base64(&[9; 32]);
    bucket
        .objects
        .lock()
        .expect("no panic")
        .insert(name.replace("/2.", "/3."), text.replace(&root, &other).replace("\n2\n", "\n3\n").into());
    ground.import(&event(3));
    let ended = ground.run_with(&["seal", "now", "--wait", "5"], "DECISIONGRAPH_SEAL_PLACES", &places);
    assert!(ended.code == 3 || ended.code == 7, "{}: {}{}", ended.code, ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("https://localhost"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_a_certificate_of_nobody_gets_nothing_and_keeps_no_signature_back() {
    let ground = Ground::new(Backend::Sqlite).await;
    let bucket = Bucket::open(ground.cli.dir.path()).await;
    let address = format!("https://localhost:{}/seals", bucket.port);
    ground.import(&event(1));
    let ended = ground.run_with(&["seal", "now", "--wait", "1"], "DECISIONGRAPH_SEAL_PLACES", &address);
    says(&ended, 7, "is not in https://localhost", "no trust");
    assert!(bucket.names().is_empty());
    assert!(std::fs::read_dir(ground.cli.path("journal")).expect("reads").count() >= 1);
    says(&ground.run(&["seal", "now"]), 0, "1 events", "signed all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_hangs_keeps_neither_appends_nor_other_places_back() {
    let ground = Ground::new(Backend::Sqlite).await;
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = listener.local_addr().expect("an address").port();
    let places = format!("https://localhost:{port}/x,dir:{}", ground.cli.path("place").display());
    let node = ground.node(&[("DECISIONGRAPH_SEAL_PLACES", &places)]);
    for number in 1..=3 {
        let ended = ground.cli.pipe(&["append", "-"], event(number).as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let has = || {
        let notes = std::fs::read_dir(ground.cli.path("place")).expect("reads");
        let notes = notes.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("reads"));
        notes.collect::<String>().contains("\"size\":3")
    };
    cli_support::node::wait_until("the other place has it", has);
    drop(node);
    drop(listener);
}

/// An auditor with the database: every head it sees must continue the one before, with a proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_of_a_database_asks_for_proofs() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, now) = Ground::sealed(backend).await;
        let (key, state) = (key_of(&now), now.cli.path("heads.jsonl"));
        let watch = |ground: &Ground, more: &[&str]| {
            let (url, state) = (ground.url(), text(&state).to_owned());
            let args = ["monitor", &url, "--key", &key, "--state", &state, "--once"];
            now.run(&[&args[..], more].concat())
        };
        says(&watch(&then, &[]), 0, "checkpoint: 60 events", &about);
        let ended = watch(&now, &[]);
        says(&ended, 0, &format!("checkpoint: {ALL} events"), &about);
        assert!(!ended.stdout.contains("not checked"), "{}", ended.stdout);
        let heads = std::fs::read_to_string(&state).expect("reads");
        assert_eq!(heads.lines().count(), 2, "{heads}");
        says(&watch(&then, &[]), 3, "tree_shrunk", &about);
        // The log that was seen at 60 was another one.
        let (first, second) = heads.split_once('\n').expect("two lines");
        let forged = forged(&now, 60);
        std::fs::write(&state, forged.line()).expect("writes");
        says(&watch(&now, &[]), 3, "checkpoint_differs", &about);
        says(&watch(&then, &[]), 3, "two roots for 60 events", &about);
        std::fs::write(&state, format!("{first}\n{second}")).expect("writes");
        assert_eq!(watch(&now, &["--json"]).json()["size"], ALL);
    }
}

/// A checkpoint of another history, well signed.
fn forged(ground: &Ground, size: u64) -> decisiongraph_seal::Remembered {
    let key = decisiongraph_seal::key::SigningKey::read(&ground.cli.path("seal.key")).expect("the key");
    let origin = decisiongraph_projections::seal::texts::origin_of(NAME, &tenant());
    let head = decisiongraph_projections::seal::texts::TreeHead { size, root: [7; 32] };
    let keys = decisiongraph_seal::SigningKeys::of(key);
    keys.checkpoint(&origin, head, false, "2026-12-01T00:00:00Z").expect("signed")
}

/// The same over a node's HTTP interface.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_of_a_node_asks_over_http() {
    let ground = Ground::new(Backend::Sqlite).await;
    let node = ground.node(&[]);
    let (key, state) = (key_of(&ground), ground.cli.path("heads.jsonl"));
    let source = format!("http://{}", node.http.clone().expect("an address"));
    let token = ground.cli.data_dir().join("http.token");
    let watch = || {
        let args = ["monitor", &source, "--key", &key, "--state", text(&state), "--once", "--token-file", text(&token)];
        ground.run(&args)
    };
    says(&watch(), 10, "there is no checkpoint of this log yet", "nothing is sealed");
    for number in 1..=2 {
        assert_eq!(ground.cli.pipe(&["append", "-"], event(number).as_bytes()).code, 0);
        let socket = format!("unix:{}", node.socket.display());
        ground.ok(&["seal", "now", "--node", &socket]);
        says(&watch(), 0, &format!("checkpoint: {number} events"), "continues");
    }
    let without = ground.run(&["monitor", &source, "--key", &key, "--state", text(&state), "--once", "--json"]);
    without.refused(8, "unauthorized");
    tokio::time::sleep(Duration::from_millis(1)).await;
}
