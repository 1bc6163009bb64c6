/**
 * LangChain.js and LangGraph.js: callbacks that record each run as a trace.
 *
 *     await graph.invoke(question, { callbacks: [decisionGraphCallbacks(client, { workflow: "refund" })] });
 *
 * The callbacks are plain functions, so that this module needs `@langchain/core` neither to build nor to run. Language
 * models are not recorded. A run that stops at an interrupt of LangGraph stays open: record the approval, and go on
 * with `trace: client.openTrace(id)`.
 */

import { AgentRun, type RunOptions } from "./agent-runs.js";
import type { Client } from "./client.js";

export type { Recorded, RunOptions } from "./agent-runs.js";

/** Callbacks as LangChain.js takes them. */
export type DecisionGraphCallbacks = ReturnType<typeof decisionGraphCallbacks>;

/** Callbacks for any number of runs at a time; a run without a parent is a trace. */
export function decisionGraphCallbacks(client: Client, options: RunOptions = {}) {
  const settings = { system: "langchain", ...options };
  const runs = new Map<string, Promise<AgentRun>>();
  const roots = new Map<string, string>();
  const asked = new Map<string, { name: string; query: string }>();

  const begin = (name: string, runId: string, parentRunId?: string): Promise<AgentRun> => {
    const root = (parentRunId && roots.get(parentRunId)) || runId;
    roots.set(runId, root);
    let run = runs.get(root);
    if (!run) runs.set(root, (run = AgentRun.begin(client, settings, name, runId)));
    return run;
  };
  const runOf = async (runId: string): Promise<AgentRun | undefined> => runs.get(roots.get(runId) ?? runId);
  /** Forgets a part; gives the run when the part was its root. */
  const end = async (runId: string): Promise<AgentRun | undefined> => {
    roots.delete(runId);
    const run = runs.get(runId);
    runs.delete(runId);
    return run;
  };
  /** Marks the run as one that waits for people, if that is what the error says. */
  const waitsFor = async (error: unknown, runId: string): Promise<boolean> => {
    const run = isInterrupt(error) ? await runOf(runId) : undefined;
    if (run) run.isWaiting = true;
    return run !== undefined;
  };

  return {
    /** Events are recorded before the run goes on, so that they are in its order. */
    awaitHandlers: true,
    /** Prompts and answers are not looked at. */
    ignoreLLM: true,

    /** A chain or graph begins; one without a parent is the run. */
    handleChainStart: async (
      chain: unknown,
      _inputs: unknown,
      runId: string,
      parentRunId?: string,
      _tags?: string[],
      _metadata?: Record<string, unknown>,
      _runType?: string,
      runName?: string,
    ): Promise<void> => {
      await begin(runName ?? nameOf(chain, "agent"), runId, parentRunId);
    },

    /** A chain or graph ends. */
    handleChainEnd: async (_outputs: unknown, runId: string): Promise<void> => {
      await (await end(runId))?.ended();
    },

    /** A chain or graph fails; the failure of a part is the whole run's only when it gets there. */
    handleChainError: async (error: unknown, runId: string): Promise<void> => {
      await waitsFor(error, runId);
      await (await end(runId))?.ended(error);
    },

    /** A tool begins: an action is proposed. */
    handleToolStart: async (
      tool: unknown,
      input: string,
      runId: string,
      parentRunId?: string,
      _tags?: string[],
      _metadata?: Record<string, unknown>,
      runName?: string,
    ): Promise<void> => {
      const name = runName ?? nameOf(tool, "tool");
      await (await begin(name, runId, parentRunId)).toolStarted(runId, name, input);
    },

    /** A tool ends: the action is committed. A tool that handles its own error gives a result of status `error`. */
    handleToolEnd: async (output: unknown, runId: string): Promise<void> => {
      const result = (output ?? {}) as { status?: string; content?: unknown };
      const run = await runOf(runId);
      if (result.status === "error") await run?.toolFailed(runId, new ToolError(String(result.content)));
      else await run?.toolEnded(runId, result.content ?? output);
      await (await end(runId))?.ended();
    },

    /** A tool fails; one that waits at an interrupt stays proposed. */
    handleToolError: async (error: unknown, runId: string): Promise<void> => {
      if (!(await waitsFor(error, runId))) await (await runOf(runId))?.toolFailed(runId, error);
      await (await end(runId))?.ended(error);
    },

    /** A retrieval begins. */
    handleRetrieverStart: async (
      retriever: unknown,
      query: string,
      runId: string,
      parentRunId?: string,
      _tags?: string[],
      _metadata?: Record<string, unknown>,
      runName?: string,
    ): Promise<void> => {
      const name = runName ?? nameOf(retriever, "retriever");
      asked.set(runId, { name, query });
      await begin(name, runId, parentRunId);
    },

    /** A retrieval ends: an input was observed. */
    handleRetrieverEnd: async (documents: readonly { pageContent: string }[], runId: string): Promise<void> => {
      const { name, query } = asked.get(runId) ?? { name: "retriever", query: "" };
      asked.delete(runId);
      const texts = documents.map((document) => document.pageContent);
      await (await runOf(runId))?.retrieved(runId, name, query, texts);
      await (await end(runId))?.ended();
    },

    /** A retrieval fails: nothing was observed. */
    handleRetrieverError: async (error: unknown, runId: string): Promise<void> => {
      asked.delete(runId);
      await (await end(runId))?.ended(error);
    },
  };
}

class ToolError extends Error {
  override readonly name = "ToolError";
}

function nameOf(serialized: unknown, otherwise: string): string {
  const { name, id } = (serialized ?? {}) as { name?: string; id?: readonly string[] };
  return name ?? id?.at(-1) ?? otherwise;
}

/** LangGraph's way of stopping for people is an exception, but no failure. */
function isInterrupt(error: unknown): boolean {
  const named = error as { is_bubble_up?: boolean; name?: string } | null;
  return named?.is_bubble_up === true || named?.name === "GraphInterrupt";
}
