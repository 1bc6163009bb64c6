//! Answers of any size over frames of a bounded size. They go whole when small, else in chunks that the asker fetches
//! by ticket.
//!
//! *Guarantees.* Answers that wait to be fetched are bounded in number and time. Their bytes are bounded by the share
//! of the memory that they hold. A ticket that is gone is named, not waited for.

use bytes::Bytes;
use decisiongraph_engine::Share;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes per chunk.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Largest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most answers that wait to be fetched.
const TICKETS_MAX: usize = 64;
/// Time after its last fetch at which an answer is dropped.
const TICKET_LASTS: Duration = Duration::from_secs(30);

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const CHUNK: u8 = 2;
const GONE: u8 = 3;
const UUID_BYTES: usize = 16;
const FIRST_HEAD_BYTES: usize = 1 + UUID_BYTES + 8;

/// One frame of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// The whole answer.
    Whole(Bytes),
    /// The beginning; the rest is fetched.
    First {
        /// Name of the answer, for fetches.
        ticket: Uuid,
        /// Bytes of the whole answer.
        bytes_total: u64,
        /// First bytes of the answer.
        chunk: Bytes,
    },
    /// A later chunk.
    Chunk(Bytes),
    /// There is nothing under this ticket (any more).
    Gone,
}

impl Parcel {
    /// Encodes the parcel as a frame.
    pub fn encode(&self) -> Vec<u8> {
        let (tag, body) = match self {
            Parcel::Whole(body) => (WHOLE, body),
            Parcel::Chunk(body) => (CHUNK, body),
            Parcel::Gone => return vec![GONE],
            Parcel::First { ticket, bytes_total, chunk } => {
                let mut frame = Vec::with_capacity(FIRST_HEAD_BYTES + chunk.len());
                frame.push(FIRST);
                frame.extend_from_slice(ticket.as_bytes());
                frame.extend_from_slice(&bytes_total.to_be_bytes());
                frame.extend_from_slice(chunk);
                return frame;
            }
        };
        let mut frame = Vec::with_capacity(1 + body.len());
        frame.push(tag);
        frame.extend_from_slice(body);
        frame
    }

    /// Decodes a frame; `None` when it is no parcel.
    pub fn decode(frame: Vec<u8>) -> Option<Parcel> {
        let frame = Bytes::from(frame);
        match *frame.first()? {
            WHOLE => Some(Parcel::Whole(frame.slice(1..))),
            CHUNK => Some(Parcel::Chunk(frame.slice(1..))),
            GONE => Some(Parcel::Gone),
            FIRST => {
                let ticket = Uuid::from_slice(frame.get(1..=UUID_BYTES)?).ok()?;
                let bytes_total = u64::from_be_bytes(frame.get(1 + UUID_BYTES..FIRST_HEAD_BYTES)?.try_into().ok()?);
                Some(Parcel::First { ticket, bytes_total, chunk: frame.slice(FIRST_HEAD_BYTES..) })
            }
            _ => None,
        }
    }
}

/// Asks for the chunk that begins at `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Ticket of the answer.
    pub ticket: Uuid,
    /// First byte of the chunk.
    pub from: u64,
}

impl Fetch {
    /// Encodes the fetch as a frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = self.ticket.as_bytes().to_vec();
        frame.extend_from_slice(&self.from.to_be_bytes());
        frame
    }

    /// Decodes a frame.
    pub fn decode(frame: &[u8]) -> Option<Fetch> {
        let ticket = Uuid::from_slice(frame.get(..UUID_BYTES)?).ok()?;
        let from = u64::from_be_bytes(frame.get(UUID_BYTES..)?.try_into().ok()?);
        Some(Fetch { ticket, from })
    }
}

struct Waiting {
    answer: Bytes,
    used: Instant,
    _share: Share,
}

/// Answers that wait to be fetched.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<Uuid, Waiting>>);

impl Tickets {
    /// Returns the first frame of an answer that has more than one. Keeps the rest, and its share as long. `None` when
    /// there is no room to keep it.
    pub fn send(&self, answer: Bytes, share: Share, now: Instant) -> Option<Parcel> {
        self.drop_old(now);
        let mut waiting = self.lock();
        if waiting.len() >= TICKETS_MAX {
            return None;
        }
        let ticket = Uuid::new_v4();
        let (bytes_total, chunk) = (answer.len() as u64, answer.slice(..CHUNK_BYTES));
        waiting.insert(ticket, Waiting { answer, used: now, _share: share });
        Some(Parcel::First { ticket, bytes_total, chunk })
    }

    /// Drops the answers that were not fetched in time.
    pub fn drop_old(&self, now: Instant) {
        self.lock().retain(|_, kept| now.duration_since(kept.used) < TICKET_LASTS);
    }

    /// Returns the next chunk. Fetching the last one removes the answer.
    pub fn fetch(&self, fetch: Fetch, now: Instant) -> Parcel {
        self.drop_old(now);
        let mut waiting = self.lock();
        let Some(kept) = waiting.get_mut(&fetch.ticket) else { return Parcel::Gone };
        let Some(from) = usize::try_from(fetch.from).ok().filter(|from| *from < kept.answer.len()) else {
            return Parcel::Gone;
        };
        kept.used = now;
        let to = (from + CHUNK_BYTES).min(kept.answer.len());
        let chunk = kept.answer.slice(from..to);
        if to == kept.answer.len() {
            waiting.remove(&fetch.ticket);
        }
        Parcel::Chunk(chunk)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Waiting>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_engine::Budget;
    use decisiongraph_engine::memory::MEMORY_MIN;

    async fn share() -> Share {
        Budget::new(MEMORY_MIN).answers.hold(1).await
    }

    #[tokio::test]
    async fn a_large_answer_arrives_whole_in_bounded_frames_and_is_then_gone() {
        let tickets = Tickets::default();
        let answer: Bytes = (0..CHUNK_BYTES * 5 / 2).map(|i| i as u8).collect();
        let now = Instant::now();
        let first = tickets.send(answer.clone(), share().await, now).expect("room");
        let Some(Parcel::First { ticket, bytes_total, chunk }) = Parcel::decode(first.encode()) else { panic!() };
        let mut got = chunk.to_vec();
        while (got.len() as u64) < bytes_total {
            let fetch = Fetch { ticket, from: got.len() as u64 };
            let frame = tickets.fetch(Fetch::decode(&fetch.encode()).expect("a fetch"), now).encode();
            assert!(frame.len() <= CHUNK_BYTES + 1);
            let Some(Parcel::Chunk(chunk)) = Parcel::decode(frame) else { panic!() };
            got.extend_from_slice(&chunk);
        }
        assert_eq!(got, answer);
        assert_eq!(tickets.fetch(Fetch { ticket, from: 0 }, now), Parcel::Gone);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_forgotten_in_time() {
        let tickets = Tickets::default();
        let now = Instant::now();
        let answer = Bytes::from(vec![0; CHUNK_BYTES + 1]);
        for _ in 0..TICKETS_MAX {
            assert!(tickets.send(answer.clone(), share().await, now).is_some());
        }
        assert!(tickets.send(answer.clone(), share().await, now).is_none());
        assert!(tickets.send(answer, share().await, now + TICKET_LASTS).is_some());
    }
}
