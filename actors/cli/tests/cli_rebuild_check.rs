//! The estimate of `rebuild --check` for the size of a rebuild.

mod cli_support;

use cli_support::{Cli, enterprise, text};

#[test]
fn a_rebuild_check_counts_the_rows_that_are_there_and_says_when_it_only_assumes() {
    let cli = Cli::new();
    assert_eq!(cli.run(&["import", text(&enterprise())]).code, 0);
    let told = |cli: &Cli| {
        let check = cli.json(&["rebuild", "--check"]);
        let estimates = check["projections"].as_array().expect("a list").clone();
        let rows: u64 = estimates.iter().filter_map(|estimate| estimate["rows"].as_u64()).sum();
        let from: std::collections::BTreeSet<String> =
            estimates.iter().filter_map(|estimate| estimate["size_source"].as_str().map(str::to_owned)).collect();
        (rows, from.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(told(&cli).1, ["assumed"]);
    assert_eq!(cli.run(&["catch-up"]).code, 0);
    let rows = |cli: &Cli| -> u64 {
        let connection = rusqlite::Connection::open(cli.data_dir().join("decisiongraph.db")).expect("opens");
        let count = |table: &str| -> u64 {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a count") as u64
        };
        decisiongraph_projections::catalogue::ALL.iter().flat_map(|it| it.tables()).map(|table| count(table.name)).sum()
    };
    assert_eq!(told(&cli), (rows(&cli), vec!["live rows".to_owned()]));
    // Twice as many events give about twice as many rows.
    let more = cli.path("more.jsonl");
    let mut again = std::fs::read_to_string(enterprise()).expect("reads");
    for name in ["event_id", "trace_id", "idempotency_key"] {
        again = again.replace(&format!("\"{name}\": \""), &format!("\"{name}\": \"again-"));
    }
    std::fs::write(&more, again).expect("writes");
    assert_eq!(cli.run(&["import", text(&more)]).code, 0);
    assert_eq!(told(&cli).0, rows(&cli) * 2);
    assert!(cli.run(&["rebuild", "--check"]).stdout.contains("live rows"));
}
