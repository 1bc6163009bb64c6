// Promises of calls and streams that need a server with faults; the node's own answers are in `node.test.mjs`.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import * as errors from "../dist/index.js";
import { Backoff, Client, builders, entity } from "../dist/index.js";
import { FaultyNode, answers, cut, cutAfterStoring, reply, streams } from "./faulty-node.mjs";

let node;
let client;
let spoolDir;

beforeEach(async () => {
  node = await FaultyNode.start();
  spoolDir = await mkdtemp(join(tmpdir(), "client-"));
  client = new Client(node.url, async () => "t", "tenant ä", {
    producerId: "p",
    spoolDir,
    backoff: new Backoff(10, 20),
    fsync: false,
  });
});

afterEach(async () => {
  await client.close();
  await node.close();
  await rm(spoolDir, { recursive: true });
});

const event = (idempotencyKey) => client.event(builders.actionCommitted("a"), "trace", { idempotencyKey });
const message = (at) => `event: event\nid: ${at}.aa\ndata: {"log_seq":${at}}\n\n`;

async function all(iterable) {
  const found = [];
  for await (const one of iterable) found.push(one);
  return found;
}

test("headers of a request", async () => {
  node.pages = [{ precedents: [] }];
  await client.precedents({ outcome: "success", policyId: "cap" });
  const [{ path, headers }] = node.requests;
  assert.equal(path, "/api/v1/precedents?outcome=success&policy_id=cap");
  assert.equal(headers.authorization, "Bearer t");
  assert.equal(Buffer.from(headers["x-tenant-id"], "latin1").toString("utf8"), "tenant ä");
});

test("an append is repeated and stored once", async () => {
  node.faults = [answers(503, "unavailable", { "retry-after": "0" }), cut, cutAfterStoring];
  const stored = await client.append(event("one"));
  assert.deepEqual([stored.log_seq, node.events.length, node.requests.length], [1, 1, 4]);
});

test("attempts are bounded", async () => {
  node.faults = Array(4).fill(cut);
  await assert.rejects(client.append(event("one")), errors.Unreachable);
  assert.equal(node.requests.length, 4);
  node.faults = [answers(400, "invalid_argument")];
  await assert.rejects(client.append(event("one")), errors.InvalidArgument);
  const page = (_, request, response) => reply(response, 500, "<html>") ?? true;
  node.faults = [answers(302, "found", { location: "/login" }), page];
  await assert.rejects(client.whoami(), errors.ApiError);
  await assert.rejects(client.healthz(), { code: "http_500", requestId: "req-1" });
});

test("a batch has a verdict per event", async () => {
  const { verdicts, summary } = await client.appendMany([event("one"), event("two"), event("one")]);
  assert.deepEqual(verdicts.map((one) => one.verdict), ["accepted", "accepted", "repeated"]);
  assert.deepEqual([summary.repeated, client.lastLogSeq], [1, 2]);
});

test("reads wait for the own writes", async () => {
  await client.append(event("one"));
  node.pages = [{ events: [], summary: {} }, { events: [], next_cursor: null }];
  await client.getTrace("a/b");
  assert.equal(node.requests.at(-1).path, "/api/v1/traces/a%2Fb?at_least=1");
  await all(client.events());
  assert.equal(node.requests.at(-1).path, "/api/v1/events?limit=500");
});

test("the time-out is behind the wait that was asked for", async () => {
  const hasty = new Client(node.url, "t", "default", { producerId: "p", attempts: 1, timeoutMs: 200 });
  const slow = (faulty, request, response) => {
    setTimeout(() => reply(response, 200, { data: { events: [] } }), 500);
    return true;
  };
  node.faults = [slow, slow];
  await hasty.getTrace("a", { waitMs: 1000 });
  await assert.rejects(hasty.getTrace("a"), errors.Unreachable);
});

test("pages follow the cursor to its end", async () => {
  const row = { trace_id: "a" };
  node.pages = [
    { traces: [row], next_cursor: "c1.x" },
    { traces: [], next_cursor: "c1.y" },
    { traces: [row], next_cursor: null },
    { edges: [], next_cursor: { edge_key: "e:1", direction: "both", log_seq: 7 } },
    { edges: [], next_cursor: null },
  ];
  assert.equal((await all(client.traces({ status: "open" }))).length, 2);
  assert.ok(node.requests.at(-1).path.endsWith("status=open&limit=50&cursor=c1.y"));
  await all(client.edges("entity", "account:acme", { direction: "both" }));
  assert.ok(node.requests.at(-1).path.endsWith("&limit=100&cursor_edge_key=e%3A1&cursor_log_seq=7"));
});

test("a job keeps its key over attempts", async () => {
  node.faults = [answers(504, "outcome_unknown"), cut];
  node.pages = [{ run: { job_id: "j" } }];
  assert.equal((await client.startReplay("all", "after maintenance")).job_id, "j");
  const keys = new Set(node.requests.map((request) => request.headers["idempotency-key"]));
  assert.deepEqual([node.requests.length, [...keys].map((key) => key.length)], [3, [36]]);
});

test("a trace ends with its body", async () => {
  const setting = (title) => ({ title, primaryEntity: entity("account", "acme"), sync: true });
  const answer = await client.trace("refund", setting("One"), async (trace) => {
    const exception = await trace.exceptionRequested("cap", "1", "goodwill");
    await trace.approval(exception, { actor_type: "person", actor_id: "vp" });
    return 42;
  });
  assert.equal(answer, 42);
  const failing = client.trace("refund", setting("Two"), () => {
    throw new RangeError("the account 4711");
  });
  await assert.rejects(failing, RangeError);
  await client.trace("refund", setting("Three"), (trace) => trace.finish("abandoned"));
  const ends = node.events.filter((one) => one.event_type === "TraceFinished").map((one) => one.payload);
  const failure = { error: { class: "RangeError" }, outcome: "failure" };
  assert.deepEqual(ends, [{ outcome: "success" }, failure, { outcome: "abandoned" }]);
  assert.equal(new Set(node.keys).size, node.events.length);
});

test("a stream resumes behind what it saw", async () => {
  node.faults = [
    streams("retry: 1\n\n", message(5), message(6), "event: event\nid: 7"),
    answers(503, "unavailable", { "retry-after": "0" }),
    streams("retry: 1\n\n", message(6), message(7), 'event: bye\ndata: {"reason":"age"}\n\n'),
    streams("retry: 1\n\n", message(9)),
  ];
  const found = [];
  for await (const one of await client.stream({ sinceLogSeq: 4 })) {
    found.push(one.logSeq);
    if (one.logSeq === 9) break;
  }
  assert.deepEqual(found, [5, 6, 7, 9]);
  const asked = node.requests.map(({ path, headers }) => [path, headers["last-event-id"]]);
  assert.deepEqual(asked[0], ["/api/v1/events/stream?since_log_seq=4", undefined]);
  assert.deepEqual(asked.slice(2), [["/api/v1/events/stream", "6.aa"], ["/api/v1/events/stream", "7.aa"]]);
});

test("a stream without a place begins at the mark", async () => {
  node.pages = [{ events: [], next_cursor: null, mark: 41 }];
  node.faults = [() => false, streams("retry: 1\n\n", message(42))];
  const stream = await client.stream();
  for await (const one of stream) {
    assert.equal(one.logSeq, 42);
    stream.close();
  }
  assert.equal(node.requests[1].path, "/api/v1/events/stream?since_log_seq=41");
});

test("another history is told", async () => {
  node.faults = [answers(409, "conflict")];
  const changed = (await client.stream({ lastEventId: "96.00000000" }))[Symbol.asyncIterator]();
  await assert.rejects(changed.next(), { name: "HistoryChanged", message: "conflict: as asked: conflict" });
  node.faults = [answers(401, "unauthorized")];
  const unknown = (await client.stream({ sinceLogSeq: 0 }))[Symbol.asyncIterator]();
  await assert.rejects(unknown.next(), errors.Unauthorized);
});
