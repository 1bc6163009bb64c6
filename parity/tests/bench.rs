//! The floors write exactly what the runtime writes, and the benchmark ends by itself with a complete report.

mod run;

use decisiongraph_parity::bench::place::{Place, Site};
use decisiongraph_parity::bench::{floor_postgres, floor_sqlite, folded};
use decisiongraph_parity::check::trial::{Trial, read};
use decisiongraph_parity::workload::{Profile, Workload};
use decisiongraph_projections::{Admitted, catalogue};
use decisiongraph_store::RunMode;
use std::sync::Arc;

const BATCH_EVENTS: usize = 37;

fn events() -> Vec<Admitted> {
    Workload::new(Profile::Mixed, 21, 700, 1).map(|line| read(&line).expect("legal")).collect()
}

/// Creates a store that the runtime has projected.
async fn projected(place: &Place, mode: RunMode) -> Site {
    let site = place.loaded(&events()).await.expect("a log");
    let store = site.open(3).await.expect("opens");
    Trial::new(&store, BATCH_EVENTS, false).run(mode).await.expect("projects");
    site
}

/// Lists tables and the columns in which a floor must equal the runtime: all but tenant and generation.
fn columns() -> Vec<(&'static str, String)> {
    let tables = catalogue::ALL.into_iter().flat_map(|projection| projection.tables());
    tables
        .map(|table| {
            let mut names: Vec<String> = vec!["row_key".to_owned()];
            names.extend(table.columns.iter().map(|column| column.name.to_owned()));
            names.extend(table.hashed.iter().map(|hashed| format!("{}_key", table.columns[hashed.column].name)));
            if table.naming.is_some() {
                names.extend(table.hashed.iter().map(|hashed| format!("{}_since", table.columns[hashed.column].name)));
            }
            (table.name, names.join(", "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floors_on_sqlite_write_the_very_same_rows() {
    let place = Place::embedded().expect("a directory");
    let folded = folded::fold(&events(), BATCH_EVENTS);
    for mode in [RunMode::CatchUp, RunMode::Rebuild] {
        let site = projected(&place, mode).await;
        let floor = place.unused().await.expect("a name");
        match mode {
            RunMode::CatchUp => floor_sqlite::catch_up(&site.path(), &floor.path(), &folded),
            _ => floor_sqlite::rebuild(&site.path(), &floor.path(), &folded),
        }
        .expect("writes");
        let connection = rusqlite::Connection::open(floor.path()).expect("opens");
        connection.execute("ATTACH ?1 AS runtime", [site.path().display().to_string()]).expect("attaches");
        for (table, columns) in columns() {
            // Rows of a generation that a rebuild retired may still be there.
            let live = format!(
                "SELECT {columns} FROM runtime.{table} WHERE generation = (SELECT max(generation) FROM runtime.{table})"
            );
            let count = |sql: &str| -> i64 {
                connection.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get(0)).expect(sql)
            };
            assert!(count(&live) > 20, "{table} has rows");
            assert_eq!(count(&format!("SELECT {columns} FROM main.{table} EXCEPT {live}")), 0, "too many in {table}");
            assert_eq!(count(&format!("{live} EXCEPT SELECT {columns} FROM main.{table}")), 0, "missing in {table}");
            assert_eq!(count(&live), count(&format!("SELECT * FROM main.{table}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floors_on_postgres_write_the_very_same_rows() {
    let server = decisiongraph_store::throwaway::shared().await.expect("a server");
    let place = Place::postgres(Some(server.admin_url().to_owned())).await.expect("a place");
    let folded = Arc::new(folded::fold(&events(), BATCH_EVENTS));
    for mode in [RunMode::CatchUp, RunMode::Rebuild] {
        let site = projected(&place, mode).await;
        match mode {
            RunMode::CatchUp => floor_postgres::catch_up(&site.url, &folded).await,
            _ => floor_postgres::rebuild(&site.url, &folded).await,
        }
        .expect("writes");
        let (client, connection) = tokio_postgres::connect(&site.url, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        for (table, columns) in columns() {
            let live = format!(
                "(SELECT {columns} FROM public.{table} WHERE generation = (SELECT max(generation) FROM public.{table}))"
            );
            let count = async |sql: String| -> i64 {
                let row =
                    client.query_one(&format!("SELECT count(*) FROM ({sql}) AS rows"), &[]).await.expect("counts");
                row.get(0)
            };
            assert!(count(live.clone()).await > 20, "{table} has rows");
            assert_eq!(count(format!("(SELECT {columns} FROM floor.{table}) EXCEPT {live}")).await, 0, "{table}");
            assert_eq!(count(live.clone()).await, count(format!("SELECT * FROM floor.{table}")).await, "{table}");
            let indexes = async |schema: &str| -> i64 {
                let sql = "SELECT count(*) FROM pg_indexes WHERE schemaname = $1 AND tablename = $2";
                client.query_one(sql, &[&schema, &table]).await.expect("counts").get(0)
            };
            assert_eq!(indexes("public").await, indexes("floor").await, "{table} has the same indexes");
        }
        place.remove(site).await.expect("drops");
    }
}

#[test]
fn a_small_benchmark_gives_a_whole_report() {
    let run = run::parity(
        &["bench", "--database", "embedded", "--measures", "floors", "--events", "400", "--repeat", "1", "--json"],
        None,
    );
    assert!(run.ok(), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("one object");
    let figures = report["figures"].as_array().expect("figures");
    for name in ["catch-up / floor", "rebuild / floor", "rolling digest", "verify (log, rows and digest)"] {
        let figure = figures.iter().find(|figure| figure["name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert!(figure["value"].as_f64().expect("a number") > 0.0, "{figure}");
    }
    assert!(report["settings"].as_array().is_some_and(|settings| settings.len() > 5));
    let samples = report["quiet"]["samples"].as_array().expect("samples");
    let during: Vec<&str> = samples.iter().filter_map(|sample| sample["during"].as_str()).collect();
    assert_eq!(during, ["start", "floors"]);
    assert!(report["quiet"]["quiet"].is_boolean() && report["quiet"]["limit_percent"] == 5.0);
}

/// The runs are compared, and drawn, from their files alone.
#[test]
fn a_run_is_compared_with_an_earlier_one_and_drawn() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let size = ["--measures", "growth", "--growth-events", "600", "--batch-size", "20", "--repeat", "1", "--json"];
    let run = run::parity(&[&["bench", "--database", "embedded"], &size[..]].concat(), None);
    assert!(run.ok(), "{}", run.stderr);
    std::fs::write(file("before.json"), &run.stdout).expect("writes");
    std::fs::write(file("now.json"), &run.stdout).expect("writes");
    std::fs::write(file("foreign.json"), "{\"figures\": 7}").expect("writes");

    let (before, now, foreign, plots) = (file("before.json"), file("now.json"), file("foreign.json"), file("plots"));
    let run = run::parity(&["bench", "--from", &now, "--compare", &before, "--plot", &plots], None);
    assert!(run.ok(), "{}", run.stderr);
    assert!(run.stdout.contains(&format!("compared with {before}")), "{}", run.stdout);
    assert!(run.stdout.contains("0 worse and 0 better"), "{}", run.stdout);
    for chart in ["growth-rate", "growth-memory"] {
        let text = std::fs::read_to_string(format!("{plots}/{chart}.svg")).expect("a picture");
        let picture = roxmltree::Document::parse(&text).expect("well-formed");
        let texts: Vec<&str> = picture.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        assert!(texts.contains(&"catch-up of 600 events") && texts.contains(&"events in the log"), "{texts:?}");
        assert!(run.stderr.contains(&format!("{chart}.svg")), "{}", run.stderr);
    }

    let run = run::parity(&["bench", "--compare", &foreign], None);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("not a report of `bench --json`") && run.stderr.contains("next: "), "{}", run.stderr);
}

/// A busy loop per core is more than a quiet machine has.
#[test]
fn a_machine_that_others_use_is_refused() {
    let cores = std::thread::available_parallelism().map_or(2, usize::from).to_string();
    let script = "for _ in $(seq \"$1\"); do (while :; do :; done) >/dev/null 2>&1 & echo $!; done";
    let mut busy = decisiongraph_store::launch::program("sh");
    busy.args(["-c", script, "sh", &cores]);
    let pids = String::from_utf8(busy.output().expect("runs").stdout).expect("UTF-8");
    let run = run::parity(&["bench", "--database", "embedded", "--measures", "floors", "--require-quiet"], None);
    let mut kill = decisiongraph_store::launch::program("kill");
    assert!(kill.args(pids.split_whitespace()).status().expect("runs").success());
    assert_eq!(run.code, Some(6), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("not quiet: load ") && run.stderr.contains("(limit 5 %)"), "{}", run.stderr);
    assert!(run.stderr.contains("next: end or stop these processes"), "{}", run.stderr);
    assert!(run.stdout.is_empty(), "nothing was measured: {}", run.stdout);
}

#[test]
fn a_small_benchmark_of_a_running_node_gives_sane_figures() {
    let mut arguments = vec!["bench", "--database", "embedded", "--json", "--events", "400", "--tenants", "50"];
    arguments.extend(["--seconds", "1", "--measures", "freshness,live,tenants,admin,recovery"]);
    let run = run::parity(&arguments, None);
    assert!(run.ok(), "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("one object");
    let figures = report["figures"].as_array().expect("figures");
    let value = |measure: &str, name: &str| {
        let found = figures.iter().find(|figure| {
            figure["measure"] == measure && figure["name"].as_str().is_some_and(|full| full.contains(name))
        });
        found.and_then(|figure| figure["value"].as_f64()).unwrap_or_else(|| panic!("{measure}: {name}: {}", run.stdout))
    };
    for (measure, when) in [("freshness", "100/s"), ("freshness", "1000/s"), ("live", "100/s"), ("tenants", "200/s")] {
        let [p50, p99, max] = ["p50", "p99", "max"].map(|of| {
            value(
                measure,
                &format!(
                    "{when}{}visible, {of}",
                    if measure == "live" {
                        " beside a rebuild of 400: append to "
                    } else if measure == "tenants" {
                        " over all tenants: append to "
                    } else {
                        ": append to "
                    }
                ),
            )
        });
        assert!(0.0 < p50 && p50 <= p99 && p99 <= max && max < 20_000.0, "{measure} {when}: {p50} {p99} {max}");
        assert!(value(measure, "between two looks, p50") > 0.0);
    }
    assert!((1.0..=110.0).contains(&value("freshness", "100/s: appended")));
    assert!(value("tenants", "start to all current") > 0.0);
    assert!(value("tenants", "memory, all passivated") >= 1.0, "MiB");
    assert!((0.0..=200.0).contains(&value("tenants", "idle: CPU of the node")), "per cent of two cores");
    assert!(value("admin", "round trip, small reply, p99") > 0.0);
    assert!(value("admin", "dump: actors") >= 300.0, "six a tenant");
    assert_eq!(value("admin", "dump: disagreements"), 0.0);
    for word in ["status", "health", "why"] {
        for way in ["through a node", "directly"] {
            assert!(value("admin", &format!("{word} over 150 scopes with 51 failures, {way}")) > 0.0);
        }
    }
    assert!((0.2..1.0).contains(&value("recovery", "same node again: at this part of the log")), "in the middle");
    for who in ["the same node again", "another node"] {
        let [commits, current] =
            ["commits after", "current after"].map(|what| value("recovery", &format!("killed, {who}: {what}")));
        assert!(0.0 < commits && commits <= current && current < 20.0, "{who}: {commits} {current}");
    }
}
