//! The preamble: both sides exchange their versions before the actor protocol begins. On TCP they prove that they know
//! the secret.
//!
//! ```text
//! client                              node
//!   Hello  versions, nonce        ─▶
//!                                 ◀─  Welcome  versions, nonce        (socket: plain cookie, connection number)
//!   Proof  keyed(client, nonces)  ─▶                                  (TCP only)
//!                                 ◀─  Granted  keyed(server, nonces), masked cookie, connection number  (TCP only)
//!                                 ◀─  Refused  category, message, next  (instead, at any point)
//! ```
//!
//! *Guarantees.* A refusal has a name: `version_mismatch` with both versions, `unauthorized`, `unavailable`. The client
//! proves first. So nothing that is derived from the secret leaves a node for a client that does not know it. Frames
//! are at most [`FRAME_BYTES_MAX`].
//!
//! *Never here:* deadlines and counts (the listener's and the client's), sockets.

use super::secret::{Nonces, Role, Secret, random_256};
use super::wire::Versions;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

/// Largest frame of the preamble, in bytes, with its head.
pub const FRAME_BYTES_MAX: usize = 1024;
/// First bytes of every frame.
const MAGIC: [u8; 4] = *b"DGRP";
const HEAD_BYTES: usize = MAGIC.len() + 2;
/// Longest message of a refusal, in bytes: it must fit a frame.
const MESSAGE_BYTES_MAX: usize = 320;

/// One frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Hello {
        versions: Versions,
        nonce: String,
    },
    Welcome {
        versions: Versions,
        nonce: String,
        cookie: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connection: Option<Uuid>,
    },
    Proof {
        proof: String,
    },
    Granted {
        proof: String,
        cookie: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connection: Option<Uuid>,
    },
    Refused(AdminError),
}

/// Condition by which a door admits a client.
#[derive(Debug, Clone)]
pub enum Door {
    /// Permissions of the socket's file.
    Socket,
    /// Knowledge of the secret.
    Secret(Secret),
}

/// The cookie of a process: the root secret of its actor protocol, so it is never shown.
#[derive(Clone, Copy)]
pub struct Cookie([u8; 32]);

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(..)")
    }
}

impl Cookie {
    /// Draws a new cookie.
    pub fn random() -> Cookie {
        Cookie(random_256())
    }

    /// Returns the text that the actor protocol takes.
    pub fn to_text(self) -> String {
        hex(self.0)
    }

    /// Applies or removes the mask of these nonces.
    fn masked(self, secret: &Secret, nonces: &Nonces) -> Cookie {
        let mask = secret.proof(Role::Cookie, nonces);
        let mut bytes = self.0;
        for (byte, mask) in bytes.iter_mut().zip(mask.as_bytes()) {
            *byte ^= mask;
        }
        Cookie(bytes)
    }
}

/// The two values with which a node opens a connection: its process's cookie, and the connection's number. The number
/// is drawn at random for this connection; an ask that names it comes over this connection.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Cookie of the process.
    pub cookie: Cookie,
    /// Number of the connection.
    pub connection: Uuid,
}

/// The knowledge of a client that was admitted.
#[derive(Debug, Clone, Copy)]
pub struct Introduced {
    /// The protocol that both sides speak.
    pub protocol: u32,
    /// Cookie of the node's process.
    pub cookie: Cookie,
    /// Number by which the node knows this connection; `None` with an older node.
    pub connection: Option<Uuid>,
}

/// Cause of a failed preamble.
#[derive(Debug)]
pub enum Unmet {
    /// The connection ended in the middle of it, without a word.
    Lost(io::Error),
    /// One of the two sides refused.
    Refused(AdminError),
}

impl From<AdminError> for Unmet {
    fn from(error: AdminError) -> Unmet {
        Unmet::Refused(error)
    }
}

impl Unmet {
    /// Words the error for the operator.
    pub fn told(self) -> AdminError {
        match self {
            Unmet::Refused(error) => error,
            Unmet::Lost(error) => AdminError::new(
                Category::Unavailable,
                format!("the connection was closed before it was established: {error}"),
            )
            .next("try again; if it happens again, check the node's log"),
        }
    }
}

/// Runs the node's side. `admit` is called last, when the other side has proven itself; its result is returned. Every
/// refusal is sent to the other side first.
pub async fn receive<S, T>(
    stream: &mut S,
    door: &Door,
    ours: &Versions,
    opening: Opening,
    admit: impl FnOnce() -> Result<T, AdminError>,
) -> Result<T, AdminError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let done = receive_or_refuse(stream, door, ours, opening, admit).await.map_err(Unmet::told);
    if let Err(error) = &done {
        let _ = write(stream, &Word::Refused(shortened(error))).await;
        let _ = stream.shutdown().await;
    }
    done
}

async fn receive_or_refuse<S, T>(
    stream: &mut S,
    door: &Door,
    ours: &Versions,
    opening: Opening,
    admit: impl FnOnce() -> Result<T, AdminError>,
) -> Result<T, Unmet>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opening { cookie, connection } = opening;
    let connection = Some(connection);
    let Word::Hello { versions, nonce } = read(stream).await? else { return Err(out_of_order().into()) };
    if !versions.is_printable() {
        return Err(out_of_order().into());
    }
    let protocol = Versions::agree(&versions, ours)?;
    let nonces = Nonces { client: bytes(&nonce)?, server: random_256(), protocol };
    let nonce = hex(nonces.server);
    let secret = match door {
        Door::Socket => {
            let admitted = admit()?;
            let cookie = Some(cookie.to_text());
            write(stream, &Word::Welcome { versions: ours.clone(), nonce, cookie, connection }).await?;
            return Ok(admitted);
        }
        Door::Secret(secret) => secret,
    };
    write(stream, &Word::Welcome { versions: ours.clone(), nonce, cookie: None, connection: None }).await?;
    let Word::Proof { proof } = read(stream).await? else { return Err(out_of_order().into()) };
    if blake3::Hash::from_bytes(bytes(&proof)?) != secret.proof(Role::Client, &nonces) {
        return Err(AdminError::new(Category::Unauthorized, "the node has a different secret")
            .next("give the node's secret: --secret-file FILE, DECISIONGRAPH_SECRET_FILE or DECISIONGRAPH_SECRET")
            .into());
    }
    let admitted = admit()?;
    let proof = hex(*secret.proof(Role::Server, &nonces).as_bytes());
    let cookie = cookie.masked(secret, &nonces).to_text();
    write(stream, &Word::Granted { proof, cookie, connection }).await?;
    Ok(admitted)
}

/// Runs the client's side.
pub async fn introduce<S>(stream: &mut S, door: &Door, ours: &Versions) -> Result<Introduced, Unmet>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let client = random_256();
    write(stream, &Word::Hello { versions: ours.clone(), nonce: hex(client) }).await?;
    let (versions, nonce, open, connection) = match read(stream).await? {
        Word::Welcome { versions, nonce, cookie, connection } => (versions, nonce, cookie, connection),
        Word::Refused(error) => return Err(error.into()),
        _ => return Err(out_of_order().into()),
    };
    let protocol = Versions::agree(ours, &versions)?;
    let nonces = Nonces { client, server: bytes(&nonce)?, protocol };
    let secret = match (door, open) {
        (Door::Socket, Some(cookie)) => {
            return Ok(Introduced { protocol, cookie: Cookie(bytes(&cookie)?), connection });
        }
        (Door::Secret(secret), None) => secret,
        _ => return Err(out_of_order().into()),
    };
    write(stream, &Word::Proof { proof: hex(*secret.proof(Role::Client, &nonces).as_bytes()) }).await?;
    match read(stream).await? {
        Word::Granted { proof, cookie, connection } => {
            if blake3::Hash::from_bytes(bytes(&proof)?) != secret.proof(Role::Server, &nonces) {
                return Err(AdminError::new(
                    Category::Unauthorized,
                    "the program that answered does not know the secret",
                )
                .next("check that --node names the node, and not another program")
                .into());
            }
            let cookie = Cookie(bytes(&cookie)?).masked(secret, &nonces);
            Ok(Introduced { protocol, cookie, connection })
        }
        Word::Refused(error) => Err(error.into()),
        _ => Err(out_of_order().into()),
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, word: &Word) -> Result<(), Unmet> {
    let body = serde_json::to_vec(word)
        .map_err(|error| AdminError::new(Category::Internal, format!("cannot write the preamble: {error}")))?;
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend_from_slice(&MAGIC);
    let length = u16::try_from(body.len()).ok().filter(|length| usize::from(*length) + HEAD_BYTES <= FRAME_BYTES_MAX);
    let length =
        length.ok_or_else(|| AdminError::new(Category::Internal, "a frame of the preamble would be too long"))?;
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await.map_err(lost)?;
    stream.flush().await.map_err(lost)
}

/// Reads to the end of one frame and not a byte further.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Word, Unmet> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await.map_err(lost)?;
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if head[..4] != MAGIC || length + HEAD_BYTES > FRAME_BYTES_MAX {
        return Err(AdminError::new(Category::VersionMismatch, "the other side does not speak the admin protocol")
            .next("check the address: another program may listen there")
            .into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(lost)?;
    serde_json::from_slice(&body).map_err(|_| out_of_order().into())
}

fn lost(error: io::Error) -> Unmet {
    if let Some(fault) = super::tls::fault(&error) {
        return AdminError::new(Category::Unauthorized, format!("the other side ended TLS: {fault}"))
            .next("check certificate, key and authority of both sides; the node's log also names the reason")
            .into();
    }
    Unmet::Lost(error)
}

fn out_of_order() -> AdminError {
    let message = format!("the two sides do not understand each other; this one is {}", Versions::ours());
    AdminError::new(Category::VersionMismatch, message).next("use the `decisiongraph` of the node's version")
}

fn shortened(error: &AdminError) -> AdminError {
    let cut = |text: &str| {
        let end = (0..=text.len().min(MESSAGE_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
        text[..end.unwrap_or(0)].to_owned()
    };
    AdminError { category: error.category, message: cut(&error.message), next: cut(&error.next) }
}

fn hex(bytes: [u8; 32]) -> String {
    blake3::Hash::from_bytes(bytes).to_hex().to_string()
}

fn bytes(text: &str) -> Result<[u8; 32], AdminError> {
    blake3::Hash::from_hex(text).map(|hash| *hash.as_bytes()).map_err(|_| out_of_order())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening { cookie: Cookie::random(), connection: Uuid::new_v4() }
    }

    async fn meet(
        node: Door,
        client: Door,
        versions: Versions,
    ) -> (Result<Opening, AdminError>, Result<Introduced, AdminError>) {
        let (mut near, mut far) = tokio::io::duplex(FRAME_BYTES_MAX);
        let opening = opening();
        let node = async { receive(&mut far, &node, &Versions::ours(), opening, || Ok(opening)).await };
        tokio::join!(node, async { introduce(&mut near, &client, &versions).await.map_err(Unmet::told) })
    }

    fn secret(text: &str) -> Door {
        Door::Secret(Secret::new(text).expect("long enough"))
    }

    #[tokio::test]
    async fn who_knows_the_secret_gets_the_cookie_and_the_number_of_the_connection() {
        for door in [Door::Socket, secret("correct horse battery staple brick")] {
            let (node, client) = meet(door.clone(), door, Versions::ours()).await;
            let (client, node) = (client.expect("let in"), node.expect("lets in"));
            assert_eq!(client.protocol, super::super::wire::PROTOCOL_VERSION);
            assert_eq!((client.cookie.0, client.connection), (node.cookie.0, Some(node.connection)));
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_is_refused_by_name() {
        let (node, client) = meet(
            secret("correct horse battery staple brick"),
            secret("wrong horse battery staple brick"),
            Versions::ours(),
        )
        .await;
        assert_eq!(node.expect_err("refuses").category, Category::Unauthorized);
        assert_eq!(client.expect_err("refused").category, Category::Unauthorized);
    }

    #[tokio::test]
    async fn a_version_that_is_not_spoken_is_refused_with_both() {
        let (_, client) = meet(Door::Socket, Door::Socket, Versions::only(99)).await;
        let error = client.expect_err("refused");
        assert_eq!(error.category, Category::VersionMismatch);
        assert!(error.message.contains("protocol 99") && error.message.contains("protocol 5"), "{}", error.message);
    }

    #[tokio::test]
    async fn a_stranger_is_told_that_this_is_another_protocol() {
        let (mut near, mut far) = tokio::io::duplex(FRAME_BYTES_MAX);
        near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("writes");
        let error =
            receive(&mut far, &Door::Socket, &Versions::ours(), opening(), || Ok(())).await.expect_err("refuses");
        assert_eq!(error.category, Category::VersionMismatch);
        near.write_all(b"DGRP\xff\xff").await.expect("writes");
    }
}
