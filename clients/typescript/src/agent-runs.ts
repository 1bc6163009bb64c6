/**
 * A run of an agent framework as a trace: the mapping that all adapters share.
 *
 * | in the framework | event |
 * |---|---|
 * | run of the agent | `TraceStarted`, `TraceFinished` |
 * | tool call begins, ends, fails | `ActionProposed`, `ActionCommitted` |
 * | retrieval | `InputObserved` |
 *
 * Prompts, answers and texts are not recorded, unless `record` names them. A fault of the recording never stops the
 * agent: it is logged.
 */

import { drawn, entity, traceStarted } from "./builders.js";
import type { Client } from "./client.js";
import type { Entity, JsonObject } from "./model.js";
import type { Trace } from "./trace.js";

/** Longest recorded text, in characters; longer ones are cut and end with "…". */
const TEXT_CHARS_MAX = 4000;

/** Texts that may be recorded. Nothing of them is recorded by default. */
export type Recorded = "tool_inputs" | "tool_outputs" | "queries" | "documents" | "error_messages";

/** Settings of an adapter. */
export interface RunOptions {
  /** Workflow of the traces; by default the name of the run. */
  workflow?: string;
  /** Title of the traces; by default the name of the run. */
  title?: string;
  /** Entity that the decision is about; by default the run itself. */
  primaryEntity?: Entity;
  /** Texts that are recorded. */
  record?: readonly Recorded[];
  /** Gives the entity that a tool call acts on, from the tool's name and input; nothing for the tool itself. */
  targetOf?: (tool: string, input: string) => Entity | undefined;
  /** System of tools and retrievers. */
  system?: string;
  /** A trace that is open already: events go into it, and the adapter neither starts nor finishes it. */
  trace?: Trace;
  tags?: readonly string[];
  /** Called with faults of the recording; by default `console.error`. */
  onFault?: (message: string) => void;
}

/** One run. Its methods never reject; events are recorded in the order of the calls. */
export class AgentRun {
  readonly trace: Trace;
  /** True when a part of the run has stopped to wait for people. */
  isWaiting = false;
  readonly #record: ReadonlySet<Recorded>;
  readonly #system: string;

  /** Begins a trace, unless the options name one that is open. */
  static async begin(client: Client, options: RunOptions, name: string, runId: string): Promise<AgentRun> {
    const run = new AgentRun(client, options);
    if (!options.trace) {
      const about = options.primaryEntity ?? entity("run", runId);
      await run.#step(() => run.trace.record(traceStarted(options.workflow ?? name, options.title ?? name, about)));
    }
    return run;
  }

  private constructor(
    client: Client,
    private readonly options: RunOptions,
  ) {
    this.trace = options.trace ?? client.openTrace(drawn(), options.tags ? { tags: options.tags } : {});
    this.#record = new Set(options.record);
    this.#system = options.system ?? "agent";
  }

  /** A tool is about to run. */
  toolStarted(callId: string, name: string, input: string): Promise<void> {
    const changes = this.#record.has("tool_inputs") ? [{ field: "input", after: textOf(input) }] : [];
    return this.#step(() => {
      const target = this.options.targetOf?.(name, input) ?? entity("tool", name);
      return this.trace.actionProposed(name, target, this.#system, { changes, actionId: callId });
    });
  }

  /** A tool gave its result. */
  toolEnded(callId: string, output: unknown): Promise<void> {
    const extra = this.#record.has("tool_outputs") ? { output: textOf(output) } : {};
    return this.#step(() => this.trace.actionCommitted(callId, "success", { extra }));
  }

  /** A tool failed. */
  toolFailed(callId: string, error: unknown): Promise<void> {
    return this.#step(() => this.trace.actionCommitted(callId, "failure", { extra: this.#error(error) }));
  }

  /** A retriever found documents. */
  retrieved(callId: string, name: string, query: string, documents: readonly string[]): Promise<void> {
    const facts: JsonObject[] = [{ name: "documents", value: documents.length }];
    if (this.#record.has("queries")) facts.push({ name: "query", value: textOf(query) });
    const texts = this.#record.has("documents") ? documents.map(textOf) : [];
    facts.push(...texts.map((value) => ({ name: "document", value })));
    return this.#step(() => this.trace.input(this.#system, "retriever", name, { facts, inputId: callId }));
  }

  /** The run ended, or failed. One that waits for people stays open. */
  async ended(error?: unknown): Promise<void> {
    if (this.options.trace || this.isWaiting) return;
    const failed = error !== undefined;
    const extra = failed ? this.#error(error) : {};
    await this.#step(() => this.trace.finish(failed ? "failure" : "success", { extra }));
  }

  #error(error: unknown): JsonObject {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    return { error: { class: name, ...(this.#record.has("error_messages") ? { message: textOf(message) } : {}) } };
  }

  async #step(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const tell = this.options.onFault ?? ((message: string) => console.error(`decisiongraph-client: ${message}`));
      tell(`a step of trace ${this.trace.traceId} was not recorded: ${(error as Error).message}`);
    }
  }
}

/** A value as a text of bounded length, without the characters that the log cannot hold. */
export function textOf(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  const storable = new TextDecoder().decode(new TextEncoder().encode(text.replaceAll("\0", "")));
  return storable.length <= TEXT_CHARS_MAX ? storable : cut(storable, TEXT_CHARS_MAX - 1);
}

/** The first characters, without half of a surrogate pair at the end. */
function cut(text: string, length: number): string {
  return `${text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "")}…`;
}
