//! The reference page of the interface, as Markdown.

use super::call::word;
use super::fault::Fault;
use super::route::{Needs, Place};
use super::routes::ROUTES;
use crate::identities::Role;
use std::fmt::Write as _;

const HEAD: &str = "# HTTP interface

Made from `actors/http/src/api/routes.rs`; a test keeps the two equal. Words: [GLOSSARY](../GLOSSARY.md). Reasons:
[ADR 16](../adr/0016-http-interface.md). As an OpenAPI 3.1 document: [openapi.json](openapi.json), which a node serves
at `/api/v1/openapi.json`. The JSON Schemas of events are in [schemas](schemas/), and served at `/api/v1/schemas`.

## Conventions

| what | rule |
|---|---|
| base | `http://127.0.0.1:4100` unless `http_listen` says otherwise; also the Unix socket `http.sock` in the data directory, which needs no token |
| `authorization` | `Bearer TOKEN`. Identities and tokens: `decisiongraph identity`. Without an identities file, the token in `http.token` of the data directory is the only one |
| `x-tenant-id` | the tenant; `?tenant=` may say it instead. There is no default tenant |
| `x-request-id` | 1 to 128 visible ASCII characters, else drawn; on every answer, in every envelope and in the log |
| `idempotency-key` | a UUID on a change: the same request under it is carried out once. Appends have the keys of their events |
| bodies | `application/json`; batches `application/x-ndjson`. Packed with gzip or zstd, if at all |
| answers | `{\"data\": …, \"request_id\": …}`, or `{\"error\": {code, category, message, details, retryable, next}, \"request_id\"}` |
| OTLP | `/v1/traces` takes and answers protobuf or JSON as OTLP/HTTP has them; an error is a `google.rpc.Status`. [OPENTELEMETRY](../guide/OPENTELEMETRY.md) |
| `x-log-seq` | of an append, the position of its event; of a read, the position up to which it knows the log. Hand it back as `at_least` |
| `etag` | on an answer of a read model, while its rows are current; with `if-none-match` it is 304 until they change. An answer to a request with `at_least` has none |
| lists | `next_cursor` of a page is `cursor` of the next, with the same other parameters. A page may be short; the end is `null` |
| unknown parameters | refused, with the nearest name |

";

const STREAMS: &str = "
## Streams

A stream is Server-Sent Events: `retry: 2000` first, a comment every 15 s. It ends with `event: bye` and a `reason`:
after an hour, when the node stops, and when the token does not hold any more. A consumer that takes nothing for 30 s is
closed. At most 64 streams per node (`http_streams_max`), 8 per identity; beyond them 503.

| stream | messages |
|---|---|
| `/api/v1/events/stream` | `event` with `id: POSITION.HASH8` (8 digits of the payload's hash) and the event; `mark` with `id: POSITION` and `{log_seq, last_log_seq}`, at most one per second, when the mark moved without an event for this consumer |
| `/api/v1/runs/{id}/stream` | `progress` per batch, at most 4 per second; `end` with run and report, which ends the stream |
| `/api/v1/node/stream` | `snapshot` with `{node, status}`, with `tree=true` also `{actors, next}`; not resumable |

Events come in the order of the log, up to the safe mark, without a gap, each at least once: drop repeats by `log_seq`.
`last-event-id` resumes behind that position, and wins over `since_log_seq`; without both, a stream begins at the mark.
When the log has another payload at that position, or ends before it, the answer is 409 `conflict`: the log was
restored, or a fail-over lost its tail. Two histories with one payload at that position are not told apart.
";

/// Writes the page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("## Routes\n\n| route | right | tenant | answer |\n|---|---|---|---|\n");
    for route in ROUTES {
        let right = match route.needs {
            Needs::Nothing => "none".to_owned(),
            Needs::Identity if route.place == Place::None => "any".to_owned(),
            Needs::Identity => "see below".to_owned(),
            Needs::Right(right) => word(right),
        };
        let tenant = match route.place {
            Place::None => "–",
            Place::Tenant => "one",
            Place::Node => "one or all",
            Place::NodeWide => "all",
        };
        let names: Vec<String> =
            route.parameters.iter().copied().flatten().map(|parameter| format!("`{}`", parameter.name)).collect();
        let names = if names.is_empty() { String::new() } else { format!(" Parameters: {}.", names.join(", ")) };
        let method = route.method.as_str();
        let (path, status, about) = (route.path, route.success, route.about);
        let _ = writeln!(page, "| {method} `{path}` | {right} | {tenant} | {status}: {about}{names} |");
    }
    page.push_str(
        "\nA job's right is that of its mode: `replay` for a catch-up, `rebuild`, `prove` for a verify. A caller who reaches\n\
         every tenant may leave out the tenant of a route with *one or all*. *All* asks for such a caller.\n",
    );
    page.push_str(STREAMS);
    page.push_str("\n## Roles\n\n| role | rights |\n|---|---|\n");
    for role in Role::ALL {
        let rights: Vec<String> = role.rights().iter().map(|right| format!("`{}`", word(*right))).collect();
        let _ = writeln!(page, "| {} | {} |", role.as_str(), rights.join(", "));
    }
    page.push_str("\n## Errors\n\n| code | status | category | retry | next |\n|---|---|---|---|---|\n");
    for fault in Fault::every() {
        let retry = match (fault.retryable, fault.retry_after) {
            (false, _) => "no",
            (true, None) => "yes",
            (true, Some(_)) => "yes, after `retry-after`",
        };
        let (code, status, category) = (fault.code, fault.status.as_u16(), fault.category);
        let _ = writeln!(page, "| `{code}` | {status} | `{category}` | {retry} | {} |", fault.next);
    }
    page
}
