//! Listeners of the interface: a TCP address, with TLS anywhere but on loopback, and the Unix socket of the node's
//! user.
//!
//! *Guarantees.* Connections are bounded in number ([`WaitingRoom`]). A head that arrives slowly, or is too large, ends
//! its connection. A connection that is asked to leave ends after the answer that it is in.

use super::enter::Origin;
use super::interface::Api;
use super::router::router;
use crate::identities::LOOK_EVERY;
use axum::Router;
use axum::body::Body;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::data_dir::HTTP_SOCKET_NAME;
use decisiongraph_rpc::waiting_room::{Seat, WaitingRoom};
use decisiongraph_rpc::{ServerTls, private_listener};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tower::ServiceExt as _;

/// Longest wait for a request's head, also on a connection that is kept open.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Largest head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause between two looks for callers that no longer ask.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Places where the interface listens.
#[derive(Debug, Clone, Default)]
pub struct ApiListen {
    /// TCP address; none for the socket alone.
    pub address: Option<SocketAddr>,
    /// TLS of that address; none on loopback, or behind a proxy.
    pub tls: Option<Arc<ServerTls>>,
    /// Directory of the Unix socket; none without one.
    pub directory: Option<PathBuf>,
}

/// A running interface. Dropping it closes its listeners.
#[derive(Debug)]
pub struct ApiServer {
    address: Option<SocketAddr>,
    tls: bool,
    socket: Option<PathBuf>,
    tasks: Vec<AbortHandle>,
}

impl ApiServer {
    /// Listens. `unavailable` when an address cannot be used.
    pub async fn start(api: Arc<Api>, listen: ApiListen) -> Result<ApiServer, AdminError> {
        let ApiListen { address, tls, directory } = listen;
        let router = router(&api);
        let room = WaitingRoom::new(api.bounds.connections_max);
        let mut server = ApiServer { address: None, tls: tls.is_some(), socket: None, tasks: Vec::new() };
        if let Some(address) = address {
            let refused = |error: io::Error| {
                AdminError::new(Category::Unavailable, format!("cannot serve HTTP on {address}: {error}"))
                    .next("choose another address with http_listen, or switch it off")
            };
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            server.address = Some(listener.local_addr().map_err(refused)?);
            let accepting = accept_tcp(listener, tls, router.clone(), room.clone());
            server.tasks.push(tokio::spawn(accepting).abort_handle());
        }
        if let Some(directory) = directory {
            let (listener, path) = private_listener(&directory, HTTP_SOCKET_NAME)?;
            server.socket = Some(path);
            server.tasks.push(tokio::spawn(accept_socket(listener, router, room)).abort_handle());
        }
        server.tasks.push(tokio::spawn(look_after(api)).abort_handle());
        Ok(server)
    }

    /// Returns the address of the interface, as a URL.
    pub fn url(&self) -> Option<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.address.map(|address| format!("{scheme}://{address}"))
    }

    /// Returns the path of the Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Forgets callers that no longer ask, and notes if the identities file is faulty.
async fn look_after(api: Arc<Api>) {
    let mut forgot = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        api.surroundings.note_identities(api.identities.fault());
        if forgot.elapsed() >= FORGET_EVERY {
            forgot = Instant::now();
            api.limits.forget_idle();
        }
    }
}

async fn accept_tcp(listener: TcpListener, tls: Option<Arc<ServerTls>>, router: Router, room: WaitingRoom) {
    let next = || async {
        let (stream, from) = listener.accept().await?;
        Ok((stream, Some(from)))
    };
    let meet = |stream: TcpStream, from: Option<SocketAddr>, seat| {
        let (tls, router) = (tls.clone(), router.clone());
        async move {
            let _ = stream.set_nodelay(true);
            let origin = Origin { peer: from, tls: tls.is_some() };
            match tls {
                None => serve(stream, origin, router, seat).await,
                Some(tls) => {
                    // A client that speaks no TLS is not this node's problem.
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(stream)).await {
                        serve(stream, origin, router, seat).await;
                    }
                }
            }
        }
    };
    room.open("http", next, meet).await;
}

async fn accept_socket(listener: tokio::net::UnixListener, router: Router, room: WaitingRoom) {
    let next = || async {
        let (stream, _) = listener.accept().await?;
        Ok((stream, None))
    };
    let meet = |stream, _, seat| {
        let router = router.clone();
        async move { serve(stream, Origin { peer: None, tls: false }, router, seat).await }
    };
    room.open("http socket", next, meet).await;
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    origin: Origin,
    router: Router,
    mut seat: Seat,
) {
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(origin);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = seat.asked_to_leave() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
