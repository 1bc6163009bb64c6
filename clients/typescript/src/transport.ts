/** HTTP to one node: headers, envelopes, retries. No rules of events or queries. Redirects are never followed. */

import { DecisionGraphError, Unreachable, errorOf } from "./errors.js";
import { Backoff, isTransient, parseRetryAfter, pause, retryAfterMsOf } from "./retry.js";

/** A token, or a function that gives the present one (a file that is rotated, a secret store). */
export type Token = string | (() => string | Promise<string>);

/** Values of a query: absent ones are left out, a list repeats its key. */
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;

/** A request beside its method and path. */
export interface Sending {
  query?: Query;
  body?: string | Uint8Array;
  headers?: Readonly<Record<string, string>>;
  timeoutMs?: number;
  /** Time that the node was asked to wait; the time-out is behind it. */
  patienceMs?: number;
  attempts?: number;
  /** False leaves the tenant out. */
  tenant?: boolean;
}

/** A successful answer. */
export interface Answer {
  text: string;
  /** The position in `x-log-seq`, if there is one. */
  logSeq: number | null;
}

/** Bounds of a transport. */
export interface TransportOptions {
  timeoutMs?: number;
  attempts?: number;
  backoff?: Backoff;
}

/** The query of a URL, with its question mark, or nothing. */
export function queryOf(parameters: Query): string {
  const pairs = Object.entries(parameters).flatMap(([key, value]) => {
    const values = Array.isArray(value) ? (value as readonly string[]) : [value as string | number | boolean | null];
    return values
      .filter((one) => one !== null && one !== undefined)
      .map((one) => `${encodeURIComponent(key)}=${segmentOf(String(one))}`);
  });
  return pairs.length ? `?${pairs.join("&")}` : "";
}

/** An id as one path segment: everything but unreserved characters is percent-encoded. */
export function segmentOf(identifier: string): string {
  return encodeURIComponent(identifier).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A value as one line of JSON. Numbers that JSON does not have (NaN, infinity) are a `TypeError`. */
export function lineOf(value: unknown): string {
  return JSON.stringify(value, (key, member: unknown) => {
    if (typeof member === "number" && !Number.isFinite(member)) throw new TypeError(`${key} is ${member}, no JSON`);
    return member;
  });
}

/** JSON of an answer. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Unreachable("the answer is not JSON", { cause });
  }
}

/** Requests to one base URL for one tenant. */
export class Transport {
  token: Token | null;
  readonly #base: string;
  readonly #tenant: string;
  readonly #timeoutMs: number;
  readonly #attempts: number;
  readonly #backoff: Backoff;

  constructor(baseUrl: string, token: Token | null, tenant: string, options: TransportOptions = {}) {
    const url = new URL(baseUrl);
    if (!/^https?:$/.test(url.protocol) || url.search || url.hash) throw new TypeError(`no base URL: ${baseUrl}`);
    this.#base = url.href.replace(/\/+$/, "");
    this.token = token;
    // A header holds bytes: those of UTF-8, each as one character.
    this.#tenant = String.fromCharCode(...new TextEncoder().encode(tenant));
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#attempts = Math.max(1, options.attempts ?? 4);
    this.#backoff = options.backoff ?? new Backoff();
  }

  /** One request, repeated while its failure is transient. Throws `ApiError` or `Unreachable`. */
  async request(method: string, path: string, sending: Sending = {}): Promise<Answer> {
    const most = sending.attempts ?? this.#attempts;
    for (let attempt = 1; ; attempt++) {
      try {
        const signal = AbortSignal.timeout((sending.timeoutMs ?? this.#timeoutMs) + (sending.patienceMs ?? 0));
        const response = await this.open(method, path, sending, signal);
        const text = await readable(`${method} ${path}`, () => response.text());
        const position = response.headers.get("x-log-seq") ?? "";
        return { text, logSeq: /^\d+$/.test(position) ? Number(position) : null };
      } catch (error) {
        if (attempt >= most || !isTransient(error)) throw error;
        await pause(this.#backoff.wait(attempt, retryAfterMsOf(error)));
      }
    }
  }

  /** Members of an envelope's `data`. */
  async data(method: string, path: string, sending: Sending = {}): Promise<Record<string, unknown>> {
    const body = parsed((await this.request(method, path, sending)).text) as { data?: Record<string, unknown> };
    return body.data ?? {};
  }

  /** An answer whose body is still to be read. Throws unless it is a success; a redirect is none. */
  async open(method: string, path: string, sending: Sending, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: "application/json", "user-agent": "decisiongraph-client-node" };
    const token = typeof this.token === "function" ? await this.token() : this.token;
    if (token) headers.authorization = `Bearer ${token.trim()}`;
    if (sending.tenant !== false) headers["x-tenant-id"] = this.#tenant;
    Object.assign(headers, sending.headers);
    const url = `${this.#base}${path}${queryOf(sending.query ?? {})}`;
    const body = (sending.body ?? null) as string | null;
    const response = await readable(`${method} ${path}`, () =>
      fetch(url, { method, headers, body, signal, redirect: "manual" }),
    );
    if (response.status < 300 || response.status === 304) return response;
    const text = await readable(`${method} ${path}`, () => response.text());
    let envelope: unknown = null;
    try {
      envelope = JSON.parse(text);
    } catch {
      // A proxy's page: the status says enough.
    }
    throw errorOf(response.status, envelope, {
      requestId: response.headers.get("x-request-id"),
      retryAfterMs: parseRetryAfter(response.headers.get("retry-after"), Date.now()),
    });
  }
}

async function readable<T>(subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof DecisionGraphError) throw cause;
    const inner = (cause as { cause?: { message?: string } }).cause?.message;
    throw new Unreachable(`${subject}: ${inner || (cause as Error).message}`, { cause });
  }
}
