//! A client that asks a node.
//!
//! *Guarantees.* Every ask ends by its deadline, with an answer or with a named error. `unavailable`: nothing was or
//! could be changed. `outcome_unknown`: a change may have been made. Other errors are `unauthorized` and
//! `version_mismatch`. A node that dies is noticed at once, a node that hangs at the deadline.
//!
//! A connection that ends before an ask was sent over it is made again. That happens [`DIALS_MAX`] times at most and
//! within the deadline. The reason: a node gives a newcomer's place away when a crowd comes in at the same time.
//!
//! *Never here:* repeated asks; the search for a node's address.

use super::actor::AdminMessage;
use super::desk::again;
use super::parcel::{ANSWER_BYTES_MAX, CHUNK_BYTES, Fetch, Parcel};
use super::preamble::{Door, Introduced, Unmet, introduce};
use super::session::{ASK_BYTES_MAX, CLIENT_FRAME_BYTES_MAX, Link, Sessions};
use super::stream::{Carried, keep_alive};
use super::target::Target;
use super::wire::{Answer, Ask, PROGRAM_VERSION, Versions};
use decisiongraph_engine::failure::Pauses;
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Facts, Request};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef, RpcReplyPort};
use ractor_cluster::NodeServerMessage;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// Part of the deadline that is left for the way there and back.
const TRAVEL_MAX: Duration = Duration::from_millis(500);
/// Most connections that are made for one client, each after a lost one.
const DIALS_MAX: u32 = 16;
/// Pauses before a lost connection is made again.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(5), longest: Duration::from_millis(200) };

/// A connection to a node.
pub struct Client {
    target: String,
    protocol: u32,
    connection: Option<Uuid>,
    by: Option<String>,
    sessions: ActorRef<NodeServerMessage>,
    link: watch::Receiver<Link>,
}

/// Reason for a missing connection.
#[derive(Debug)]
pub struct NotConnected {
    /// The error, worded for the operator.
    pub why: AdminError,
    /// True when the machine answered, and no process listens there.
    pub nobody_listens: bool,
}

/// Reason for a missing answer.
enum Failed {
    /// The node never got the call.
    NotSent(AdminError),
    /// The node may have got the call.
    NoAnswer(String),
}

impl Client {
    /// Connects. `unavailable` when no node answers there, `unauthorized`, `version_mismatch`.
    pub async fn connect(target: &Target, versions: &Versions, deadline: Duration) -> Result<Client, AdminError> {
        Client::dial(target, versions, deadline).await.map_err(|not| not.why)
    }

    /// Connects as [`Client::connect`]; the error tells whether the machine itself said that no process listens.
    pub async fn dial(target: &Target, versions: &Versions, deadline: Duration) -> Result<Client, NotConnected> {
        let until = Instant::now() + deadline;
        match Client::try_connect(target, versions, until).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(NotConnected {
                nobody_listens: error.kind() == io::ErrorKind::ConnectionRefused,
                why: AdminError::new(Category::Unavailable, format!("no node answers at {target}: {error}"))
                    .next("start one with `decisiongraph node`, correct --node, or name the database with --database"),
            }),
            Err(why) => Err(NotConnected { nobody_listens: false, why }),
        }
    }

    /// Connects to the socket of a data directory; `None` when no node lives there.
    pub async fn connect_local(
        socket: &Path,
        versions: &Versions,
        deadline: Duration,
    ) -> Result<Option<Client>, AdminError> {
        let until = Instant::now() + deadline;
        Ok(Client::try_connect(&Target::Unix(socket.to_owned()), versions, until).await?.ok())
    }

    /// Tries to connect. The inner error says that no process listens there.
    async fn try_connect(
        target: &Target,
        versions: &Versions,
        until: Instant,
    ) -> Result<Result<Client, io::Error>, AdminError> {
        let mut dials = 1;
        loop {
            let lost = match timeout_at(until, met(target, versions)).await {
                Err(_) => return Err(silent(target)),
                Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let why = format!("no permission to open {target}: {error}");
                    return Err(
                        AdminError::new(Category::Unauthorized, why).next("run the command as the user of the node")
                    );
                }
                Ok(Err(error)) => return Ok(Err(error)),
                Ok(Ok(Ok((introduced, stream)))) => {
                    return Client::open(target, introduced, stream, until).await.map(Ok);
                }
                Ok(Ok(Err(Unmet::Refused(why)))) => return Err(why),
                Ok(Ok(Err(lost @ Unmet::Lost(_)))) => lost,
            };
            let pause = PAUSES.before(dials, Uuid::new_v4().as_u64_pair().1);
            if dials == DIALS_MAX || Instant::now() + pause >= until {
                return Err(lost.told());
            }
            tokio::time::sleep(pause).await;
            dials += 1;
        }
    }

    async fn open(
        target: &Target,
        introduced: Introduced,
        stream: Carried,
        until: Instant,
    ) -> Result<Client, AdminError> {
        let internal =
            |error: String| AdminError::new(Category::Internal, format!("cannot start the actor protocol: {error}"));
        let Introduced { protocol, cookie, connection } = introduced;
        let (told, link) = watch::channel(Link::Opening);
        let sessions = Sessions::new("cli", cookie, CLIENT_FRAME_BYTES_MAX, told);
        let (sessions, _) = Actor::spawn(None, sessions, ()).await.map_err(|error| internal(error.to_string()))?;
        let client = Client { target: target.to_string(), protocol, connection, by: None, sessions, link };
        let stream = Box::new(stream);
        let told = client.sessions.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: false });
        told.map_err(|error| internal(error.to_string()))?;
        let mut link = client.link.clone();
        let opened = timeout_at(until, link.wait_for(|link| !matches!(link, Link::Opening))).await;
        match opened {
            Err(_) => return Err(silent(target)),
            Ok(Ok(link)) if matches!(*link, Link::Open(_)) => {}
            Ok(_) => {
                return Err(AdminError::new(Category::Unavailable, format!("{target} closed the connection"))
                    .next("try again; if it happens again, check the node's log"));
            }
        }
        Ok(client)
    }

    /// Returns the client, asking for this user. The name, such as `ada@laptop`, is recorded beside what the connection
    /// proves.
    #[must_use]
    pub fn asking_for(self, by: Option<String>) -> Client {
        let mut client = self;
        client.by = by;
        client
    }

    /// Returns the agreed protocol.
    pub const fn protocol(&self) -> u32 {
        self.protocol
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        let _ = self.link.clone().wait_for(|link| matches!(link, Link::Closed)).await;
    }

    /// Returns the address of the node.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Asks. An ask repeated under the same `id` is answered again and carried out once.
    pub async fn ask<R: Request>(&self, request: R, id: Uuid, deadline: Duration) -> Result<R::Reply, AdminError> {
        self.send(request.into(), id, deadline).await.and_then(R::Reply::try_from)
    }

    async fn send(&self, request: AdminRequest, id: Uuid, deadline: Duration) -> Result<AdminReply, AdminError> {
        let until = Instant::now() + deadline;
        let Facts { word, since, changes, .. } = request.facts();
        if since > self.protocol {
            return Err(AdminError::new(
                Category::VersionMismatch,
                format!(
                    "{} speaks protocol {} with this program; `{word}` came with protocol {since}",
                    self.target, self.protocol,
                ),
            )
            .next("upgrade that node"));
        }
        let ask = Ask {
            protocol: self.protocol,
            program: PROGRAM_VERSION.to_owned(),
            id,
            deadline: deadline.saturating_sub(TRAVEL_MAX.min(deadline / 4)),
            connection: self.connection,
            by: self.by.clone(),
            request,
        };
        let frame = ask.encode()?;
        drop(ask);
        if frame.len() > ASK_BYTES_MAX {
            return Err(AdminError::new(
                Category::InvalidArgument,
                format!("the request has {} bytes; the limit is {ASK_BYTES_MAX}", frame.len()),
            )
            .next("send fewer lines at a time"));
        }
        let answer = match self.exchange(frame, until).await {
            Ok(answer) => answer,
            Err(Failed::NotSent(error)) => return Err(error),
            Err(Failed::NoAnswer(why)) if changes => {
                return Err(AdminError::new(Category::OutcomeUnknown, format!("{why}, after request {id} was sent"))
                    .next(again(id)));
            }
            Err(Failed::NoAnswer(why)) => {
                return Err(AdminError::new(Category::Unavailable, why)
                    .next("check that the node runs and is not overloaded; --timeout SECONDS waits longer"));
            }
        };
        Answer::decode(&answer)
    }

    /// Sends an ask and receives its whole answer.
    async fn exchange(&self, frame: Vec<u8>, until: Instant) -> Result<Vec<u8>, Failed> {
        let admin = self.admin().map_err(Failed::NotSent)?;
        let unreadable = || Failed::NoAnswer(format!("{} sent an answer that this program cannot read", self.target));
        let first = self.call(&admin, |port| AdminMessage::Ask(frame, port), until).await?;
        let (ticket, bytes_total, chunk) = match Parcel::decode(first).ok_or_else(unreadable)? {
            Parcel::Whole(answer) => return Ok(answer.into()),
            Parcel::First { ticket, bytes_total, chunk } => (ticket, bytes_total, chunk),
            Parcel::Chunk(_) | Parcel::Gone => return Err(unreadable()),
        };
        let most = ANSWER_BYTES_MAX;
        let bytes_total = usize::try_from(bytes_total).ok().filter(|total| *total <= most).ok_or_else(|| {
            Failed::NoAnswer(format!("{} has an answer of {bytes_total} bytes; the limit is {most}", self.target))
        })?;
        let mut answer = Vec::with_capacity(bytes_total);
        answer.extend_from_slice(&chunk);
        while answer.len() < bytes_total {
            let fetch = Fetch { ticket, from: answer.len() as u64 };
            let frame = self.call(&admin, |port| AdminMessage::More(fetch.encode(), port), until).await?;
            match Parcel::decode(frame) {
                Some(Parcel::Chunk(chunk)) if !chunk.is_empty() && chunk.len() <= CHUNK_BYTES => {
                    answer.extend_from_slice(&chunk);
                }
                Some(Parcel::Gone) => {
                    return Err(Failed::NoAnswer(format!(
                        "{} dropped an answer that was fetched too slowly",
                        self.target
                    )));
                }
                _ => return Err(unreadable()),
            }
        }
        Ok(answer)
    }

    /// Finds the node's admin actor. It is the only actor that a node lets others reach, and so the only remote actor
    /// of this connection. (Process groups belong to the whole process and go by ids that two connections may share.)
    fn admin(&self) -> Result<ActorRef<AdminMessage>, AdminError> {
        let link = self.link.borrow().clone();
        let Link::Open(session) = link else {
            return Err(AdminError::new(Category::Unavailable, format!("{} closed the connection", self.target))
                .next("check that the node still runs, and run the command again"));
        };
        let admin = session.get_children().into_iter().find(|child| !child.get_id().is_local());
        admin.map(ActorRef::from).ok_or_else(|| {
            AdminError::new(Category::Unavailable, format!("the admin actor of {} is not running now", self.target))
                .next("try again in a moment; if it happens again, check the node's log")
        })
    }

    async fn call(
        &self,
        admin: &ActorRef<AdminMessage>,
        message: impl FnOnce(RpcReplyPort<Vec<u8>>) -> AdminMessage,
        until: Instant,
    ) -> Result<Vec<u8>, Failed> {
        let mut link = self.link.clone();
        let left = until.saturating_duration_since(Instant::now());
        let gone = || Failed::NoAnswer(format!("{} closed the connection", self.target));
        tokio::select! {
            biased;
            called = admin.call(message, Some(left)) => match called {
                Ok(CallResult::Success(frame)) => Ok(frame),
                Ok(CallResult::Timeout) => Err(Failed::NoAnswer(format!("{} did not answer in time", self.target))),
                Ok(CallResult::SenderError) | Err(_) => Err(gone()),
            },
            _ = link.wait_for(|link| matches!(link, Link::Closed)) => Err(gone()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.sessions.stop(None);
    }
}

/// A connection whose two sides have met.
type Met = (Introduced, Carried);

/// Connects and introduces itself, once. The outer error is of the way there.
async fn met(target: &Target, versions: &Versions) -> io::Result<Result<Met, Unmet>> {
    match target {
        Target::Unix(path) => {
            let mut stream = UnixStream::connect(path).await?;
            let greeted = introduce(&mut stream, &Door::Socket, versions).await;
            Ok(greeted.map(|greeting| (greeting, carried(stream.into_split(), target))))
        }
        Target::Tcp(address, secret) => {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let greeted = introduce(&mut stream, &Door::Secret(secret.clone()), versions).await;
            Ok(greeted.map(|greeting| (greeting, carried(stream.into_split(), target))))
        }
        Target::Tls(address, secret, tls) => {
            let stream = TcpStream::connect(address).await?;
            keep_alive(&stream);
            match tls.connect(stream).await {
                Err(error) if super::tls::fault(&error).is_none() && was_lost(&error) => Ok(Err(Unmet::Lost(error))),
                Err(error) => Ok(Err(not_secured(target, &error).into())),
                Ok(mut stream) => {
                    let greeted = introduce(&mut stream, &Door::Secret(secret.clone()), versions).await;
                    Ok(greeted.map(|greeting| (greeting, carried(tokio::io::split(stream), target))))
                }
            }
        }
    }
}

/// True when the other side ended the connection.
fn was_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn carried<R, W>((reader, writer): (R, W), target: &Target) -> Carried
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    Carried::new(Box::new(reader), Box::new(writer), target.to_string(), ())
}

fn silent(target: &Target) -> AdminError {
    AdminError::new(Category::Unavailable, format!("something listens at {target} and does not answer"))
        .next("check whether the node is stopped or overloaded; --timeout SECONDS waits longer")
}

/// Builds the error of a failed TLS handshake. TLS 1.3 lets a client go on before the node has checked its certificate:
/// that refusal comes later.
fn not_secured(target: &Target, error: &io::Error) -> AdminError {
    let category = if super::tls::fault(error).is_some() { Category::Unauthorized } else { Category::Unavailable };
    AdminError::new(category, format!("cannot establish TLS with {target}: {error}"))
        .next("check that the address is a node's cluster_listen; check certificate, authority and name on both sides")
}
