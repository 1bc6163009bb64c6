/**
 * The event stream: every event once, in order, over any number of connections.
 *
 * The node promises no gaps and at least once; this reader drops what it has seen, and resumes behind the last id. When
 * the log does not hold what was seen, `HistoryChanged` is thrown: a hole is never passed over.
 */

import { Conflict, Unreachable, historyChanged } from "./errors.js";
import type { StoredEvent } from "./model.js";
import { Backoff, isTransient, pause, retryAfterMsOf } from "./retry.js";
import { Lines, Parser } from "./sse.js";
import type { Query, Transport } from "./transport.js";

/** Silence, comments included, after which a connection is given up. The node writes every 15 s. */
const SILENCE_MS_MAX = 45_000;
/** Before a new connection, unless the node says another time. */
const RETRY_MS = 2000;

/** An event, or a mark: the stream has everything up to `logSeq` that the filter lets through. */
export type StreamMessage = { id: string | null; logSeq: number } & (
  | { kind: "event"; data: StoredEvent }
  | { kind: "mark"; data: { log_seq: number; last_log_seq: number } }
);

/** An iterable over messages that never ends by itself. Leave its loop, or call `close`. */
export class Stream implements AsyncIterable<StreamMessage> {
  /** Id of the latest message: keep it with what you made of the message, and resume there. */
  lastEventId: string | null;
  #seen = -1;
  #isClosed = false;
  #abort: AbortController | null = null;
  readonly #marks: boolean;
  readonly #backoff: Backoff;

  constructor(
    readonly transport: Transport,
    readonly query: Query,
    options: { lastEventId?: string | null | undefined; marks?: boolean | undefined; backoff?: Backoff } = {},
  ) {
    this.lastEventId = options.lastEventId ?? null;
    this.#marks = options.marks ?? false;
    this.#backoff = options.backoff ?? new Backoff();
  }

  /** Ends the stream. */
  close(): void {
    this.#isClosed = true;
    this.#abort?.abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamMessage, void, undefined> {
    for (let attempt = 0; !this.#isClosed; ) {
      const parser = new Parser();
      let retryAfterMs: number | null = null;
      try {
        yield* this.#messages(parser);
      } catch (error) {
        if (this.#isClosed) return;
        if (!isTransient(error)) throw error instanceof Conflict ? historyChanged(error) : error;
        retryAfterMs = retryAfterMsOf(error);
      } finally {
        this.#abort?.abort();
      }
      if (this.#isClosed) return;
      // The node's first line is `retry`: with it, the connection was a good one.
      attempt = parser.retryMs === null ? attempt + 1 : 1;
      const first = parser.retryMs ?? RETRY_MS;
      await pause(new Backoff(first, Math.max(first, this.#backoff.mostMs)).wait(attempt, retryAfterMs));
    }
  }

  async *#messages(parser: Parser): AsyncGenerator<StreamMessage, void, undefined> {
    parser.lastId = this.lastEventId;
    for await (const line of this.#lines()) {
      const message = parser.line(line);
      if (message?.event === "bye") return;
      if (message?.event !== "event" && message?.event !== "mark") continue;
      let data;
      try {
        data = JSON.parse(message.data) as StoredEvent & { last_log_seq: number };
      } catch (cause) {
        throw new Unreachable("a message of the stream is damaged", { cause });
      }
      const logSeq = data.log_seq;
      const isNew = message.event === "mark" || logSeq > this.#seen;
      this.#seen = Math.max(this.#seen, logSeq);
      this.lastEventId = message.id;
      if (isNew && (message.event === "event" || this.#marks)) {
        yield { kind: message.event, id: message.id, logSeq, data } as StreamMessage;
      }
    }
  }

  async *#lines(): AsyncGenerator<string, void, undefined> {
    const headers: Record<string, string> = { accept: "text/event-stream", "cache-control": "no-store" };
    const query: Record<string, unknown> = { ...this.query };
    if (this.lastEventId !== null) {
      headers["last-event-id"] = this.lastEventId;
      delete query.since_log_seq;
    }
    const abort = (this.#abort = new AbortController());
    const silence = () => setTimeout(() => abort.abort(), SILENCE_MS_MAX);
    let timer = silence();
    try {
      const sending = { headers, query: query as Query };
      const response = await this.transport.open("GET", "/api/v1/events/stream", sending, abort.signal);
      const reader = response.body?.getReader();
      const decoder = new TextDecoder();
      const lines = new Lines();
      for (;;) {
        const piece = await reader?.read().catch((cause: unknown) => {
          throw new Unreachable("the stream was cut", { cause });
        });
        if (!piece?.value) throw new Unreachable("the stream was cut");
        clearTimeout(timer);
        timer = silence();
        yield* lines.take(decoder.decode(piece.value, { stream: true }));
      }
    } finally {
      clearTimeout(timer);
    }
  }
}
