/**
 * The background loop that takes a spool to the node: in order, in batches, with patience.
 *
 * Taken lines leave the spool. A refused line goes to `refused.ndjson` beside the segments, with its verdict, and is
 * reported. When the node does not know the token, the sender stops and says so; the events stay.
 */

import { open } from "node:fs/promises";
import { join } from "node:path";
import { ApiError, Unreachable } from "./errors.js";
import type { BatchSummary, Verdict } from "./model.js";
import { Backoff, isTransient, retryAfterMsOf } from "./retry.js";
import { joined } from "./segments.js";
import type { Batch, Spool } from "./spool.js";
import { lineOf } from "./transport.js";

/** Lines and bytes of one batch. */
const BATCH_LINES_MAX = 500;
const BATCH_BYTES_MAX = 1024 * 1024;
/** Between two looks for files of dead processes, and between two signs of life. */
const ROUND_MS = 15_000;
/** Verdicts on a line that pass with time. Any other refusal is final. */
const PASSING: ReadonlySet<string> = new Set([
  "unavailable",
  "storage",
  "internal_error",
  "rate_limited",
  "outcome_unknown",
  "fenced",
  "request_timeout",
]);

/** Called with a refused event (a text, if its line is damaged) and the verdict on it. */
export type OnRefused = (event: unknown, verdict: Readonly<Record<string, unknown>>) => void;
/** Called with what an operator should know; by default `console.error`: the standard output is the program's. */
export type OnLog = (level: "info" | "warn" | "error", message: string) => void;

/** State of spool and sender. */
export interface SpoolStatus {
  pendingEvents: number;
  pendingBytes: number;
  /** Events that the node took, and those among them that it had before. */
  sent: number;
  repeated: number;
  /** Events that were refused for good; they are in the file of refused events, except `refusedUnkept`. */
  refused: number;
  refusedUnkept: number;
  dropped: number;
  torn: number;
  /** Reason why nothing is sent until `setToken`; null while the sender works. */
  halted: string | null;
  /** Latest failure since the last success. */
  lastError: string | null;
}

/** Parts and policies of a sender. */
export interface SenderOptions {
  onRefused?: OnRefused | undefined;
  onPosition?: (position: number) => void;
  onLog?: OnLog | undefined;
  backoff?: Backoff | undefined;
  refusedBytesMax?: number | undefined;
}

/** Decides what a failed batch means. Nothing but a refusal of its content takes events out of the spool. */
export function stepAfter(error: ApiError): "wait" | "halt" | "split" {
  if (error.status === 401 || error.status === 403) return "halt";
  return error.status === 413 || error.status === 422 ? "split" : "wait";
}

/** Verdicts and summary of a batch's answer; an answer without its last line is no answer. */
export function verdictsOf(text: string): { verdicts: Verdict[]; summary: BatchSummary } {
  try {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    const found = lines.map((line) => JSON.parse(line) as unknown);
    const last = found.pop() as { summary?: BatchSummary } | undefined;
    if (last?.summary) return { verdicts: found as Verdict[], summary: last.summary };
  } catch {
    // The same as an answer without a summary.
  }
  throw new Unreachable("the answer to a batch is cut off");
}

/** One loop for one spool. */
export class Sender {
  #sent = 0;
  #repeated = 0;
  #refused = 0;
  #refusedUnkept = 0;
  #halted: string | null = null;
  #lastError: string | null = null;
  #lines = BATCH_LINES_MAX;
  #isStopping = false;
  #running: Promise<void> | null = null;
  #sleepers = new Set<() => void>();
  readonly #backoff: Backoff;
  readonly #log: OnLog;

  constructor(
    readonly spool: Spool,
    readonly post: (body: Uint8Array) => Promise<string>,
    readonly options: SenderOptions = {},
  ) {
    this.#backoff = options.backoff ?? new Backoff();
    this.#log = options.onLog ?? ((_level, message) => console.error(`decisiongraph-client: ${message}`));
    spool.onChange = () => this.#wake();
  }

  /** The file of refused events, one JSON object per line. */
  get refusedFile(): string {
    return join(this.spool.folder, "refused.ndjson");
  }

  /** The state now. */
  status(): SpoolStatus {
    return {
      pendingEvents: this.spool.pendingEvents,
      pendingBytes: this.spool.pendingBytes,
      sent: this.#sent,
      repeated: this.#repeated,
      refused: this.#refused,
      refusedUnkept: this.#refusedUnkept,
      dropped: this.spool.dropped,
      torn: this.spool.torn,
      halted: this.#halted,
      lastError: this.#lastError,
    };
  }

  /** Starts the loop, unless it runs. */
  start(): void {
    if (!this.#isStopping) this.#running ??= this.#run();
  }

  /** Sends again after a halt. */
  resume(): void {
    this.#halted = null;
    this.#wake();
  }

  /** Waits until nothing waits to be sent. False after the time-out, or when the sender has halted. */
  async flush(timeoutMs: number): Promise<boolean> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      if (!this.spool.pendingEvents) return true;
      if (this.#halted !== null || this.#isStopping || Date.now() >= end) return false;
      await this.#sleep(Math.min(end - Date.now(), 60_000), false);
    }
  }

  /** Ends the loop after the batch under way, or gives up waiting for it. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    let timer;
    const late = new Promise<void>((done) => (timer = setTimeout(done, timeoutMs)));
    await Promise.race([this.#running, late]);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    let attempt = 0;
    let nextRound = Date.now() + ROUND_MS;
    while (!this.#isStopping) {
      try {
        if (Date.now() >= nextRound) {
          nextRound = Date.now() + ROUND_MS;
          await this.spool.touch();
          await this.spool.adopt();
        }
        const batch = this.#halted === null ? await this.spool.head(this.#lines, BATCH_BYTES_MAX) : null;
        if (batch === null) {
          const isIdle = () => this.#halted !== null || !this.spool.pendingEvents;
          if (isIdle()) await this.#sleep(Math.max(0, nextRound - Date.now()), true);
          continue;
        }
        await this.#send(batch);
        if (attempt && this.#halted === null) this.#log("info", `events are sent again, after ${attempt} failures`);
        [attempt, this.#lastError] = [0, this.#halted];
      } catch (error) {
        // Also a full disk, or a folder that went away: events stay, and the loop lives.
        attempt++;
        this.#lastError = (error as Error).message || String(error);
        if (attempt === 1 || !isTransient(error)) this.#log("warn", `events wait in the spool: ${this.#lastError}`);
        await this.#pause(this.#backoff.wait(attempt, retryAfterMsOf(error)));
      }
    }
  }

  /** Waits between attempts, with signs of life: new events do not shorten it, the end of the client does. */
  async #pause(ms: number): Promise<void> {
    const end = Date.now() + ms;
    for (let touched = Date.now(); !this.#isStopping && Date.now() < end; ) {
      await this.#sleep(Math.min(end - Date.now(), ROUND_MS), true);
      if (Date.now() - touched < ROUND_MS) continue;
      touched = Date.now();
      await this.spool.touch();
    }
  }

  #sleep(ms: number, isIdle: boolean): Promise<void> {
    return new Promise((done) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        done();
      };
      const timer = setTimeout(wake, ms);
      if (isIdle) timer.unref();
      this.#sleepers.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#sleepers]) wake();
  }

  async #send(batch: Batch): Promise<void> {
    let answer;
    try {
      answer = verdictsOf(await this.post(joined(batch.lines)));
    } catch (error) {
      const step = error instanceof ApiError ? stepAfter(error) : "wait";
      if (step === "wait") throw error;
      if (step === "halt") this.#halt(error as ApiError);
      else if (batch.lines.length > 1) this.#lines = Math.max(1, Math.floor(batch.lines.length / 2));
      else {
        await this.#refuse(batch.lines[0]!, { code: (error as ApiError).code, message: (error as ApiError).message });
        await this.spool.done(batch, 1);
      }
      return;
    }
    const refused = answer.verdicts.filter((one) => one.verdict === "refused").sort((a, b) => a.line - b.line);
    const passing = refused.find((one) => PASSING.has(one.code ?? ""));
    const answered = passing ? passing.line - 1 : batch.lines.length;
    const final = refused.filter((one) => one.line <= answered);
    for (const verdict of final) await this.#refuse(batch.lines[verdict.line - 1]!, { ...verdict });
    this.#sent += answered - final.length;
    this.#repeated += answer.summary.repeated;
    if (answer.summary.last_log_seq !== null) this.options.onPosition?.(answer.summary.last_log_seq);
    await this.spool.done(batch, answered);
    this.#lines = Math.min(BATCH_LINES_MAX, this.#lines * 2);
    if (passing) throw new Unreachable(`the node put off an event: ${passing.message}`);
  }

  #halt(error: ApiError): void {
    this.#halted = error.message;
    this.#wake();
    const what = "the node does not accept the token; events stay in the spool until setToken()";
    this.#log("error", `${what}: ${error.message}`);
  }

  async #refuse(line: Uint8Array, verdict: Record<string, unknown>): Promise<void> {
    const text = new TextDecoder().decode(line);
    let event: unknown = text;
    try {
      event = JSON.parse(text);
    } catch {
      // A damaged line is kept as a text.
    }
    const data = new TextEncoder().encode(`${lineOf({ at: new Date().toISOString(), verdict, event })}\n`);
    const file = await open(this.refusedFile, "a", 0o600);
    let isKept = false;
    try {
      isKept = (await file.stat()).size + data.length <= (this.options.refusedBytesMax ?? 64 * 1024 * 1024);
      if (isKept) {
        await file.write(data);
        await file.sync();
      }
    } finally {
      await file.close();
    }
    this.#refused++;
    this.#refusedUnkept += isKept ? 0 : 1;
    const kept = isKept ? `kept in ${this.refusedFile}` : "NOT kept, the file of refused events is full";
    this.#log("error", `an event was refused (${verdict.code}: ${verdict.message}), ${kept}`);
    try {
      this.options.onRefused?.(event, verdict);
    } catch (error) {
      this.#log("error", `onRefused failed: ${(error as Error).message}`);
    }
  }
}
