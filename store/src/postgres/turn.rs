//! Turns: work that only one process at a time may do.
//!
//! *Guarantees.* A turn ends with its session, however that ends. Only a role that may insert into `dg_turn` (the
//! node's) can take a turn, or make another process wait for one. An advisory lock would be open to every role.

use super::errors::During as _;
use super::pool::Connections;
use crate::Result;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::SqlState;

/// Longest wait of an attempt that must not wait, milliseconds.
const TRY_MS: u32 = 10;

/// A turn, held as long as this value lives.
pub(super) struct Turn {
    /// Session with a transaction that is never committed.
    session: ClientWrapper,
    /// Process id of its backend.
    pub(super) pid: i32,
}

impl Turn {
    /// Takes the turn when its holder has ended. `what` is the program's own word.
    pub(super) async fn take(connections: &Connections, what: &str) -> Result<Turn> {
        let (turn, insert) = Turn::prepare(connections, what).await?;
        turn.session.batch_execute(&insert).await.during("wait for a turn")?;
        Ok(turn)
    }

    /// Takes the turn, unless another process has it.
    pub(super) async fn try_take(connections: &Connections, what: &str) -> Result<Option<Turn>> {
        let (turn, insert) = Turn::prepare(connections, what).await?;
        turn.session.batch_execute(&format!("SET lock_timeout = {TRY_MS}")).await.during("try to take a turn")?;
        match turn.session.batch_execute(&insert).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            inserted => inserted.during("try to take a turn").map(|()| Some(turn)),
        }
    }

    /// Opens a session, and writes the statement that takes the turn on it. Nothing is asked on it afterwards. A portal
    /// that stays open in its transaction would keep a snapshot, which a detachment waits for.
    async fn prepare(connections: &Connections, what: &str) -> Result<(Turn, String)> {
        let session = connections.dedicated().await?;
        let pid = session.query_one("SELECT pg_backend_pid()", &[]).await.during("take a turn")?.get(0);
        let insert = format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; INSERT INTO dg_turn (what) VALUES ('{what}')"
        );
        Ok((Turn { session, pid }, insert))
    }
}
