//! An auditor folds an export, and compares it with what the log's key has stated.

use crate::cli_support::{Ended, text};
use crate::key_of;
use crate::seal_support::{ALL, BOTH, Backend, FIRST, Ground, says};
use serde_json::Value;
use std::path::PathBuf;

/// Writes the export of a log, with a change to its lines.
fn export(ground: &Ground, change: impl FnOnce(&mut Vec<String>)) -> PathBuf {
    let mut lines: Vec<String> = ground.ok(&["export"]).stdout.lines().map(str::to_owned).collect();
    assert!(lines.len() >= FIRST, "{} lines", lines.len());
    change(&mut lines);
    ground.cli.file("export.jsonl", lines.join("\n") + "\n")
}

fn replay(ground: &Ground, source: &str, export: &std::path::Path, more: &[&str]) -> Ended {
    let (key, state) = (key_of(ground), ground.cli.path("heads.jsonl"));
    let args = ["monitor", source, "--key", &key, "--state", text(&state), "--once", "--replay", text(export)];
    ground.cli.run(&[&args[..], more].concat())
}

fn place(ground: &Ground) -> String {
    format!("dir:{}", ground.cli.path("place").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_gives_the_digests_that_were_stated() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (_, ground) = Ground::sealed(backend).await;
        let whole = export(&ground, |_| ());
        let agrees = format!("replayed: {ALL} events give the digests of the statement of … about …, …, …");
        for source in [place(&ground), ground.url()] {
            says(&replay(&ground, &source, &whole, &[]), 0, &agrees, &format!("{about} {source}"));
        }
        let told = replay(&ground, &place(&ground), &whole, &["--json"]).json();
        assert!(told["replayed"].as_str().is_some_and(|line| line.contains("context_graph")), "{told}");

        // A log of fewer events is compared with the statement about them.
        let first = export(&ground, |lines| lines.truncate(FIRST));
        says(&replay(&ground, &place(&ground), &first, &[]), 0, "replayed: 60 events", &about);
        let none = export(&ground, |lines| lines.truncate(FIRST - 1));
        replay(&ground, &place(&ground), &none, &["--json"]).refused(5, "not_found");

        // A node gives its statements over HTTP.
        let node = ground.node(&[]);
        let (source, token) = (node.http.clone().expect("an address"), ground.cli.data_dir().join("http.token"));
        let source = format!("http://{source}");
        let first = export(&ground, |lines| lines.truncate(FIRST));
        let of_node = replay(&ground, &source, &first, &["--token-file", text(&token)]);
        says(&of_node, 0, "replayed: 60 events", &about);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_changed_gives_another_digest() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let with = |payload: fn(&mut Value)| {
        export(&ground, |lines| {
            let is_approval = |line: &&mut String| line.contains("ApprovalRecorded") && line.contains("approved");
            let line = lines.iter_mut().rfind(is_approval).expect("an approval");
            let mut event: Value = serde_json::from_str(line).expect("an event");
            event.as_object_mut().expect("an object").remove("payload_hash");
            payload(&mut event["payload"]);
            *line = event.to_string();
        })
    };
    let changed = with(|payload| payload["approver"]["actor_id"] = "mallory".into());
    let line =
        "statement_differs: context_graph at cursor 98: the statement of … says lthash:…, the export gives lthash:…";
    says(&replay(&ground, &place(&ground), &changed, &[]), 3, line, "a payload");
    let json = replay(&ground, &place(&ground), &changed, &["--json"]);
    assert_eq!((json.code, &json.json()["finding"]), (3, &"statement_differs".into()));
    // The limit: no projection reads the decision, so no digest has it. A proof of the event has.
    let unread = with(|payload| payload["decision"] = "rejected".into());
    says(&replay(&ground, &place(&ground), &unread, &[]), 0, "replayed: 98 events", "the limit");

    let cut = export(&ground, |lines| {
        let end = lines.iter().position(|line| line.contains("TraceFinished")).expect("an end");
        lines.remove(end);
    });
    let line = "event_missing: the export has 97 events up to log_seq 98, and 98 were sealed";
    says(&replay(&ground, &place(&ground), &cut, &[]), 3, line, "an event is left out");
    let broken = export(&ground, |lines| "not an event".clone_into(&mut lines[7]));
    let refused = replay(&ground, &place(&ground), &broken, &["--json"]);
    assert!(refused.refused(4, "schema_violation").contains("line 8 of the export"), "{}", refused.stderr);
    let missing = ground.cli.path("nowhere.jsonl");
    replay(&ground, &place(&ground), &missing, &["--json"]).refused(5, "not_found");
}

/// Promise: answers that were false when they were stated are found, though rows and log agree again by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_about_false_answers_is_found() {
    for backend in BOTH {
        let about = format!("{backend:?}");
        let (then, _) = Ground::sealed(backend).await;
        let swapped = "UPDATE dg_scope SET digest = (SELECT digest FROM dg_scope WHERE projection = 'trace_summary')
                       WHERE projection = 'context_graph'";
        then.sql(swapped).await;
        let lines = std::fs::read_to_string(crate::cli_support::enterprise()).expect("the log");
        then.import(&lines.lines().skip(FIRST).collect::<Vec<_>>().join("\n"));
        then.ok(&["catch-up"]);
        then.ok(&["seal", "now"]);
        then.ok(&["rebuild"]);
        assert_eq!(then.run(&["verify"]).code, 0, "{about}: rows and log agree");
        let whole = export(&then, |_| ());
        let line = "statement_differs: context_graph at cursor 97: the statement of …";
        says(&replay(&then, &place(&then), &whole, &[]), 3, line, &about);
        // What was stated before is still right.
        let first = export(&then, |lines| lines.truncate(FIRST));
        says(&replay(&then, &place(&then), &first, &[]), 0, "replayed: 60 events", &about);
    }
}

/// Promise: a statement that another key has signed is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_another_key_is_refused() {
    let (_, ground) = Ground::sealed(Backend::Sqlite).await;
    let whole = export(&ground, |_| ());
    let folder = ground.cli.path("place");
    let file = std::fs::read_dir(&folder).expect("reads").next().expect("a file").expect("an entry").path();
    let lines = std::fs::read_to_string(&file).expect("reads");
    let changed: Vec<String> = lines
        .lines()
        .map(|line| match line.contains("\"statement\"") && line.contains("last_log_seq 98") {
            // Another time, under the same signature.
            true => line.replace("\\ntime 20", "\\ntime 19"),
            false => line.to_owned(),
        })
        .collect();
    std::fs::write(&file, changed.join("\n") + "\n").expect("writes");
    says(&replay(&ground, &place(&ground), &whole, &[]), 3, "signature_invalid", "another text");
}
