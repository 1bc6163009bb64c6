// The client and a real node: `DECISIONGRAPH_HTTP_URL`, `DECISIONGRAPH_HTTP_TOKEN`, and an optional `…_TENANT`.
//
// The token needs the rights to append, read and replay. Ids are drawn, so that a log may be used any number of times.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import * as errors from "../dist/index.js";
import { Client, actor, builders, entity, facts } from "../dist/index.js";

const { DECISIONGRAPH_HTTP_URL: URL, DECISIONGRAPH_HTTP_TOKEN: TOKEN } = process.env;
const TENANT = process.env.DECISIONGRAPH_HTTP_TENANT ?? "default";
const skip = !(URL && TOKEN) && "needs DECISIONGRAPH_HTTP_URL and DECISIONGRAPH_HTTP_TOKEN";

const clients = [];
let spoolDir;
let client;
let run;
let account;

beforeEach(async () => {
  spoolDir = await mkdtemp(join(tmpdir(), "node-"));
  if (!skip) client = opened();
  run = randomUUID().slice(0, 12);
  account = entity("account", `acme/${run}`);
});

afterEach(async () => {
  for (const one of clients.splice(0)) await one.close();
  await rm(spoolDir, { recursive: true });
});

function opened(options = {}, token = TOKEN) {
  const usual = { producerId: "client-tests", spoolDir, onLog: () => undefined };
  const one = new Client(URL, token, TENANT, { ...usual, ...options });
  clients.push(one);
  return one;
}

async function all(iterable) {
  const found = [];
  for await (const one of iterable) found.push(one);
  return found;
}

async function taken(iterable, count) {
  const found = [];
  for await (const one of iterable) if (found.push(one) === count) break;
  return found;
}

function decide(traceId, options = {}) {
  const about = { title: "Credit for a ticket", primaryEntity: account, traceId, ...options };
  return client.trace("refund", about, async (t) => {
    const ticket = await t.input("helpdesk", "ticket", "9300", { facts: facts({ amount_cents: 180000 }) });
    await t.entity(entity("contract", "c-1"));
    await t.policy(`cap-${run}`, "4", "require_exception", { inputs: [ticket] });
    const exception = await t.exceptionRequested(`cap-${run}`, "4", "goodwill");
    await t.approval(exception, actor("finance-controller", "role"));
    const action = await t.actionProposed("issue_credit", account, "billing", { changes: [{ field: "credit" }] });
    await t.actionCommitted(action);
  });
}

const started = (traceId, title = "One") => client.event(builders.traceStarted("refund", title, account), traceId);

test("a decision through the spool can be asked for", { skip }, async () => {
  const traceId = `refund/${run}:ä`;
  await decide(traceId, { tags: ["client-test"], correlationId: "ticket-9300" });
  assert.equal(await client.flush(20_000), true);
  const found = await client.getTrace(traceId);
  assert.deepEqual(found.events.map((event) => event.trace_seq), [...Array(9).keys()]);
  assert.equal(found.summary.outcome, "success");
  const rows = await all(client.traces({ entityType: "account", entityId: account.entity_id, page: 1 }));
  assert.deepEqual(rows.map((row) => [row.trace_id, row.status, row.events_stored]), [[traceId, "finished", 9]]);
  assert.equal((await client.precedents({ policyId: `cap-${run}` }))[0].trace_id, traceId);
  const edgeTypes = ["trace_involves_entity", "trace_observed_input"];
  const around = await client.context("trace", traceId, { edgeTypes });
  assert.deepEqual([...new Set(around.edges.map((edge) => edge.edge_type))].sort(), edgeTypes);
  const edges = await all(client.edges("trace", traceId, { direction: "outgoing", page: 2 }));
  assert.equal(new Set(edges.map((edge) => edge.edge_id)).size, 7);
  const events = await all(client.events({ traceId, page: 4 }));
  assert.deepEqual(events.map((event) => event.event_id), found.events.map((event) => event.event_id));
});

test("a repeat gives the stored event", { skip }, async () => {
  const event = started(`repeat-${run}`);
  const first = await client.append(event);
  assert.deepEqual(await client.append(event), first);
  const other = { ...event, payload: { ...event.payload, title: "Two" } };
  await assert.rejects(client.append(other), (error) => {
    assert.ok(error instanceof errors.IdempotencyConflict);
    return error.details.mismatches.includes("payload");
  });
});

test("refusals are typed", { skip }, async () => {
  const finished = client.event(builders.traceFinished(), `refusals-${run}`);
  await assert.rejects(client.append({ ...finished, trace_seq: 7 }), {
    name: "SequenceInvalid",
    details: { expected_trace_seq: 0 },
  });
  await assert.rejects(client.append({ ...finished, payload: {} }), errors.SchemaViolation);
  await assert.rejects(client.append(started(`refusals-${run}`, "see password=hunter2")), errors.PiiViolation);
  await assert.rejects(client.getTrace(`unknown-${run}`), errors.NotFound);
  await assert.rejects(client.context("trace", "x", { maxDepth: 11 }), errors.InvalidArgument);
  await assert.rejects(opened({}, "dg_nobody").getTrace("x"), errors.Unauthorized);
});

test("a batch has a verdict per line or none is stored", { skip }, async () => {
  const first = started(`batch-${run}`);
  const bad = client.event({ eventType: "PolicyEvaluated", payload: {} }, `batch-${run}`);
  await assert.rejects(client.appendMany([first, bad], { mode: "atomic" }), (error) => error.details.line === 2);
  const { verdicts, summary } = await client.appendMany([first, bad, first]);
  assert.deepEqual(verdicts.map((one) => one.verdict), ["accepted", "refused", "repeated"]);
  assert.equal(summary.refused, 1);
});

test("many producers of one trace leave no gap", { skip }, async () => {
  const traceId = `many-${run}`;
  await client.append(started(traceId));
  const producers = Array.from({ length: 4 }, () => opened());
  await Promise.all(
    producers.map(async (one) => {
      const trace = one.openTrace(traceId);
      for (let at = 0; at < 25; at++) await trace.actionCommitted("a");
      assert.equal(await one.flush(20_000), true);
    }),
  );
  const atLeast = Math.max(...producers.map((one) => one.lastLogSeq));
  const { events } = await client.getTrace(traceId, { atLeast, waitMs: 5000 });
  assert.deepEqual(events.map((event) => event.trace_seq), [...Array(101).keys()]);
});

test("refused events of the spool are told", { skip }, async () => {
  const told = [];
  const one = opened({ onRefused: (event, verdict) => told.push(verdict.code) });
  await one.openTrace(`unbegun-${run}`).policy("cap", "1", "allow");
  assert.equal(await one.flush(20_000), true);
  assert.deepEqual(told, ["event_sequence_invalid"]);
});

test("a stream resumes and knows its history", { skip }, async () => {
  const sinceLogSeq = await client.mark();
  const traceId = `stream-${run}`;
  await decide(traceId, { sync: true });
  const first = await taken(await client.stream({ sinceLogSeq, traceId }), 4);
  const rest = await taken(await client.stream({ lastEventId: first.at(-1).id, traceId }), 5);
  assert.deepEqual([...first, ...rest].map((message) => message.data.trace_seq), [...Array(9).keys()]);
  const other = await client.stream({ lastEventId: `${first[0].logSeq}.00000000` });
  await assert.rejects(taken(other, 1), errors.HistoryChanged);
});

test("jobs and health", { skip }, async () => {
  assert.ok("version" in (await client.healthz()));
  assert.ok("rights" in (await client.whoami()));
  assert.equal((await client.projectionHealth()).tenant_id, TENANT);
  const asked = { metadata: { ticket: "T-1" }, idempotencyKey: randomUUID() };
  const one = await client.startReplay("trace_summary", "client test", asked);
  const again = await client.startReplay("trace_summary", "client test", asked);
  assert.deepEqual([one.job_id, again.job_id], [asked.idempotencyKey, asked.idempotencyKey]);
  assert.equal((await client.getReplay(one.job_id)).projection_name, "trace_summary");
});
