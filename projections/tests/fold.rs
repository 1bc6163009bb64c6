//! Promise: the rows and digests of a log do not depend on its batches. They equal a plain fold of the reference
//! semantics that shares no code with the projections.

mod logs;
mod oracle;

use decisiongraph_projections::digest::reference::{Writer, full_projection};
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::known::Known;
use decisiongraph_projections::payload_hash::sha256_hex;
use decisiongraph_projections::sequence::{check_page, sift};
use decisiongraph_projections::{Fetch, LogEvent, LogSeq, Needs, Prior, Projection, Recalled, Row, catalogue};
use logs::{batches, log};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A projection's rows in memory: the prior state and the commit of a store, without the store.
struct Memory {
    projection: &'static dyn Projection,
    tables: Vec<BTreeMap<String, Row>>,
    digest: RollingDigest,
    cursor: LogSeq,
    skips: BTreeSet<LogSeq>,
}

impl Memory {
    fn new(projection: &'static dyn Projection) -> Memory {
        let tables = vec![BTreeMap::new(); projection.tables().len()];
        Memory { projection, tables, digest: RollingDigest::default(), cursor: LogSeq::ORIGIN, skips: BTreeSet::new() }
    }

    fn prior(&self, needs: &Needs, log: &[LogEvent]) -> Prior {
        let mut prior = Prior::empty(needs);
        for (index, need) in needs.rows.iter().enumerate() {
            for row in self.tables[need.table].values() {
                if row.0[need.by].as_str().is_some_and(|text| need.values.contains(text)) {
                    match need.fetch {
                        Fetch::Existence => drop(prior.existing[index].insert(row.key().into())),
                        Fetch::Rows => prior.rows[index].push(row.clone()),
                    }
                }
            }
        }
        let known = |event: &&LogEvent| event.log_seq <= self.cursor && !self.skips.contains(&event.log_seq);
        for event in log.iter().filter(known) {
            let wanted = self.projection.history_types().contains(&&*event.event_type);
            if needs.history_of.contains(&event.trace_id) && wanted {
                let recalled = Recalled::of(self.projection, event);
                prior.history.entry(event.trace_id.clone()).or_default().push(recalled);
            }
        }
        prior
    }

    /// Applies a batch and returns the index of the poison event, if there is one.
    fn apply(&mut self, batch: &[LogEvent], log: &[LogEvent]) -> Option<usize> {
        let needs = self.projection.needs(batch);
        let projected = self.projection.project(batch, &needs, &self.prior(&needs, log));
        let again = self.projection.project(batch, &needs, &self.prior(&needs, log));
        assert_eq!(projected, again, "a projection is a function");
        for (table, changes) in self.tables.iter_mut().zip(projected.changes.tables.iter()) {
            for row in &changes.inserts {
                assert!(table.insert(row.key().to_owned(), row.clone()).is_none(), "insert of a key that exists");
            }
            for (before, after) in &changes.updates {
                assert_eq!(table.insert(after.key().to_owned(), after.clone()).as_ref(), Some(before));
            }
            for row in &changes.deletes {
                assert_eq!(table.remove(row.key()).as_ref(), Some(row));
            }
        }
        self.digest.apply(self.projection.tables(), &projected.changes);
        let applied = projected.poison.as_ref().map_or(batch.len(), |poison| poison.index);
        self.cursor = batch[..applied].last().map_or(self.cursor, |event| event.log_seq);
        projected.poison.map(|poison| poison.index)
    }

    /// Reads a batch as the engine does. It is checked behind the events before it, skipped events are removed, and the
    /// cursor moves past them.
    fn pass(&mut self, batch: &[LogEvent], log: &[LogEvent]) -> Option<LogSeq> {
        let before = log.iter().filter(|event| event.log_seq <= self.cursor);
        let heads = before.map(|event| (event.trace_id.clone(), event.trace_seq)).collect();
        let sifted = sift(batch.to_vec(), &heads, &self.skips);
        let sound = &sifted.events[..sifted.poison.as_ref().map_or(sifted.events.len(), |poison| poison.index)];
        let poison = self.apply(sound, log).or(sifted.poison.map(|poison| poison.index));
        let stop = poison.map(|index| sifted.events[index].log_seq);
        let passed = batch.iter().map(|event| event.log_seq).take_while(|at| stop.is_none_or(|stop| *at < stop));
        self.cursor = passed.last().unwrap_or(self.cursor);
        stop
    }

    fn reference_digest(&self) -> Option<String> {
        let form = self.projection.reference_form()?;
        let mut writer = Writer::new(form);
        for _ in form {
            let section = writer.section();
            self.tables[section.table].values().for_each(|row| writer.row(row));
        }
        Some(writer.finish())
    }

    fn recomputed(&self) -> RollingDigest {
        let mut digest = RollingDigest::default();
        for (table, rows) in self.projection.tables().iter().zip(&self.tables) {
            digest.add(table, rows.values());
        }
        digest
    }
}

/// Returns the keys and rows of a prior state in comparable form, each as often as it was found.
fn found(prior: &Prior) -> (Vec<BTreeSet<String>>, Vec<Vec<Row>>) {
    let keys = prior.existing.iter().map(|keys| keys.iter().map(|key| key.to_string()).collect());
    let mut rows = prior.rows.clone();
    rows.iter_mut().for_each(|rows| rows.sort_by(|a, b| a.key().cmp(b.key())));
    (keys.collect(), rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A state may be read while a batch commits, before or after the commit. With the batch laid over, it is the state
    /// behind it. A look-up that is left out, because the answer is known, would have found the same.
    #[test]
    fn a_prior_state_read_beside_a_commit_is_the_one_behind_it(log in log(), cuts in prop::collection::vec(any::<bool>(), 60), room in 1usize..100) {
        let batches = batches(&log, &cuts);
        for projection in catalogue::ALL {
            let mut memory = Memory::new(projection);
            let mut known = Known::new([1; 16]).with_room_for(room);
            for pair in batches.windows(2) {
                let (batch, next) = (pair[0], pair[1]);
                let needs = projection.needs(batch);
                let changes = projection.project(batch, &needs, &memory.prior(&needs, &log)).changes;
                let needs = projection.needs(next);
                let mut before = memory.prior(&needs, &log);
                memory.apply(batch, &log);
                let behind = found(&memory.prior(&needs, &log));
                before.overlay(&needs, &changes);
                prop_assert_eq!(found(&before), behind.clone());
                let mut after = memory.prior(&needs, &log);
                after.overlay(&needs, &changes);
                prop_assert_eq!(found(&after), behind.clone());
                known.note(&needs, &changes);
                let mut fewer = needs.clone();
                let answered = known.answer(&mut fewer, true).existing;
                let mut looked_up = memory.prior(&fewer, &log);
                for (existing, answered) in looked_up.existing.iter_mut().zip(answered) {
                    existing.extend(answered);
                }
                prop_assert_eq!(found(&looked_up), behind);
            }
        }
    }

    /// A reader may start midway and assume the values that a batch creates absent. It gets the same state as a look-up
    /// of everything, or it inserts a key that exists. This holds also while the batch before is still being committed.
    #[test]
    fn a_wrong_assumption_meets_the_row_that_is_there(log in log(), cuts in prop::collection::vec(any::<bool>(), 60), room in 1usize..100) {
        let batches = batches(&log, &cuts);
        for projection in catalogue::ALL {
            let mut memory = Memory::new(projection);
            let mut known = Known::midway([1; 16]).with_room_for(room);
            for pair in batches.windows(2) {
                let (batch, next) = (pair[0], pair[1]);
                let needs = projection.needs(batch);
                let changes = projection.project(batch, &needs, &memory.prior(&needs, &log)).changes;
                let all = projection.needs(next);
                let mut needs = all.clone();
                let answer = known.answer(&mut needs, true);
                let mut prior = memory.prior(&needs, &log);
                prior.overlay(&needs, &changes);
                memory.apply(batch, &log);
                let behind = memory.prior(&all, &log);
                known.found(&needs, &prior.existing);
                for ((existing, answered), all) in prior.existing.iter_mut().zip(answer.existing).zip(&behind.existing) {
                    prop_assert!(answered.is_subset(all), "{:?} of {:?}", answered, all);
                    existing.extend(answered);
                }
                prior.history.clone_from(&behind.history);
                let assumed = projection.project(next, &needs, &prior);
                if assumed != projection.project(next, &all, &behind) {
                    prop_assert!(answer.assumed);
                    let mut tables = assumed.changes.tables.iter().zip(&memory.tables);
                    prop_assert!(tables.any(|(changes, rows)| changes.inserts.iter().any(|row| rows.contains_key(row.key()))));
                    known = Known::midway([1; 16]).with_room_for(room);
                }
            }
        }
    }

    #[test]
    fn any_split_gives_the_rows_and_digests_of_a_plain_fold(log in log(), cuts in prop::collection::vec(any::<bool>(), 60)) {
        prop_assert_eq!(check_page(&log, &HashMap::new(), &BTreeSet::new()), None);
        let mut digests = Vec::new();
        for projection in catalogue::ALL {
            let mut whole = Memory::new(projection);
            if !log.is_empty() {
                prop_assert_eq!(whole.apply(&log, &log), None);
            }
            let mut split = Memory::new(projection);
            for batch in batches(&log, &cuts) {
                prop_assert_eq!(split.apply(batch, &log), None);
            }
            prop_assert_eq!(&whole.tables, &split.tables);
            prop_assert_eq!(&whole.digest, &split.digest);
            prop_assert_eq!(&split.recomputed(), &split.digest);
            digests.extend(split.reference_digest());
        }
        let full = full_projection(digests.iter().map(String::as_str));
        let oracle = oracle::fold(&log);
        prop_assert_eq!(&digests[0], &oracle.context_graph);
        prop_assert_eq!(&digests[1], &oracle.trace_summary);
        prop_assert_eq!(&digests[2], &oracle.precedent_index);
        prop_assert_eq!(full, oracle.full_projection);
    }

    #[test]
    fn a_poison_event_stops_at_the_same_place_in_any_split(log in log(), cuts in prop::collection::vec(any::<bool>(), 60), at in 0usize..60, how in 0usize..4) {
        prop_assume!(at < log.len());
        let mut log = log;
        // An event that no projection can apply is found by the page check. An event that one projection cannot apply
        // is found by that projection.
        let poisoned = match how {
            0 => { log[at].payload = format!("{} ", log[at].payload).into(); log[at].payload_hash = sha256_hex(b"other").into(); None }
            1 => { log[at].trace_seq += 1; None }
            2 => { log[at].payload = "{\"a\":".into(); None }
            _ => { log[at].event_type = "PolicyEvaluated".into(); log[at].payload = "{\"policy\":{}}".into(); log[at].payload_hash = sha256_hex(b"{\"policy\":{}}").into(); Some("precedent_index") }
        };
        match poisoned {
            None => {
                let poison = check_page(&log, &HashMap::new(), &BTreeSet::new()).expect("found");
                prop_assert_eq!(poison.index, at);
            }
            Some(name) => {
                prop_assert_eq!(check_page(&log, &HashMap::new(), &BTreeSet::new()), None);
                let projection = catalogue::find(name).expect("in the catalogue");
                let before: Vec<LogEvent> = log[..at].to_vec();
                let mut whole = Memory::new(projection);
                prop_assert_eq!(whole.apply(&log, &log), Some(at));
                let mut clean = Memory::new(projection);
                if at > 0 { prop_assert_eq!(clean.apply(&before, &log), None); }
                prop_assert_eq!(&whole.tables, &clean.tables);
                let mut split = Memory::new(projection);
                for batch in batches(&log, &cuts) {
                    if split.apply(batch, &log).is_some() { break; }
                }
                prop_assert_eq!(&split.tables, &clean.tables);
                prop_assert_eq!(split.cursor, clean.cursor);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Skipped events are spoiled in every way. Whatever the split, the rows equal a fold of the log without them, and
    /// the trace goes on behind them.
    #[test]
    fn any_split_with_skips_gives_the_rows_of_a_log_without_them(log in log(), cuts in prop::collection::vec(any::<bool>(), 60), spoiled in prop::collection::vec(0usize..5, 60)) {
        let mut log = log;
        let mut skips = BTreeSet::new();
        for (event, how) in log.iter_mut().zip(&spoiled) {
            match how {
                0 => event.payload_hash = sha256_hex(b"other").into(),
                1 => { event.event_type = "PolicyEvaluated".into(); event.payload = "{\"policy\":{}}".into(); event.payload_hash = sha256_hex(event.payload.as_bytes()).into(); }
                _ => continue,
            }
            skips.insert(event.log_seq);
        }
        let kept: Vec<LogEvent> = log.iter().filter(|event| !skips.contains(&event.log_seq)).cloned().collect();
        for projection in catalogue::ALL {
            let mut expected = Memory::new(projection);
            if !kept.is_empty() { prop_assert_eq!(expected.apply(&kept, &kept), None); }
            for cuts in [&[][..], &cuts] {
                let mut split = Memory::new(projection);
                split.skips = skips.clone();
                for batch in batches(&log, cuts) {
                    prop_assert_eq!(split.pass(batch, &log), None);
                }
                prop_assert_eq!(&split.tables, &expected.tables);
                prop_assert_eq!(&split.digest, &expected.digest);
                prop_assert_eq!(split.cursor, log.last().map_or(LogSeq::ORIGIN, |event| event.log_seq));
            }
        }
    }

    /// One of the spoiled events is not skipped. Every split stops right before it, with all skipped events before it
    /// passed.
    #[test]
    fn any_split_with_skips_stops_at_the_same_poison(log in log(), cuts in prop::collection::vec(any::<bool>(), 60), spoiled in prop::collection::vec(0usize..4, 60), at in 0usize..60) {
        prop_assume!(at < log.len());
        let mut log = log;
        for (event, how) in log.iter_mut().zip(&spoiled) {
            if *how == 0 { event.payload_hash = sha256_hex(b"other").into(); }
        }
        log[at].payload_hash = sha256_hex(b"other").into();
        let spoiled = log.iter().filter(|event| *event.payload_hash == *sha256_hex(b"other")).map(|event| event.log_seq);
        let skips: BTreeSet<LogSeq> = spoiled.filter(|log_seq| *log_seq != log[at].log_seq).collect();
        let before = if at == 0 { LogSeq::ORIGIN } else { log[at - 1].log_seq };
        for projection in catalogue::ALL {
            let mut seen = Vec::new();
            for cuts in [&[][..], &cuts] {
                let mut split = Memory::new(projection);
                split.skips = skips.clone();
                let stop = batches(&log, cuts).into_iter().find_map(|batch| split.pass(batch, &log));
                prop_assert_eq!(stop, Some(log[at].log_seq));
                prop_assert_eq!(split.cursor, before);
                seen.push((split.tables, split.digest));
            }
            prop_assert_eq!(&seen[0], &seen[1]);
        }
    }
}

#[test]
fn what_a_stored_payload_lacks_has_its_documented_default() {
    let event = |index: i64, kind: &str, payload: &str| LogEvent {
        log_seq: LogSeq(index + 1),
        event_id: format!("e{index}").into(),
        trace_id: "t".into(),
        trace_seq: index,
        event_type: kind.into(),
        occurred_at: "2026-01-01T00:00:00Z".into(),
        actor_type: "agent".into(),
        actor_id: "a".into(),
        payload: payload.into(),
        payload_hash: sha256_hex(payload.as_bytes()).into(),
        metadata: None,
    };
    let log: Vec<LogEvent> = [
        ("TraceStarted", r#"{"title":"t","workflow":"w"}"#),
        ("EntityObserved", "{}"),
        ("InputObserved", "{}"),
        ("PolicyEvaluated", r#"{"policy":{"policy_version":"2"}}"#),
        ("PolicyEvaluated", r#"{"policy":{"policy_id":"p","policy_version":""}}"#),
        ("ExceptionRequested", "{}"),
        ("ApprovalRecorded", "{}"),
        ("PrecedentCited", "{}"),
        ("ActionProposed", "{}"),
        ("ActionCommitted", "{}"),
    ]
    .iter()
    .zip(0..)
    .map(|((kind, payload), index)| event(index, kind, payload))
    .collect();
    let mut graph = Memory::new(catalogue::CONTEXT_GRAPH);
    assert_eq!(graph.apply(&log, &log), None);
    let nodes: Vec<&str> = graph.tables[0].keys().map(String::as_str).collect();
    assert_eq!(
        nodes,
        [
            "action:e8",
            "actor:agent:a",
            "actor:person:unknown",
            "entity:unknown:unknown",
            "exception:e5",
            "input:e2",
            "policy:p",
            "policy:unknown:e3:2",
            "trace:t",
        ]
    );
    let edges: Vec<&str> = graph.tables[1].values().filter_map(|row| row.0[1].as_str()).collect();
    assert_eq!(
        edges,
        [
            "trace_evaluated_policy",
            "trace_evaluated_policy",
            "trace_involves_entity",
            "trace_observed_input",
            "trace_proposed_action",
            "trace_requested_exception",
        ]
    );
    // The same history cannot finish in the precedent index: its exception has no policy.
    let mut precedents = Memory::new(catalogue::PRECEDENT_INDEX);
    assert_eq!(precedents.apply(&log, &log), Some(3), "a policy without id");
}

#[test]
fn placeholders_are_never_upgraded() {
    let mut log = Vec::new();
    for (index, (trace, seq, kind, payload)) in [
        (
            "one",
            0,
            "TraceStarted",
            r#"{"primary_entity":{"entity_id":"1","entity_type":"x"},"title":"t","workflow":"w"}"#,
        ),
        ("one", 1, "PrecedentCited", r#"{"cited_trace_id":"two"}"#),
        (
            "two",
            0,
            "TraceStarted",
            r#"{"primary_entity":{"entity_id":"1","entity_type":"x"},"title":"t","workflow":"w"}"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        log.push(LogEvent {
            log_seq: LogSeq(index as i64 + 1),
            event_id: format!("e{index}").into(),
            trace_id: trace.into(),
            trace_seq: seq,
            event_type: kind.into(),
            occurred_at: format!("2026-01-01T00:00:0{index}Z").into(),
            actor_type: "agent".into(),
            actor_id: "a".into(),
            payload: payload.into(),
            payload_hash: sha256_hex(payload.as_bytes()).into(),
            metadata: None,
        });
    }
    let mut graph = Memory::new(catalogue::CONTEXT_GRAPH);
    graph.apply(&log, &log);
    let placeholder = &graph.tables[0]["trace:two"];
    assert_eq!(
        placeholder.0,
        ["trace:two".into(), "trace".into(), "two".into(), 2.into(), "2026-01-01T00:00:01Z".into()]
    );
}
