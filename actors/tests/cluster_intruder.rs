//! Promises of the door to other machines: who does not belong to the cluster is refused, within bounds, and logged without secrets,
//! and those who belong do not notice. Real nodes, real TLS.

mod cli_support;
mod cluster_support;

use cli_support::node::{PATIENCE, secret_file, wait_until, within};
use cli_support::{Cli, text};
use cluster_support::{Authority, NAME, SECRET, by_tls, log, private, secret, start};

#[test]
fn a_program_anywhere_reaches_a_node_by_certificate_and_secret() {
    let (authority, cli, elsewhere) = (Authority::new(), Cli::new(), Cli::new());
    let node = start(&cli, &authority.issue("node", NAME), &[]);
    let (mine, secret) = (authority.issue("program", "whoever"), secret(&elsewhere));
    let address = node.cluster.clone().expect("listens");
    let ask = |args: &[&str]| {
        let args = [args, &by_tls(&address, &mine, &secret)[..]].concat();
        within(PATIENCE, elsewhere.command(&args))
    };
    let tree = ask(&["tree", "--json"]);
    assert_eq!(tree.json()["node"]["name"], node.name.as_str(), "{}", tree.stderr);
    let many: Vec<String> = (0..200).flat_map(|i| cli_support::trace(&format!("t{i}"))).collect();
    let file = elsewhere.file("events.jsonl", many.join("\n"));
    assert_eq!(ask(&["import", text(&file)]).code, 0);
    assert_eq!(ask(&["catch-up", "--json"]).json()["run"]["state"], "completed");
    let by_name = address.replace("127.0.0.1", "localhost");
    let args = [&["status"], &by_tls(&by_name, &mine, &secret)[..]].concat();
    assert_eq!(within(PATIENCE, elsewhere.command(&args)).code, 0, "a name that is resolved");
}

#[test]
fn whoever_lacks_certificate_name_or_secret_is_refused_by_name() {
    let (authority, strangers, cli, elsewhere) = (Authority::new(), Authority::new(), Cli::new(), Cli::new());
    let node = start(&cli, &authority.issue("node", NAME), &[]);
    let address = node.cluster.clone().expect("listens");
    let (mine, secret) = (authority.issue("program", "whoever"), secret(&elsewhere));
    let wrong = secret_file(&elsewhere, "wrong", "wrong horse battery staple");
    let refused = |flags: Vec<&str>, code, category: &str, part: &str| {
        let args = [&["status", "--json"], &flags[..]].concat();
        let message = within(PATIENCE, elsewhere.command(&args)).refused(code, category);
        assert!(message.contains(part), "{message}");
    };
    // Another authority: the node does not believe the program, and the program would not believe the node.
    let theirs = strangers.issue("program", "whoever");
    refused(by_tls(&address, &theirs, &secret), 8, "unauthorized", "TLS");
    let mut half = theirs.clone();
    half.ca = mine.ca.clone();
    refused(by_tls(&address, &half, &secret), 8, "unauthorized", "the other side ended TLS");
    let expired = authority.issue_expired("expired", "whoever");
    refused(by_tls(&address, &expired, &secret), 8, "unauthorized", "CertificateExpired");
    refused(
        [by_tls(&address, &mine, &secret), vec!["--tls-name", "another.example"]].concat(),
        8,
        "unauthorized",
        "not valid for name",
    );
    refused(by_tls(&address, &mine, &wrong), 8, "unauthorized", "the node has another secret");
    let versions = [by_tls(&address, &mine, &secret), vec!["--protocol-version", "9"]].concat();
    refused(versions, 8, "version_mismatch", "protocol 9");
    // Without TLS nothing is understood.
    let plain = ["--node", &address, "--secret-file", text(&secret)];
    let ended = within(PATIENCE, elsewhere.command(&[&["status", "--json"], &plain[..]].concat()));
    assert!(matches!(ended.code, 6 | 8), "{}", ended.stderr);
    refused(
        vec!["--node", "192.0.2.1:7", "--secret-file", text(&secret)],
        2,
        "invalid_argument",
        "not an address of this machine",
    );
    refused(
        vec!["--node", &address, "--tls-ca", text(&mine.ca), "--secret-file", text(&secret)],
        2,
        "invalid_argument",
        "all of",
    );
    let key = std::fs::read_to_string(&mine.key).expect("reads");
    let open = authority.path("open.key");
    private(&open, &key);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&open, permissions).expect("sets");
    let mut shown = mine.clone();
    shown.key = open;
    refused(by_tls(&address, &shown, &secret), 2, "invalid_argument", "others may read");
    assert_eq!(
        within(PATIENCE, elsewhere.command(&[&["status"], &by_tls(&address, &mine, &secret)[..]].concat())).code,
        0
    );
    let log = log(&cli);
    let lines = log.lines().filter(|line| line.contains("an admin connection was refused")).count();
    assert!(lines >= 5, "{log}");
    for part in ["cluster", "127.0.0.1:", "unauthorized", "the node has another secret", "expired", "protocol 9"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    for hidden in [SECRET, "wrong horse", "PRIVATE KEY"] {
        assert!(!log.contains(hidden), "{log}");
    }
}

#[test]
fn certificates_change_without_a_restart_and_a_faulty_one_is_not_taken() {
    let (old, new, cli, elsewhere) = (Authority::new(), Authority::new(), Cli::new(), Cli::new());
    let files = old.issue("node", NAME);
    let node = start(&cli, &files, &[]);
    let address = node.cluster.clone().expect("listens");
    let (before, after, secret) = (old.issue("program", "p"), new.issue("program", "p"), secret(&elsewhere));
    let status =
        |files| within(PATIENCE, elsewhere.command(&[&["status"], &by_tls(&address, files, &secret)[..]].concat()));
    assert_eq!((status(&before).code, status(&after).code), (0, 8));
    std::fs::write(&files.cert, "no certificate").expect("writes");
    assert_eq!(status(&before).code, 0, "the last good one stays");
    wait_until("it is told", || log(&cli).contains("the changed certificates are not used"));
    let fresh = new.issue("node", NAME);
    for (to, from) in [(&files.cert, &fresh.cert), (&files.key, &fresh.key), (&files.ca, &fresh.ca)] {
        std::fs::write(to, std::fs::read(from).expect("reads")).expect("writes");
    }
    assert_eq!((status(&before).code, status(&after).code), (8, 0));
}
