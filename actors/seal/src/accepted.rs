//! Evidence that was accepted: what it proves, as JSON and as lines for a person.

use crate::consistency::Extends;
use crate::pack::{Kind, Proven};
use crate::tlog_proof::Included;
use crate::trust::{Trusted, Witness};
use decisiongraph_projections::seal::base64;
use serde::Serialize;

/// Evidence that was accepted, by the kind of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "file", rename_all = "snake_case")]
pub enum Accepted {
    /// Events with their proof.
    Pack(Proven),
    /// One event with its proof.
    Proof(Included),
    /// A tree that begins with an older one.
    Consistency(Extends),
    /// A signed note.
    Note(NoteSaid),
}

/// A note that a named key signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoteSaid {
    /// Kind of its text: `checkpoint`, `statement`, `rotation`, `fork`, `erasure`.
    pub note: &'static str,
    /// Name of the log.
    pub origin: String,
    /// The named keys that signed it.
    pub signed_by: Vec<String>,
    /// The named witnesses that cosigned it.
    pub witnesses: Vec<Witness>,
    /// Lines of its text.
    pub text: Vec<String>,
    /// True when it was compared with another checkpoint, and both name one root.
    pub compared: bool,
}

impl Accepted {
    /// Returns the lines for a person: what is proved, by whom, and what is not.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Accepted::Pack(proven) => of_pack(proven),
            Accepted::Proof(included) => of_proof(included),
            Accepted::Consistency(Extends { checkpoint, begins_with }) => {
                let begin =
                    format!("accepted: the log of {} events begins with the log of {begins_with}", checkpoint.size);
                [vec![begin], of_checkpoint(checkpoint)].concat()
            }
            Accepted::Note(said) => of_note(said),
        }
    }
}

fn of_checkpoint(checkpoint: &Trusted) -> Vec<String> {
    let Trusted { origin, size, root, .. } = checkpoint;
    let mut lines = vec![format!("checkpoint: {size} events of {origin}, root {}", base64(root))];
    lines.extend(checkpoint.signed_by.iter().map(|key| format!("signed by: {key}")));
    lines.extend(of_witnesses(&checkpoint.witnesses));
    lines
}

fn of_witnesses(witnesses: &[Witness]) -> Vec<String> {
    match witnesses {
        [] => vec!["witnesses: none counted; name them with --witness and --quorum".to_owned()],
        _ => witnesses.iter().map(|witness| format!("witness: {} at {}", witness.name, witness.time)).collect(),
    }
}

fn of_pack(proven: &Proven) -> Vec<String> {
    let Proven { events, tenant, first_index, last_index, whole, redacted, withheld, .. } = proven;
    let what = match (&proven.kind, &proven.trace_id) {
        (Kind::Trace, Some(trace)) => {
            format!("{events} events of trace {trace}, tenant {tenant}, were sealed as shown")
        }
        (Kind::Range, _) => format!("{events} events of tenant {tenant} were sealed as shown, with nothing in between"),
        _ => format!("{events} single events of tenant {tenant} were sealed as shown"),
    };
    let mut lines = vec![
        format!("accepted: {what}"),
        format!(
            "leaves: {first_index} to {last_index}; payloads: {whole} whole, {redacted} redacted, {withheld} withheld"
        ),
    ];
    lines.extend(proven.finished.map(|finished| match finished {
        true => "trace: finished; no number is missing".to_owned(),
        false => "trace: open here: later events may exist".to_owned(),
    }));
    lines.extend(of_checkpoint(&proven.checkpoint));
    for statement in &proven.statements {
        lines.push(format!("statement: the projections as of {}, cursor and digest each", statement.time));
        lines.extend(statement.projections.iter().map(|row| format!("  {row}")));
    }
    lines.extend(proven.not_checked.iter().map(|name| format!("not checked: {name}")));
    lines.extend(of_compared(proven.compared));
    lines.push(not_proved(proven.kind == Kind::Trace));
    lines
}

fn not_proved(of_trace: bool) -> String {
    let more = if of_trace { ", that no event of another number names the trace" } else { "" };
    format!(
        "not proved: that the events are true, that none was kept from the log{more}, that every reader is shown this log"
    )
}

fn of_proof(included: &Included) -> Vec<String> {
    let Included { index, log_seq, event_id, .. } = included;
    let what = format!("accepted: event {event_id} (log_seq {log_seq}) was sealed as shown; it is leaf {index}");
    let compared = of_compared(included.compared).into_iter().collect();
    [vec![what], of_checkpoint(&included.checkpoint), compared, vec![not_proved(false)]].concat()
}

fn of_note(said: &NoteSaid) -> Vec<String> {
    let what = format!("accepted: a {} of {}, with this text:", said.note, said.origin);
    let mut lines = vec![what];
    lines.extend(said.text.iter().map(|line| format!("  {line}")));
    lines.extend(said.signed_by.iter().map(|key| format!("signed by: {key}")));
    if said.note == "checkpoint" {
        lines.extend(of_witnesses(&said.witnesses));
    }
    lines.extend(of_compared(said.compared));
    lines
}

fn of_compared(compared: bool) -> Option<String> {
    compared.then(|| "compared: both checkpoints name one root for this size".to_owned())
}
