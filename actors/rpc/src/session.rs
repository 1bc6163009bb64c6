//! The sessions of the actor protocol in this process, over connections that are handed over. Nothing here listens.
//!
//! *Guarantees.* It binds no port. `ractor_cluster`'s own node server always does. So this actor replaces it and speaks
//! to the library's sessions as it would. A session gets its connection past the preamble, and learns of no other
//! session. A frame that is longer than the bound of its side ends the connection before its payload is read.
//!
//! *Never here:* the way to a connection (the listener's and the client's), the meaning of a message.

use super::parcel::CHUNK_BYTES;
use super::preamble::Cookie;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_cluster::node::{NodeConnectionMode, SessionCheckReply};
use ractor_cluster::{ClusterBidiStream, NetworkStream, NodeServerMessage, NodeSession};
use std::collections::HashMap;
use tokio::sync::watch;
use uuid::Uuid;

/// Bytes of a frame besides its ask or answer: names, ids, and the control messages of the actor protocol.
const FRAME_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Largest ask, in bytes: a chunk of [`decisiongraph_protocol::lines::CHUNK_BYTES_MAX`] and one more line, each byte
/// escaped.
pub const ASK_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest frame that a node accepts, in bytes.
pub const NODE_FRAME_BYTES_MAX: usize = ASK_BYTES_MAX + FRAME_HEAD_BYTES_MAX;
/// Largest frame that a client accepts, in bytes: answers come in chunks.
pub const CLIENT_FRAME_BYTES_MAX: usize = CHUNK_BYTES + FRAME_HEAD_BYTES_MAX;
/// Version of the library's protocol.
const LIBRARY_PROTOCOL: u32 = 1;

/// The state of a connection.
#[derive(Clone)]
pub enum Link {
    /// Both sides introduce themselves.
    Opening,
    /// This session carries messages.
    Open(ActorCell),
    /// The session ended.
    Closed,
}

/// The actor of the sessions. Its name is unique: two with the same name would shut each other out.
pub struct Sessions {
    cookie: Cookie,
    /// Name in the form `kind@host`.
    name: String,
    host: String,
    frame_bytes_max: usize,
    told: watch::Sender<Link>,
}

impl Sessions {
    /// Creates the sessions of this kind of process. `told` follows the last session: useful to a client, which has
    /// only one.
    pub fn new(kind: &str, cookie: Cookie, frame_bytes_max: usize, told: watch::Sender<Link>) -> Sessions {
        let host = Uuid::new_v4().to_string();
        Sessions { cookie, name: format!("{kind}@{host}"), host, frame_bytes_max, told }
    }

    async fn open(
        &self,
        myself: &ActorRef<NodeServerMessage>,
        stream: Box<dyn ClusterBidiStream>,
        is_server: bool,
        number: u64,
    ) -> Result<(), SpawnErr> {
        let mode = NodeConnectionMode::Isolated;
        let session = |name| NodeSession::new(number, is_server, self.cookie.to_text(), myself.clone(), name, mode);
        let mut name = blank_for(&session);
        name.name.clone_from(&self.name);
        // Compared with that of the other side: equal ones would be one process.
        name.connection_string.clone_from(&self.host);
        name.flags.get_or_insert_default().version = LIBRARY_PROTOCOL;
        let session = session(name).with_max_inbound_frame_size(self.frame_bytes_max as u64);
        let (peer_label, local_label) = (stream.peer_label(), stream.local_label());
        let (reader, writer) = stream.split();
        let stream = NetworkStream::External { peer_label, local_label, reader, writer };
        Actor::spawn_linked(None, session, stream, myself.get_cell()).await?;
        Ok(())
    }
}

/// Makes an empty value of the type that this function takes. The library does not give that type a name.
fn blank_for<N: Default, S>(_: &impl Fn(N) -> S) -> N {
    N::default()
}

impl Actor for Sessions {
    type Msg = NodeServerMessage;
    /// Number of sessions drawn.
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<NodeServerMessage>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        myself: ActorRef<NodeServerMessage>,
        message: NodeServerMessage,
        drawn: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeServerMessage::ConnectionOpenedExternal { stream, is_server } => {
                let number = *drawn;
                *drawn += 1;
                if let Err(error) = self.open(&myself, stream, is_server, number).await {
                    tracing::warn!("a session could not start; its connection is closed: {error}");
                    self.told.send_replace(Link::Closed);
                }
            }
            NodeServerMessage::ConnectionReady(id) => {
                if let Some(session) = myself.get_children().into_iter().find(|child| child.get_id() == id) {
                    self.told.send_replace(Link::Open(session));
                }
            }
            // Connections are independent: none takes another's place.
            NodeServerMessage::CheckSession { reply, .. } => {
                let _ = reply.send(SessionCheckReply::NoOtherConnection);
            }
            NodeServerMessage::GetSessions(reply) => {
                let _ = reply.send(HashMap::new());
            }
            NodeServerMessage::ConnectionOpened { .. }
            | NodeServerMessage::ConnectionAuthenticated(_)
            | NodeServerMessage::UpdateSession { .. }
            | NodeServerMessage::SubscribeToEvents { .. }
            | NodeServerMessage::UnsubscribeToEvents(_)
            | NodeServerMessage::PortChanged { .. } => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<NodeServerMessage>,
        event: SupervisionEvent,
        _: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => tracing::warn!("a session failed: {error}"),
            SupervisionEvent::ActorTerminated(..) => {}
            _ => return Ok(()),
        }
        self.told.send_replace(Link::Closed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Ask, PROGRAM_VERSION, PROTOCOL_VERSION};
    use super::*;
    use decisiongraph_projections::event::EVENT_BYTES_MAX;
    use decisiongraph_protocol::lines::LineReader;
    use decisiongraph_protocol::{AdminRequest, AppendRequest};
    use std::time::Duration;

    #[test]
    fn the_largest_chunk_of_an_import_fits_an_ask() {
        let mut file = "\"".repeat(EVENT_BYTES_MAX);
        file.push('\n');
        let file = file.repeat(4);
        let lines = LineReader::new(file.as_bytes()).next_chunk(|_| false).expect("reads");
        assert_eq!(lines.len(), 2, "the chunk ends at its bytes");
        let ask = Ask {
            protocol: PROTOCOL_VERSION,
            program: PROGRAM_VERSION.to_owned(),
            id: Uuid::nil(),
            deadline: Duration::from_secs(1),
            connection: None,
            by: None,
            request: AdminRequest::Append(AppendRequest { all_or_nothing: true, lines, ..AppendRequest::default() }),
        };
        let bytes = ask.encode().expect("writes").len();
        // With one byte less in the second line, a third line would have been included.
        assert!(bytes + 2 * EVENT_BYTES_MAX <= ASK_BYTES_MAX, "{bytes}");
    }
}
