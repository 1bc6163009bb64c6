/**
 * Questions to a node: traces, graph, precedents, events, jobs. Every one is a request; nothing is cached.
 *
 * Reads of a projection wait for the position that this client last wrote, unless `readYourWrites` is off.
 */

import { drawn } from "./builders.js";
import type {
  Direction,
  Edge,
  JsonObject,
  Precedent,
  ReplayMode,
  Run,
  StoredEvent,
  Subgraph,
  TraceRow,
  TraceWithEvents,
} from "./model.js";
import { Stream } from "./stream.js";
import { lineOf, parsed, segmentOf, type Query, type Transport } from "./transport.js";

/** Bounds on the age of an answer from a projection. */
export interface Freshness {
  /** Position that the answer must know; by default the one that this client last wrote. */
  atLeast?: number;
  /** Milliseconds that the node waits for it. */
  waitMs?: number;
  /** True takes an older answer rather than `OutOfDate`. */
  allowStale?: boolean;
}

/** Filters of the list of traces; several are joined with "and". */
export interface TracesFilter extends Freshness {
  status?: "open" | "finished";
  workflow?: string;
  outcome?: string;
  entityType?: string;
  entityId?: string;
  /** Key of a node of the graph, for example `entity:account:acme`. */
  involves?: string;
  actorType?: string;
  actorId?: string;
  eventType?: string;
  tag?: string;
  occurredSince?: string;
  occurredUntil?: string;
  titlePrefix?: string;
  traceIdPrefix?: string;
  order?: "started" | "finished";
  /** Traces per request. */
  page?: number;
}

/** Filters of the list of events. */
export interface EventsFilter {
  /** Exclusive. */
  sinceLogSeq?: number;
  /** Inclusive. */
  untilLogSeq?: number;
  eventId?: string;
  eventType?: string;
  traceId?: string;
  actorType?: string;
  actorId?: string;
  /** Events per request. */
  page?: number;
}

/** The reading half of a `Client`, and the jobs of its operators. */
export abstract class Queries {
  protected abstract readonly transport: Transport;
  protected abstract readonly readYourWrites: boolean;
  /** The highest position that this client wrote, as far as the node has answered. */
  lastLogSeq = 0;

  /** One trace: its events in order, and its summary. */
  async getTrace(traceId: string, freshness: Freshness = {}): Promise<TraceWithEvents> {
    return (await this.#read(`/traces/${segmentOf(traceId)}`, freshness, {})) as unknown as TraceWithEvents;
  }

  /** Traces, latest first, page after page. */
  async *traces(filter: TracesFilter = {}): AsyncGenerator<TraceRow, void, undefined> {
    const { atLeast, waitMs, allowStale, page = 50, ...rest } = filter;
    const freshness = { atLeast: atLeast ?? this.#written(), waitMs, allowStale };
    const query = { ...snake(rest), limit: page };
    for (let cursor: unknown = undefined; cursor !== null; ) {
      const found = await this.#read("/traces", freshness as Freshness, { ...query, cursor: cursor as string });
      yield* found.traces as TraceRow[];
      cursor = found.next_cursor ?? null;
    }
  }

  /** The context graph around a node: `context("entity", "account:acme")`. */
  async context(
    nodeType: string,
    nodeId: string,
    options: Freshness & {
      maxDepth?: number;
      maxNodes?: number;
      maxEdges?: number;
      nodeTypes?: readonly string[];
      edgeTypes?: readonly string[];
    } = {},
  ): Promise<Subgraph> {
    const { maxDepth = 1, maxNodes, maxEdges, nodeTypes, edgeTypes, ...freshness } = options;
    const query = snake({ nodeType, nodeId, maxDepth, maxNodes, maxEdges, nodeTypes, edgeTypes });
    return (await this.#read("/graph/context", freshness, query)) as unknown as Subgraph;
  }

  /** Edges of a node in the order of the log, page after page. */
  async *edges(
    nodeType: string,
    nodeId: string,
    options: Freshness & { direction?: Direction; page?: number } = {},
  ): AsyncGenerator<Edge, void, undefined> {
    const { direction = "both", page = 100, ...freshness } = options;
    let query: Query = { ...snake({ nodeType, nodeId, direction }), limit: page };
    for (;;) {
      const found = await this.#read("/graph/edges", freshness, query);
      yield* found.edges as Edge[];
      const behind = found.next_cursor as { edge_key: string; log_seq: number } | null;
      if (!behind) return;
      query = { ...query, cursor_edge_key: behind.edge_key, cursor_log_seq: behind.log_seq };
    }
  }

  /** Finished decisions of the same kind, latest first. */
  async precedents(
    filter: Freshness & {
      policyId?: string;
      policyVersion?: string;
      entityType?: string;
      entityId?: string;
      outcome?: string;
      limit?: number;
    } = {},
  ): Promise<Precedent[]> {
    const { atLeast, waitMs, allowStale, ...rest } = filter;
    const found = await this.#read("/precedents", { atLeast, waitMs, allowStale } as Freshness, snake(rest));
    return found.precedents as Precedent[];
  }

  /** Stored events up to the safe mark, in the order of the log, page after page. */
  async *events(filter: EventsFilter = {}): AsyncGenerator<StoredEvent, void, undefined> {
    const { page = 500, ...rest } = filter;
    for (let cursor: unknown = undefined; cursor !== null; ) {
      const query = { ...snake(rest), limit: page, cursor: cursor as string };
      const found = await this.transport.data("GET", "/api/v1/events", { query });
      yield* found.events as StoredEvent[];
      cursor = found.next_cursor ?? null;
    }
  }

  /** The safe mark: no event can still appear at or below this position. */
  async mark(): Promise<number> {
    return (await this.transport.data("GET", "/api/v1/events", { query: { limit: 1 } })).mark as number;
  }

  /**
   * Events as they come, over any number of connections; with `marks`, also how far the stream has come.
   *
   * Without a place it begins at the present mark. `lastEventId` wins over `sinceLogSeq`.
   */
  async stream(
    options: {
      sinceLogSeq?: number;
      eventType?: string;
      traceId?: string;
      lastEventId?: string | null;
      marks?: boolean;
    } = {},
  ): Promise<Stream> {
    const { lastEventId, marks, eventType, traceId } = options;
    const sinceLogSeq = options.sinceLogSeq ?? (lastEventId ? undefined : await this.mark());
    return new Stream(this.transport, snake({ sinceLogSeq, eventType, traceId }), { lastEventId, marks });
  }

  /** Cursor, lag and digest of each projection, and the jobs that run. */
  projectionHealth(): Promise<Record<string, unknown>> {
    return this.transport.data("GET", "/api/v1/projections/health");
  }

  /** Asks for a catch-up or a rebuild of a projection, or of `all`; repeats of a key start nothing new. */
  startReplay(
    projection: string,
    reason: string,
    options: { mode?: ReplayMode; metadata?: JsonObject; untilLogSeq?: number; idempotencyKey?: string } = {},
  ): Promise<Run> {
    const { mode = "catch_up", metadata, untilLogSeq, idempotencyKey } = options;
    const body = { projection, mode, reason, metadata, until_log_seq: untilLogSeq };
    return this.#change("/admin/replays", lineOf(body), idempotencyKey);
  }

  /** A replay as it is now. */
  async getReplay(jobId: string): Promise<Run> {
    return (await this.transport.data("GET", `/api/v1/admin/replays/${segmentOf(jobId)}`)).run as Run;
  }

  /** Asks a replay to stop, and gives it as it is then. */
  cancelReplay(jobId: string, options: { idempotencyKey?: string } = {}): Promise<Run> {
    return this.#change(`/admin/replays/${segmentOf(jobId)}/cancel`, null, options.idempotencyKey);
  }

  /** Name, roles, rights and tenants of the token's identity. */
  whoami(): Promise<Record<string, unknown>> {
    return this.transport.data("GET", "/api/v1/whoami", { tenant: false });
  }

  /** State of the node's process; open to everybody who reaches it. */
  async healthz(): Promise<Record<string, unknown>> {
    const answer = await this.transport.request("GET", "/api/healthz", { tenant: false });
    return parsed(answer.text) as Record<string, unknown>;
  }

  #written(): number | undefined {
    return this.readYourWrites && this.lastLogSeq > 0 ? this.lastLogSeq : undefined;
  }

  #read(path: string, freshness: Freshness, query: Query): Promise<Record<string, unknown>> {
    const at_least = freshness.atLeast ?? this.#written();
    const allow_stale = freshness.allowStale || undefined;
    const whole = { at_least, wait_ms: freshness.waitMs, allow_stale, ...query };
    return this.transport.data("GET", `/api/v1${path}`, { query: whole, patienceMs: freshness.waitMs ?? 0 });
  }

  async #change(path: string, body: string | null, key = drawn()): Promise<Run> {
    // The request id stays the same with the key: a node may record it, and compares what is asked again.
    const headers: Record<string, string> = { "idempotency-key": key, "x-request-id": key };
    if (body !== null) headers["content-type"] = "application/json";
    const sending = body === null ? { headers } : { headers, body };
    return (await this.transport.data("POST", `/api/v1${path}`, sending)).run as Run;
  }
}

/** Names of options as the wire has them: `policyId` becomes `policy_id`. */
function snake(options: object): Query {
  const renamed = Object.entries(options).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return Object.fromEntries(renamed) as Query;
}
