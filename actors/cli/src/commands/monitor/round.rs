//! One look of a monitor: signatures, then the state file, then the age.

use super::replay::Replayed;
use super::source::Source;
use crate::output::{duration, number};
use decisiongraph_projections::seal::base64;
use decisiongraph_projections::seal::tree::is_consistent;
use decisiongraph_projections::{Category, rfc3339};
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_seal::place::{NoteFile, PlaceError};
use decisiongraph_seal::{Finding, Refused, Remembered, Trust};
use decisiongraph_store::NoteKind;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The parts of a look.
pub struct Round<'m> {
    pub source: &'m Source,
    pub trust: &'m Trust,
    pub origin: &'m str,
    pub state: NoteFile,
    pub max_age: Option<Duration>,
}

/// Result of a look.
#[derive(Debug)]
pub struct Seen {
    pub exit: ExitCode,
    newest: Option<Remembered>,
    /// Time since the newest checkpoint.
    age: Option<Duration>,
    finding: Option<(String, String)>,
    /// Line about a replay that agrees.
    replayed: Option<String>,
    /// Notes for a person: what could not be checked.
    remarks: Vec<String>,
}

impl Seen {
    fn of(exit: ExitCode) -> Seen {
        Seen { exit, newest: None, age: None, finding: None, replayed: None, remarks: Vec::new() }
    }

    fn found(word: &str, text: String, exit: ExitCode) -> Seen {
        Seen { finding: Some((word.to_owned(), text)), ..Seen::of(exit) }
    }

    /// Returns the lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((word, text)) = &self.finding {
            lines.push(format!("{word}: {text}"));
        }
        if let Some(newest) = &self.newest {
            let (size, root) = (whole(newest.size), newest.root.map(|root| base64(&root)).unwrap_or_default());
            lines.push(format!("checkpoint: {size} events of {}, root {root}", newest.origin));
            if let Some(age) = self.age.filter(|_| self.exit == ExitCode::HEALTH_DEGRADED) {
                lines.push(format!("old: the newest checkpoint is {} old", duration(age.as_secs_f64())));
            }
        }
        lines.extend(self.replayed.clone());
        lines.extend(self.remarks.iter().cloned());
        lines
    }

    /// Returns the word of the finding.
    pub fn word(&self) -> Option<&str> {
        self.finding.as_ref().map(|(word, _)| &**word)
    }

    /// Returns size and age of the newest checkpoint, if it was verified.
    pub fn newest(&self) -> Option<(u64, Duration)> {
        Some((self.newest.as_ref()?.size, self.age?))
    }

    /// Adds what a replay found.
    pub fn replayed(&mut self, replayed: Replayed) {
        match replayed {
            Replayed::Agrees(line) => self.replayed = Some(line),
            Replayed::Found(word, text, exit) => {
                (self.exit, self.finding) = (exit, Some((word.to_owned(), text)));
            }
            Replayed::Interrupted => self.exit = ExitCode::INTERRUPTED,
        }
    }

    /// Returns the same for a program.
    pub fn json(&self, origin: &str) -> Value {
        let newest = self.newest.as_ref();
        json!({
            "origin": origin,
            "size": newest.map(|newest| newest.size),
            "root": newest.and_then(|newest| newest.root).map(|root| base64(&root)),
            "age_seconds": self.age.map(|age| age.as_secs()),
            "finding": self.finding.as_ref().map(|(word, _)| word),
            "text": self.finding.as_ref().map(|(_, text)| text),
            "replayed": self.replayed,
            "remarks": self.remarks,
            "exit": self.exit.0,
        })
    }
}

impl Round<'_> {
    /// Looks once.
    pub async fn look(&self) -> Result<Seen, AdminError> {
        let last = self.last()?;
        let rotations = self.rotations().await?;
        // The first look begins with the newest: those before it may be of a key that was replaced.
        let from = last.as_ref().map_or(u64::MAX, |last| last.size);
        let checkpoints = self.source.checkpoints(from).await?;
        for note in &checkpoints {
            if let Err(Refused { finding, text }) = self.trust.checkpoint(self.origin, &note.note, &rotations) {
                return Ok(Seen::found(finding.as_str(), text, finding.exit_code()));
            }
        }
        let Some(newest) = checkpoints.last().cloned() else { return self.none(last).await };
        let mut remarks = Vec::new();
        if let Some(last) = &last
            && let Some(found) = self.compare(last, &checkpoints, &newest, &mut remarks).await?
        {
            return Ok(found);
        }
        for note in &checkpoints {
            // Another root for a size that was seen.
            if let Some(found) = self.remember(note)? {
                return Ok(found);
            }
        }
        let age = self.age(&newest)?;
        let is_old = self.max_age.is_some_and(|max| age > max);
        let exit = if is_old { ExitCode::HEALTH_DEGRADED } else { ExitCode::OK };
        Ok(Seen { exit, newest: Some(newest), age: Some(age), finding: None, replayed: None, remarks })
    }

    /// Compares the newest checkpoint with the last one that was seen. None: it continues it.
    async fn compare(
        &self,
        last: &Remembered,
        checkpoints: &[Remembered],
        newest: &Remembered,
        remarks: &mut Vec<String>,
    ) -> Result<Option<Seen>, AdminError> {
        if newest.size < last.size {
            let (here, seen) = (whole(newest.size), whole(last.size));
            let text =
                format!("a checkpoint for {here} events is the newest here, one for {seen} was seen at {}", last.at);
            return Ok(Some(Seen::found("tree_shrunk", text, ExitCode::DRIFT)));
        }
        let same = checkpoints.iter().find(|note| note.size == last.size);
        if let Some(other) = same.filter(|other| other.root != last.root) {
            return Ok(Some(self.two_roots(last, other)));
        }
        if newest.size == last.size {
            return Ok(None);
        }
        if !self.source.proves() {
            let text = "not checked: a place has no proof that the log only grew; signatures, sizes and the roots of one \
                        size were compared";
            remarks.push(text.to_owned());
            if same.is_none() {
                remarks
                    .push(format!("not checked: the checkpoint for {} events is not here any more", whole(last.size)));
            }
            return Ok(None);
        }
        let proof = self.source.proof(last.size, newest.size).await;
        let proof = match proof {
            Ok(proof) => proof,
            // The source's own checks found the log changed.
            Err(error) if error.category == Category::Conflict => {
                let (word, text) = error.message.split_once(": ").unwrap_or(("checkpoint_differs", &error.message));
                return Ok(Some(Seen::found(word, text.to_owned(), ExitCode::DRIFT)));
            }
            Err(error) => return Err(error),
        };
        let (old_root, new_root) = (last.root.unwrap_or_default(), newest.root.unwrap_or_default());
        if is_consistent(last.size, &old_root, newest.size, &new_root, &proof) {
            return Ok(None);
        }
        let (here, seen) = (whole(newest.size), whole(last.size));
        let text =
            format!("the log of {here} events does not begin with the log of {seen} that was seen at {}", last.at);
        Ok(Some(Seen::found(Finding::CheckpointDiffers.as_str(), text, ExitCode::DRIFT)))
    }

    fn two_roots(&self, one: &Remembered, other: &Remembered) -> Seen {
        let root = |note: &Remembered| note.root.map(|root| base64(&root)).unwrap_or_default();
        let (size, first, second) = (whole(one.size), root(one), root(other));
        let text = format!("two roots for {size} events, both signed: the log has been forked; {first}, {second}");
        Seen::found(Finding::CheckpointDiffers.as_str(), text, ExitCode::DRIFT)
    }

    /// Reports a source without a checkpoint.
    async fn none(&self, last: Option<Remembered>) -> Result<Seen, AdminError> {
        Ok(match last {
            Some(last) => {
                let (seen, at) = (whole(last.size), last.at);
                let text = format!(
                    "there is no checkpoint of this log here, one for {seen} events was seen at {at}; after a fork the \
                     log has another name"
                );
                Seen::found("tree_shrunk", text, ExitCode::DRIFT)
            }
            None => match self.source.instead().await? {
                Some(instead) => Seen { remarks: vec![instead], ..Seen::of(ExitCode::USAGE) },
                None => Seen {
                    remarks: vec!["there is no checkpoint of this log yet".to_owned()],
                    ..Seen::of(ExitCode::HEALTH_DEGRADED)
                },
            },
        })
    }

    /// Returns the rotations that were ever seen, and remembers those of the source.
    pub async fn rotations(&self) -> Result<Vec<String>, AdminError> {
        let is_ours = |note: &Remembered| note.kind == NoteKind::Rotation && note.origin == self.origin;
        let mut notes = Vec::new();
        self.state.each(&mut |note| notes.extend(Some(note).filter(is_ours))).map_err(state_fault)?;
        let before = notes.len();
        for note in self.source.rotations().await?.into_iter().filter(is_ours) {
            if !notes.iter().any(|other| other.note == note.note) {
                notes.push(note);
            }
        }
        // A note that is not signed must not shut the log out.
        let rotations = self.trust.rotations(self.origin, notes.iter().map(|note| note.note.clone()));
        for note in notes.iter().skip(before).filter(|note| rotations.contains(&note.note)) {
            self.state.add("the state file", note).map_err(state_fault)?;
        }
        Ok(rotations)
    }

    fn last(&self) -> Result<Option<Remembered>, AdminError> {
        let (last, _) = self.state.newest(self.origin).map_err(state_fault)?;
        Ok(last)
    }

    /// Remembers a checkpoint with the time at which it was first seen. Another root for its size is a finding.
    fn remember(&self, note: &Remembered) -> Result<Option<Seen>, AdminError> {
        let seen = Remembered { at: decisiongraph_http::identities::now(), ..note.clone() };
        match self.state.add("the state file", &seen) {
            Ok(_) => Ok(None),
            Err(PlaceError::Differs(_)) => {
                let is_other = |other: &Remembered| {
                    other.is_checkpoint() && other.origin == note.origin && other.size == note.size
                };
                let mut other = None;
                let mut look = |note| other = other.take().or(Some(note).filter(is_other));
                self.state.each(&mut look).map_err(state_fault)?;
                Ok(other.map(|other| self.two_roots(&other, note)))
            }
            Err(error) => Err(state_fault(error)),
        }
    }

    /// Returns the time since the newest checkpoint was first seen, or since the source says it was made, if that is
    /// longer ago. A source cannot make a checkpoint younger than the state file knows it.
    fn age(&self, newest: &Remembered) -> Result<Duration, AdminError> {
        let seen = self.last()?.filter(|last| last.size == newest.size).map(|last| last.at);
        let times = [Some(newest.at.as_str()), seen.as_deref()].into_iter().flatten();
        let seconds = times.filter_map(|time| Some(rfc3339::instant(time)?.0)).min();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let then = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        Ok(Duration::from_secs(now.saturating_sub(then)))
    }
}

fn state_fault(error: PlaceError) -> AdminError {
    AdminError::new(Category::Storage, format!("the state file: {error}"))
        .next("restore it from a copy; a new one knows nothing of what was signed before")
}

fn whole(size: u64) -> String {
    number(i64::try_from(size).unwrap_or(i64::MAX))
}
