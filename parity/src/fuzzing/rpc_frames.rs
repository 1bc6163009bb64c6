//! Bytes over a connection that is past the preamble. No actor panics, and memory is bounded by that of a frame, for
//! every announced length.
//!
//! The first byte chooses: one message for a decoder, or frames for a session. The frames come before or after the two
//! sides have met.

use super::{refused, run};
use decisiongraph_rpc::AdminMessage;
use decisiongraph_rpc::parcel::{Fetch, Parcel};
use decisiongraph_rpc::preamble::Cookie;
use decisiongraph_rpc::session::{Link, NODE_FRAME_BYTES_MAX, Sessions};
use decisiongraph_rpc::stream::Carried;
use decisiongraph_rpc::wire::{Answer, Ask, Versions};
use ractor::message::SerializedMessage;
use ractor::{Actor, ActorRef, Message as _};
use ractor_cluster::NodeServerMessage;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, DuplexStream, copy};
use tokio::sync::watch;

/// Bytes between the two sides that neither has read yet, at most.
const PIPE_BYTES: usize = 64 * 1024;
/// Turns that the actors get for the bytes that have arrived.
const TURNS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn offer(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 4 {
        0 => ask(rest),
        1 => frames(rest),
        2 => run(session(rest, false)),
        _ => run(session(rest, true)),
    }
}

fn ask(bytes: &[u8]) {
    match Ask::decode(bytes, &Versions::ours()) {
        Ok((ask, _)) => {
            let again = Ask::decode(&ask.encode().expect("writes"), &Versions::ours());
            assert_eq!(again.map(|(ask, _)| ask), Ok(ask));
        }
        Err(error) => refused(&error),
    }
    if let Err(error) = Answer::decode(bytes) {
        assert!(!error.message.is_empty());
    }
}

fn frames(bytes: &[u8]) {
    if let Some(parcel) = Parcel::decode(bytes.to_vec()) {
        assert_eq!(Parcel::decode(parcel.encode()), Some(parcel));
    }
    if let Some(fetch) = Fetch::decode(bytes) {
        assert_eq!(fetch.encode(), bytes);
    }
    for variant in ["Ask", "More", "Other"] {
        let variant = variant.to_owned();
        let cast = SerializedMessage::Cast { variant, args: bytes.to_vec(), metadata: None };
        assert!(AdminMessage::deserialize(cast).is_err(), "nothing is told without being asked");
    }
}

/// Counts panics so far, on any thread: a panic of an actor ends that actor alone.
fn panics() -> u64 {
    static HOOKED: Once = Once::new();
    static PANICS: AtomicU64 = AtomicU64::new(0);
    HOOKED.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            earlier(info);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

/// Sends these bytes to a node's session: immediately, or after it has met a program that it trusts.
async fn session(bytes: &[u8], after_they_met: bool) {
    let before = panics();
    let cookie = Cookie::random();
    let (mut wire, far) = tokio::io::duplex(PIPE_BYTES);
    let (node, mut link) = side("node", cookie, far, true).await;
    if after_they_met {
        let (mut program, near) = tokio::io::duplex(PIPE_BYTES);
        let (client, mut met) = side("cli", cookie, near, false).await;
        let both = async {
            let open = |link: &Link| matches!(link, Link::Open(_));
            link.wait_for(open).await.is_ok() && met.wait_for(open).await.is_ok()
        };
        tokio::select! {
            opened = tokio::time::timeout(PATIENCE, both) => assert_eq!(opened, Ok(true), "they meet"),
            _ = tokio::io::copy_bidirectional(&mut wire, &mut program) => panic!("a session ended before they met"),
        }
        client.stop(None);
    }
    let (mut from_node, mut to_node) = tokio::io::split(wire);
    let heard = tokio::spawn(async move { copy(&mut from_node, &mut tokio::io::sink()).await });
    // A session that has had enough reads no further.
    let _ = tokio::time::timeout(PATIENCE, to_node.write_all(bytes)).await.expect("it reads or ends");
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    let _ = to_node.shutdown().await;
    let closed = tokio::time::timeout(PATIENCE, link.wait_for(|link| matches!(link, Link::Closed))).await;
    assert!(closed.is_ok(), "a session ends with its connection");
    node.stop(None);
    heard.abort();
    assert_eq!(panics(), before, "an actor panicked");
}

async fn side(
    kind: &str,
    cookie: Cookie,
    stream: DuplexStream,
    is_server: bool,
) -> (ActorRef<NodeServerMessage>, watch::Receiver<Link>) {
    let (told, link) = watch::channel(Link::Opening);
    let sessions = Sessions::new(kind, cookie, NODE_FRAME_BYTES_MAX, told);
    let (sessions, _) = Actor::spawn(None, sessions, ()).await.expect("starts");
    let (reader, writer) = tokio::io::split(stream);
    let stream = Box::new(Carried::new(Box::new(reader), Box::new(writer), "fuzzer".to_owned(), ()));
    sessions.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server }).expect("it lives");
    (sessions, link)
}
