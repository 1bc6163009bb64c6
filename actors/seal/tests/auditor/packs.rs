//! Packs: judged, written, redacted.

use crate::support::*;
use decisiongraph_projections::seal::leaf::Entry;
use decisiongraph_projections::seal::multiproof;
use decisiongraph_projections::seal::note::signed;
use decisiongraph_projections::seal::tree::root_of;
use decisiongraph_seal::Trust;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::pack::{Head, Kind, Shown, Writer};
use serde_json::Value;

#[test]
fn library_and_program_judge_every_pack_as_the_contract() {
    let files = Files::new();
    let cases = cases();
    assert_eq!(cases.len(), 31);
    for case in cases {
        let judged = judge(case.pack.as_bytes(), &case.trust());
        assert_eq!(verdict(&judged), (case.finding, case.exit), "{}", case.about);
        let (path, quorum) = (files.put("a.pack", case.pack), case.quorum.to_string());
        let mut arguments = vec![path.as_str()];
        case.keys.iter().for_each(|key| arguments.extend(["--key", key]));
        case.witnesses.iter().for_each(|key| arguments.extend(["--witness", key, "--quorum", &quorum]));
        let output = program(&arguments);
        assert_eq!(output.status.code(), Some(case.exit.into()), "{}", case.about);
        let first = stdout(&output).split(": ").next().unwrap_or_default().to_owned();
        assert_eq!(first, case.finding.unwrap_or("accepted"), "{}", case.about);
        arguments.push("--json");
        let json: Value = serde_json::from_str(&stdout(&program(&arguments))).expect("JSON");
        let expected = if case.exit == 0 { "accepted" } else { "refused" };
        assert_eq!((json["verdict"].as_str(), json["exit"].as_u64()), (Some(expected), Some(case.exit.into())));
        assert_eq!(json["finding"].as_str(), case.finding, "{}", case.about);
    }
}

#[test]
fn an_accepted_pack_says_what_it_proves_and_what_not() {
    let said = |about: &str| {
        let case = good_packs().into_iter().find(|case| case.about.starts_with(about)).expect("a pack");
        judge(case.pack.as_bytes(), &case.trust()).expect("accepted").lines().join("\n")
    };
    let trace = said("a whole trace");
    for line in [
        "accepted: 7 events of trace lead-17, tenant default, were sealed as shown",
        "leaves: 0 to 9; payloads: 7 whole, 0 redacted, 0 withheld",
        "trace: finished; no number is missing",
        "checkpoint: 12 events of log.example/decisions/7f1c, root ZSDjcGB7dMMqIE+r7RIqoacR/9urAE0ymWDhtqe6Ut0=",
        "witness: witness.example/w1 at 2026-08-01T09:03:20Z",
        "  context_graph 1 12 lthash:",
        "not proved: that the events are true, that none was kept from the log, that no event of another number",
        "names the trace, that every reader is shown this log",
    ] {
        assert!(trace.contains(line), "{line}\nin\n{trace}");
    }
    assert!(said("one member").contains("payloads: 6 whole, 1 redacted, 0 withheld"));
    assert!(said("all payloads").contains("payloads: 0 whole, 0 redacted, 7 withheld"));
    assert!(said("a range").contains("with nothing in between"));
}

#[test]
fn an_event_that_was_taken_out_of_a_range_is_named() {
    let case = good_packs().into_iter().find(|case| case.about.starts_with("a range")).expect("a pack");
    let mut lines: Vec<&str> = case.pack.lines().collect();
    let events: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("\"event\"")).collect();
    lines.remove(events[1]);
    let cut = lines.join("\n") + "\n";
    let refused = judge(cut.as_bytes(), &case.trust()).expect_err("an event is missing").to_string();
    assert!(refused.contains("before leaf ") && refused.contains("taken out of the file"), "{refused}");
}

/// Writes a pack of these events of the log.
fn written(head: &Head, indices: &[u64], shown: impl Fn(u64) -> Shown<'static>, checkpoint: &str) -> Writer<Vec<u8>> {
    let log = log();
    let leaves = leaves(&log);
    let mut writer = Writer::begin(Vec::new(), head).expect("writes");
    for index in indices {
        let Sealed { event, salts, entry } = &log[*index as usize];
        writer.event(*index, entry, event, salts, shown(*index)).expect("writes");
    }
    let parts = multiproof::subtrees(leaves.len() as u64, indices).expect("inside");
    writer.proof(leaves.len() as u64, &roots(&leaves, &parts)).expect("writes");
    writer.checkpoint(checkpoint).expect("writes");
    writer
}

#[test]
fn packs_are_written_byte_for_byte_as_the_contract_has_them() {
    let (trace, whole) = ([0, 1, 2, 3, 4, 7, 9], |_: u64| Shown::Whole);
    let of_trace = Head::new(Kind::Trace, ORIGIN, "default", Some("lead-17"));
    let of = |kind| Head::new(kind, ORIGIN, "default", None);
    let expected = |about: &str| cases().into_iter().find(|case| case.about == about).expect("a pack").pack;
    let bytes = |writer: Writer<Vec<u8>>| String::from_utf8(writer.into_inner()).expect("UTF-8");

    let range: Vec<u64> = (3..9).collect();
    assert_eq!(bytes(written(&of(Kind::Range), &range, whole, note("checkpoint"))), expected("a range"));
    assert_eq!(bytes(written(&of(Kind::Events), &[0, 11], whole, note("checkpoint"))), expected("single events"));
    let mut writer = written(&of_trace, &trace, whole, note("cosigned"));
    writer.statement(note("statement")).expect("writes");
    assert_eq!(bytes(writer), expected("a whole trace, with statement and witness"));
    let redacted = |index: u64| if index == 3 { Shown::Without(&["input_id"]) } else { Shown::Whole };
    let pack = bytes(written(&of_trace, &trace, redacted, note("checkpoint")));
    assert_eq!(pack, expected("one member of a payload is redacted"));
    let pack = bytes(written(&of_trace, &trace, |_| Shown::Nothing, note("checkpoint")));
    assert_eq!(pack, expected("all payloads are withheld"));
    let key = SigningKey::of_seed("new", &[4; 32]).expect("a key");
    let checkpoint = note("checkpoint").split_once("\n\n").expect("a note").0.to_owned() + "\n";
    let by_new = signed(&checkpoint, &[key.sign(ORIGIN, &checkpoint).expect("signs")]);
    let mut writer = written(&of_trace, &trace, whole, &by_new);
    writer.rotation(note("rotation")).expect("writes");
    assert_eq!(bytes(writer), expected("signed by the key that a rotation brings"));
}

#[test]
fn events_that_are_not_in_the_order_of_the_log_are_refused() {
    let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
    let range = cases().into_iter().find(|case| case.about == "a range").expect("a pack").pack;
    let lines: Vec<&str> = range.split_inclusive('\n').collect();
    let order = |from: usize, to: usize| {
        let mut lines = lines.clone();
        let line = lines.remove(from);
        lines.insert(to, line);
        judge(lines.concat().as_bytes(), &trust)
    };
    assert_eq!(verdict(&order(1, 1)), (None, 0));
    assert_eq!(verdict(&order(1, 2)), (Some("order_differs"), 3));
    let twice = [&lines[..2], &lines[1..]].concat().concat();
    assert_eq!(verdict(&judge(twice.as_bytes(), &trust)), (Some("order_differs"), 3));
    // A signer who seals an event at the position of the one before it.
    let (mut second, first) = (log().remove(1), log().remove(0));
    second.event.log_seq = first.event.log_seq;
    let payload = second.event.payload.clone().expect("a payload");
    second.entry = Entry::of(&second.event.sealed(), &payload.0, &second.salts);
    let log = [first, second];
    let head = Head::new(Kind::Range, ORIGIN, "default", None);
    let mut writer = Writer::begin(Vec::new(), &head).expect("writes");
    for (index, Sealed { event, salts, entry }) in (0..).zip(&log) {
        writer.event(index, entry, event, salts, Shown::Whole).expect("writes");
    }
    writer.proof(2, &[]).expect("writes");
    writer.checkpoint(&checkpoint(2, &root_of(&leaves(&log)))).expect("writes");
    assert_eq!(verdict(&judge(&writer.into_inner(), &trust)), (Some("order_differs"), 3));
}

#[test]
fn nothing_in_a_pack_is_uncovered() {
    let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
    let pack = |about: &str| cases().into_iter().find(|case| case.about.starts_with(about)).expect("a pack").pack;
    let (withheld, redacted, whole) = (pack("all payloads"), pack("one member"), pack("a range"));
    let shown = "\"tags\":\"[]\",\"payload\":\"{}\"},\"envelope_salt\"";
    let hidden = "\"tags\":\"[]\"},\"envelope_salt\"";
    let payload = "\"payload\":\"{\\\"input_id\\\":\\\"i-3\\\",\\\"kind\\\":\\\"note\\\"}\"";
    for (changed, expected) in [
        (withheld.replacen(hidden, shown, 1), ("pack_malformed", 4)),
        (redacted.replacen(hidden, shown, 1), ("pack_malformed", 4)),
        (whole.replacen(&format!(",{payload}"), "", 1), ("pack_malformed", 4)),
        (whole.replacen(payload, "\"payload\":null", 1), ("pack_malformed", 4)),
        (whole.replacen("\"salt\":", "\"list_salt\":null,\"salt\":", 1), ("pack_malformed", 4)),
        (whole.replacen("{\"proof\":", "{\"index\":1,\"proof\":", 1), ("pack_malformed", 4)),
        (whole.replacen("{\"checkpoint\":", "{\"rfc3161\":\"\",\"checkpoint\":", 1), ("pack_malformed", 4)),
        (whole.replacen(",\"correlation_id\":null", "", 1), ("pack_malformed", 4)),
        (whole.replacen("\"actor_id\":\"router\"", "\"actor_id\":\"\\u0000\"", 1), ("pack_malformed", 4)),
        (whole.replacen(ORIGIN, "log.example/other", 1), ("signature_missing", 8)),
    ] {
        assert!(![withheld, redacted, whole].contains(&changed.as_str()), "nothing was changed");
        let (word, code) = verdict(&judge(changed.as_bytes(), &trust));
        assert_eq!((word, code), (Some(expected.0), expected.1), "{changed}");
    }
    // A time stamp is said to be unchecked.
    let stamped = format!("{whole}{{\"rfc3161\":\"AA==\"}}\n");
    let said = judge(stamped.as_bytes(), &trust).expect("accepted").lines();
    assert!(said.contains(&"not checked: rfc3161".to_owned()), "{said:?}");
}

#[test]
fn a_file_that_was_cut_off_says_so() {
    let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
    let pack = cases().into_iter().find(|case| case.about == "a range").expect("a pack").pack;
    for end in [pack.len() - 1, pack.len() - 2, 40, 1] {
        let judged = judge(&pack.as_bytes()[..end], &trust);
        assert!(judged.expect_err("refused").to_string().contains("it may be cut off"), "{end}");
    }
}

#[test]
fn a_redacted_pack_holds_nothing_of_what_it_hides() {
    let head = Head::new(Kind::Events, ORIGIN, "default", None);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for shown in [Shown::Without(&["kind"]), Shown::Nothing] {
        let pack = written(&head, &[3, 4], |_| shown, note("checkpoint")).into_inner();
        let pack = String::from_utf8(pack).expect("UTF-8");
        assert!(!pack.contains("kind\\\"") && !pack.contains("note\\\""), "{pack}");
        for sealed in &log()[3..5] {
            assert!(!pack.contains(&hex(&sealed.salts.body)) && pack.contains(&hex(&sealed.salts.envelope)));
        }
        let trust = Trust::new(&[key("log")], &[], 0).expect("keys");
        assert!(judge(pack.as_bytes(), &trust).is_ok());
    }
}
