//! The three doors of a node. One is its Unix socket, one is an address of this machine with a secret. The third is an
//! address for other machines with mutual TLS and the secret inside it.
//!
//! *Guarantees.* A connection reaches the actor protocol only after the preamble. At each door, connections before it
//! are bounded in number ([`WAITING_MAX`], [`WaitingRoom`]) and time ([`PREAMBLE_DEADLINE`], the TLS handshake
//! included). Connections after it are bounded in number ([`SESSIONS_MAX`]). A crowd at one door keeps no client out at
//! another. Accepting never waits for a peer. Refused connections are logged, a bounded number of times, without
//! secrets.

use super::callers::Callers;
use super::preamble::{Cookie, Door, Opening, receive};
use super::refusals::Refusals;
use super::secret::Secret;
use super::socket::OwnSocket;
use super::stream::{Carried, keep_alive};
use super::target::loopback;
use super::tls::Tls;
use super::wire::Versions;
use crate::waiting_room::{Seat, WaitingRoom};
use decisiongraph_engine::telemetry::{Telemetry, signals};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, Proof};
use ractor::ActorRef;
use ractor_cluster::NodeServerMessage;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Deadline of the preamble: a connection that has not proven itself by then is closed.
pub const PREAMBLE_DEADLINE: Duration = Duration::from_secs(3);
/// Connections before the preamble's end, per door.
pub const WAITING_MAX: usize = 64;
/// Connections past the preamble, per door.
pub const SESSIONS_MAX: usize = 256;

/// The doors of a node. Bound once; survive a restart of the actors behind them.
#[derive(Debug)]
pub struct Listeners {
    socket: Option<OwnSocket>,
    tcp: Option<(TcpListener, Secret)>,
    cluster: Option<(TcpListener, Secret, Arc<Tls>)>,
}

impl Listeners {
    /// Binds the socket of this data directory, and this TCP address (`HOST:PORT`), which needs a secret.
    ///
    /// `conflict` when another node lives in the directory; `invalid_argument` for an address of another machine or
    /// without a secret.
    pub async fn bind(
        directory: Option<&Path>,
        tcp: Option<&str>,
        secret: Option<Secret>,
    ) -> Result<Listeners, AdminError> {
        let tcp = match (tcp, secret) {
            (None, _) => None,
            (Some(text), Some(secret)) => {
                let address = loopback(text).await?;
                let listener = TcpListener::bind(address).await.map_err(|error| {
                    AdminError::new(Category::Unavailable, format!("cannot listen on {address}: {error}"))
                        .next("choose another address with --listen")
                })?;
                Some((listener, secret))
            }
            (Some(text), None) => {
                return Err(AdminError::new(Category::InvalidArgument, format!("listening on {text} needs a secret"))
                    .next("give one: --secret-file FILE, DECISIONGRAPH_SECRET_FILE or DECISIONGRAPH_SECRET"));
            }
        };
        Ok(Listeners { socket: directory.map(OwnSocket::bind).transpose()?, tcp, cluster: None })
    }

    /// Binds an address for other machines, too.
    pub async fn with_cluster(
        self,
        address: SocketAddr,
        secret: Secret,
        tls: Arc<Tls>,
    ) -> Result<Listeners, AdminError> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            AdminError::new(Category::Unavailable, format!("cannot listen on {address}: {error}"))
                .next("choose another address with --cluster-listen")
        })?;
        Ok(Listeners { cluster: Some((listener, secret, tls)), ..self })
    }

    /// Returns the path of the Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        self.socket.as_ref().map(OwnSocket::path)
    }

    /// Removes the socket's file: called at the end of a node, while other code may still hold the listeners.
    pub fn close(&self) {
        if let Some(socket) = &self.socket {
            socket.close();
        }
    }

    /// Returns the TCP address, with the port that it really has.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Returns the address for other machines, with the port that it really has.
    pub fn cluster_address(&self) -> Option<SocketAddr> {
        self.cluster.as_ref().and_then(|(listener, _, _)| listener.local_addr().ok())
    }

    /// Accepts connections and hands them to the node server. Never returns.
    pub async fn accept(
        &self,
        cookie: Cookie,
        versions: &Versions,
        server: ActorRef<NodeServerMessage>,
        callers: &Arc<Callers>,
        telemetry: &Telemetry,
    ) {
        let entrance = |name, door| {
            Arc::new(Entrance {
                name,
                door,
                cookie,
                versions: versions.clone(),
                server: server.clone(),
                callers: Arc::clone(callers),
                telemetry: telemetry.clone(),
                refusals: Refusals::default(),
                sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
            })
        };
        let socket = async {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            let accept = || async {
                let (stream, _) = socket.listener.accept().await?;
                Ok((Arrival::Local(stream), None))
            };
            entrance("socket", Door::Socket).open(accept).await;
        };
        let tcp = async {
            let Some((listener, secret)) = &self.tcp else { return std::future::pending().await };
            let accept = || async {
                let (stream, peer) = listener.accept().await?;
                Ok((Arrival::Plain(stream), Some(peer)))
            };
            entrance("tcp", Door::Secret(secret.clone())).open(accept).await;
        };
        let cluster = async {
            let Some((listener, secret, tls)) = &self.cluster else { return std::future::pending().await };
            let accept = || async {
                let (stream, peer) = listener.accept().await?;
                Ok((Arrival::Sealed(stream, Arc::clone(tls)), Some(peer)))
            };
            entrance("cluster", Door::Secret(secret.clone())).open(accept).await;
        };
        tokio::join!(socket, tcp, cluster);
    }
}

/// A connection that has just come in.
enum Arrival {
    Local(UnixStream),
    Plain(TcpStream),
    Sealed(TcpStream, Arc<Tls>),
}

/// One listener with everything behind it.
struct Entrance {
    /// Name for metrics and the log.
    name: &'static str,
    door: Door,
    cookie: Cookie,
    versions: Versions,
    server: ActorRef<NodeServerMessage>,
    callers: Arc<Callers>,
    telemetry: Telemetry,
    refusals: Refusals,
    sessions: Arc<Semaphore>,
}

impl Entrance {
    async fn open<F>(self: Arc<Self>, accept: impl Fn() -> F)
    where
        F: Future<Output = io::Result<(Arrival, Option<SocketAddr>)>>,
    {
        let meet = |arrival, from: Option<SocketAddr>, mut seat: Seat| {
            let entrance = Arc::clone(&self);
            async move {
                let peer = from.map_or_else(|| "local".to_owned(), |from| from.to_string());
                let late = tokio::time::timeout(PREAMBLE_DEADLINE, entrance.admit(arrival, &peer));
                let admitted = tokio::select! {
                    biased;
                    admitted = late => admitted.unwrap_or_else(|_| {
                        Err(busy(&format!("it did not authenticate within {PREAMBLE_DEADLINE:?}")))
                    }),
                    () = seat.asked_to_leave() => Err(busy("a newer connection took its place")),
                };
                drop(seat);
                if let Err(error) = admitted {
                    entrance.refused(&peer, &error);
                }
            }
        };
        WaitingRoom::new(WAITING_MAX).open(self.name, accept, meet).await;
    }

    async fn admit(&self, arrival: Arrival, peer: &str) -> Result<(), AdminError> {
        match arrival {
            Arrival::Local(stream) => {
                let proof = stream.peer_cred().map_or(Proof::None, |peer| Proof::User(peer.uid()));
                let (reader, writer) = stream.into_split();
                self.greet(tokio::io::join(reader, writer), peer, proof).await
            }
            Arrival::Plain(stream) => {
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                self.greet(tokio::io::join(reader, writer), peer, Proof::Secret(peer.to_owned())).await
            }
            Arrival::Sealed(stream, tls) => {
                keep_alive(&stream);
                let stream = tls.accept(stream).await.map_err(|error| not_secured(&error))?;
                let proof = Proof::certificate(&super::tls::subject(&stream));
                let (reader, writer) = tokio::io::split(stream);
                self.greet(tokio::io::join(reader, writer), peer, proof).await
            }
        }
    }

    async fn greet<R, W>(&self, mut stream: tokio::io::Join<R, W>, peer: &str, proof: Proof) -> Result<(), AdminError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let opening = Opening { cookie: self.cookie, connection: Uuid::new_v4() };
        let session = || {
            let place = Arc::clone(&self.sessions).try_acquire_owned().map_err(|_| {
                AdminError::new(Category::Unavailable, format!("busy: {SESSIONS_MAX} programs are already connected"))
                    .next("try again when some of them have disconnected")
            })?;
            Ok((place, self.callers.enter(opening.connection, proof)))
        };
        let session = receive(&mut stream, &self.door, &self.versions, opening, session).await?;
        let (reader, writer) = stream.into_inner();
        let stream = Box::new(Carried::new(Box::new(reader), Box::new(writer), peer.to_owned(), session));
        let _ = self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: true });
        Ok(())
    }

    /// Reports a refusal where an operator has to know of it. That is always so at the door to other machines, and on
    /// this machine when the secret was wrong.
    fn refused(&self, peer: &str, error: &AdminError) {
        let category = error.category;
        self.telemetry.add(&signals::CONNECTIONS_REFUSED, 1, &[self.name, category.as_str()]);
        let told = self.name == "cluster" || category == Category::Unauthorized;
        match told.then(|| self.refusals.note(Instant::now())).flatten() {
            Some(left_out) => {
                let door = self.name;
                tracing::warn!(door, peer, %category, left_out, "an admin connection was refused: {}", error.message);
            }
            None => tracing::debug!(door = self.name, peer, %category, "no admin connection: {}", error.message),
        }
    }
}

fn busy(why: &str) -> AdminError {
    AdminError::new(Category::Unavailable, why)
}

/// Builds the error of a failed TLS handshake. The other side's certificate has a fault, or that side does not speak
/// TLS at all.
fn not_secured(error: &io::Error) -> AdminError {
    let category = match super::tls::fault(error) {
        Some(rustls::Error::InvalidMessage(_)) => Category::VersionMismatch,
        Some(_) => Category::Unauthorized,
        None => Category::Unavailable,
    };
    AdminError::new(category, format!("no TLS: {error}"))
}
