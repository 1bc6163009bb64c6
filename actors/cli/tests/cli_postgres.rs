//! The command line on a real PostgreSQL. The database is never migrated implicitly. Faults of the server are reported
//! with category and exit code, and no output contains a password. The answers equal the answers of the embedded store.

mod cli_support;
#[path = "cli_postgres/many_scopes.rs"]
mod many_scopes;
#[path = "cli_postgres/moving.rs"]
mod moving;
mod pages;
#[path = "cli_postgres/report_costs.rs"]
mod report_costs;

use cli_support::{Cli, enterprise, started, text, trace, without_times};
use decisiongraph_store::throwaway::{self, PASSWORD, PASSWORD_ROLE, Server};
use serde_json::json;
use tokio_postgres::NoTls;

async fn server() -> &'static Server {
    throwaway::shared().await.expect("a throw-away server")
}

/// Opens a separate session, and drives its connection.
async fn session(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_migrated_by_command_only_and_answers_as_the_embedded_store_does() {
    let database = server().await.empty_database().await.expect("a database");
    let cli = Cli::new();
    let on = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--database", database.url()]);
        all.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let run = |args: &[&str]| cli.run(&on(args).iter().map(String::as_str).collect::<Vec<_>>());
    for command in [&["status", "--json"][..], &["import", text(&enterprise()), "--json"], &["catch-up", "--json"]] {
        let ended = run(command);
        assert!(ended.stderr.contains("decisiongraph migrate"), "{}", ended.stderr);
        ended.refused(8, "version_mismatch");
    }
    assert_eq!(run(&["migrate"]).code, 0);
    assert_eq!(run(&["migrate", "--json"]).json()["applied"], json!([]), "twice changes nothing");
    assert_eq!(run(&["import", text(&enterprise())]).code, 0);
    assert_eq!(run(&["catch-up", "--batch-size", "10"]).code, 0);
    assert_eq!(run(&["health"]).code, 0);
    assert_eq!(run(&["rebuild"]).code, 0);
    assert_eq!(run(&["verify"]).code, 0);

    let embedded = Cli::new();
    assert_eq!(embedded.run(&["import", text(&enterprise())]).code, 0);
    assert_eq!(embedded.run(&["catch-up"]).code, 0);
    for query in [
        &["digest", "--reference", "--json"][..],
        &["subgraph", "entity:account:acme", "--max-depth", "3", "--json"],
        &["edges", "trace:change-4711", "--limit", "4", "--json"],
        &["precedents", "--policy-id", "discount_cap", "--json"],
    ] {
        assert_eq!(run(query).stdout, embedded.run(query).stdout, "{query:?}");
    }
    assert_eq!(without_times(&run(&["export"]).stdout), without_times(&embedded.run(&["export"]).stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_server_have_their_category_and_no_password_shows() {
    let server = server().await;
    let database = server.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let log = cli.file("log.jsonl", trace("t").join("\n"));
    let address = server.host_port().unwrap_or_default();
    if !address.is_empty() {
        let secret = "hunter2hunter2";
        for (url, code, category) in [
            (format!("postgres://{PASSWORD_ROLE}:{secret}@{address}/{}", database.name()), 8, "unauthorized"),
            (format!("postgres://u:{secret}@127.0.0.1:1/d"), 6, "unavailable"),
            (format!("postgres://postgres:{secret}@{address}/no_such_database"), 6, "unavailable"),
        ] {
            for command in [&["status"][..], &["import", text(&log)], &["migrate"], &["health"]] {
                let mut args = command.to_vec();
                args.extend(["--json", "-vv", "--database", &url]);
                let ended = cli.run(&args);
                assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{}", ended.stderr);
                args.retain(|arg| *arg != "-vv");
                let message = cli.run(&args).refused(code, category);
                assert!(!message.contains(secret), "{message}");
            }
        }
        // The right password, but no privileges.
        let url = format!("postgres://{PASSWORD_ROLE}:{}@{address}/{}", PASSWORD.replace(' ', "%20"), database.name());
        cli.run(&["import", text(&log), "--json", "--database", &url]).refused(8, "unauthorized");
    }
    let admin = session(server.admin_url()).await;
    admin
        .batch_execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()))
        .await
        .expect("alters");
    for command in [&["import", text(&log)][..], &["catch-up"]] {
        let mut args = command.to_vec();
        args.extend(["--json", "--database", database.url()]);
        let message = cli.run(&args).refused(1, "storage");
        assert!(message.contains("read-only"), "{message}");
    }
    let events = cli.run(&["events", "--json", "--database", database.url()]);
    assert_eq!((events.code, &events.json()["events"]), (0, &json!([])), "{}", events.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_appender_is_named_with_its_pid() {
    let database = server().await.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let log = cli.file("log.jsonl", trace("t").join("\n"));
    let others = cli.file("others.jsonl", trace("o").join("\n"));
    for args in [&["import", text(&others)][..], &["catch-up"]] {
        let of_other = ["--tenant", "other", "--database", database.url()];
        assert_eq!(cli.run(&[args, &of_other].concat()).code, 0);
    }
    let appender = session(database.url()).await;
    let pid: i32 = appender.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    appender.batch_execute("BEGIN; LOCK TABLE dg_event_log IN ROW EXCLUSIVE MODE").await.expect("locks");
    assert_eq!(cli.run(&["import", text(&log), "--database", database.url()]).code, 0);
    let status = || cli.run(&["status", "--json", "--database", database.url()]).json();
    assert_eq!(status()["mark_is_safe"], false);
    // Nor is the log read past the mark: an event may still appear below those that were imported.
    // What is applied was safe.
    for (tenant, mark) in [("default", 0), ("other", 3)] {
        let events = cli.run(&["events", "--tenant", tenant, "--json", "--database", database.url()]).json();
        assert_eq!(events["events"].as_array().map(Vec::len), Some(mark), "{events}");
        assert_eq!((&events["mark"], &events["more"]), (&json!(mark), &json!(false)));
    }
    let of_another = ["precedents", "--tenant", "other", "--at-least", "6", "--wait", "0", "--json"];
    let of_another = || cli.run(&[&of_another[..], &["--database", database.url()]].concat());
    of_another().refused(7, "projection_out_of_date");
    // A young transaction is not reported as holding up a scope.
    tokio::task::block_in_place(|| {
        cli_support::node::wait_until("its scopes wait for it", || status()["scopes"][0]["state"] == "waiting");
    });
    let status = status();
    assert_eq!(status["waiting_for"][0]["pid"], pid);
    let why = status["scopes"][0]["why"].as_str().expect("text");
    assert!(why.contains(&format!("pid {pid}")), "{why}");
    assert!(cli.run(&["status", "--database", database.url()]).stdout.contains(&format!("open appender pid {pid}")));
    appender.batch_execute("ROLLBACK").await.expect("rolls back");
    assert_eq!(of_another().code, 0, "it has no event there, and gets none any more");
    assert_eq!(cli.run(&["catch-up", "--database", database.url()]).code, 0);
    let status = cli.run(&["status", "--json", "--database", database.url()]).json();
    assert_eq!((&status["mark_is_safe"], &status["scopes"][0]["state"]), (&json!(true), &json!("current")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_fails_an_import_without_losing_what_it_acknowledged() {
    let database = server().await.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let first = cli.file("first.jsonl", trace("t").join("\n"));
    assert_eq!(cli.run(&["import", text(&first), "--database", database.url()]).code, 0);
    let admin = session(server().await.admin_url()).await;
    admin
        .batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name()))
        .await
        .expect("closes the database");
    let second = cli.file("second.jsonl", started("u").to_string());
    let ended = cli.run(&["import", text(&second), "--json", "--database", database.url()]);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    admin
        .batch_execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name()))
        .await
        .expect("opens the database");
    let events = cli.run(&["events", "--json", "--database", database.url()]).json();
    assert_eq!(events["events"].as_array().map(Vec::len), Some(3));
    let again = cli.run(&["import", text(&second), "--json", "--database", database.url()]);
    assert_eq!(again.json()["accepted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_behind_what_can() {
    let database = server().await.fresh_database().await.expect("a database");
    let cli = Cli::new();
    for tenant in ["a", "b", "stray"] {
        let log = cli.file("log.jsonl", trace(tenant).join("\n"));
        assert_eq!(cli.run(&["import", text(&log), "--tenant", tenant, "--database", database.url()]).code, 0);
    }
    session(database.url())
        .await
        .batch_execute(
            "ALTER TABLE dg_event_log DROP CONSTRAINT IF EXISTS dg_event_log_tenant, DROP CONSTRAINT IF EXISTS dg_event_log_tags; \
             UPDATE dg_event_log SET tags = '7' WHERE log_seq = 2; \
             UPDATE dg_event_log SET tenant_id = repeat('x', 201) WHERE tenant_id = 'stray'",
        )
        .await
        .expect("as some other producer wrote it");
    let all = cli.run(&["export", "--all-tenants", "--database", database.url()]);
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "two of a, three of b: {}", all.stdout);
    assert_eq!(all.code, 1);
    for part in ["category: storage", "log_seq 2 of tenant a", "log_seq 7 belongs to no tenant", "next: "] {
        assert!(all.stderr.contains(part), "{part}: {}", all.stderr);
    }
    let events = cli.run(&["events", "--tenant", "a", "--json", "--database", database.url()]);
    assert_eq!((events.code, events.json()["events"].as_array().map(Vec::len)), (1, Some(3)));
    assert!(
        events.json()["events"][1]["fault"].as_str().is_some_and(|fault| fault.contains("tags")),
        "{}",
        events.stdout
    );
    assert!(events.stderr.contains("\"category\":\"storage\""), "{}", events.stderr);
    assert_eq!(cli.run(&["events", "--tenant", "b", "--database", database.url()]).code, 0);
    // The transaction holds up no other tenant.
    assert_eq!(cli.run(&["catch-up", "--tenant", "b", "--database", database.url()]).code, 0);
    assert_eq!(cli.run(&["status", "--database", database.url()]).code, 0);
    let health = cli.run(&["health", "--database", database.url()]);
    assert_eq!(health.code, 10, "{}", health.stdout);
    assert!(health.stdout.contains("DELETE FROM dg_event_log WHERE tenant_id"), "{}", health.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_that_meets_a_hole_points_to_nothing_that_is_not_there() {
    let database = server().await.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let log = cli.file("log.jsonl", trace("t").join("\n"));
    assert_eq!(cli.run(&["import", text(&log), "--tenant", "it's", "--database", database.url()]).code, 0);
    assert_eq!(cli.run(&["catch-up", "--tenant", "it's", "--database", database.url()]).code, 0);
    session(database.url()).await.batch_execute("DELETE FROM dg_event_log WHERE log_seq = 2").await.expect("a hole");
    let verify = cli.run(&["verify", "--tenant", "it's", "--database", database.url()]);
    assert_eq!(verify.code, 4, "{}", verify.stdout);
    assert!(!verify.stdout.contains("decisiongraph failure"), "{}", verify.stdout);
    let look = "decisiongraph events --tenant 'it'\\''s' --since-log-seq 2 --until-log-seq 3";
    assert!(verify.stdout.contains(look), "{}", verify.stdout);
    let events = cli.run(&[
        "events",
        "--tenant",
        "it's",
        "--since-log-seq",
        "2",
        "--until-log-seq",
        "3",
        "--json",
        "--database",
        database.url(),
    ]);
    assert_eq!(events.json()["events"][0]["log_seq"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrate_that_waits_says_for_whom_and_goes_on() {
    let database = server().await.fresh_database().await.expect("a database");
    let cli = Cli::new();
    let other = session(database.url()).await;
    other
        .batch_execute("BEGIN; LOCK TABLE refinery_schema_history IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .expect("held");
    let mut migrating = cli
        .command(&["migrate", "--database", database.url()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut told = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(migrating.stderr.as_mut().expect("piped")), &mut told)
        .expect("a line");
    assert!(told.contains("waiting for another migration: pid ") && told.contains("pg_terminate_backend"), "{told}");
    other.batch_execute("ROLLBACK").await.expect("gone");
    let ended = migrating.wait_with_output().expect("ends");
    assert!(ended.status.success(), "{ended:?}");
}
