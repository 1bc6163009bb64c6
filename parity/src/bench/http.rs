//! The HTTP interface of the program itself: appends one by one and in batches, reads of a trace, idle streams.
//!
//! The program `decisiongraph` beside this one is measured, as an operator starts it. An import by its command line, in
//! turns with the batches and into the same database, is what a batch is compared with.

use super::Request;
use super::admin::command_line;
use super::append::shares;
use super::meters;
use super::place::{Place, Site};
use super::report::{Goal, Report, median, percentile};
use crate::check::trial::read;
use crate::workload::{Profile, Workload};
use anyhow::{Context as _, Result, ensure};
use decisiongraph_http::identities::{IdentitiesFile, Identity, NewToken, StoredToken, now};
use decisiongraph_projections::Admitted;
use decisiongraph_store::launch;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

/// Events of the runs with a request each: one client, and several.
const ONE_BY_ONE: u64 = 2_000;
const MANY: u64 = 8_000;
/// Clients at the same time.
const CLIENTS: usize = 16;
/// Events of the batches, and lines per request.
const BATCHED: u64 = 40_000;
const LINES: usize = 10_000;
/// Reads of a trace.
const READS: usize = 2_000;
/// Idle streams, and the most that one identity may open.
const STREAMS: usize = 64;
const STREAMS_OF_ONE: usize = 8;
/// Longest wait for the start, and for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goals.
const APPEND_MS_MAX: f64 = 3.0;
const APPENDS_MIN: f64 = 2_000.0;
const BATCH_MIN: f64 = 0.8;
const TRACE_MS_MAX: f64 = 2.0;
const STREAMS_CPU_PERCENT_MAX: f64 = 0.5;

const MEASURE: &str = "http";
const MS: f64 = 1_000.0;
const KIB: f64 = 1024.0;

/// Takes the measures that the head of this file names.
pub async fn http(request: &Request, place: &Place, report: &mut Report) -> Result<()> {
    let Some(program) = command_line()? else {
        report.settings.push(("not measured".to_owned(), "`decisiongraph` is not beside this program".to_owned()));
        return Ok(());
    };
    let site = place.fresh().await?;
    drop(site.open(2).await?);
    place.checkpoint().await?;
    let node = ServedNode::start(&program, &site).await?;
    appends(request, &node, report).await?;
    batches(request, &program, &site, &node, report).await?;
    reads(request, &node, report).await?;
    streams(request, &node, report).await?;
    drop(node);
    place.remove(site).await
}

async fn appends(request: &Request, node: &ServedNode, report: &mut Report) -> Result<()> {
    let (mut first, mut last, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..request.repeat {
        let mut caller = node.caller(0, &format!("one-{round}")).await?;
        let mut waits = Vec::new();
        for line in lines(request.seed, ONE_BY_ONE) {
            let began = Instant::now();
            caller.append(line).await?;
            waits.push(began.elapsed().as_secs_f64() * MS);
        }
        first.push(percentile(&waits, 50.0));
        last.push(percentile(&waits, 99.0));

        let tenant = format!("many-{round}");
        let events = lines(request.seed, MANY).map(|line| Ok((read(&line)?, line))).collect::<Result<Vec<_>>>()?;
        let (admitted, lines): (Vec<Admitted>, Vec<String>) = events.into_iter().unzip();
        let mut clients = Vec::new();
        for share in shares(&admitted, &lines, CLIENTS) {
            clients.push((node.caller(0, &tenant).await?, share));
        }
        let began = Instant::now();
        let tasks = clients.into_iter().map(|(mut caller, share)| {
            tokio::spawn(async move {
                for line in share {
                    caller.append(line).await?;
                }
                anyhow::Ok(())
            })
        });
        for done in futures_util::future::try_join_all(tasks).await? {
            done?;
        }
        rates.push(MANY as f64 / began.elapsed().as_secs_f64());
    }
    report.goal(MEASURE, "append, one client, p50", median(&first), "ms", Goal::AtMost(APPEND_MS_MAX));
    report.spread(&first);
    report.figure(MEASURE, "append, one client, p99", median(&last), "ms");
    let name = format!("append, {CLIENTS} clients, an event per request");
    report.goal(MEASURE, name, median(&rates), "events/s", Goal::AtLeast(APPENDS_MIN));
    report.spread(&rates);
    Ok(())
}

async fn batches(request: &Request, program: &Path, site: &Site, node: &ServedNode, report: &mut Report) -> Result<()> {
    let all: Vec<String> = lines(request.seed, BATCHED).collect();
    let file = node.directory.path().join("events.ndjson");
    std::fs::write(&file, all.join("\n") + "\n")?;
    let bodies: Vec<Bytes> = all.chunks(LINES).map(|lines| Bytes::from(lines.join("\n"))).collect();
    let (mut over_http, mut imported) = (Vec::new(), Vec::new());
    for round in 0..request.repeat {
        let mut caller = node.caller(0, &format!("batch-{round}")).await?;
        let began = Instant::now();
        for body in &bodies {
            let (status, text) =
                caller.send("POST", "/api/v1/events/batch?quiet=true", "application/x-ndjson", body.clone()).await?;
            let refused = text.lines().count() != 1;
            ensure!(status == 200 && !refused, "a batch was answered with {status}: {:.300}", text);
        }
        over_http.push(BATCHED as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        let status = tokio::process::Command::from(launch::program(program))
            .args(["import", "--json", "--tenant", &format!("import-{round}")])
            .arg(&file)
            .env("DATABASE_URL", &site.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await?;
        ensure!(status.success(), "the import ended with {status}");
        imported.push(BATCHED as f64 / began.elapsed().as_secs_f64());
    }
    report.runs(MEASURE, format!("batches of {LINES} lines"), &over_http, "events/s");
    report.runs(MEASURE, "`decisiongraph import` of the same lines, its start included", &imported, "events/s");
    let ratios: Vec<f64> = over_http.iter().zip(&imported).map(|(one, other)| one / other).collect();
    report.goal(MEASURE, "batch / import", median(&ratios), "", Goal::AtLeast(BATCH_MIN));
    report.spread(&ratios);
    Ok(())
}

async fn reads(request: &Request, node: &ServedNode, report: &mut Report) -> Result<()> {
    let mut traces: Vec<String> = Vec::new();
    for line in lines(request.seed, MANY) {
        let trace = read(&line)?.envelope().trace_id.as_str().to_owned();
        if !traces.contains(&trace) {
            traces.push(trace);
        }
    }
    let path = |number: usize| format!("/api/v1/traces/{}?wait_ms=30000", escaped(&traces[number % traces.len()]));
    let mut caller = node.caller(0, "many-0").await?;
    // The first read waits until the projections are current.
    caller.get(&path(0)).await?;
    let mut waits = Vec::new();
    for number in 0..READS {
        let began = Instant::now();
        caller.get(&path(number)).await?;
        waits.push(began.elapsed().as_secs_f64() * MS);
    }
    report.goal(MEASURE, "a trace, one client, p50", percentile(&waits, 50.0), "ms", Goal::AtMost(TRACE_MS_MAX));
    report.figure(MEASURE, "a trace, one client, p99", percentile(&waits, 99.0), "ms");
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let paths: Vec<String> = (0..READS / 4).map(|number| path(client * READS + number)).collect();
        clients.push((node.caller(0, "many-0").await?, paths));
    }
    let count = clients.iter().map(|(_, paths)| paths.len()).sum::<usize>() as f64;
    let began = Instant::now();
    let tasks = clients.into_iter().map(|(mut caller, paths)| {
        tokio::spawn(async move {
            for path in paths {
                caller.get(&path).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in futures_util::future::try_join_all(tasks).await? {
        done?;
    }
    let rate = count / began.elapsed().as_secs_f64();
    report.figure(MEASURE, format!("traces, {CLIENTS} clients"), rate, "reads/s");
    Ok(())
}

async fn streams(request: &Request, node: &ServedNode, report: &mut Report) -> Result<()> {
    let watched = Duration::from_secs(request.seconds);
    let busy = async || {
        let before = meters::cpu_seconds(&node.pid);
        tokio::time::sleep(watched).await;
        Some((meters::cpu_seconds(&node.pid)? - before?) / watched.as_secs_f64() * 100.0)
    };
    let without = busy().await;
    let memory = meters::resident_bytes(&node.pid);
    let mut open = Vec::new();
    for number in 0..STREAMS {
        let mut caller = node.caller(number / STREAMS_OF_ONE, "many-0").await?;
        let answer = caller.ask("GET", "/api/v1/events/stream", "", Bytes::new()).await?;
        ensure!(answer.status() == 200, "stream {number} was answered with {}", answer.status());
        // The connection ends with its caller.
        open.push((caller, answer));
    }
    let with = busy().await;
    if let Some((with, without)) = with.zip(without) {
        let name = format!("CPU of {STREAMS} idle streams beyond that of the node");
        report.figure(MEASURE, "CPU of the idle node", without, "%");
        report.goal(MEASURE, name, (with - without).max(0.0), "%", Goal::AtMost(STREAMS_CPU_PERCENT_MAX));
    }
    if let Some((now, before)) = meters::resident_bytes(&node.pid).zip(memory) {
        let each = now.saturating_sub(before) as f64 / STREAMS as f64 / KIB;
        report.figure(MEASURE, "memory of an idle stream", each, "KiB");
    }
    drop(open);
    Ok(())
}

fn lines(seed: u64, count: u64) -> impl Iterator<Item = String> {
    Workload::new(Profile::Mixed, seed, count, 1)
}

/// Writes a segment of a path: every byte that is not unreserved is escaped.
fn escaped(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut out, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The program as a node, with its HTTP interface on loopback. It is killed when this value is dropped.
struct ServedNode {
    _child: Child,
    pid: String,
    address: String,
    tokens: Vec<String>,
    directory: tempfile::TempDir,
}

impl ServedNode {
    async fn start(program: &PathBuf, site: &Site) -> Result<ServedNode> {
        let directory = tempfile::tempdir()?;
        let identities = directory.path().join("identities.json");
        let tokens = identified(&identities)?;
        let mut child = tokio::process::Command::from(launch::program(program))
            .args(["node", "--http-listen", "127.0.0.1:0", "--metrics-listen", "off", "--json", "--data-dir"])
            .arg(directory.path())
            .env("DATABASE_URL", &site.url)
            .env("DECISIONGRAPH_IDENTITIES_FILE", &identities)
            .env("DECISIONGRAPH_HTTP_RATE_READ_PER_MIN", "0")
            .env("DECISIONGRAPH_HTTP_RATE_APPEND_PER_MIN", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the node does not start")?;
        let pid = child.id().context("the node has ended")?.to_string();
        let mut said = BufReader::new(child.stdout.take().context("the node's output")?).lines();
        let address = tokio::time::timeout(PATIENCE, async {
            let mut address = None;
            while let Some(line) = said.next_line().await? {
                let line: serde_json::Value = serde_json::from_str(&line)?;
                address = address.or_else(|| Some(line["http"].as_str()?.strip_prefix("http://")?.to_owned()));
                if line["state"] == "ready" {
                    return address.context("the node names no address");
                }
            }
            anyhow::bail!("the node ended before it was ready")
        })
        .await
        .context("the node is not ready")??;
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Ok(ServedNode { _child: child, pid, address, tokens, directory })
    }

    /// Connects as the identity of this number, for this tenant.
    async fn caller(&self, identity: usize, tenant: &str) -> Result<Caller> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let bearer = format!("Bearer {}", self.tokens[identity]);
        Ok(Caller { sender, bearer, host: self.address.clone(), tenant: tenant.to_owned() })
    }
}

/// Writes a file of administrators. Returns their tokens.
fn identified(path: &Path) -> Result<Vec<String>> {
    let (mut file, mut tokens) = (IdentitiesFile::default(), Vec::new());
    for number in 0..STREAMS / STREAMS_OF_ONE {
        let token = NewToken::draw();
        let facts = serde_json::json!({ "name": format!("bench-{number}"), "roles": ["admin"], "tenants": ["*"] });
        let mut identity: Identity = serde_json::from_value(facts)?;
        identity.tokens.push(StoredToken {
            id: token.id.clone(),
            hash: token.hash(),
            created_at: now(),
            expires_at: None,
            note: None,
        });
        tokens.push(token.reveal().to_owned());
        file.identities.push(identity);
    }
    file.write(path)?;
    Ok(tokens)
}

/// A connection that stays open.
struct Caller {
    sender: SendRequest<Full<Bytes>>,
    bearer: String,
    host: String,
    tenant: String,
}

impl Caller {
    async fn ask(&mut self, method: &str, path: &str, kind: &str, body: Bytes) -> Result<hyper::Response<Incoming>> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", &self.bearer)
            .header("x-tenant-id", &self.tenant);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body))?);
        Ok(tokio::time::timeout(PATIENCE, answer).await.context("no answer")??)
    }

    async fn send(&mut self, method: &str, path: &str, kind: &str, body: Bytes) -> Result<(u16, String)> {
        let answer = self.ask(method, path, kind, body).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    async fn append(&mut self, line: String) -> Result<()> {
        let (status, text) = self.send("POST", "/api/v1/events", "application/json", line.into()).await?;
        ensure!(status == 201, "an append was answered with {status}: {text:.300}");
        Ok(())
    }

    async fn get(&mut self, path: &str) -> Result<()> {
        let (status, text) = self.send("GET", path, "", Bytes::new()).await?;
        ensure!(status == 200, "{path} was answered with {status}: {text:.300}");
        Ok(())
    }
}
