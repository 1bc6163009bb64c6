//! Limits of the interface: requests at a time, bodies in memory, streams, and rates per identity.
//!
//! *Guarantees.* Whatever is over a limit is refused by name, at once or after a short wait. Nothing waits without a
//! bound.

use super::fault::Fault;
use crate::identities::Caller;
use decisiongraph_projections::TenantId;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, InsufficientCapacity, Quota, RateLimiter};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Appends in the store at a time.
const APPENDS_MAX: usize = 16;
/// Appends that wait, at most.
const APPENDS_WAITING_MAX: usize = 256;
/// Longest wait of an append or a read for its turn.
const TURN_WAIT: Duration = Duration::from_secs(2);
/// Bytes of all bodies in memory, in KiB.
const BODIES_KIB_MAX: usize = 256 * 1024;
/// Streams of one identity, at most.
const STREAMS_PER_IDENTITY: usize = 8;
/// Requests without identity per minute and address.
const OPEN_PER_MINUTE: u32 = 60;
/// Seconds whose requests may come at once.
const BURST_SECONDS: u32 = 10;

/// Class of a request, for its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Without identity.
    Open,
    /// Reads.
    Read,
    /// Appends events.
    Append,
    /// Observes and steers.
    Admin,
}

impl Class {
    /// Returns the word of the class.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Open => "open",
            Class::Read => "read",
            Class::Append => "append",
            Class::Admin => "admin",
        }
    }
}

/// Rates per minute, by class; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Reads.
    pub read: u32,
    /// Requests that append.
    pub append: u32,
    /// Events of these requests: every line of a batch is one.
    pub events: u32,
    /// Requests that observe or steer.
    pub admin: u32,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { read: 6_000, append: 6_000, events: 600_000, admin: 120 }
    }
}

type Key = (String, Option<TenantId>, Class);

/// See the file's text.
pub struct Limits {
    appends: Arc<Semaphore>,
    waiting: AtomicUsize,
    bodies: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    streaming: Arc<Mutex<HashMap<String, usize>>>,
    rates: HashMap<Class, DefaultKeyedRateLimiter<Key>>,
    events: Option<DefaultKeyedRateLimiter<Key>>,
    open: DefaultKeyedRateLimiter<IpAddr>,
}

fn limiter<K: std::hash::Hash + Eq + Clone>(per_minute: u32) -> Option<DefaultKeyedRateLimiter<K>> {
    let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
    let burst = NonZeroU32::new((per_minute * BURST_SECONDS / 60).max(1))?;
    Some(RateLimiter::keyed(quota.allow_burst(burst)))
}

impl Limits {
    /// Makes the limits.
    pub fn new(rates: Rates, streams_max: usize) -> Limits {
        let by_class = [(Class::Read, rates.read), (Class::Append, rates.append), (Class::Admin, rates.admin)];
        let events = limiter(rates.events);
        let rates = by_class.into_iter().filter_map(|(class, rate)| Some((class, limiter(rate)?))).collect();
        let open = limiter(OPEN_PER_MINUTE).unwrap_or_else(|| RateLimiter::keyed(Quota::per_minute(NonZeroU32::MIN)));
        Limits {
            appends: Arc::new(Semaphore::new(APPENDS_MAX)),
            waiting: AtomicUsize::new(0),
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            streams: Arc::new(Semaphore::new(streams_max)),
            streaming: Arc::default(),
            rates,
            events,
            open,
        }
    }

    /// Takes one request from the identity's rate.
    pub fn admit(&self, caller: &Caller, tenant: Option<&TenantId>, class: Class) -> Result<(), Fault> {
        let Some(limiter) = self.rates.get(&class) else { return Ok(()) };
        let key = (caller.identity.name.clone(), tenant.cloned(), class);
        limiter
            .check_key(&key)
            .map_err(|early| Fault::rate(seconds(early.wait_time_from(DefaultClock::default().now()))))
    }

    /// Takes so many events from the identity's rate. More than the rate ever gives at once are taken as that many.
    pub fn admit_events(&self, caller: &Caller, tenant: Option<&TenantId>, events: usize) -> Result<(), Fault> {
        let asked = u32::try_from(events).ok().and_then(NonZeroU32::new);
        let (Some(limiter), Some(asked)) = (&self.events, asked) else { return Ok(()) };
        let key = (caller.identity.name.clone(), tenant.cloned(), Class::Append);
        let taken = match limiter.check_key_n(&key, asked) {
            Ok(taken) => taken,
            Err(InsufficientCapacity(most)) => {
                let most = NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN);
                limiter.check_key_n(&key, most).unwrap_or(Ok(()))
            }
        };
        taken.map_err(|early| {
            let wait_s = seconds(early.wait_time_from(DefaultClock::default().now()));
            let message = format!("too many events of this identity; these {events} are taken in {wait_s} s");
            Fault { message, ..Fault::rate(wait_s) }
        })
    }

    /// Takes one request without identity from the address's rate.
    pub fn admit_stranger(&self, from: Option<IpAddr>) -> Result<(), Fault> {
        let Some(from) = from else { return Ok(()) };
        self.open
            .check_key(&from)
            .map_err(|early| Fault::rate(seconds(early.wait_time_from(DefaultClock::default().now()))))
    }

    /// Forgets callers that have not asked for a while.
    pub fn forget_idle(&self) {
        self.open.retain_recent();
        self.rates.values().chain(&self.events).for_each(RateLimiter::retain_recent);
    }

    /// Waits for a turn to append, first come first served.
    pub async fn append_turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(turn) = Arc::clone(&self.appends).try_acquire_owned() {
            return Ok(turn);
        }
        // Counted by a guard: a client that hangs up ends this wait in the middle.
        let waiting = Waiting::begin(&self.waiting);
        if waiting.before >= APPENDS_WAITING_MAX {
            return Err(Fault::busy(format!("{APPENDS_WAITING_MAX} appends wait already; nothing was stored")));
        }
        match tokio::time::timeout(TURN_WAIT, Arc::clone(&self.appends).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Fault::busy(format!("no append could begin within {TURN_WAIT:?}; nothing was stored"))),
        }
    }

    /// Takes room for a body of at most so many bytes.
    pub fn body(&self, bytes_max: usize) -> Result<OwnedSemaphorePermit, Fault> {
        let kib = u32::try_from(bytes_max.div_ceil(1024)).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies)
            .try_acquire_many_owned(kib)
            .map_err(|_| Fault::busy("the bodies of other requests hold the memory for bodies; nothing was stored"))
    }

    /// Takes a place for a stream.
    pub fn stream(&self, caller: &Caller) -> Result<StreamPlace, Fault> {
        let full = || Fault::busy("the node has no place for another stream; close one, or ask another node");
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| full())?;
        let name = caller.identity.name.clone();
        let mut streaming = self.streaming.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let own = streaming.entry(name.clone()).or_default();
        if *own >= STREAMS_PER_IDENTITY {
            return Err(Fault::busy(format!("this identity has {STREAMS_PER_IDENTITY} streams already")));
        }
        *own += 1;
        Ok(StreamPlace { name, streaming: Arc::clone(&self.streaming), _permit: permit })
    }
}

/// One that waits for its turn, for as long as it is kept.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl Waiting<'_> {
    fn begin(count: &AtomicUsize) -> Waiting<'_> {
        Waiting { count, before: count.fetch_add(1, Ordering::SeqCst) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Place of a stream, for as long as it is kept.
pub struct StreamPlace {
    name: String,
    streaming: Arc<Mutex<HashMap<String, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streaming = self.streaming.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(own) = streaming.get_mut(&self.name) {
            *own -= 1;
            if *own == 0 {
                streaming.remove(&self.name);
            }
        }
    }
}

fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_over_its_rate_is_told_when_to_come_again_and_others_are_served() {
        let limits = Limits::new(Rates { read: 60, append: 0, events: 0, admin: 60 }, 2);
        let caller = Caller::local("a");
        for _ in 0..10 {
            assert!(limits.admit(&caller, None, Class::Read).is_ok());
        }
        let fault = limits.admit(&caller, None, Class::Read).expect_err("over the rate");
        assert_eq!((fault.status.as_u16(), fault.code), (429, "rate_limited"));
        assert!(fault.retry_after.is_some_and(|seconds| (1..=2).contains(&seconds)), "{fault:?}");
        assert!(limits.admit(&caller, Some(&TenantId::default()), Class::Read).is_ok(), "another tenant");
        assert!((0..1_000).all(|_| limits.admit(&caller, None, Class::Append).is_ok()), "0 is no limit");
    }

    #[test]
    fn the_events_of_a_batch_are_taken_from_the_rate_one_by_one() {
        let limits = Limits::new(Rates { events: 600, ..Rates::default() }, 2);
        let caller = Caller::local("a");
        assert!(limits.admit_events(&caller, None, 60).is_ok() && limits.admit_events(&caller, None, 40).is_ok());
        let fault = limits.admit_events(&caller, None, 50).expect_err("the burst is used up");
        assert_eq!((fault.status.as_u16(), fault.code), (429, "rate_limited"));
        assert!(fault.retry_after.is_some_and(|seconds| (4..=5).contains(&seconds)), "{fault:?}");
        assert!(fault.message.contains("these 50"), "{}", fault.message);
        let other = TenantId::default();
        assert!(limits.admit_events(&caller, Some(&other), 1_000).is_ok(), "more than a burst is taken as one burst");
        assert!(limits.admit_events(&caller, Some(&other), 1).is_err());
        let unlimited = Limits::new(Rates { events: 0, ..Rates::default() }, 2);
        assert!(unlimited.admit_events(&caller, None, 1_000_000).is_ok(), "0 is no limit");
    }

    #[test]
    fn streams_are_counted_and_given_back() {
        let limits = Limits::new(Rates::default(), 2);
        let caller = Caller::local("a");
        let (one, _two) = (limits.stream(&caller).expect("one"), limits.stream(&caller).expect("two"));
        assert!(limits.stream(&caller).is_err());
        drop(one);
        assert!(limits.stream(&caller).is_ok());
    }

    #[tokio::test]
    async fn appends_wait_for_their_turn_and_are_refused_when_too_many_wait() {
        let limits = Arc::new(Limits::new(Rates::default(), 2));
        let mut turns = Vec::new();
        for _ in 0..APPENDS_MAX {
            turns.push(limits.append_turn().await.expect("a turn"));
        }
        let waiting = tokio::spawn({
            let limits = Arc::clone(&limits);
            async move { limits.append_turn().await.is_ok() }
        });
        tokio::task::yield_now().await;
        turns.pop();
        assert!(waiting.await.expect("ends"), "the next one has the turn");
        limits.waiting.store(APPENDS_WAITING_MAX, Ordering::SeqCst);
        let held: Vec<_> = (0..1).map(|_| Arc::clone(&limits.appends).try_acquire_owned()).collect();
        assert!(limits.append_turn().await.is_err());
        drop(held);
    }
}
