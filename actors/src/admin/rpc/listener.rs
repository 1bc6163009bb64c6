//! Where a node is reached: its Unix socket, and an address of this machine when one is configured.
//!
//! *Guarantees.* A connection reaches the actor protocol only after the preamble. Those before it are bounded in number
//! ([`super::waiting_room::WAITING_MAX`]) and time ([`PREAMBLE_DEADLINE`]), those after it in number ([`SESSIONS_MAX`]).

use super::preamble::{Cookie, Door, receive};
use super::secret::Secret;
use super::socket::OwnSocket;
use super::stream::Carried;
use super::target::loopback;
use super::waiting_room::WaitingRoom;
use crate::admin::AdminError;
use decisiongraph_projections::Category;
use ractor::ActorRef;
use ractor_cluster::NodeServerMessage;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A connection that has not proven itself by then is closed.
pub const PREAMBLE_DEADLINE: Duration = Duration::from_secs(3);
/// Connections past the preamble.
pub const SESSIONS_MAX: usize = 256;
/// Pause after the system refused a connection (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a node listens on. Bound once; survives a restart of the actors behind it.
#[derive(Debug)]
pub struct Listeners {
    socket: Option<OwnSocket>,
    tcp: Option<(TcpListener, Secret)>,
}

impl Listeners {
    /// Binds the socket of this data directory, and this TCP address (`HOST:PORT`), which needs a secret.
    ///
    /// `conflict` when another node lives in the directory; `invalid_argument` for an address of another machine or without a secret.
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
        Ok(Listeners { socket: directory.map(OwnSocket::bind).transpose()?, tcp })
    }

    /// The Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        self.socket.as_ref().map(OwnSocket::path)
    }

    /// Takes the socket's file away: at the end of a node, whoever still holds the listeners.
    pub fn close(&self) {
        if let Some(socket) = &self.socket {
            socket.close();
        }
    }

    /// The TCP address, with the port that it really has.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Lets connections in and hands them to the node server. Never ends by itself.
    pub async fn accept(&self, cookie: Cookie, server: ActorRef<NodeServerMessage>) {
        let entrance = Arc::new(Entrance {
            cookie,
            server,
            room: WaitingRoom::default(),
            sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
        });
        let socket = async {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            let accept = || async {
                let (stream, _) = socket.listener.accept().await?;
                let (reader, writer) = stream.into_split();
                Ok((tokio::io::join(reader, writer), "local".to_owned()))
            };
            entrance.open(accept, Door::Socket).await;
        };
        let tcp = async {
            let Some((listener, secret)) = &self.tcp else { return std::future::pending().await };
            let accept = || async {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                Ok((tokio::io::join(reader, writer), peer.to_string()))
            };
            entrance.open(accept, Door::Secret(secret.clone())).await;
        };
        tokio::join!(socket, tcp);
    }
}

/// What is behind every listener.
struct Entrance {
    cookie: Cookie,
    server: ActorRef<NodeServerMessage>,
    room: WaitingRoom,
    sessions: Arc<Semaphore>,
}

impl Entrance {
    async fn open<R, W, F>(self: &Arc<Self>, accept: impl Fn() -> F, door: Door)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<(tokio::io::Join<R, W>, String)>>,
    {
        loop {
            match accept().await {
                Ok((stream, label)) => {
                    let (entrance, door) = (Arc::clone(self), door.clone());
                    let mut seat = self.room.enter();
                    tokio::spawn(async move {
                        tokio::select! {
                            biased;
                            () = seat.asked_to_leave() => tracing::debug!(peer = label, "gave its place to a newer connection"),
                            () = entrance.admit(stream, &label, &door) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept an admin connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit<R, W>(&self, mut stream: tokio::io::Join<R, W>, label: &str, door: &Door)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let session = || {
            Arc::clone(&self.sessions).try_acquire_owned().map_err(|_| {
                AdminError::new(Category::Unavailable, format!("busy: {SESSIONS_MAX} programs are connected already"))
                    .next("try again when some of them have ended")
            })
        };
        match tokio::time::timeout(PREAMBLE_DEADLINE, receive(&mut stream, door, self.cookie, session)).await {
            Ok(Ok(session)) => {
                let (reader, writer) = stream.into_inner();
                let stream = Box::new(Carried::new(Box::new(reader), Box::new(writer), label.to_owned(), session));
                let _ = self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: true });
            }
            Ok(Err(error)) if error.category == Category::Unauthorized => {
                tracing::warn!(peer = label, category = %error.category, "an admin connection was refused: {}", error.message);
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = label, category = %error.category, "no admin connection: {}", error.message);
            }
            Err(_) => tracing::debug!(peer = label, "an admin connection said too little in {PREAMBLE_DEADLINE:?}"),
        }
    }
}
