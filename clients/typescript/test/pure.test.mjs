// Decisions without I/O: payloads and envelopes, waits between attempts, the parser of streams.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as errors from "../dist/index.js";
import { Backoff, actor, builders, entity, facts } from "../dist/index.js";
import { isTransient, parseRetryAfter } from "../dist/retry.js";
import { stepAfter } from "../dist/sender.js";
import { Lines, Parser } from "../dist/sse.js";
import { lineOf, queryOf, segmentOf } from "../dist/transport.js";

const ACCOUNT = entity("account", "acme", "crm");
const TICKET = { system: "crm", objectType: "ticket", objectId: "9300" };
const REQUIRED = {
  TraceStarted: ["workflow title primary_entity", builders.traceStarted("refund", "A title", ACCOUNT)],
  InputObserved: ["input_id source facts", builders.inputObserved("in-1", TICKET, facts({ cents: 1 }))],
  EntityObserved: ["entity role facts", builders.entityObserved(ACCOUNT)],
  PolicyEvaluated: ["policy inputs decision", builders.policyEvaluated("cap", "2", "allow")],
  ExceptionRequested: ["exception_id policy reason", builders.exceptionRequested("exc", "cap", "2", "goodwill")],
  ApprovalRecorded: [
    "approval_id subject approver decision",
    builders.approvalRecorded("apr", "exc", actor("vp.sales", "person"), "approved"),
  ],
  PrecedentCited: ["cited_trace_id reason", builders.precedentCited("refund-1", "same case")],
  ActionProposed: [
    "action_id action_type target_entity target_system changes",
    builders.actionProposed("act", "credit", ACCOUNT, "billing"),
  ],
  ActionCommitted: ["action_id status", builders.actionCommitted("act")],
  TraceFinished: ["outcome", builders.traceFinished()],
};

test("every type has its required members", () => {
  for (const [eventType, [required, draft]] of Object.entries(REQUIRED)) {
    assert.equal(draft.eventType, eventType);
    assert.deepEqual(Object.keys(draft.payload).sort(), required.split(" ").sort());
  }
});

test("extra members do not replace those of the type", () => {
  const draft = builders.traceFinished("failure", { summary: "no", outcome: "success" });
  assert.deepEqual(draft.payload, { summary: "no", outcome: "failure" });
});

test("an envelope leaves number and id to the node", () => {
  const by = { source: { producer_id: "p", system: "s" }, actor: actor("bot") };
  const event = builders.envelope(builders.traceFinished(), "t-1", by);
  assert.deepEqual([event.trace_seq, "event_id" in event, "correlation_id" in event], ["next", false, false]);
  assert.match(event.occurred_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("a float is refused with the way to write it", () => {
  const by = { source: { producer_id: "p", system: "s" }, actor: actor("bot") };
  for (const [value, place] of [
    [0.87, "payload.facts[0].value"],
    [{ a: [1, 1e21] }, "payload.facts[0].value.a[1]"],
    [NaN, "payload.facts[0].value"],
  ]) {
    const draft = builders.entityObserved(ACCOUNT, "related", facts({ confidence: value }));
    const told = `\`${place}\` is a float, and a payload has none: write a scaled integer, such as `;
    assert.throws(
      () => builders.envelope(draft, "t-1", by),
      (error) => error instanceof TypeError && error.message.startsWith(told),
    );
  }
});

test("ids and queries are encoded whole, and numbers that JSON lacks are refused", () => {
  assert.equal(segmentOf("a/b:c d%(')"), "a%2Fb%3Ac%20d%25%28%27%29");
  assert.equal(queryOf({ a: null, b: ["x", "y"], c: true, d: "ä&=+" }), "?b=x&b=y&c=true&d=%C3%A4%26%3D%2B");
  assert.throws(() => lineOf({ a: [NaN] }), TypeError);
});

test("waits double to a bound and are jittered in full", () => {
  const backoff = new Backoff(200, 3000);
  assert.deepEqual([1, 2, 3, 9, 10_000].map((at) => backoff.wait(at, null, () => 1)), [200, 400, 800, 3000, 3000]);
  assert.equal(backoff.wait(9, null, () => 0), 0);
});

test("retry-after is a lower bound", () => {
  assert.equal(new Backoff().wait(1, 7000, () => 0), 7000);
  assert.equal(parseRetryAfter("7", 0), 7000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 50_000), 10_000);
  assert.equal(parseRetryAfter("soon", 0), null);
});

test("only what passes is repeated", () => {
  assert.equal(isTransient(errors.errorOf(422, { error: { code: "schema_violation" } })), false);
  assert.equal(isTransient(errors.errorOf(504, { error: { code: "outcome_unknown" } })), true);
  assert.equal(isTransient(new errors.Unreachable("cut")), true);
});

test("only a refused content leaves the spool", () => {
  const steps = [400, 401, 403, 404, 413, 422, 500].map((status) => stepAfter(errors.errorOf(status, null)));
  assert.deepEqual(steps, ["wait", "halt", "halt", "wait", "split", "split", "wait"]);
});

test("the class follows from the code", () => {
  const envelope = {
    error: { code: "event_sequence_invalid", message: "5 is due", details: { expected_trace_seq: 5 }, next: "send 5" },
    request_id: "r-1",
  };
  const error = errors.errorOf(409, envelope);
  assert.ok(error instanceof errors.SequenceInvalid && error instanceof errors.Conflict);
  assert.deepEqual(
    [error.name, error.details, error.next, error.retryable, error.requestId],
    ["SequenceInvalid", { expected_trace_seq: 5 }, "send 5", false, "r-1"],
  );
  const page = errors.errorOf(502, null, { requestId: "r-2" });
  assert.deepEqual([page.name, page.code, page.retryable], ["ServerError", "http_502", true]);
});

test("fields, comments and blank lines of a stream", () => {
  const parser = new Parser();
  const lines = new Lines();
  const text =
    'retry: 2000\r\n\n: hello\n\nevent: event\nid: 96.0e427155\ndata: {"a":1}\n\n' +
    "event: mark\nid: 97\ndata:x\ndata: y\nunknown: z\n\nid: 98\n\ndata: open";
  const found = [...text].flatMap((c) => lines.take(c)).map((line) => parser.line(line));
  assert.deepEqual(found.filter(Boolean), [
    { event: "event", data: '{"a":1}', id: "96.0e427155" },
    { event: "mark", data: "x\ny", id: "97" },
  ]);
  assert.deepEqual([parser.retryMs, parser.lastId], [2000, "98"]);
});
