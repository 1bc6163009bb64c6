//! Journals of linked nodes as memories of the seal, and the keys that sign there.
//!
//! *Guarantees.* All peers are asked at the same time, and have [`PEERS_WAIT`] together, links that are being made
//! included. A peer that does not answer has its reason.
//!
//! *Never here:* a judgment of the heads ([`decisiongraph_engine::seal::memory_check`]).

use super::links::Links;
use decisiongraph_engine::seal::memory_check::{PEERS_WAIT, PeerAnswer, Peers};
use decisiongraph_protocol::{AdminError, LinkPhase, SealMemoryReply, SealMemoryRequest};
use futures_util::future::BoxFuture;
use std::time::{Duration, Instant};

/// Pause between two looks at links that are being made.
const LOOK: Duration = Duration::from_millis(20);

/// The linked nodes, as memories.
pub struct LinkedJournals(pub Links);

impl Peers for LinkedJournals {
    fn newest<'a>(&'a self, origin: &'a str) -> BoxFuture<'a, Vec<(String, PeerAnswer)>> {
        Box::pin(async move {
            let answers = memories(&self.0, Some(origin)).await.into_iter();
            let newest = |answer: Result<SealMemoryReply, AdminError>| {
                answer.map(|reply| reply.newest).map_err(|error| error.message)
            };
            answers.map(|(node, answer)| (node, newest(answer))).collect()
        })
    }
}

/// Asks every linked node what its journal remembers of a log, and which key signs there. By node.
pub async fn memories(links: &Links, origin: Option<&str>) -> Vec<(String, Result<SealMemoryReply, AdminError>)> {
    let until = Instant::now() + PEERS_WAIT;
    // A node that has just started makes its links.
    while links.states().iter().any(|link| link.state == LinkPhase::Connecting) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    let request = SealMemoryRequest { origin: origin.map(str::to_owned) };
    links.ask_all(&request, until.saturating_duration_since(Instant::now())).await
}
