/**
 * The client of one node, for one tenant and one producer.
 *
 * `record` and `trace` go through a spool on disk and never wait for the network. `append` and `appendMany` wait for
 * the node's answer. Questions are in `queries`.
 */

import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";
import * as builders from "./builders.js";
import { drawn, envelope, type Draft, type EnvelopeOptions } from "./builders.js";
import { Closed } from "./errors.js";
import type { Actor, BatchSummary, Entity, JsonObject, NewEvent, Source, StoredEvent, Verdict } from "./model.js";
import { Queries } from "./queries.js";
import type { Backoff } from "./retry.js";
import { Sender, verdictsOf, type OnLog, type OnRefused, type SpoolStatus } from "./sender.js";
import { Spool } from "./spool.js";
import { Trace } from "./trace.js";
import { Transport, lineOf, parsed, type Token } from "./transport.js";

const NDJSON = { "content-type": "application/x-ndjson", accept: "application/x-ndjson" };
const BATCH = "/api/v1/events/batch";

/** The producer, and the bounds of its client. */
export interface ClientOptions {
  /** Name of the program in `source.producer_id`; idempotency keys are unique within it. */
  producerId: string;
  /** `source.system`; by default the producer's name. */
  system?: string;
  subsystem?: string;
  /** Actor of events that name no other; by default the agent `producerId`. */
  actor?: Actor;
  /** Folder of the spool; see `defaultSpoolDir`. */
  spoolDir?: string;
  /** Bytes that may wait on the disk; 64 MiB. */
  spoolBytesMax?: number;
  /** `raise` (default): a full spool is a `SpoolFull`. `drop`: the event is left out and counted. */
  onFull?: "raise" | "drop";
  /** False leaves it to the system when lines reach the disk: a power cut may lose the last ones. */
  fsync?: boolean;
  /** Silence after which the files of an unknown process are claimed. */
  staleAfterMs?: number;
  /** Called with each event that was refused for good. */
  onRefused?: OnRefused;
  /** Called with what an operator should know; by default the console. */
  onLog?: OnLog;
  /** Bound of the wait for the spool when the program has nothing else to do. */
  exitMs?: number;
  timeoutMs?: number;
  attempts?: number;
  backoff?: Backoff;
  /** False: reads of a projection do not wait for the own writes. */
  readYourWrites?: boolean;
}

/** Options of a new trace. */
export interface TraceOptions {
  title: string;
  primaryEntity: Entity;
  traceId?: string;
  actor?: Actor;
  tags?: readonly string[];
  correlationId?: string;
  /** True: each event waits for the node instead of the spool. */
  sync?: boolean;
  /** True: the text of an exception is recorded, not only its class. */
  errorMessages?: boolean;
  /** Further members of the payload of `TraceStarted`. */
  extra?: JsonObject;
}

/** `$DECISIONGRAPH_SPOOL_DIR`, or `decisiongraph/spool` in the user's folder for state. */
export function defaultSpoolDir(): string {
  const named = process.env.DECISIONGRAPH_SPOOL_DIR;
  if (named) return named;
  return join(process.env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "decisiongraph", "spool");
}

/** The folder of one destination and producer: events never reach another node or tenant. */
export function spoolFolder(spoolDir: string, baseUrl: string, tenant: string, producerId: string): string {
  const place = `${baseUrl.replace(/\/+$/, "")}\n${tenant}\n${producerId}`;
  const name = [...tenant].map((c) => (/[A-Za-z0-9.-]/.test(c) ? c : "_")).slice(0, 40);
  return join(spoolDir, `${name.join("")}-${createHash("sha256").update(place).digest("hex").slice(0, 12)}`);
}

/** Records decisions and asks about them. */
export class Client extends Queries {
  protected readonly transport: Transport;
  protected readonly readYourWrites: boolean;
  readonly #source: Source;
  readonly #actor: Actor;
  readonly #folder: string;
  readonly #options: ClientOptions;
  #spooling: Promise<{ spool: Spool; sender: Sender }> | null = null;
  #sender: Sender | null = null;
  #isClosed = false;

  constructor(baseUrl: string, token: Token | null, tenant: string, options: ClientOptions) {
    super();
    const { producerId, system, subsystem, actor, spoolDir } = options;
    this.transport = new Transport(baseUrl, token, tenant, options);
    this.readYourWrites = options.readYourWrites ?? true;
    this.#options = options;
    this.#source = { producer_id: producerId, system: system ?? producerId, ...(subsystem ? { subsystem } : {}) };
    this.#actor = actor ?? builders.actor(producerId);
    this.#folder = spoolFolder(spoolDir ?? defaultSpoolDir(), baseUrl, tenant, producerId);
  }

  /** A draft of `builders` in its envelope: key drawn, time now. It may be offered any number of times. */
  event(draft: Draft, traceId: string, options: EnvelopeOptions = {}): NewEvent {
    return envelope(draft, traceId, { source: this.#source, actor: this.#actor }, options);
  }

  /** Appends one event and waits for the node: the stored event, of a repeat the one that was stored before. */
  async append(event: NewEvent): Promise<StoredEvent> {
    const headers = { "content-type": "application/json" };
    const answer = await this.transport.request("POST", "/api/v1/events", { body: lineOf(event), headers });
    const stored = (parsed(answer.text) as { data: { event: StoredEvent } }).data.event;
    this.#wrote(answer.logSeq ?? stored.log_seq);
    return stored;
  }

  /**
   * Appends a batch and waits for the node: a verdict per event. `atomic`: all or none, refused as `ApiError`.
   *
   * A node takes 10,000 events and 16 MiB per batch, 1,000 events of an atomic one.
   */
  async appendMany(
    events: Iterable<NewEvent>,
    options: { mode?: "each" | "atomic" } = {},
  ): Promise<{ verdicts: Verdict[]; summary: BatchSummary }> {
    const body = [...events].map((event) => `${lineOf(event)}\n`).join("");
    const query = { mode: options.mode ?? "each" };
    const found = verdictsOf((await this.transport.request("POST", BATCH, { query, body, headers: NDJSON })).text);
    this.#wrote(found.summary.last_log_seq);
    return found;
  }

  /** Puts one event into the spool and resolves when it is durable there; to false when the policy dropped it. */
  async record(event: NewEvent): Promise<boolean> {
    const line = lineOf(event);
    const { spool, sender } = await this.#open();
    const taken = await spool.append(line);
    sender.start();
    return taken;
  }

  /**
   * Runs `body` within a new trace, and appends `TraceFinished` behind it.
   *
   * When the body throws, the outcome is `failure` with the class of the exception; its text only with
   * `errorMessages`.
   */
  async trace<T>(workflow: string, options: TraceOptions, body: (trace: Trace) => Promise<T> | T): Promise<T> {
    const trace = await this.startTrace(workflow, options);
    let result: T;
    try {
      result = await body(trace);
    } catch (error) {
      const failure: Record<string, string> = { class: error instanceof Error ? error.name : typeof error };
      if (options.errorMessages && error instanceof Error) failure.message = error.message;
      // The body's own exception is the one to throw; the sender logs what is wrong with the spool.
      if (!trace.isFinished) await trace.finish("failure", { extra: { error: failure } }).catch(() => undefined);
      throw error;
    }
    if (!trace.isFinished) await trace.finish("success");
    return result;
  }

  /** A new trace that the caller finishes. */
  async startTrace(workflow: string, options: TraceOptions): Promise<Trace> {
    const trace = this.openTrace(options.traceId ?? drawn(), options);
    await trace.record(builders.traceStarted(workflow, options.title, options.primaryEntity, options.extra));
    return trace;
  }

  /** A trace that was begun elsewhere, for example to record its approval. */
  openTrace(
    traceId: string,
    options: { actor?: Actor; tags?: readonly string[]; correlationId?: string; sync?: boolean } = {},
  ): Trace {
    const put = (event: NewEvent): Promise<unknown> => (options.sync ? this.append(event) : this.record(event));
    const { tags, correlationId } = options;
    return new Trace(traceId, put, { source: this.#source, actor: options.actor ?? this.#actor, tags, correlationId });
  }

  /** Waits until the spool is empty. False after the time-out, or when the node does not accept the token. */
  async flush(timeoutMs = 60_000): Promise<boolean> {
    return this.#spooling === null || (await this.#spooling).sender.flush(timeoutMs);
  }

  /** Counts of the spool, and why nothing is sent, if so. */
  async spoolStatus(): Promise<SpoolStatus> {
    return (await this.#open()).sender.status();
  }

  /** Uses another token from now on, and sends again if the sender had stopped for the old one. */
  setToken(token: Token | null): void {
    this.transport.token = token;
    this.#sender?.resume();
  }

  /** Sends what waits, for `timeoutMs` at most. The rest stays on disk for the next process. */
  async close(timeoutMs = 5000): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    OPEN.delete(this);
    if (this.#spooling === null) return;
    const { spool, sender } = await this.#spooling;
    await sender.flush(timeoutMs);
    await sender.stop(Math.min(timeoutMs, 1000));
    await spool.close();
  }

  #open(): Promise<{ spool: Spool; sender: Sender }> {
    if (this.#isClosed) return Promise.reject(new Closed("the client is closed"));
    if (this.#spooling === null) {
      this.#spooling = this.#openSpool();
      this.#spooling.catch(() => (this.#spooling = null));
    }
    return this.#spooling;
  }

  async #openSpool(): Promise<{ spool: Spool; sender: Sender }> {
    const { spoolBytesMax: bytesMax, fsync, onFull, staleAfterMs, onRefused, onLog, backoff } = this.#options;
    const given = { bytesMax, fsync, onFull, staleAfterMs };
    const spool = await Spool.open(this.#folder, given as Parameters<typeof Spool.open>[1]);
    const onPosition = (position: number): void => this.#wrote(position);
    const post = async (body: Uint8Array): Promise<string> => {
      const query = { mode: "each", quiet: true };
      const sending = { query, body, headers: NDJSON, attempts: 1, timeoutMs: 30_000 };
      return (await this.transport.request("POST", BATCH, sending)).text;
    };
    const sender = new Sender(spool, post, { onRefused, onLog, backoff, onPosition, refusedBytesMax: bytesMax });
    this.#sender = sender;
    OPEN.set(this, this.#options.exitMs ?? 2000);
    if (spool.pendingEvents) sender.start();
    return { spool, sender };
  }

  #wrote(position: number | null): void {
    this.lastLogSeq = Math.max(this.lastLogSeq, position ?? 0);
  }
}

/** Clients with a spool, and how long each may delay the end of the program. */
const OPEN = new Map<Client, number>();

process.on("beforeExit", () => {
  for (const [client, exitMs] of OPEN) void client.close(exitMs);
});
