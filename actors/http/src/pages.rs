//! The node's HTTP pages: `/metrics` (Prometheus text), `/livez` and `/readyz` (JSON).
//!
//! *Guarantees.* At most [`CONNECTIONS_MAX`] connections: beyond that, a new connection replaces the oldest of the
//! greediest address ([`WaitingRoom`]). So a probe is answered at once, whatever else is connected. Each connection
//! ends after one answer, or after [`CONNECTION_DEADLINE`] whatever its client does. Bodies are not read.
//!
//! *Never here:* authentication, TLS, anything that changes something. The server listens where the configuration says,
//! by default on loopback.

use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::waiting_room::{Seat, WaitingRoom};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Connections at the same time, at most.
pub const CONNECTIONS_MAX: usize = 64;
/// Longest wait for the request's head.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longest life of a connection, the answer included.
pub const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Self-checks of the node. Both checks answer from memory, at once; the error names the check that failed.
pub trait Probes: Send + Sync + 'static {
    /// Checks if the supervision tree runs. When it does not, restart the process.
    fn live(&self) -> Result<(), String>;
    /// Checks if the database answers, the lease is held, and the node is not draining. When not, send it nothing new.
    fn ready(&self) -> Result<(), String>;
}

/// Bounds of the server. The constants of this file, unless a test needs others.
#[derive(Debug, Clone, Copy)]
pub struct HttpBounds {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HEAD_DEADLINE`].
    pub head: Duration,
    /// See [`CONNECTION_DEADLINE`].
    pub connection: Duration,
}

impl Default for HttpBounds {
    fn default() -> HttpBounds {
        HttpBounds { connections_max: CONNECTIONS_MAX, head: HEAD_DEADLINE, connection: CONNECTION_DEADLINE }
    }
}

/// A running server. Dropping it closes the listener; connections end by themselves within their deadline.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl HttpServer {
    /// Listens on `address` (port 0 takes a free port). `unavailable` when it cannot.
    pub async fn start(
        address: SocketAddr,
        probes: Arc<dyn Probes>,
        telemetry: Telemetry,
        bounds: HttpBounds,
    ) -> Result<HttpServer, AdminError> {
        let refused = |error: std::io::Error| {
            AdminError::new(Category::Unavailable, format!("cannot serve metrics on {address}: {error}"))
                .next("choose another address with metrics_listen, or switch it off")
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let pages = Arc::new(Pages { probes, telemetry, scrape: Semaphore::new(1) });
        let task = tokio::spawn(accept(listener, pages, bounds)).abort_handle();
        Ok(HttpServer { address, task })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, pages: Arc<Pages>, bounds: HttpBounds) {
    let next = || async {
        let (stream, from) = listener.accept().await?;
        Ok((stream, Some(from)))
    };
    let meet = |stream, _, mut seat: Seat| {
        let pages = Arc::clone(&pages);
        async move {
            // A client that is too slow, or speaks no HTTP, is not this node's problem: nothing to log.
            tokio::select! {
                biased;
                _ = tokio::time::timeout(bounds.connection, serve(stream, pages, bounds)) => {}
                () = seat.asked_to_leave() => {}
            }
        }
    };
    WaitingRoom::new(bounds.connections_max).open("metrics", next, meet).await;
}

async fn serve(stream: TcpStream, pages: Arc<Pages>, bounds: HttpBounds) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

struct Pages {
    probes: Arc<dyn Probes>,
    telemetry: Telemetry,
    /// Turn to make a page of metrics: one page is made at a time.
    scrape: Semaphore,
}

impl Pages {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/metrics" | "/livez" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/livez" => probed(self.probes.live()),
            "/readyz" => probed(self.probes.ready()),
            _ => self.metrics().await,
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let Ok(_turn) = self.scrape.acquire().await else { return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n") };
        let telemetry = self.telemetry.clone();
        // The page walks all series: it is made off the threads that serve actors.
        match tokio::task::spawn_blocking(move || telemetry.page()).await {
            Ok(page) => body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n"),
        }
    }
}

fn probed(result: Result<(), String>) -> Response<Full<Bytes>> {
    let (status, json) = match result {
        Ok(()) => (StatusCode::OK, serde_json::json!({ "ok": true })),
        Err(failed) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "ok": false, "failed": failed })),
    };
    body(status, "application/json", format!("{json}\n"))
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", text.to_owned())
}

fn body(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
