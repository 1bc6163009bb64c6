//! Connections that have not proven themselves yet: at most so many, and the newest is always let in.
//!
//! *Guarantees.* When the room is full, one of the address that has most seats has to leave, the one that has waited longest: somebody who
//! proves himself at once (milliseconds) is not kept out by those who never will, and not by a flood from elsewhere.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Connections that may wait at the same time.
pub const WAITING_MAX: usize = 64;

/// The room.
#[derive(Clone, Default)]
pub struct WaitingRoom(Arc<Mutex<Seats>>);

#[derive(Default)]
struct Seats {
    drawn: u64,
    /// By age, oldest first: number, where from, and how to ask it to leave.
    taken: VecDeque<(u64, Option<IpAddr>, oneshot::Sender<()>)>,
}

/// A place in the room; dropping it leaves.
pub struct Seat {
    room: WaitingRoom,
    number: u64,
    asked: oneshot::Receiver<()>,
}

impl WaitingRoom {
    /// Comes in; `from` an address, or from this machine.
    pub fn enter(&self, from: Option<IpAddr>) -> Seat {
        let mut seats = self.lock();
        if seats.taken.len() >= WAITING_MAX
            && let Some((_, _, ask)) = seats.crowding().and_then(|place| seats.taken.remove(place))
        {
            let _ = ask.send(());
        }
        let number = seats.drawn;
        seats.drawn += 1;
        let (ask, asked) = oneshot::channel();
        seats.taken.push_back((number, from, ask));
        Seat { room: self.clone(), number, asked }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Seats {
    /// The place of the oldest seat of the address that has most.
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
    /// Ends when the seat has to be given to a newcomer.
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

    #[test]
    fn the_newest_comes_in_and_the_oldest_leaves() {
        let room = WaitingRoom::default();
        let mut seats: Vec<Seat> = (0..WAITING_MAX).map(|_| room.enter(None)).collect();
        assert!(seats[0].asked_to_leave().now_or_never().is_none());
        let mut newest = room.enter(None);
        assert!(seats[0].asked_to_leave().now_or_never().is_some());
        assert!(seats[1].asked_to_leave().now_or_never().is_none());
        assert!(newest.asked_to_leave().now_or_never().is_none());
        drop(seats);
        drop(newest);
        assert!(room.lock().taken.is_empty());
    }

    #[test]
    fn a_flood_from_one_address_takes_no_seat_of_another() {
        let room = WaitingRoom::default();
        let (flood, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let mut first = room.enter(other);
        let mut seats: Vec<Seat> = (0..WAITING_MAX * 3).map(|_| room.enter(flood)).collect();
        assert!(first.asked_to_leave().now_or_never().is_none());
        assert_eq!(room.lock().taken.len(), WAITING_MAX);
        assert!(seats[0].asked_to_leave().now_or_never().is_some());
        let newest = seats.last_mut().expect("some");
        assert!(newest.asked_to_leave().now_or_never().is_none());
    }
}
