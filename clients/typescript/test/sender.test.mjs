// Promises of the sender: everything arrives once, in order, whatever the network does; refusals are kept.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Backoff, Client, builders } from "../dist/index.js";
import { FaultyNode, answers, cut, cutAfterStoring, noSummary } from "./faulty-node.mjs";

const INDEX = new URL("../dist/index.js", import.meta.url).href;
const PRODUCER = `
  import { writeSync } from "node:fs";
  import { Client, builders } from ${JSON.stringify(INDEX)};
  const [url, spoolDir, run] = process.argv.slice(1);
  const client = new Client(url, "t", "default", { producerId: "p", spoolDir, fsync: false });
  for (let at = 0; ; at++) {
    const idempotencyKey = run + "-" + at;
    await client.record(client.event(builders.actionCommitted(idempotencyKey), run, { idempotencyKey }));
    writeSync(1, at + "\\n");
  }
`;
const SHORT = `
  import { Client, entity } from ${JSON.stringify(INDEX)};
  const [url, spoolDir] = process.argv.slice(1);
  const client = new Client(url, "t", "default", { producerId: "p", spoolDir });
  await client.trace("refund", { title: "x", primaryEntity: entity("account", "a") }, async () => undefined);
`;

let node;
let spoolDir;
const clients = [];

beforeEach(async () => {
  node = await FaultyNode.start();
  spoolDir = await mkdtemp(join(tmpdir(), "sender-"));
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close(200);
  await node.close();
  await rm(spoolDir, { recursive: true });
});

function opened(options = {}) {
  const usual = { producerId: "p", spoolDir, fsync: false, backoff: new Backoff(10, 50), onLog: () => undefined };
  const client = new Client(node.url, "t", "default", { ...usual, ...options });
  clients.push(client);
  return client;
}

async function filled(client, count) {
  const keys = Array.from({ length: count }, (_, at) => `key-${at}`);
  const records = keys.map((idempotencyKey) =>
    client.record(client.event(builders.actionCommitted(idempotencyKey), "trace", { idempotencyKey })),
  );
  await Promise.all(records);
  return keys;
}

test("events arrive in order and the spool is empty", async () => {
  const client = opened();
  const keys = await filled(client, 1200);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, keys);
  const { sent, pendingEvents, pendingBytes } = await client.spoolStatus();
  assert.deepEqual([sent, pendingEvents, pendingBytes, client.lastLogSeq], [1200, 0, 0, 1200]);
});

test("faults of the transport neither lose nor double", async () => {
  node.faults = [
    answers(503, "unavailable", { "retry-after": "0" }),
    cut,
    cutAfterStoring,
    answers(500, "internal_error"),
    answers(502, "http_502"),
    noSummary,
    answers(302, "found", { location: "/login" }),
    answers(404, "not_found"),
    answers(400, "invalid_argument"),
  ];
  const client = opened();
  const keys = await filled(client, 300);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, keys);
  assert.equal(node.faults.length, 0);
  assert.equal((await client.spoolStatus()).refused, 0);
});

test("retry-after is waited for", async () => {
  node.faults = [answers(429, "rate_limited", { "retry-after": "1" })];
  const client = opened();
  const before = Date.now();
  await filled(client, 1);
  assert.equal(await client.flush(10_000), true);
  assert.ok(Date.now() - before >= 900);
});

test("a slow node does not hold up the producer", async () => {
  node.faults = [
    (faulty, request, response, body) => {
      setTimeout(() => response.end(faulty.take(body)), 500);
      return true;
    },
  ];
  const client = opened();
  const before = Date.now();
  await filled(client, 50);
  assert.ok(Date.now() - before < 400);
  assert.equal(await client.flush(50), false);
  assert.equal(await client.flush(10_000), true);
});

test("a node that is away is written to later", async () => {
  const port = Number(new URL(node.url).port);
  await node.close();
  const client = opened();
  const keys = await filled(client, 20);
  assert.equal(await client.flush(200), false);
  assert.match((await client.spoolStatus()).lastError, /ECONNREFUSED/);
  node = await FaultyNode.start(port);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, keys);
});

test("an unknown token stops the sender and keeps the events", async () => {
  node.token = "other";
  const client = opened();
  const keys = await filled(client, 3);
  assert.equal(await client.flush(10_000), false);
  const { halted, pendingEvents } = await client.spoolStatus();
  assert.match(halted, /unauthorized/);
  assert.deepEqual([pendingEvents, node.requests.length], [3, 1]);
  client.setToken("other");
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, keys);
});

test("refused events are kept with their verdict and reported", async () => {
  const verdict = { code: "schema_violation", message: "`decision` is missing" };
  node.refuses = (event) => (event.idempotency_key === "key-1" ? verdict : null);
  const told = [];
  const client = opened({ onRefused: (event) => told.push(event) });
  await filled(client, 3);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, ["key-0", "key-2"]);
  const { sent, refused } = await client.spoolStatus();
  assert.deepEqual([sent, refused], [2, 1]);
  const [folder] = await readdir(spoolDir);
  const kept = JSON.parse(await readFile(join(spoolDir, folder, "refused.ndjson"), "utf8"));
  assert.equal(kept.event.idempotency_key, "key-1");
  assert.equal(kept.verdict.code, verdict.code);
  assert.deepEqual(told, [kept.event]);
});

test("a verdict that passes holds the line and all behind it", async () => {
  const tries = {};
  node.refuses = (event) => {
    const key = event.idempotency_key;
    tries[key] = (tries[key] ?? 0) + 1;
    return key === "key-1" && tries[key] < 3 ? { code: "storage", message: "again" } : null;
  };
  const client = opened();
  const keys = await filled(client, 3);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual([...node.keys].sort(), keys);
  assert.deepEqual([tries["key-0"], (await client.spoolStatus()).refused], [1, 0]);
});

test("a batch that is too large is split and one event is refused", async () => {
  const tooLarge = (faulty, request, response, body) =>
    body.includes("key-2") && answers(413, "payload_too_large")(faulty, request, response);
  node.faults = Array(40).fill(tooLarge);
  const client = opened();
  await filled(client, 4);
  assert.equal(await client.flush(10_000), true);
  assert.deepEqual(node.keys, ["key-0", "key-1", "key-3"]);
  assert.equal((await client.spoolStatus()).refused, 1);
});

test("what close could not send is sent by the next client", async () => {
  node.faults = Array(1000).fill(answers(503, "unavailable"));
  const one = opened();
  const keys = await filled(one, 3);
  await one.close(100);
  node.faults = [];
  const other = opened();
  await other.record(other.event(builders.actionCommitted("late"), "trace", { idempotencyKey: "late" }));
  assert.equal(await other.flush(10_000), true);
  assert.deepEqual(node.keys, [...keys, "late"]);
});

test("processes killed at any time lose nothing and double nothing", async () => {
  const returned = {};
  for (let at = 0; at < 4; at++) {
    const args = ["--input-type=module", "-e", PRODUCER, node.url, spoolDir, `run${at}`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    const last = () => Number(text.split("\n").slice(-2)[0] || -1);
    await new Promise((done) => {
      child.stdout.on("data", (part) => {
        text += part;
        if (last() >= 100 + 170 * at) done();
      });
    });
    const closed = new Promise((done) => child.on("close", done));
    child.kill("SIGKILL");
    await closed;
    returned[`run${at}`] = last();
  }
  const client = opened();
  await client.spoolStatus();
  assert.equal(await client.flush(20_000), true);
  assert.equal(new Set(node.keys).size, node.keys.length);
  for (const [run, last] of Object.entries(returned)) {
    const found = node.keys.filter((key) => key.startsWith(`${run}-`)).map((key) => Number(key.split("-")[1]));
    assert.deepEqual(found, [...found.keys()]);
    assert.ok([last + 1, last + 2].includes(found.length), `${run}: ${found.length} of ${last + 1}`);
  }
});

test("the end of the program sends what waits", async () => {
  node.faults = [answers(503, "unavailable"), answers(503, "unavailable")];
  const args = ["--input-type=module", "-e", SHORT, node.url, spoolDir];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  assert.equal(await new Promise((done) => child.on("close", done)), 0);
  assert.deepEqual(node.events.map((event) => event.event_type), ["TraceStarted", "TraceFinished"]);
});
