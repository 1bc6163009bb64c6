/**
 * Decides when a request is sent again: exponential back-off with full jitter, and never before `retry-after`.
 *
 * Pure: randomness is an argument. Only requests that the node recognises are repeated: reads, and changes with a key.
 */

import { ApiError, Unreachable } from "./errors.js";

/** Statuses that pass with time, whatever the body says. */
const TRANSIENT: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
/** Longest `retry-after` that is obeyed. */
const RETRY_AFTER_MS_MAX = 300_000;

/** Waits between attempts. */
export class Backoff {
  /** `firstMs` bounds the first wait, `mostMs` every wait that the node did not ask for. */
  constructor(
    readonly firstMs = 200,
    readonly mostMs = 30_000,
  ) {}

  /**
   * Milliseconds before attempt number `attempt + 1`; attempts count from 1, and `draw` gives a number in [0, 1).
   *
   * Full jitter: anything from 0 to the bound, so that clients that failed together do not come back together.
   * A `retry-after` is waited for in full, with the jitter behind it.
   */
  wait(attempt: number, retryAfterMs: number | null = null, draw: () => number = Math.random): number {
    const bound = Math.min(this.mostMs, this.firstMs * 2 ** Math.min(attempt - 1, 30));
    if (retryAfterMs === null) return draw() * bound;
    return Math.min(Math.max(retryAfterMs, 0), RETRY_AFTER_MS_MAX) + draw() * Math.min(bound, 1000);
  }
}

/** True when the same request can succeed without any change by people. */
export function isTransient(error: unknown): boolean {
  return error instanceof Unreachable || (error instanceof ApiError && TRANSIENT.has(error.status));
}

/** The wait that the node asked for with an error, if it did. */
export function retryAfterMsOf(error: unknown): number | null {
  return error instanceof ApiError ? error.retryAfterMs : null;
}

/** Milliseconds of a `retry-after` header: a number of seconds, or an HTTP date compared with `nowMs`. */
export function parseRetryAfter(value: string | null, nowMs: number): number | null {
  if (!value) return null;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}

/** Waits. With `isIdle`, a waiting process may end. */
export function pause(ms: number, isIdle = false): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    if (isIdle) timer.unref();
  });
}
