//! The desk between the actor that received an ask and the code that answers it: limits, deadlines, and once only.
//!
//! *Guarantees.* At most [`ASKS_MAX`] asks are processed at a time, and no more than the process has memory for. Large
//! asks and answers hold a share of its budget. An ask too many is refused at once, a large one before it is read. A
//! large answer waits for its share for at most [`MEMORY_WAIT`]. A read-only request ends at its deadline. A request
//! that changes something runs to its end whatever its asker does. Its answer is there for the same request asked
//! again.
//!
//! *Never here:* actors, sockets, the meaning of a request.

use super::answers::Answers;
use super::callers::Callers;
use super::parcel::{ANSWER_BYTES_MAX, CHUNK_BYTES, Fetch, Parcel, Tickets};
use super::remembered::{Entry, Outcome, Remembered};
use super::wire::{Answer, Ask, Versions};
use crate::weight::weight;
use bytes::Bytes;
use decisiongraph_engine::{ASK_COST, Budget, Share};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, AdminReply, AdminRequest, Asker};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Asks that are processed at the same time.
pub const ASKS_MAX: usize = 64;
/// Size up to which asks are not counted, in bytes. So there is always room to report running work, or to stop it.
const SMALL_ASK_BYTES: usize = 64 * 1024;
/// Asks of [`Desk::carry_out`] that wait for a place, at most.
const WAITING_MAX: usize = 64;
/// Longest wait of such an ask for a place.
const PLACE_WAIT: Duration = Duration::from_secs(2);
/// Longest wait of a request for the memory of its answer.
pub const MEMORY_WAIT: Duration = Duration::from_secs(5);

/// Accepts asks and gives their answers.
pub struct Desk {
    answers: Arc<dyn Answers>,
    versions: Versions,
    callers: Arc<Callers>,
    places: Arc<Semaphore>,
    /// Room for asks that wait for a place.
    waiting: Semaphore,
    budget: Budget,
    /// Longest wait for the memory of an answer: [`MEMORY_WAIT`] except in tests.
    memory_wait: Duration,
    remembered: Remembered,
    tickets: Tickets,
}

impl Desk {
    /// Creates a desk in front of `answers`. It speaks these versions over these connections and takes its memory from
    /// this budget.
    pub fn new(answers: Arc<dyn Answers>, versions: Versions, callers: Arc<Callers>, budget: Budget) -> Desk {
        Desk {
            answers,
            versions,
            callers,
            places: Arc::new(Semaphore::new(ASKS_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            budget,
            memory_wait: MEMORY_WAIT,
            remembered: Remembered::default(),
            tickets: Tickets::default(),
        }
    }

    /// Takes an encoded ask and returns the first frame of its answer.
    pub async fn ask(self: Arc<Self>, frame: Vec<u8>) -> Vec<u8> {
        self.tickets.drop_old(Instant::now());
        let (answer, share) = match self.weigh(frame.len()) {
            Ok(weight) => {
                let decoded = Ask::decode(&frame, &self.versions);
                drop(frame);
                match decoded {
                    Ok((ask, fingerprint)) => self.work(ask, fingerprint, weight).await,
                    Err(error) => (refusal(error), None),
                }
            }
            Err(error) => (refusal(error), None),
        };
        self.parcel(answer, share).encode()
    }

    /// Packs the answer, or its beginning. The rest waits to be fetched, and has a share for as long as it waits.
    fn parcel(&self, answer: Bytes, share: Option<Share>) -> Parcel {
        if answer.len() <= CHUNK_BYTES {
            return Parcel::Whole(answer);
        }
        if answer.len() > ANSWER_BYTES_MAX {
            let error = format!("the answer has {} bytes; the limit is {ANSWER_BYTES_MAX}", answer.len());
            let error = AdminError::new(Category::InvalidArgument, error).next("request less at a time: --limit");
            return Parcel::Whole(refusal(error));
        }
        let share = match share {
            Some(mut share) if share.bytes() >= answer.len() => {
                share.shrink(answer.len());
                Some(share)
            }
            _ => self.budget.answers.try_hold(answer.len()),
        };
        let ticket = share.and_then(|share| self.tickets.send(answer, share, Instant::now()));
        ticket.unwrap_or_else(|| Parcel::Whole(refusal(busy("too many large answers wait to be fetched"))))
    }

    /// Returns a later chunk of an answer.
    pub fn more(&self, frame: &[u8]) -> Vec<u8> {
        Fetch::decode(frame).map_or(Parcel::Gone, |fetch| self.tickets.fetch(fetch, Instant::now())).encode()
    }

    /// Reserves room for an ask of this size, for as long as it is processed.
    fn weigh(&self, bytes: usize) -> Result<Option<Share>, AdminError> {
        if bytes <= SMALL_ASK_BYTES {
            return Ok(None);
        }
        self.budget.answers.try_hold(ASK_COST * bytes).map(Some).ok_or_else(|| out_of_memory("for a large request now"))
    }

    async fn work(
        self: &Arc<Self>,
        ask: Ask,
        fingerprint: blake3::Hash,
        held: Option<Share>,
    ) -> (Bytes, Option<Share>) {
        let Ask { id, deadline, connection, by, request, .. } = ask;
        let asker = Asker::new(by, self.callers.proof(connection));
        if let AdminRequest::Peer(_) = request {
            // Answered from memory: a busy node must not be taken for one that is gone.
            return (Answer::encode(self.answers.answer(id, asker, request).await).into(), None);
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return (refusal(busy(&format!("the node already works on {ASKS_MAX} requests"))), None);
        };
        if !request.facts().changes {
            let (reply, share) = self.look(id, asker, request, deadline).await;
            return (Answer::encode(reply).into(), share);
        }
        (self.change(id, asker, request, fingerprint, deadline, (place, held)).await, None)
    }

    /// Answers a request that only reads, within its deadline; with the memory that its answer holds.
    async fn look(
        &self,
        id: Uuid,
        asker: Asker,
        request: AdminRequest,
        deadline: Duration,
    ) -> (Result<AdminReply, AdminError>, Option<Share>) {
        let looking = async {
            let share = match weight(&request) {
                0 => None,
                bytes => match self.budget.answers.hold_within(bytes, self.memory_wait).await {
                    Some(share) => Some(share),
                    None => {
                        let error = out_of_memory(&format!("for this answer within {:?}", self.memory_wait));
                        return (Err(error), None);
                    }
                },
            };
            (self.answers.answer(id, asker, request).await, share)
        };
        let answered = tokio::time::timeout(deadline, looking).await;
        answered.unwrap_or_else(|_| (Err(too_late(deadline)), None))
    }

    /// Carries out a change to its end, once, whatever its asker does. `held` is kept until then.
    async fn change(
        self: &Arc<Self>,
        id: Uuid,
        asker: Asker,
        request: AdminRequest,
        fingerprint: blake3::Hash,
        deadline: Duration,
        held: impl Send + 'static,
    ) -> Bytes {
        match self.remembered.enter(id, fingerprint, Instant::now()) {
            Ok(Entry::Again(outcome)) => wait_for(outcome, id, deadline).await,
            Ok(Entry::First(sender)) => {
                let outcome = sender.subscribe();
                let desk = Arc::clone(self);
                tokio::spawn(async move {
                    let _held = held;
                    let outcome = desk.answers.answer(id, asker, request).await;
                    let keep = outcome.as_ref().err().is_none_or(AdminError::is_final);
                    sender.send_replace(Some(Answer::encode(outcome).into()));
                    if !keep {
                        desk.remembered.forget(id);
                    }
                });
                wait_for(outcome, id, deadline).await
            }
            Err(error) => refusal(error),
        }
    }

    /// Answers a request that came another way than over the actors, under the same limits and deadlines, and once. It
    /// waits a moment for its place. The memory of a large answer is held as long as its share.
    pub async fn carry_out(
        self: &Arc<Self>,
        id: Uuid,
        asker: Asker,
        request: AdminRequest,
        deadline: Duration,
    ) -> (Result<AdminReply, AdminError>, Option<Share>) {
        let Some(place) = self.place().await else {
            let error = busy(&format!("the node already works on {ASKS_MAX} requests, and others wait"));
            return (Err(error), None);
        };
        if !request.facts().changes {
            return self.look(id, asker, request, deadline).await;
        }
        let text = match serde_json::to_vec(&(&request, asker.proof.to_string())) {
            Ok(text) => text,
            Err(error) => return (Err(AdminError::new(Category::Internal, error.to_string())), None),
        };
        let answer = self.change(id, asker, request, blake3::hash(&text), deadline, place).await;
        (Answer::decode(&answer), None)
    }

    /// Takes a place, after a short wait when there is none.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        tokio::time::timeout(PLACE_WAIT, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }
}

async fn wait_for(mut outcome: Outcome, id: Uuid, deadline: Duration) -> Bytes {
    let ended = tokio::time::timeout(deadline, outcome.wait_for(Option::is_some)).await;
    match ended {
        Ok(Ok(answer)) => answer.clone().unwrap_or_default(),
        Ok(Err(_)) => refusal(AdminError::new(Category::Internal, "the node failed while it worked on the request")),
        Err(_) => refusal(
            AdminError::new(
                Category::OutcomeUnknown,
                format!("the node still works on request {id} after {} s", deadline.as_secs_f32()),
            )
            .next(again(id)),
        ),
    }
}

/// Tells what to do when the outcome of a change is unknown.
pub fn again(id: Uuid) -> String {
    format!(
        "repeat the command with --request-id {id}: it is carried out only once; `decisiongraph runs` shows whether a job began"
    )
}

fn busy(why: &str) -> AdminError {
    AdminError::new(Category::Unavailable, format!("busy: {why}")).next("try again in a moment")
}

fn out_of_memory(what: &str) -> AdminError {
    busy(&format!("other requests hold the node's memory; none is free {what}; nothing was done"))
        .next("try again in a moment, request less (--limit), or give the node more memory (memory_max)")
}

fn too_late(deadline: Duration) -> AdminError {
    AdminError::new(Category::Unavailable, format!("the node did not answer within {} s", deadline.as_secs_f32()))
        .next("raise --timeout SECONDS, or request less")
}

fn refusal(error: AdminError) -> Bytes {
    Answer::encode(Err(error)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_engine::memory::MEMORY_MIN;
    use decisiongraph_protocol::{AppendReply, AppendRequest, EventsRequest, OfferedLine, StatusRequest};
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Notify;

    /// Counts its requests, and answers when it is told to.
    #[derive(Default)]
    struct Slow {
        asked: AtomicU64,
        go: Notify,
    }

    impl Answers for Slow {
        fn answer(&self, _: Uuid, _: Asker, request: AdminRequest) -> BoxFuture<'_, Result<AdminReply, AdminError>> {
            Box::pin(async move {
                let accepted = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                self.go.notified().await;
                let bytes = if request.facts().changes { 0 } else { 1 };
                Ok(AdminReply::Appended(AppendReply { accepted, repeated: bytes, ..AppendReply::default() }))
            })
        }
    }

    fn desk(slow: &Arc<Slow>) -> Arc<Desk> {
        let answers = Arc::clone(slow) as Arc<dyn Answers>;
        let memory_wait = Duration::from_millis(10);
        Arc::new(Desk { memory_wait, ..Desk::new(answers, Versions::ours(), Arc::default(), Budget::new(MEMORY_MIN)) })
    }

    fn change() -> AdminRequest {
        AdminRequest::Append(AppendRequest { all_or_nothing: true, ..AppendRequest::default() })
    }

    async fn ask(desk: &Arc<Desk>, id: u128, request: AdminRequest, ms: u64) -> Result<AdminReply, AdminError> {
        let ask = Ask {
            protocol: super::super::wire::PROTOCOL_VERSION,
            program: "test".to_owned(),
            id: Uuid::from_u128(id),
            deadline: Duration::from_millis(ms),
            connection: None,
            by: None,
            request,
        };
        let frame = Arc::clone(desk).ask(ask.encode().expect("writes")).await;
        let Some(Parcel::Whole(answer)) = Parcel::decode(frame) else { panic!("no whole answer") };
        Answer::decode(&answer)
    }

    fn accepted(reply: Result<AdminReply, AdminError>) -> u64 {
        match reply {
            Ok(AdminReply::Appended(reply)) => reply.accepted,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn large_asks_are_bounded_together_and_small_ones_find_room() {
        let slow = Arc::new(Slow::default());
        let desk = desk(&slow);
        let large = || {
            let line = OfferedLine { number: 1, text: Ok("x".repeat(SMALL_ASK_BYTES)) };
            let lines = vec![line];
            AdminRequest::Append(AppendRequest { all_or_nothing: true, lines, ..AppendRequest::default() })
        };
        let most = desk.budget.answers.hold(usize::MAX).await;
        let refused = ask(&desk, 1, large(), 60_000).await.expect_err("no room");
        assert!(refused.category == Category::Unavailable && refused.message.contains("memory"), "{refused}");
        assert!(refused.next.contains("memory_max"), "{}", refused.next);
        let small = ask(&desk, 2, change(), 10).await.expect_err("too late");
        assert_eq!(small.category, Category::OutcomeUnknown, "it is worked on");
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1, "the large one was not even read");
        drop(most);
        assert_eq!(ask(&desk, 3, large(), 10).await.expect_err("too late").category, Category::OutcomeUnknown);
        let all = || desk.budget.answers.try_hold(usize::MAX);
        assert!(all().is_none(), "as long as it is worked on, whoever waits for it");
        slow.go.notify_waiters();
        while all().is_none() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_waits_for_its_memory_and_is_refused_by_name_when_there_is_none_in_time() {
        let slow = Arc::new(Slow::default());
        let desk = desk(&slow);
        let events = || AdminRequest::Events(EventsRequest { limit: 1, ..EventsRequest::default() });
        let most = desk.budget.answers.hold(usize::MAX).await;
        let refused = ask(&desk, 1, events(), 60_000).await.expect_err("no room");
        assert!(refused.category == Category::Unavailable && refused.message.contains("memory"), "{refused}");
        assert_eq!(slow.asked.load(Ordering::SeqCst), 0, "nothing was read for it");
        drop(most);
        slow.go.notify_one();
        assert_eq!(accepted(ask(&desk, 2, events(), 60_000).await), 1);
        assert!(desk.budget.answers.try_hold(usize::MAX).is_some(), "it is given back");
    }

    #[tokio::test]
    async fn a_change_outlives_its_asker_and_is_done_once() {
        let slow = Arc::new(Slow::default());
        let desk = desk(&slow);
        let late = ask(&desk, 1, change(), 10).await.expect_err("too late");
        assert_eq!(late.category, Category::OutcomeUnknown);
        assert!(late.next.contains("--request-id"), "{}", late.next);
        slow.go.notify_one();
        assert_eq!(accepted(ask(&desk, 1, change(), 5_000).await), 1);
        assert_eq!(accepted(ask(&desk, 1, change(), 5_000).await), 1);
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        let other = AdminRequest::Migrate;
        assert_eq!(ask(&desk, 1, other, 10).await.expect_err("refused").category, Category::IdempotencyConflict);
    }

    #[tokio::test]
    async fn a_look_ends_at_its_deadline_and_too_many_are_told_so_at_once() {
        let slow = Arc::new(Slow::default());
        let desk = desk(&slow);
        let look = || AdminRequest::Status(StatusRequest::default());
        assert_eq!(ask(&desk, 1, look(), 10).await.expect_err("too late").category, Category::Unavailable);
        let waiting: Vec<_> = (0..ASKS_MAX)
            .map(|i| {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move { ask(&desk, 100 + i as u128, look(), 60_000).await })
            })
            .collect();
        while desk.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let error = ask(&desk, 2, look(), 60_000).await.expect_err("busy");
        assert!(error.category == Category::Unavailable && error.message.contains("busy"), "{}", error.message);
        // What came another way waits for the next place, and only so many wait.
        let carried = |id: u128| {
            let (desk, asker) = (Arc::clone(&desk), Asker::here(None));
            async move { desk.carry_out(Uuid::from_u128(id), asker, look(), Duration::from_secs(60)).await.0 }
        };
        let room = desk.waiting.acquire_many(WAITING_MAX as u32).await.expect("room");
        let error = carried(3).await.expect_err("busy");
        assert!(error.category == Category::Unavailable && error.message.contains("busy"), "{}", error.message);
        drop(room);
        let later = tokio::spawn(carried(4));
        while desk.waiting.available_permits() == WAITING_MAX {
            tokio::task::yield_now().await;
        }
        slow.go.notify_waiters();
        for task in waiting {
            assert!(task.await.expect("ends").is_ok());
        }
        while slow.asked.load(Ordering::SeqCst) < ASKS_MAX as u64 + 2 {
            tokio::task::yield_now().await;
        }
        slow.go.notify_waiters();
        assert!(later.await.expect("ends").is_ok());
    }
}
