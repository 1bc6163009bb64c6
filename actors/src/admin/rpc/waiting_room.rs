//! Connections that have not proven themselves yet: at most so many, and the newest is always let in.
//!
//! *Guarantees.* When the room is full, whoever has waited longest has to leave: somebody who proves himself at once (a millisecond)
//! is not kept out by those who never will.

use std::collections::VecDeque;
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
    taken: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A place in the room; dropping it leaves.
pub struct Seat {
    room: WaitingRoom,
    number: u64,
    asked: oneshot::Receiver<()>,
}

impl WaitingRoom {
    /// Comes in.
    pub fn enter(&self) -> Seat {
        let mut seats = self.lock();
        if seats.taken.len() >= WAITING_MAX
            && let Some((_, ask)) = seats.taken.pop_front()
        {
            let _ = ask.send(());
        }
        let number = seats.drawn;
        seats.drawn += 1;
        let (ask, asked) = oneshot::channel();
        seats.taken.push_back((number, ask));
        Seat { room: self.clone(), number, asked }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        self.room.lock().taken.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn the_newest_comes_in_and_the_oldest_leaves() {
        let room = WaitingRoom::default();
        let mut seats: Vec<Seat> = (0..WAITING_MAX).map(|_| room.enter()).collect();
        assert!(seats[0].asked_to_leave().now_or_never().is_none());
        let mut newest = room.enter();
        assert!(seats[0].asked_to_leave().now_or_never().is_some());
        assert!(seats[1].asked_to_leave().now_or_never().is_none());
        assert!(newest.asked_to_leave().now_or_never().is_none());
        drop(seats);
        drop(newest);
        assert!(room.lock().taken.is_empty());
    }
}
