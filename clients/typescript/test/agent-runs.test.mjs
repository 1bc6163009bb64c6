// Runs of agent frameworks as traces. The frameworks' own tests are skipped where they are not installed.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { AgentRun, textOf } from "../dist/agent-runs.js";
import { Client, entity } from "../dist/index.js";
import { decisionGraphCallbacks } from "../dist/langchain.js";
import { FaultyNode } from "./faulty-node.mjs";

const SECRET = "card 4111-1111";
const found = async (name) => import(name).catch(() => null);
const runnables = await found("@langchain/core/runnables");
const tools = await found("@langchain/core/tools");
const retrievers = await found("@langchain/core/retrievers");
const langgraph = await found("@langchain/langgraph");

let node;
let client;
let spoolDir;

beforeEach(async () => {
  node = await FaultyNode.start();
  spoolDir = await mkdtemp(join(tmpdir(), "runs-"));
  client = new Client(node.url, "t", "default", { producerId: "p", spoolDir, fsync: false });
});

afterEach(async () => {
  await client.close();
  await node.close();
  await rm(spoolDir, { recursive: true });
});

async function types() {
  assert.equal(await client.flush(10_000), true);
  return node.events.map((event) => event.event_type);
}

async function payloads(type) {
  await types();
  return node.events.filter((event) => event.event_type === type).map((event) => event.payload);
}

async function runOnce(options = {}) {
  const run = await AgentRun.begin(client, { onFault: () => undefined, ...options }, "agent", "run-1");
  await run.retrieved("in-1", "tickets", SECRET, [SECRET]);
  await run.toolStarted("call-1", "issue_credit", SECRET);
  await run.toolEnded("call-1", SECRET);
  await run.toolStarted("call-2", "issue_credit", "");
  await run.toolFailed("call-2", new RangeError(SECRET));
  await run.ended(new RangeError(SECRET));
}

const RUN = [
  "TraceStarted",
  "InputObserved",
  "ActionProposed",
  "ActionCommitted",
  "ActionProposed",
  "ActionCommitted",
  "TraceFinished",
];

test("no text is recorded by default", async () => {
  await runOnce();
  assert.deepEqual(await types(), RUN);
  assert.ok(!JSON.stringify(node.events).includes(SECRET));
});

test("each text is recorded by its name", async () => {
  for (const name of ["tool_inputs", "tool_outputs", "queries", "documents", "error_messages"]) {
    node.events = [];
    await runOnce({ record: [name] });
    await types();
    const times = JSON.stringify(node.events).split(SECRET).length - 1;
    assert.equal(times, name === "error_messages" ? 2 : 1, name);
  }
});

test("a target is named by the caller", async () => {
  const targetOf = (tool, input) => (input ? entity("account", "acme") : undefined);
  await runOnce({ targetOf, workflow: "refund" });
  const targets = (await payloads("ActionProposed")).map((payload) => payload.target_entity.entity_id);
  assert.deepEqual(targets, ["acme", "issue_credit"]);
  assert.equal((await payloads("TraceStarted"))[0].workflow, "refund");
});

test("an open trace is neither started nor finished", async () => {
  const about = { title: "x", primaryEntity: entity("account", "a") };
  await client.trace("refund", about, (trace) => runOnce({ trace }));
  assert.deepEqual((await types()).filter((type) => type === "TraceStarted").length, 1);
  assert.deepEqual(await payloads("TraceFinished"), [{ outcome: "success" }]);
});

test("a fault of the recording does not stop the agent", async () => {
  await client.close();
  await runOnce();
});

test("texts are bounded and storable", () => {
  assert.equal(textOf("a\0b\ud800"), "ab\ufffd");
  assert.equal(textOf("x".repeat(9999)).length, 4000);
});

const creditTool = () =>
  tools.tool(async ({ account }) => `credited ${account}`, {
    name: "issue_credit",
    description: "Issues a credit.",
    schema: { type: "object", properties: { account: { type: "string" } }, required: ["account"] },
  });

test("a chain with tools is one trace", { skip: !runnables }, async () => {
  const chain = runnables.RunnableLambda.from((account) => ({ account })).pipe(creditTool());
  const callbacks = [decisionGraphCallbacks(client, { workflow: "refund" })];
  await chain.invoke("acme", { callbacks, runName: "credit" });
  assert.deepEqual(await types(), ["TraceStarted", "ActionProposed", "ActionCommitted", "TraceFinished"]);
  assert.equal(new Set(node.events.map((event) => event.trace_id)).size, 1);
  assert.equal((await payloads("TraceStarted"))[0].title, "credit");
  const [proposed] = await payloads("ActionProposed");
  assert.equal(proposed.action_type, "issue_credit");
  assert.equal(proposed.action_id, (await payloads("ActionCommitted"))[0].action_id);
});

test("a failing tool fails the run without its text", { skip: !runnables }, async () => {
  const fail = tools.tool(
    () => {
      throw new RangeError(SECRET);
    },
    { name: "fail", description: "Fails.", schema: { type: "object", properties: {} } },
  );
  const chain = runnables.RunnableLambda.from(() => ({})).pipe(fail);
  await assert.rejects(chain.invoke("a", { callbacks: [decisionGraphCallbacks(client)] }), RangeError);
  assert.equal((await payloads("ActionCommitted"))[0].status, "failure");
  assert.deepEqual(await payloads("TraceFinished"), [{ outcome: "failure", error: { class: "RangeError" } }]);
  assert.ok(!JSON.stringify(node.events).includes(SECRET));
});

test("a retrieval is an observed input", { skip: !retrievers }, async () => {
  class Tickets extends retrievers.BaseRetriever {
    lc_namespace = ["tests"];
    async _getRelevantDocuments() {
      return [{ pageContent: SECRET, metadata: {} }];
    }
  }
  await new Tickets().invoke("refund", { callbacks: [decisionGraphCallbacks(client)] });
  assert.deepEqual(await types(), ["TraceStarted", "InputObserved", "TraceFinished"]);
  assert.deepEqual((await payloads("InputObserved"))[0].facts, [{ name: "documents", value: 1 }]);
});

test("a graph that waits for an approval stays open", { skip: !langgraph }, async () => {
  const { Annotation, Command, END, MemorySaver, START, StateGraph, interrupt } = langgraph;
  const state = Annotation.Root({ account: Annotation() });
  const decide = async ({ account }, config) => {
    const answer = interrupt({ credit: account });
    return { account: await creditTool().invoke({ account: answer }, config) };
  };
  const graph = new StateGraph(state).addNode("decide", decide).addEdge(START, "decide").addEdge("decide", END);
  const app = graph.compile({ checkpointer: new MemorySaver() });
  const thread = { configurable: { thread_id: "1" } };
  await app.invoke({ account: "acme" }, { ...thread, callbacks: [decisionGraphCallbacks(client)] });
  assert.deepEqual(await types(), ["TraceStarted"]);
  const trace = client.openTrace(node.events[0].trace_id);
  const callbacks = [decisionGraphCallbacks(client, { trace })];
  await app.invoke(new Command({ resume: "acme" }), { ...thread, callbacks });
  assert.deepEqual(await types(), ["TraceStarted", "ActionProposed", "ActionCommitted"]);
});
