//! Reports of a job: while it runs ([`Progress`]) and at its end ([`RunReport`]).

use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_records::{Failure, Generation, Run, RunMode, Skip};
use serde::{Deserialize, Serialize};

/// Progress of a running job. Sent at each batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Kind of the job.
    pub mode: RunMode,
    /// Projection that the job works on.
    pub projection: String,
    /// Position reached.
    pub cursor: LogSeq,
    /// Position that the job works towards.
    pub target: LogSeq,
    /// Events applied so far, over all projections.
    pub events: u64,
}

/// Result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The job as stored at its end.
    pub run: Run,
    /// Reports of the projections that were reached.
    pub scopes: Vec<ScopeReport>,
    /// Check of the log against its seal, by a verify that was to check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogReport>,
}

impl RunReport {
    /// Makes the report of an ended job from its row.
    pub fn stored(run: Run) -> RunReport {
        let (scopes, log) = whole(&run).unwrap_or_default();
        RunReport { run, scopes, log }
    }

    /// True when the log is not as it was sealed.
    pub fn log_differs(&self) -> bool {
        self.log.as_ref().is_some_and(LogReport::differs)
    }

    /// True when a verify found drift.
    pub fn drifted(&self) -> bool {
        self.scopes.iter().any(|scope| scope.verify.as_ref().is_some_and(|verify| verify.drifted))
    }
}

/// Results of an ended job, as its row has them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Scopes(Vec<ScopeReport>),
    Whole { scopes: Vec<ScopeReport>, log: LogReport },
}

/// Writes the results of a job for its row. A log that is not sealed leaves the form of before.
pub fn recording(scopes: &[ScopeReport], log: Option<&LogReport>) -> String {
    let scopes = scopes.to_vec();
    let stored = match log {
        Some(log @ LogReport::Checked(_)) => Stored::Whole { scopes, log: log.clone() },
        Some(LogReport::Unsealed) | None => Stored::Scopes(scopes),
    };
    serde_json::to_string(&stored).unwrap_or_default()
}

/// Reads the results of an ended job from its row. None when the row has no report that this program can read.
pub fn recorded(run: &Run) -> Option<Vec<ScopeReport>> {
    whole(run).map(|(scopes, _)| scopes)
}

fn whole(run: &Run) -> Option<(Vec<ScopeReport>, Option<LogReport>)> {
    match serde_json::from_str(run.report.as_deref()?).ok()? {
        Stored::Scopes(scopes) => Some((scopes, None)),
        Stored::Whole { scopes, log } => Some((scopes, Some(log))),
    }
}

/// Describes the result of a verify in a few words. None for other jobs, and for a verify that compared nothing.
pub fn verdict(run: &Run, scopes: &[ScopeReport]) -> Option<String> {
    let compared: Vec<&VerifyFacts> = scopes.iter().filter_map(|scope| scope.verify.as_ref()).collect();
    let log = whole(run).and_then(|(_, log)| log);
    if run.mode != RunMode::Verify || (compared.is_empty() && log.is_none()) {
        return None;
    }
    if log.is_some_and(|log| log.differs()) {
        return Some("the log is not as it was sealed".to_owned());
    }
    if compared.is_empty() {
        return Some("the log is as it was sealed".to_owned());
    }
    let found = match compared.iter().filter(|facts| facts.drifted).count() {
        0 => "no drift".to_owned(),
        drifted => format!("drift in {drifted} of {}", compared.len()),
    };
    Some(match compared.iter().map(|facts| facts.skipped_total).sum::<u64>() {
        0 => found,
        1 => format!("{found}, 1 skip"),
        skips => format!("{found}, {skips} skips"),
    })
}

/// Result of a job for one projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeReport {
    /// Name of the projection.
    pub projection: String,
    /// Cursor at the job's start (of a resumed rebuild: the cursor at which it went on).
    pub from: LogSeq,
    /// Cursor at the job's end.
    pub cursor: LogSeq,
    /// Position that the job was to reach.
    pub target: LogSeq,
    /// Events read and applied.
    pub events: u64,
    /// Batches committed.
    pub batches: u64,
    /// Wall time, seconds.
    pub seconds: f64,
    /// Live generation at the job's end.
    pub generation: Generation,
    /// Rolling digest at `cursor`.
    pub digest: String,
    /// Event that stopped the job.
    pub failure: Option<Failure>,
    /// Results of a rebuild only.
    pub rebuild: Option<RebuildFacts>,
    /// True when this rebuild had flipped to `generation` before it was interrupted. Nothing was left to do, and its
    /// results from then are not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped_before: bool,
    /// Results of a verify only.
    pub verify: Option<VerifyFacts>,
}

/// Results of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildFacts {
    /// Generation that was live before.
    pub old_generation: Generation,
    /// Cursor of the old generation.
    pub old_cursor: LogSeq,
    /// Digest of the old generation at that cursor.
    pub old_digest: String,
    /// Digest of the new generation at that same position. None when the old one moved on meanwhile and was overtaken.
    pub new_digest_there: Option<String>,
    /// True when the two digests are equal: the log yields the stored digest. None without the second digest.
    pub equal: Option<bool>,
}

/// Results of a verify at one cursor, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFacts {
    /// Stored digest.
    pub stored: String,
    /// Digest recomputed from the live rows.
    pub from_rows: String,
    /// Digest recomputed from the log.
    pub from_log: String,
    /// True when any of the three digests differ, or any row does.
    pub drifted: bool,
    /// First rows that differ, in the order of their row keys, at most [`DRIFT_ROWS_MAX`].
    pub first: Vec<DriftRow>,
    /// True when more rows differ.
    pub more: bool,
    /// First skipped events up to the cursor, at most [`SKIPS_NAMED_MAX`]. Skipped events are left out of the
    /// recomputation from the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skip>,
    /// Number of all skipped events up to the cursor.
    #[serde(default)]
    pub skipped_total: u64,
}

/// Result of the check of a log against its seal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LogReport {
    /// Nothing is sealed: the log was not checked.
    Unsealed,
    /// The log was checked.
    Checked(Box<LogFacts>),
}

impl LogReport {
    /// True when the log is not as it was sealed.
    pub fn differs(&self) -> bool {
        matches!(self, LogReport::Checked(facts) if facts.findings_total > 0)
    }
}

/// Results of the check of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogFacts {
    /// Number of the tree.
    pub tree: i64,
    /// Name of the log in everything that is signed.
    pub origin: String,
    /// Leaves that were taken as checked.
    pub since: u64,
    /// Number of sealed events.
    pub size: u64,
    /// Position of the last sealed event.
    pub log_seq: LogSeq,
    /// Time from which on events were sealed, RFC 3339: events before it are as they were found then.
    pub sealed_since: String,
    /// Stored root, base64.
    pub root: String,
    /// Root recomputed from the leaves, base64; none when leaves are missing.
    pub from_entries: Option<String>,
    /// True when nothing was found.
    pub as_sealed: bool,
    /// Events that were compared with their leaves.
    pub events: u64,
    /// Events whose erasure a signed note records.
    pub erased: u64,
    /// Signed heads that the tree was compared with.
    pub checkpoints: u64,
    /// Size of the largest of them.
    pub newest_checkpoint: Option<u64>,
    /// Memories that know a note: `database`, `journal`, places.
    pub memories: Vec<String>,
    /// Memories that did not answer, with the reason.
    pub silent: Vec<String>,
    /// True when the signatures were checked: a key is configured.
    pub signatures_checked: bool,
    /// Findings, the first of each word.
    pub findings: Vec<LogFinding>,
    /// Number of all findings.
    pub findings_total: u64,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// A finding about a sealed log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFinding {
    /// Stable word, such as `payload_differs`.
    pub word: String,
    /// Line for a person. It begins with the word.
    pub message: String,
}

/// Most skips that a verify names.
pub const SKIPS_NAMED_MAX: usize = 20;

/// Most rows that a drift report names.
pub const DRIFT_ROWS_MAX: usize = 20;

/// A row, or one column of it, that differs from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRow {
    /// Name of the table.
    pub table: String,
    /// Canonical key of the row.
    pub key: String,
    /// Column that differs; none when the whole row is missing or extra.
    pub column: Option<String>,
    /// Value in the live row; none when null, or when the row is missing.
    pub live: Option<String>,
    /// Value that the log gives; none when null, or when there should be no such row.
    pub log: Option<String>,
    /// Kind of the difference in one word: `differs`, `missing` or `extra`.
    pub kind: String,
}

/// Result of the replay of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReplay {
    /// True when the same event failed again, for a reason of the same category.
    pub reproduced: bool,
    /// Event that failed now; none when the batch is sound.
    pub log_seq: Option<LogSeq>,
    /// Category of the present failure.
    pub category: Option<Category>,
    /// Message of the present failure.
    pub message: Option<String>,
    /// True when the state before the batch has the digest that was recorded with the failure.
    pub digest_before_matches: bool,
    /// Source of that state: `live rows` or `log from the origin`.
    pub source: String,
    /// Events read, including the events on the way to the batch.
    pub events: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_report_is_read_with_and_without_a_checked_log() {
        let run = |report: String| -> Run {
            let json = serde_json::json!({
                "run_id": uuid::Uuid::nil(), "tenant": "default", "projection": "all", "mode": "verify",
                "state": "completed", "node": "n", "node_live": false, "until": null, "current": null, "cursor": 0,
                "target": 0, "events": 0, "cancel_requested": false, "error": null, "report": report,
                "created_at": "", "finished_at": null
            });
            serde_json::from_value(json).expect("a run")
        };
        let unsealed = recording(&[], Some(&LogReport::Unsealed));
        assert_eq!((unsealed.as_str(), recording(&[], None).as_str()), ("[]", "[]"));
        assert_eq!(RunReport::stored(run(unsealed)).log, None);
        let facts = serde_json::json!({
            "state": "checked", "tree": 1, "origin": "a/b", "since": 0, "size": 98, "log_seq": 98, "sealed_since": "",
            "root": "", "from_entries": null, "as_sealed": false, "events": 98, "erased": 0, "checkpoints": 2,
            "newest_checkpoint": 98, "memories": ["journal"], "silent": [], "signatures_checked": true,
            "findings": [{"word": "event_missing", "message": "event_missing: leaf 97"}], "findings_total": 1,
            "seconds": 0.5
        });
        let log: LogReport = serde_json::from_value(facts).expect("a report");
        let run = run(recording(&[], Some(&log)));
        let verdict = verdict(&run, &[]).expect("a verdict");
        assert_eq!(verdict, "the log is not as it was sealed");
        let report = RunReport::stored(run);
        assert!(report.log_differs() && !report.drifted());
        assert_eq!(report.log, Some(log));
    }
}
