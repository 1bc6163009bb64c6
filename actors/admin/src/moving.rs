//! A whole log into an empty database, with the positions that its lines give.
//!
//! *Guarantees.* All lines are stored, in one transaction, or none. Each passes the checks of an append, and its
//! position is above that of the tenant's line before it. Each event is stored once: a repeat is refused. Memory is
//! bounded by one chunk of lines and one position per tenant.

use super::append::{Checked, Place, Way, check_all, store_all};
use super::handler::tenant_or_default;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::rfc3339;
use decisiongraph_projections::{Admitted, Category, LogSeq, Refusal, TenantId};
use decisiongraph_protocol::{AdminError, AppendReply, OfferedLine};
use decisiongraph_store::{AppendMode, MoveStep, Placed, Store, StoreError, Verdict};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Highest position that a line may give. As many positions are left above it.
pub const LOG_SEQ_MAX: LogSeq = LogSeq(i64::MAX / 2);

/// Choices for a move.
#[derive(Debug, Clone, Default)]
pub struct MoveOptions {
    /// Tenant of the lines that name none.
    pub tenant: Option<TenantId>,
    /// Rule for what counts as a credential.
    pub credential_guard: CredentialGuard,
    /// True when lines keep the positions that they give. False counts them from 1, and lets repeats pass.
    pub keep: bool,
    /// True to go on behind a refused line.
    pub each: bool,
    /// Next step when the database is not empty.
    pub when_not_empty: String,
}

/// A move under way.
pub struct Moving {
    options: MoveOptions,
    tenant: TenantId,
    steps: mpsc::Sender<MoveStep>,
    /// Last position of each tenant.
    last: HashMap<TenantId, LogSeq>,
    counted: i64,
    /// True when the store has ended the move.
    ended: AtomicBool,
}

/// Moves lines into this database. `feed` adds them; the move is committed when it returns true.
///
/// # Errors
/// `conflict` when the database is not empty; the error of the store, or that of `feed`. Nothing is stored then.
pub async fn move_in(
    store: &dyn Store,
    options: MoveOptions,
    feed: impl AsyncFnOnce(&mut Moving) -> Result<bool, AdminError>,
) -> Result<(), AdminError> {
    let (steps, received) = mpsc::channel(1);
    let next = options.when_not_empty.clone();
    let explained = |error: StoreError| match error.category {
        Category::Conflict => AdminError::from(error).next(next),
        _ => error.into(),
    };
    let tenant = tenant_or_default(options.tenant.clone());
    let ended = AtomicBool::new(false);
    let mut moving = Moving { options, tenant, steps, last: HashMap::new(), counted: 0, ended };
    let fed = async move {
        let mut fed = feed(&mut moving).await;
        if fed == Ok(true)
            && let Err(error) = moving.step(MoveStep::Commit).await
        {
            fed = Err(error);
        }
        // The steps end with the value.
        let ended = moving.ended.load(Ordering::Relaxed);
        drop(moving);
        (fed, ended)
    };
    let mut fed = std::pin::pin!(fed);
    let mut stored = store.move_in(received);
    let (fed, ended) = tokio::select! {
        biased;
        fed = &mut fed => fed,
        // The store refuses before the first line has arrived.
        stored = &mut stored => return stored.map_err(explained),
    };
    let stored = stored.await;
    match fed {
        Ok(true) => stored.map_err(explained),
        Ok(false) => Ok(()),
        Err(own) if !ended => Err(own),
        Err(own) => stored.map_err(explained).and(Err(own)),
    }
}

impl Moving {
    /// Adds lines, in their order. A refused line ends the move, unless it goes on behind it.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn add(&mut self, lines: Vec<OfferedLine>) -> Result<AppendReply, AdminError> {
        let mut checked = check_all(lines, &self.tenant, self.options.credential_guard).await?;
        for checked in &mut checked {
            self.settle(checked);
        }
        store_all(&*self, checked, !self.options.each, false).await
    }

    /// Gives the line its place, or refuses it.
    fn settle(&mut self, checked: &mut Checked) {
        if checked.event.is_err() {
            return;
        }
        if !self.options.keep {
            self.counted += 1;
            checked.place.log_seq = Some(LogSeq(self.counted));
            checked.place.recorded_at = None;
            return;
        }
        let last = self.last.get(&checked.tenant).copied().unwrap_or_default();
        match settled(&checked.place, last) {
            Ok(log_seq) => {
                self.last.insert(checked.tenant.clone(), log_seq);
            }
            Err(refusal) => checked.event = Err(refusal),
        }
    }

    /// Refuses a repeat, which has no place of its own in a log.
    fn judged(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Repeated { log_seq, .. } if self.options.keep => {
                let why = format!("its idempotency key is that of the event at position {log_seq}");
                Verdict::Refused(Refusal::new(Category::IdempotencyConflict, why))
            }
            other => other,
        }
    }

    async fn step(&self, step: MoveStep) -> Result<(), AdminError> {
        self.steps.send(step).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> AdminError {
        self.ended.store(true, Ordering::Relaxed);
        AdminError::new(Category::Internal, "the store ended the move")
    }
}

// Events to their places.
impl Way for Moving {
    fn store<'a>(
        &'a self,
        tenant: &'a TenantId,
        events: &'a [Admitted],
        places: &'a [Place],
        mode: AppendMode,
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AdminError>> {
        Box::pin(async move {
            let placed = |(event, place): (&Admitted, &Place)| Placed {
                event: event.clone(),
                log_seq: place.log_seq.unwrap_or_default(),
                recorded_at_us: place.recorded_at.as_deref().and_then(micros).unwrap_or_else(now),
            };
            let events = events.iter().zip(places).map(placed).collect();
            let (answer, verdicts) = oneshot::channel();
            self.step(MoveStep::Store { tenant: tenant.clone(), events, mode, answer }).await?;
            let verdicts = verdicts.await.map_err(|_| self.gone())?;
            Ok(verdicts.into_iter().map(|verdict| self.judged(verdict)).collect())
        })
    }
}

/// Checks a place that a line gives, behind the last one of its tenant.
fn settled(place: &Place, last: LogSeq) -> Result<LogSeq, Refusal> {
    let wrong = |message: String| Refusal::new(Category::SchemaViolation, message);
    let log_seq = place.log_seq.ok_or_else(|| wrong("`log_seq` is missing, or is not an integer".to_owned()))?;
    if !(LogSeq(1)..=LOG_SEQ_MAX).contains(&log_seq) {
        return Err(wrong(format!("`log_seq` must be from 1 to {LOG_SEQ_MAX}, not {log_seq}")));
    }
    if log_seq <= last {
        let why = format!("`log_seq` is {log_seq}, but the tenant's line before it has {last}: positions must ascend");
        return Err(Refusal::new(Category::EventSequenceInvalid, why));
    }
    match &place.recorded_at {
        Some(text) if micros(text).is_none() => Err(wrong("`recorded_at` must be an RFC 3339 time".to_owned())),
        _ => Ok(log_seq),
    }
}

/// Returns the microseconds since the beginning of 1970.
fn micros(text: &str) -> Option<i64> {
    let (seconds, fraction) = rfc3339::instant(text)?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some(seconds * 1_000_000 + micros)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_microsecond() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T00:00:00.0000019Z", Some(1)),
            ("1970-01-01T01:00:00.25+01:00", Some(250_000)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2026-02-30T00:00:00Z", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    #[test]
    fn a_place_is_given_in_range_and_behind_the_last() {
        let place = |log_seq, time: &str| Place { log_seq, recorded_at: Some(time.to_owned()) };
        let time = "2026-01-01T00:00:00Z";
        assert_eq!(settled(&place(Some(LogSeq(9)), time), LogSeq(3)), Ok(LogSeq(9)));
        assert_eq!(settled(&Place { log_seq: Some(LOG_SEQ_MAX), recorded_at: None }, LogSeq(3)), Ok(LOG_SEQ_MAX));
        for (log_seq, time, part) in [
            (None, time, "missing"),
            (Some(LogSeq(0)), time, "from 1"),
            (Some(LogSeq(i64::MAX)), time, "from 1"),
            (Some(LogSeq(3)), time, "ascend"),
            (Some(LogSeq(2)), time, "ascend"),
            (Some(LogSeq(4)), "yesterday", "RFC 3339"),
        ] {
            let refusal = settled(&place(log_seq, time), LogSeq(3)).expect_err(part);
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
    }
}
