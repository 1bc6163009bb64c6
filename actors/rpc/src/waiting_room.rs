//! Connections that have not proven themselves yet: bounded in number, and the newest is always admitted.
//!
//! *Guarantees.* In a full room the greediest address (most seats) loses its oldest seat. So neither idle connections
//! nor a flood from elsewhere keep out a client that proves itself within milliseconds. The cost of a crowd is bounded:
//! one task and one descriptor per seat, and [`LEAVING_MAX`] more. Accepting goes on whatever the connections do;
//! between two newcomers in a full room the others get their turn. A lack of descriptors costs no CPU and two log
//! lines.
//!
//! *Never here:* deadlines of a connection; the messages sent over it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// Connections that were asked to leave a room and have not closed yet.
pub const LEAVING_MAX: usize = 16;
/// Pause after the system refused a connection (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for which connections must be accepted before a lack of descriptors is over.
const CALM: Duration = Duration::from_secs(10);

/// The waiting room.
#[derive(Clone)]
pub struct WaitingRoom {
    seats_max: usize,
    seats: Arc<Mutex<Seats>>,
}

#[derive(Default)]
struct Seats {
    drawn: u64,
    /// Taken seats by age, oldest first: number, address, and the sender that asks the connection to leave.
    taken: VecDeque<(u64, Option<IpAddr>, oneshot::Sender<()>)>,
}

/// A place in the room; dropping it leaves.
pub struct Seat {
    room: WaitingRoom,
    number: u64,
    asked: oneshot::Receiver<()>,
}

impl WaitingRoom {
    /// Creates a room with this many seats.
    pub fn new(seats_max: usize) -> WaitingRoom {
        WaitingRoom { seats_max, seats: Arc::default() }
    }

    /// Admits connections, each as a task of its own with its seat. Never returns. `listener` names it in the log.
    pub async fn open<C, F, T>(
        &self,
        listener: &str,
        accept: impl Fn() -> F,
        meet: impl Fn(C, Option<SocketAddr>, Seat) -> T,
    ) where
        F: Future<Output = io::Result<(C, Option<SocketAddr>)>>,
        T: Future<Output = ()> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(self.seats_max + LEAVING_MAX));
        let mut shortage = Shortage::default();
        loop {
            // Only connections that were asked to leave are waited for, and they leave at once.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match accept().await {
                Ok((connection, from)) => {
                    if shortage.is_over(Instant::now()) {
                        tracing::info!(listener, "connections are accepted again");
                    }
                    let (seat, crowded) = self.enter(from.map(|from| from.ip()));
                    let met = meet(connection, from, seat);
                    tokio::spawn(async move {
                        met.await;
                        drop(place);
                    });
                    if crowded {
                        tokio::task::yield_now().await;
                    }
                }
                // The other side has gone meanwhile.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    if shortage.begins(Instant::now()) {
                        tracing::warn!(listener, "cannot accept connections; retrying: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a seat; `from` is an address, or `None` for this machine. True when another connection had to leave for
    /// it.
    fn enter(&self, from: Option<IpAddr>) -> (Seat, bool) {
        let mut seats = self.lock();
        let crowded = seats.taken.len() >= self.seats_max;
        if crowded && let Some((_, _, ask)) = seats.crowding().and_then(|place| seats.taken.remove(place)) {
            let _ = ask.send(());
        }
        let number = seats.drawn;
        seats.drawn += 1;
        let (ask, asked) = oneshot::channel();
        seats.taken.push_back((number, from, ask));
        (Seat { room: self.clone(), number, asked }, crowded)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A fault that recurs. It is logged at two moments: when it begins and when it is over.
#[derive(Default)]
struct Shortage {
    last: Option<Instant>,
}

impl Shortage {
    /// Notes a failure; true when it is the first.
    fn begins(&mut self, now: Instant) -> bool {
        self.last.replace(now).is_none()
    }

    /// Notes a success; true when it failed before, and not for a while.
    fn is_over(&mut self, now: Instant) -> bool {
        self.last.take_if(|last| now.saturating_duration_since(*last) >= CALM).is_some()
    }
}

impl Seats {
    /// Finds the place of the oldest seat of the address that has most.
    fn crowding(&self) -> Option<usize> {
        let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (_, from, _) in &self.taken {
            *counts.entry(*from).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        self.taken.iter().position(|(_, from, _)| counts.get(from) == Some(&most))
    }
}

impl Seat {
    /// Resolves when the seat has to be given to a newcomer.
    pub async fn asked_to_leave(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().taken.retain(|(number, _, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const SEATS_MAX: usize = 64;

    #[test]
    fn the_newest_comes_in_and_the_oldest_leaves() {
        let room = WaitingRoom::new(SEATS_MAX);
        let mut seats: Vec<Seat> = (0..SEATS_MAX).map(|_| room.enter(None).0).collect();
        assert!(seats[0].asked_to_leave().now_or_never().is_none());
        let (mut newest, crowded) = room.enter(None);
        assert!(crowded);
        assert!(seats[0].asked_to_leave().now_or_never().is_some());
        assert!(seats[1].asked_to_leave().now_or_never().is_none());
        assert!(newest.asked_to_leave().now_or_never().is_none());
        drop(seats);
        drop(newest);
        assert!(room.lock().taken.is_empty());
    }

    #[test]
    fn a_flood_from_one_address_takes_no_seat_of_another() {
        let room = WaitingRoom::new(SEATS_MAX);
        let (flood, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let mut first = room.enter(other).0;
        let mut seats: Vec<Seat> = (0..SEATS_MAX * 3).map(|_| room.enter(flood).0).collect();
        assert!(first.asked_to_leave().now_or_never().is_none());
        assert_eq!(room.lock().taken.len(), SEATS_MAX);
        assert!(seats[0].asked_to_leave().now_or_never().is_some());
        let newest = seats.last_mut().expect("some");
        assert!(newest.asked_to_leave().now_or_never().is_none());
    }

    #[test]
    fn a_lack_of_descriptors_is_told_when_it_begins_and_when_it_is_over() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        assert!(!shortage.is_over(start));
        let at = |ms| start + Duration::from_millis(ms);
        let told = (0..600).filter(|i| shortage.begins(at(i * 100)) || shortage.is_over(at(i * 100 + 50))).count();
        assert_eq!(told, 1, "a minute in which every second connection fails");
        assert!(shortage.is_over(at(60_000) + CALM));
        assert!(shortage.begins(at(60_000) + CALM));
    }
}
