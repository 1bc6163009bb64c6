//! Signals: requests to have a look, from any part to one actor. Neither end knows the other.
//!
//! ```text
//!   a part ──send──▶ Signal ──▶ task of the actor's present life ──▶ message to the actor
//! ```
//!
//! *Guarantees.* A signal carries nothing: the listener looks for itself. Signals before a look merge into one. A
//! signal that is sent while no actor listens waits for the actor's next life. Each life starts with a look: the
//! messages that its predecessor had not handled are gone.

use crate::guard::Guard;
use ractor::{ActorRef, Message};
use std::sync::Arc;
use tokio::sync::Notify;

/// A request to have a look. Cheap to clone; every clone is the same signal.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// Requests a look. Never waits.
    pub fn send(&self) {
        self.0.notify_one();
    }

    /// Sends the actor this message now, and after each signal. The actor keeps the guard in its state: another life
    /// then takes the listener's place.
    pub fn wakes<M: Message>(&self, actor: &ActorRef<M>, message: fn() -> M) -> Guard {
        let (signal, actor) = (Arc::clone(&self.0), actor.clone());
        let mut heard = actor.cast(message());
        let listener = tokio::spawn(async move {
            while heard.is_ok() {
                signal.notified().await;
                heard = actor.cast(message());
            }
        });
        listener.into()
    }
}

/// The signals of a node, each with one listener.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// To the cluster actor: the members may have changed.
    pub members: Signal,
    /// To the cluster actor: this node holds its lease again, or for the first time.
    pub joined: Signal,
    /// To the cluster actor: tenants appeared that the placement does not know.
    pub unplaced: Signal,
    /// To the high-water actor: tenants may be behind, and perhaps no actor here knows of them.
    pub behind: Signal,
    /// To the high-water actor: the known mark may be void.
    pub mark: Signal,
    /// To the replay coordinator: jobs were lost with their supervisor.
    pub jobs: Signal,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ractor::{Actor, ActorProcessingErr};
    use ractor_cluster::RactorMessage;
    use std::time::Duration;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    /// An actor that reports each look.
    struct Listener(Signal, UnboundedSender<()>);

    #[derive(RactorMessage)]
    enum Look {
        Look,
    }

    impl Actor for Listener {
        type Msg = Look;
        type State = Guard;
        type Arguments = ();

        async fn pre_start(&self, myself: ActorRef<Look>, (): ()) -> Result<Guard, ActorProcessingErr> {
            Ok(self.0.wakes(&myself, || Look::Look))
        }

        async fn handle(&self, _: ActorRef<Look>, _: Look, _: &mut Guard) -> Result<(), ActorProcessingErr> {
            let _ = self.1.send(());
            Ok(())
        }
    }

    async fn looks(seen: &mut UnboundedReceiver<()>) -> bool {
        tokio::time::timeout(Duration::from_secs(20), seen.recv()).await.is_ok_and(|look| look.is_some())
    }

    #[tokio::test]
    async fn a_signal_that_is_sent_while_its_listener_is_down_is_seen_by_the_next_life() {
        let signal = Signal::default();
        let (look, mut seen) = unbounded_channel();
        let (first, ended) = Actor::spawn(None, Listener(signal.clone(), look.clone()), ()).await.expect("starts");
        assert!(looks(&mut seen).await, "a life starts with a look");
        signal.send();
        assert!(looks(&mut seen).await, "a signal is a look");
        first.stop(None);
        ended.await.expect("ends");
        signal.send();
        signal.send();
        let (second, ended) = Actor::spawn(None, Listener(signal, look), ()).await.expect("starts");
        assert!(looks(&mut seen).await, "a life starts with a look");
        assert!(looks(&mut seen).await, "the signals that were sent meanwhile are a look");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        second.stop(None);
        ended.await.expect("ends");
        assert!(seen.try_recv().is_err(), "signals merge");
    }
}
