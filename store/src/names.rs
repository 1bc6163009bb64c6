//! The statements of both backends bear the same names, but for those listed here with a reason.

use std::collections::BTreeSet;

/// Nouns, and their files of statements: of PostgreSQL, of SQLite.
const NOUNS: &[(&str, [&str; 2])] = &[
    ("batch", [include_str!("postgres/sql/batch.sql"), include_str!("sqlite/sql/batch.sql")]),
    ("build", [include_str!("postgres/sql/build.sql"), include_str!("sqlite/sql/build.sql")]),
    ("change", [include_str!("postgres/sql/change.sql"), include_str!("sqlite/sql/change.sql")]),
    ("failure", [include_str!("postgres/sql/failure.sql"), include_str!("sqlite/sql/failure.sql")]),
    ("log", [include_str!("postgres/sql/log.sql"), include_str!("sqlite/sql/log.sql")]),
    ("member", [include_str!("postgres/sql/member.sql"), include_str!("sqlite/sql/member.sql")]),
    ("row", [include_str!("postgres/sql/row.sql"), include_str!("sqlite/sql/row.sql")]),
    ("run", [include_str!("postgres/sql/run.sql"), include_str!("sqlite/sql/run.sql")]),
    ("schema", [include_str!("postgres/sql/schema.sql"), include_str!("sqlite/sql/schema.sql")]),
    ("seal", [include_str!("postgres/sql/seal.sql"), include_str!("sqlite/sql/seal.sql")]),
    ("scope", [include_str!("postgres/sql/scope.sql"), include_str!("sqlite/sql/scope.sql")]),
    ("session", [include_str!("postgres/sql/session.sql"), include_str!("sqlite/sql/session.sql")]),
];

/// Statements that only PostgreSQL has.
const ONLY_POSTGRES: &[(&str, &str)] = &[
    ("build.holds build.ready build.mine", "finishing a build is work between two transactions"),
    ("build.number", "a sequence for each kind of storage"),
    ("build.resume_look scope.end_former_writer", "a lease has a session, and the former writer's is ended"),
    ("build.secondary_indexes build.table_size build.partition_state build.sweep_partition", "partitions"),
    ("build.sweep_open_transactions build.sweep_note_readers", "readers may still need a retired generation"),
    ("batch.build_holds", "the fence is checked in the database, and a failure is explained afterwards"),
    ("batch.deviate_scope batch.deviate_build", "the fences are functions of the schema, without this argument"),
    ("log.notify member.notify", "other processes are told"),
    ("log.open_writers log.writable log.session", "there are other writers, sessions and standbys"),
    (
        "log.page_small log.event_size log.trace_event_size seal.logged_small seal.logged_size",
        "the server bounds the bytes of an answer",
    ),
    ("seal.holds", "there are other writers: the fence comes last"),
    ("seal.wal_position seal.standbys", "there are standbys"),
    ("seal.logged_columns seal.logged_bytes seal.recorded_us seal.events_of_tenant", "parts of others"),
    ("schema.index_is_built", "an index is built while others append"),
    ("log.broken_rules schema.unproven_rules schema.strangers schema.migration_holder", "other roles use the database"),
    ("row.edges_of row.edges_touching", "SQLite merges several look-ups, made of the table's description"),
    ("session.begin", "a server's settings"),
    ("log.append_new", "what an append assumes is proved in the statement that stores"),
    ("log.append_turns log.move_lock", "there are other writers"),
    ("log.move_insert log.move_sequence", "an identity column tells positions that are given from those that it draws"),
    ("log.insert_events log.insert_columns log.insert_values", "parts of others"),
    ("log.look_up_key log.look_up_id log.look_up_trace", "parts of others"),
    ("log.chosen_of_tenant log.chosen_of_trace", "parts of others"),
    ("log.page_columns log.page_size log.event_bytes log.history_name run.live_node", "parts of others"),
];

/// Statements that only SQLite has.
const ONLY_SQLITE: &[(&str, &str)] = &[
    (
        "build.now change.now failure.now log.now member.now run.now scope.now seal.now",
        "PostgreSQL has a function for it",
    ),
    ("log.scopes_done", "one tenant after the other, each decided by the program"),
    ("row.node_begun row.log_end", "the positions of an edge's look-ups are computed by the program"),
    ("schema.has_table", "PostgreSQL has a function for it"),
    ("session.reader session.writer", "a connection's settings"),
    ("session.scratch", "a store for intermediate results"),
    ("member.forget_long_dead", "no statement of SQLite changes two tables"),
    ("log.all_tenants run.node run.is_live scope.is_live", "parts of others"),
];

/// Tables of PostgreSQL whose rows belong to a tenant.
const OF_A_TENANT: [&str; 12] = [
    "dg_event_log",
    "dg_scope",
    "dg_generation",
    "dg_digest_checkpoint",
    "dg_failure",
    "dg_skip",
    "dg_run",
    "dg_run_claim",
    "dg_seal",
    "dg_seal_chunk",
    "dg_seal_node",
    "dg_seal_note",
];

/// Changes of PostgreSQL that do not name the tenant of the rows. None of them is in the path of events.
const NAMES_NO_TENANT: &[(&str, &str)] =
    &[("run.adopt run.advance run.finish run.cancel run.orphan run.unclaim", "a job is found by its id")];

/// Returns the names of a backend's statements, with their nouns.
fn names(backend: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (noun, texts) in NOUNS {
        for name in texts[backend].lines().filter_map(|line| line.strip_prefix("-- name: ")) {
            assert!(names.insert(format!("{noun}.{name}")), "{noun}.{name} is there twice");
        }
    }
    names
}

fn listed(only: &[(&'static str, &str)]) -> BTreeSet<String> {
    only.iter().flat_map(|(names, _)| names.split(' ')).map(str::to_owned).collect()
}

#[test]
fn statements_pair_by_name() {
    let (postgres, sqlite) = (names(0), names(1));
    assert_eq!(&postgres - &sqlite, listed(ONLY_POSTGRES), "only PostgreSQL has them");
    assert_eq!(&sqlite - &postgres, listed(ONLY_SQLITE), "only SQLite has them");
}

/// A statement without a caller is left over.
#[test]
fn every_statement_is_used() {
    for (number, backend) in ["postgres", "sqlite"].into_iter().enumerate() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(backend);
        let files = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let code: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        for (noun, texts) in NOUNS {
            for name in names(number).iter().filter_map(|name| name.strip_prefix(&format!("{noun}."))) {
                let used =
                    code.contains(&format!("SQL, \"{name}\")")) || texts[number].contains(&format!("{{{name}}}"));
                assert!(used, "{backend}: nothing uses {noun}.{name}");
            }
        }
    }
}

/// Cuts a file of statements: name, text without comments.
fn statements(text: &str) -> Vec<(&str, String)> {
    let cut = text.split("-- name: ").skip(1).filter_map(|part| part.split_once('\n'));
    let code = |text: &str| text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    cut.map(|(name, text)| (name.trim(), code(text))).collect()
}

/// Finds the changes of a tenant's rows in a statement. Returns true for each that names the tenant: in the columns of
/// an insert, in the condition of the others.
fn names_the_tenant(statement: &str) -> Vec<bool> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let change = |at: &usize| {
        let verb = words[..*at].last().copied().unwrap_or_default();
        ["INTO", "FROM", "UPDATE"].contains(&verb)
            && (verb != "FROM" || words[..*at - 1].last() == Some(&"DELETE"))
            && OF_A_TENANT.contains(&words[*at])
    };
    let named = |at: usize| match words[at - 1] {
        "INTO" => words[at..].join(" ").split(')').next().is_some_and(|columns| columns.contains("tenant_id")),
        _ => words[at..].join(" ").split_once("WHERE ").is_some_and(|(_, condition)| condition.contains("tenant_id =")),
    };
    (0..words.len()).filter(change).map(named).collect()
}

/// A statement that names the tenant changes one tenant's rows, wherever they are kept.
#[test]
fn a_change_of_a_tenants_rows_names_the_tenant() {
    let (mut changes, mut unnamed) = (0, BTreeSet::new());
    for (noun, [postgres, _]) in NOUNS {
        let all = statements(postgres);
        for (name, text) in &all {
            let whole = all.iter().fold(text.clone(), |text, (part, of)| text.replace(&format!("{{{part}}}"), of));
            let named = names_the_tenant(&whole);
            changes += named.len();
            if named.contains(&false) {
                unnamed.insert(format!("{noun}.{name}"));
            }
        }
    }
    assert_eq!(unnamed, listed(NAMES_NO_TENANT), "these name no tenant");
    assert!(changes > 30, "{changes}");
}
