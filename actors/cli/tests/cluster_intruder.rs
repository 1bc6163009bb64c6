//! Promises of the door for other machines. A stranger to the cluster is refused, within bounds, and logged without
//! secrets. The members do not notice. Real nodes, real TLS.

mod cli_support;
mod cluster_support;

use cli_support::node::{PATIENCE, listening_ports, resident, secret_file, wait_until, within};
use cli_support::{Cli, text};
use cluster_support::{Authority, Linked, NAME, SECRET, by_tls, log, private, secret, start};
use decisiongraph_protocol::PeerRequest;
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Client, PREAMBLE_DEADLINE, Secret, Target, Tls, TlsFiles, WAITING_MAX};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

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
    let wrong = secret_file(&elsewhere, "wrong", "wrong horse battery staple brick");
    let refused = |flags: Vec<&str>, code, category: &str, part: &str| {
        let args = [&["status", "--json"], &flags[..]].concat();
        let message = within(PATIENCE, elsewhere.command(&args)).refused(code, category);
        assert!(message.contains(part), "{message}");
    };
    // Another authority: the node does not trust the program, and the program would not trust the node.
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
    refused(by_tls(&address, &mine, &wrong), 8, "unauthorized", "the node has a different secret");
    let versions = [by_tls(&address, &mine, &secret), vec!["--protocol-version", "9"]].concat();
    refused(versions, 8, "version_mismatch", "protocol 9");
    // Without TLS the node understands nothing.
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
    refused(by_tls(&address, &shown, &secret), 2, "invalid_argument", "other users may read");
    assert_eq!(
        within(PATIENCE, elsewhere.command(&[&["status"], &by_tls(&address, &mine, &secret)[..]].concat())).code,
        0
    );
    let log = log(&cli);
    let lines = log.lines().filter(|line| line.contains("an admin connection was refused")).count();
    assert!(lines >= 5, "{log}");
    for part in ["cluster", "127.0.0.1:", "unauthorized", "the node has a different secret", "expired", "protocol 9"] {
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

/// Counts the open files of a process.
fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux").count()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("sets");
    stream
}

/// Waits until the other side has hung up, and returns the time that this took.
fn hung_up(mut stream: TcpStream) -> Duration {
    let since = Instant::now();
    let mut rest = Vec::new();
    // A reset is a hang-up, too.
    let _ = stream.read_to_end(&mut rest);
    assert!(since.elapsed() < PATIENCE, "it is still open");
    since.elapsed()
}

/// Returns a TLS client that shows no certificate and trusts everything of this authority.
fn without_certificate(files: &TlsFiles) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.ca).expect("reads")).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_of_every_kind_are_hung_up_on_while_the_cluster_does_not_notice() {
    let linked = Linked::start(2);
    linked.wait_until_linked();
    let downs = || [0, 1].map(|index| log(&linked.clis[index]).matches("the link is down").count());
    let downs_before = downs();
    let address = linked.addresses[0].clone();
    let files = linked.authority.issue("program", "whoever");

    // Silence, noise, another protocol, the local door's protocol without TLS, and a TLS record that claims an enormous
    // length.
    let mut noise = vec![0_u8; 4_096];
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    noise.iter_mut().for_each(|byte| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (dice >> 33) as u8;
    });
    let first_words: [&[u8]; 5] = [
        b"",
        &noise,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"DGRP\x00\x02{}",
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
    ];
    for words in first_words {
        let mut stream = connect(&address);
        stream.write_all(words).expect("writes");
        let took = hung_up(stream);
        assert!(took < PREAMBLE_DEADLINE * 2, "{took:?} for {:?}", &words[..words.len().min(9)]);
    }

    // One byte per second: the deadline counts from the first.
    let mut slow = connect(&address);
    let dripping = slow.try_clone().expect("clones");
    let drip = tokio::task::spawn_blocking(move || {
        for byte in [0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3, 0, 0, 0, 0] {
            if slow.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    assert!(hung_up(dripping) < PREAMBLE_DEADLINE * 2);
    drip.await.expect("ends");

    // No certificate.
    let stream = tokio::net::TcpStream::connect(&address).await.expect("connects");
    let name = rustls::pki_types::ServerName::try_from(NAME).expect("a name");
    let mut rest = Vec::new();
    let refused = match without_certificate(&files).connect(name, stream).await {
        Ok(mut stream) => stream.read_to_end(&mut rest).await.expect_err("an alert").to_string(),
        Err(error) => error.to_string(),
    };
    assert!(refused.contains("CertificateRequired"), "{refused}");

    // Behind TLS: a frame that is too long, noise, one byte per second, silence; all without the secret.
    let tls = Tls::load(files.clone()).expect("loads");
    let mut oversized = b"DGRP\xff\xff".to_vec();
    oversized.extend_from_slice(&noise);
    for (words, by_name) in [(oversized, true), (noise.clone(), true), (b"DGRP".to_vec(), false), (Vec::new(), false)] {
        let stream = tokio::net::TcpStream::connect(&address).await.expect("connects");
        let mut stream = tls.connect(stream).await.expect("a certificate of the cluster");
        stream.write_all(&words).await.expect("writes");
        stream.flush().await.expect("writes");
        let (mut answer, since) = (Vec::new(), Instant::now());
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok() && since.elapsed() < PREAMBLE_DEADLINE * 2, "{:?}", since.elapsed());
        // Unread bytes reset the connection, and the refusal may be lost with it.
        assert!(!by_name || answer.is_empty() || String::from_utf8_lossy(&answer).contains("version_mismatch"));
    }

    assert_eq!(downs(), downs_before, "the cluster noticed: {}", log(&linked.clis[0]));
    let log = log(&linked.clis[0]);
    for part in
        ["an admin connection was refused", "did not authenticate", "no TLS", "does not speak the admin protocol"]
    {
        assert!(log.contains(part), "{part}: {log}");
    }
    for hidden in [SECRET, "PRIVATE KEY"] {
        assert!(!log.contains(hidden), "{log}");
    }
}

#[test]
fn a_thousand_idle_connections_cost_a_bounded_number_of_files_and_keep_nobody_out() {
    let mut linked = Linked::start(2);
    linked.wait_until_linked();
    let (address, pid) = (linked.addresses[0].clone(), linked.node(0).pid());
    let downs = || [0, 1].map(|index| log(&linked.clis[index]).matches("the link is down").count());
    let downs_before = downs();
    let elsewhere = Cli::new();
    let (mine, secret) = (linked.authority.issue("program", "whoever"), secret(&elsewhere));
    let (files_before, memory_before) = (open_files(pid), resident(pid));
    let idle: Vec<TcpStream> = (0..1_000).map(|_| connect(&address)).collect();
    let (mut most, mut quickest) = (0, PATIENCE);
    let until = Instant::now() + PREAMBLE_DEADLINE;
    while Instant::now() < until {
        most = most.max(open_files(pid));
        let args = [&["status"], &by_tls(&address, &mine, &secret)[..]].concat();
        let asked = Instant::now();
        let ended = within(PATIENCE, elsewhere.command(&args));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        quickest = quickest.min(asked.elapsed());
    }
    // Each of the 64 admitted connections has one file, and a few more are closing.
    assert!(most <= files_before + 64 + 32, "{most} open files, {files_before} before");
    assert!(quickest < PREAMBLE_DEADLINE, "{quickest:?}: it waited for strangers to be given up");
    idle.into_iter().for_each(|stream| {
        hung_up(stream);
    });
    wait_until("all are closed", || open_files(pid) <= files_before + 8);
    let grown = resident(pid).saturating_sub(memory_before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // New connections during the flood do not disturb the existing link.
    assert!(linked.has(0, "b", "up") && linked.has(1, "a", "up"));
    assert_eq!(downs(), downs_before, "the cluster noticed");
    let log = log(&linked.clis[0]);
    let lines = log.lines().filter(|line| line.contains("an admin connection was refused")).count();
    assert!((1..100).contains(&lines), "{lines} lines for a thousand: {log}");
}

#[test]
fn linked_nodes_listen_on_no_port_that_nobody_configured() {
    let mut linked = Linked::start(2);
    linked.wait_until_linked();
    for index in 0..2 {
        let node = linked.node(index);
        assert!(node.cluster.is_some());
        assert_eq!(listening_ports(node.pid()), node.configured_ports());
    }
}

/// Connects again and again from its own address and never sends a byte. Keeps the last hundreds of connections open.
fn flood(address: SocketAddr, stop: &AtomicBool) -> u64 {
    use socket2::{Domain, Socket, Type};
    let (mut open, mut made) = (std::collections::VecDeque::new(), 0);
    while !stop.load(Ordering::SeqCst) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("binds");
        if socket.connect_timeout(&address.into(), Duration::from_secs(1)).is_ok() {
            made += 1;
            open.push_back(socket);
        }
        if open.len() > 300 {
            open.pop_front();
        }
    }
    made
}

#[test]
fn a_node_comes_back_to_its_cluster_through_a_flood_of_strangers() {
    let mut linked = Linked::start(2);
    linked.wait_until_linked();
    let addresses: Vec<SocketAddr> = linked.addresses.iter().map(|at| at.parse().expect("an address")).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let floods: Vec<_> = addresses.iter().map(|address| scope.spawn(|| flood(*address, &stop))).collect();
        let refused = "an admin connection was refused";
        wait_until("the flood is there", || log(&linked.clis[0]).contains(refused));
        linked.node(1).signal("KILL");
        assert_eq!(linked.node(1).ended(), None);
        linked.start_node(1, &[]);
        linked.wait_until_linked();
        stop.store(true, Ordering::SeqCst);
        let made: Vec<u64> = floods.into_iter().map(|flood| flood.join().expect("ends")).collect();
        println!("{made:?} connections of strangers");
        assert!(made.iter().all(|made| *made > WAITING_MAX as u64), "more than the room holds: {made:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing_behind_on_either_side() {
    let (authority, cli) = (Authority::new(), Cli::new());
    let shared = secret(&cli);
    let node = start(&cli, &authority.issue("node", NAME), &["--secret-file", text(&shared)]);
    let tls = Tls::load(authority.issue("program", "whoever")).expect("loads");
    let secret = Secret::from_file(&shared).expect("reads");
    let target = Target::Tls(node.cluster.clone().expect("listens"), secret, tls);
    let come_and_go = async |times: usize| {
        for _ in 0..times {
            let client = Client::connect(&target, &Versions::ours(), PATIENCE).await.expect("connects");
            client.ask(PeerRequest::Links, Uuid::new_v4(), PATIENCE).await.expect("answers");
        }
    };
    let (times, pids) = (if soak() { 5_000 } else { 150 }, [node.pid(), std::process::id()]);
    come_and_go(times / 3).await;
    let before = pids.map(|pid| (open_files(pid), resident(pid)));
    come_and_go(times).await;
    for (pid, (files, memory)) in pids.into_iter().zip(before) {
        wait_until("all are closed", || open_files(pid) <= files + 12);
        let grown = resident(pid).saturating_sub(memory);
        println!("{times} connections: {} KiB more, {} files", grown >> 10, open_files(pid));
        assert!(grown < 24 << 20, "{grown} bytes more after {times} connections");
    }
}

/// True when the large sizes are run.
fn soak() -> bool {
    std::env::var_os("DECISIONGRAPH_SOAK").is_some()
}
