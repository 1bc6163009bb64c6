//! The nouns of the store, read from rows of either backend. Their statements list the same columns in the same order.

use crate::columns::{Column, Columns, Stored, unreadable};
use crate::{
    Change, ChangeAsker, ChangeEnd, ChangeOutcome, Checkpoint, Cordon, Drift, Epoch, Failure, Member, MemberFacts,
    NewChange, OpenFailures, Owner, Paused, PrecedentHit, Result, Run, RunMode, RunState, Scope, ScopeCounts,
    ScopeHead, ScopeRow, Skip, TenantHead, TraceEnds,
};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::event::{Actor, Envelope, Metadata, Source, StoredEvent, fault, tags_from_json};
use decisiongraph_projections::prior::{Texts, shared};
use decisiongraph_projections::sequence::{RepeatFields, StoredIdentity};
use decisiongraph_projections::{Category, LogEvent, Refusal, catalogue};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

impl Column for RunMode {
    fn find(row: &impl Columns, at: usize) -> Result<Option<RunMode>> {
        word(row, at, RunMode::parse)
    }
}

impl Column for ChangeOutcome {
    fn find(row: &impl Columns, at: usize) -> Result<Option<ChangeOutcome>> {
        word(row, at, ChangeOutcome::parse)
    }
}

impl Column for RunState {
    fn find(row: &impl Columns, at: usize) -> Result<Option<RunState>> {
        word(row, at, RunState::parse)
    }
}

/// A category of a later program is read as `internal`.
impl Column for Category {
    fn find(row: &impl Columns, at: usize) -> Result<Option<Category>> {
        Ok(row.text(at)?.map(|word| Category::parse(word).unwrap_or(Category::Internal)))
    }
}

/// Reads a word that this program must know.
pub(crate) fn word<T>(row: &impl Columns, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
    let known = |word| parse(word).ok_or_else(|| unreadable(row, at, format!("this program does not know {word:?}")));
    row.text(at)?.map(known).transpose()
}

impl Stored for Run {
    fn read(row: &impl Columns) -> Result<Run> {
        let category: Option<Category> = row.at(13)?;
        let message: Option<String> = row.at(14)?;
        Ok(Run {
            run_id: row.at(0)?,
            tenant: row.at(1)?,
            projection: row.at(2)?,
            mode: row.at(3)?,
            state: row.at(4)?,
            node: row.at(5)?,
            node_live: row.at(6)?,
            until: row.at(7)?,
            current: row.at(8)?,
            cursor: row.at(9)?,
            target: row.at(10)?,
            events: row.at(11)?,
            cancel_requested: row.at(12)?,
            error: category.map(|category| Refusal::new(category, message.unwrap_or_default())),
            report: row.at(15)?,
            created_at: row.at(16)?,
            finished_at: row.at(17)?,
            reason: row.at(19)?,
            requested_by: row.at(20)?,
            metadata: row.at(21)?,
        })
    }
}

impl Stored for Failure {
    fn read(row: &impl Columns) -> Result<Failure> {
        Ok(Failure {
            failure_id: row.at(0)?,
            tenant: row.at(1)?,
            projection: row.at(2)?,
            log_seq: row.at(3)?,
            event_id: row.at(4)?,
            trace_id: row.at(5)?,
            event_type: row.at(6)?,
            category: row.at(7)?,
            message: row.at(8)?,
            batch_from: row.at(9)?,
            batch_to: row.at(10)?,
            digest_before: row.at(11)?,
            attempts: row.at(12)?,
            first_seen_at: row.at(13)?,
            last_seen_at: row.at(14)?,
            resolved_at: row.at(15)?,
        })
    }
}

impl Stored for OpenFailures {
    fn read(row: &impl Columns) -> Result<OpenFailures> {
        Ok(OpenFailures {
            tenant: row.at(0)?,
            projection: row.at(1)?,
            count: row.at(2)?,
            failure_id: row.at(3)?,
            log_seq: row.at(4)?,
            event_id: row.at(5)?,
            category: row.at(6)?,
        })
    }
}

impl Stored for Skip {
    fn read(row: &impl Columns) -> Result<Skip> {
        Ok(Skip {
            tenant: row.at(0)?,
            projection: row.at(1)?,
            log_seq: row.at(2)?,
            event_id: row.at(3)?,
            trace_id: row.at(4)?,
            reason: row.at(5)?,
            skipped_by: row.at(6)?,
            skipped_at: row.at(7)?,
            failure_id: row.at(8)?,
            revoked_at: row.at(9)?,
            skip_id: row.at(10)?,
        })
    }
}

impl Stored for Change {
    fn read(row: &impl Columns) -> Result<Change> {
        // What was recorded before a schema with these columns has none of them.
        let text = |at: usize| row.at::<Option<String>>(at).map(Option::unwrap_or_default);
        let asker = ChangeAsker {
            identity: row.at(9)?,
            token_id: row.at(10)?,
            on_behalf_of: row.at(11)?,
            peer: row.at(12)?,
            door: text(13)?,
            request_id: text(14)?,
        };
        let end = match row.at::<Option<ChangeOutcome>>(16)? {
            None => None,
            Some(outcome) => Some(ChangeEnd { outcome, code: row.at(17)?, message: text(18)? }),
        };
        Ok(Change {
            change_id: row.at(0)?,
            at: row.at(1)?,
            by: asker.name(),
            asked: NewChange {
                what: row.at(2)?,
                tenant: row.tenant(3),
                projection: row.at(4)?,
                subject: row.at(5)?,
                run_id: row.at(6)?,
                asker,
                through: text(8)?,
                process: None,
                reason: text(7)?,
            },
            outcome: end.as_ref().map(ToString::to_string),
            lost: end.is_none() && !row.at::<bool>(19)?,
            end,
            ended_at: row.at(15)?,
        })
    }
}

/// Column 5 holds the seconds that are left of its lease.
impl Stored for Member {
    fn read(row: &impl Columns) -> Result<Member> {
        let left: f64 = row.at(5)?;
        let cordon = match row.at(7)? {
            Some(draining) => Some(Cordon { draining, reason: row.at(8)?, by: row.at(9)?, at: row.at(10)? }),
            None => None,
        };
        Ok(Member {
            owner: Owner::read(row)?,
            facts: MemberFacts { address: row.at(2)?, program: row.at(3)?, protocol: row.at(4)? },
            lease_left: Duration::try_from_secs_f64(left).unwrap_or_default(),
            dead_for: Duration::try_from_secs_f64(-left).unwrap_or_default(),
            joined_at: row.at(6)?,
            cordon,
        })
    }
}

impl Stored for Owner {
    fn read(row: &impl Columns) -> Result<Owner> {
        Ok(Owner { node: row.at(0)?, incarnation: row.at(1)? })
    }
}

/// Reads the scope of a row: tenant and projection.
fn scope(row: &impl Columns) -> Result<Scope> {
    let projection: &str = row.text(1)?.unwrap_or_default();
    let known = catalogue::find_scope(projection);
    let known = known.ok_or_else(|| unreadable(row, 1, format!("this program does not know {projection:?}")))?;
    Ok(Scope::new(&row.at(0)?, known))
}

/// Reads the pause of a scope: time, reason and operator.
fn paused(row: &impl Columns, at: usize) -> Result<Option<Paused>> {
    Ok(match row.at(at)? {
        Some(since) => Some(Paused { at: since, reason: row.at(at + 1)?, by: row.at(at + 2)? }),
        None => None,
    })
}

/// Reads the drift of a scope: time and run.
fn drift(row: &impl Columns, at: usize) -> Result<Option<Drift>> {
    Ok(match (row.at(at)?, row.at(at + 1)?) {
        (Some(found), Some(run_id)) => Some(Drift { at: found, run_id }),
        _ => None,
    })
}

impl Stored for ScopeRow {
    fn read(row: &impl Columns) -> Result<ScopeRow> {
        Ok(ScopeRow {
            scope: scope(row)?,
            owner: row.at(2)?,
            owner_live: row.at(3)?,
            epoch: Epoch { counter: row.at(4)?, token: row.at(5)? },
            generation: row.at(6)?,
            position: row.position(7)?,
            updated_at: row.at(10)?,
            cursor_age_seconds: row.at(11)?,
            paused: paused(row, 12)?,
            deviating: row.at(15)?,
            drift: drift(row, 16)?,
        })
    }
}

/// Puts the scopes of a list into order: by tenant, then as in the catalogue, the seal last.
pub(crate) fn in_order(mut rows: Vec<ScopeRow>) -> Vec<ScopeRow> {
    let place = |row: &ScopeRow| catalogue::ALL_WITH_SEAL.iter().position(|known| known.name() == row.scope.projection);
    rows.sort_by(|a, b| (&a.scope.tenant, place(a)).cmp(&(&b.scope.tenant, place(b))));
    rows
}

impl Stored for ScopeHead {
    fn read(row: &impl Columns) -> Result<ScopeHead> {
        Ok(ScopeHead {
            scope: scope(row)?,
            owner: row.at(2)?,
            owner_live: row.at(3)?,
            epoch: row.at(4)?,
            generation: row.at(5)?,
            cursor: row.at(6)?,
            version: row.at(7)?,
            cursor_age_seconds: row.at(8)?,
            paused: paused(row, 9)?,
            deviating: row.at(12)?,
            drift: drift(row, 13)?,
        })
    }
}

impl Stored for RollingDigest {
    fn read(row: &impl Columns) -> Result<RollingDigest> {
        let digest = row.bytes(0)?.and_then(RollingDigest::from_bytes);
        digest.ok_or_else(|| unreadable(row, 0, "it is not a digest"))
    }
}

impl Stored for ScopeCounts {
    fn read(row: &impl Columns) -> Result<ScopeCounts> {
        Ok(ScopeCounts { open_failures: row.at(0)?, paused: row.at(1)?, deviating: row.at(2)?, drifted: row.at(3)? })
    }
}

impl Stored for Checkpoint {
    fn read(row: &impl Columns) -> Result<Checkpoint> {
        Ok(Checkpoint {
            cursor: row.at(0)?,
            generation: row.at(1)?,
            digest: row.at(2)?,
            version: row.at(3)?,
            previous: row.at(4)?,
            hash: row.at(5)?,
            recorded_at: row.at(6)?,
        })
    }
}

impl Stored for TenantHead {
    fn read(row: &impl Columns) -> Result<TenantHead> {
        Ok(TenantHead {
            tenant: row.at(0)?,
            last_log_seq: row.at(1)?,
            scopes: row.at(2)?,
            cursor: row.at(3)?,
            paused: row.at(4)?,
        })
    }
}

/// Reads a log event, with its metadata from column `beside` on, if that is there. `texts` are shared between events,
/// because many repeat.
pub(crate) fn log_event(row: &impl Columns, beside: usize, texts: &mut Texts) -> Result<LogEvent> {
    let mut shared =
        |at| -> Result<Arc<str>> { Ok(shared(texts, row.text(at)?.ok_or_else(|| unreadable(row, at, "it is NULL"))?)) };
    Ok(LogEvent {
        log_seq: row.at(0)?,
        event_id: row.at(1)?,
        trace_id: shared(2)?,
        trace_seq: row.at(3)?,
        event_type: shared(4)?,
        occurred_at: row.at(5)?,
        actor_type: shared(6)?,
        actor_id: shared(7)?,
        payload: row.at(8)?,
        payload_hash: row.at(9)?,
        metadata: match row.count() > beside {
            true => Some(Arc::new(metadata(row, beside)?)),
            false => None,
        },
    })
}

fn metadata(row: &impl Columns, at: usize) -> Result<Metadata> {
    Ok(Metadata {
        tags: tags_from_json(row.text(at)?.unwrap_or_default()),
        source: Source { producer_id: row.at(at + 1)?, system: row.at(at + 2)?, subsystem: row.at(at + 3)? },
        correlation_id: row.at(at + 4)?,
        causation_event_id: row.at(at + 5)?,
        schema_version: row.at(at + 6)?,
    })
}

/// Reads everything of an event that can be read. Text that is not UTF-8, and tags and payloads that are not JSON, are
/// faults of the event, not of the list.
impl Stored for StoredEvent {
    fn read(row: &impl Columns) -> Result<StoredEvent> {
        let mut not_utf8 = None;
        let mut maybe = |at| -> Result<Option<String>> {
            let text = row.any_text(at)?;
            if let Some(Cow::Owned(_)) = text {
                not_utf8 = Some("a stored text is not UTF-8".to_owned());
            }
            Ok(text.map(Cow::into_owned))
        };
        let (subsystem, correlation_id, causation_event_id) = (maybe(9)?, maybe(13)?, maybe(14)?);
        let mut text = |at| maybe(at)?.ok_or_else(|| unreadable(row, at, "it is NULL"));
        let (tags, payload) = (tags_from_json(&text(16)?), text(17)?);
        let envelope = Envelope {
            event_id: text(2)?,
            trace_id: text(3)?,
            trace_seq: row.at(4)?,
            event_type: text(5)?,
            occurred_at: text(6)?,
            source: Source { producer_id: text(7)?, system: text(8)?, subsystem },
            actor: Actor { actor_type: text(10)?, actor_id: text(11)? },
            idempotency_key: text(12)?,
            correlation_id,
            causation_event_id,
            schema_version: row.at(15)?,
            tags: tags.clone().unwrap_or_default(),
        };
        let payload_hash = text(18)?;
        Ok(StoredEvent {
            log_seq: row.at(0)?,
            recorded_at: row.at(1)?,
            envelope,
            fault: not_utf8.or_else(|| fault(tags.as_deref(), &payload)),
            payload,
            payload_hash,
        })
    }
}

/// A trace, and its ends.
impl Stored for (Arc<str>, TraceEnds) {
    fn read(row: &impl Columns) -> Result<(Arc<str>, TraceEnds)> {
        let ends = TraceEnds {
            started: row.at(1)?,
            started_at: row.at(2)?,
            actor: Actor { actor_type: row.at(3)?, actor_id: row.at(4)? },
            tags: tags_from_json(row.text(5)?.unwrap_or_default()).unwrap_or_default(),
            last: row.at(6)?,
            last_trace_seq: row.at(7)?,
            last_event_type: row.at(8)?,
            last_at: row.at(9)?,
        };
        Ok((row.at(0)?, ends))
    }
}

/// An event that is stored under an idempotency key.
pub(crate) struct Keyed {
    /// Producer and idempotency key.
    pub key: (String, String),
    pub identity: StoredIdentity,
}

impl Stored for Keyed {
    fn read(row: &impl Columns) -> Result<Keyed> {
        let tags: String = row.at(13)?;
        let envelope = Envelope {
            event_id: row.at(1)?,
            trace_id: row.at(2)?,
            trace_seq: row.at(15)?,
            event_type: row.at(3)?,
            occurred_at: String::new(),
            source: Source { producer_id: row.at(4)?, system: row.at(5)?, subsystem: row.at(6)? },
            actor: Actor { actor_type: row.at(7)?, actor_id: row.at(8)? },
            idempotency_key: row.at(9)?,
            correlation_id: row.at(10)?,
            causation_event_id: row.at(11)?,
            schema_version: row.at(12)?,
            // Unreadable tags equal no other tags.
            tags: tags_from_json(&tags).unwrap_or_else(|| vec![tags]),
        };
        let fields = RepeatFields::of(&envelope, row.text(14)?.unwrap_or_default());
        let Envelope { event_id, trace_seq, .. } = envelope;
        Ok(Keyed {
            identity: StoredIdentity { log_seq: row.at(0)?, event_id, trace_seq, fields },
            key: (envelope.source.producer_id, envelope.idempotency_key),
        })
    }
}

impl Stored for PrecedentHit {
    fn read(row: &impl Columns) -> Result<PrecedentHit> {
        Ok(PrecedentHit {
            trace_id: row.at(0)?,
            workflow: row.at(1)?,
            title: row.at(2)?,
            outcome: row.at(3)?,
            finished_at: row.at(4)?,
            last_log_seq: row.at(5)?,
            primary_entity_type: row.at(6)?,
            primary_entity_id: row.at(7)?,
            policy_id: row.at(8)?,
            policy_version: row.at(9)?,
            exception_id: row.at(10)?,
        })
    }
}
