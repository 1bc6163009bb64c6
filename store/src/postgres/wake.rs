//! Waking readers after an append, by a separate NOTIFY after the commit. (Inside the appending transaction it would
//! take a lock of the whole server at commit.) It is coalesced: while one is under way, appends only record that
//! another is due. Some may be lost; the readers' poll covers that.

use super::errors::During as _;
use super::log::SQL;
use super::pool::Connections;
use crate::{Result, Wakes};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::mpsc;

const IDLE: u8 = 0;
const SENDING: u8 = 1;
const SENDING_AND_DUE: u8 = 2;

/// The appender's side.
#[derive(Default)]
pub(super) struct Waker {
    state: Arc<AtomicU8>,
}

impl Waker {
    /// Makes sure that readers are notified of the append.
    pub(super) fn wake(&self, connections: &Arc<Connections>) {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            Some(if state == IDLE { SENDING } else { SENDING_AND_DUE })
        });
        if before != Ok(IDLE) {
            return;
        }
        let (state, connections) = (self.state.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                // The wake is lost when there is no connection; see above.
                if let Ok(client) = connections.get().await {
                    let _ = client.batch_execute(sql!(SQL, "notify")).await;
                }
                let done = state.compare_exchange(SENDING, IDLE, Ordering::AcqRel, Ordering::Acquire);
                if done.is_ok() {
                    return;
                }
                state.store(SENDING, Ordering::Release);
            }
        });
    }
}

/// Opens the reader's side: messages after appends and changes of membership, until the connection is lost or the
/// receivers dropped.
pub(super) async fn wakes(connections: &Connections) -> Result<Wakes> {
    let (log_sender, log) = mpsc::channel(1);
    let (member_sender, members) = mpsc::channel(1);
    let heard = {
        let (log, members) = (log_sender.clone(), member_sender);
        // A full channel already has a wake waiting.
        move |channel: &str| {
            let _ = if channel == "dg_node" { members.try_send(()) } else { log.try_send(()) };
        }
    };
    let (client, driver) = connections.listening(heard).await?;
    client.batch_execute("LISTEN dg_event_log; LISTEN dg_node").await.during("listen for appends")?;
    tokio::spawn(async move {
        let abort = driver.abort_handle();
        tokio::select! {
            // The receiver is gone, or the connection is: then dropping the senders ends the channels.
            () = log_sender.closed() => abort.abort(),
            _ = driver => {}
        }
        drop(client);
    });
    Ok(Wakes { log, members })
}
