/**
 * Errors of the client, one class per code of the node's error table.
 *
 * Every refusal of the node is an `ApiError`; its subclass follows from `code`. Everything that this package throws on
 * purpose is a `DecisionGraphError`.
 */

/** The base of every error of this package. */
export class DecisionGraphError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** No complete answer arrived: connection refused or cut, or time-out. The change may have happened. */
export class Unreachable extends DecisionGraphError {}

/** The spool has reached its bound in bytes; the event was not taken. */
export class SpoolFull extends DecisionGraphError {}

/** The disk did not take the event; `cause` is its error. */
export class SpoolFailed extends DecisionGraphError {}

/** The client is closed and takes no events. */
export class Closed extends DecisionGraphError {}

/** Members of an error envelope, and what the client knows beside it. */
export interface Refusal {
  status: number;
  code: string;
  message: string;
  details: Record<string, unknown>;
  category: string;
  next: string | null;
  retryable: boolean;
  requestId: string | null;
  retryAfterMs: number | null;
}

/** A refusal by the node, with the members of its error envelope. */
export class ApiError extends DecisionGraphError {
  /** HTTP status. */
  readonly status: number;
  /** Word of the error table, for example `event_sequence_invalid`. */
  readonly code: string;
  /** Facts for programs, for example `expected_trace_seq`. */
  readonly details: Record<string, unknown>;
  /** Category of the node's own errors; it decides the exit code of its command line. */
  readonly category: string;
  /** Advice, if the node gave one. */
  readonly next: string | null;
  /** True when the same request can succeed later. */
  readonly retryable: boolean;
  /** Id of the request in the node's log. */
  readonly requestId: string | null;
  /** Milliseconds that the node asked to wait, if it did. */
  readonly retryAfterMs: number | null;

  constructor(refusal: Refusal) {
    super(`${refusal.code}: ${refusal.message}`);
    this.status = refusal.status;
    this.code = refusal.code;
    this.details = refusal.details;
    this.category = refusal.category;
    this.next = refusal.next;
    this.retryable = refusal.retryable;
    this.requestId = refusal.requestId;
    this.retryAfterMs = refusal.retryAfterMs;
  }
}

/** A parameter, header or body that the node does not understand. */
export class InvalidArgument extends ApiError {}
/** No token, or a token that is unknown or expired. */
export class Unauthorized extends ApiError {}
/** A known token without this tenant or this right. */
export class Forbidden extends ApiError {}
/** No such thing in this tenant. */
export class NotFound extends ApiError {}
/** A route that this server never offers. */
export class NotOffered extends ApiError {}
/** A state that does not allow the request, for example an event behind `TraceFinished`. */
export class Conflict extends ApiError {}
/** The key was used for something else; `details.mismatches` names the members that differ. */
export class IdempotencyConflict extends Conflict {}
/** Another number is due in the trace: `details.expected_trace_seq`. */
export class SequenceInvalid extends Conflict {}
/**
 * The log does not hold what this reader has seen: a restore or a fail-over lost its tail.
 *
 * A consumer must reconcile before it goes on; the stream does not pass over the hole.
 */
export class HistoryChanged extends Conflict {}
/** The projection did not reach the position in time; ask again, or allow a stale answer. */
export class OutOfDate extends ApiError {}
/** The event does not have the shape of its type. */
export class SchemaViolation extends ApiError {}
/** The event holds a text in the form of a credential. */
export class PiiViolation extends ApiError {}
/** Too many requests of this identity. */
export class RateLimited extends ApiError {}
/** The node could not answer: no database, draining, deadline, or a defect. */
export class ServerError extends ApiError {}
/** A change may have happened; the same request under the same key tells. */
export class OutcomeUnknown extends ServerError {}

const BY_CODE: Readonly<Record<string, typeof ApiError>> = {
  invalid_argument: InvalidArgument,
  method_not_allowed: InvalidArgument,
  payload_too_large: InvalidArgument,
  unsupported_media_type: InvalidArgument,
  unauthorized: Unauthorized,
  forbidden: Forbidden,
  not_found: NotFound,
  not_implemented: NotOffered,
  conflict: Conflict,
  fenced: Conflict,
  idempotency_conflict: IdempotencyConflict,
  event_sequence_invalid: SequenceInvalid,
  projection_out_of_date: OutOfDate,
  schema_violation: SchemaViolation,
  pii_policy_violation: PiiViolation,
  rate_limited: RateLimited,
  outcome_unknown: OutcomeUnknown,
  internal_error: ServerError,
  storage: ServerError,
  unavailable: ServerError,
  version_mismatch: ServerError,
};

const BY_STATUS: Readonly<Record<number, typeof ApiError>> = {
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  409: Conflict,
  429: RateLimited,
};

/** The typed error of an answer. An answer without the envelope (a proxy's page) gets the code `http_STATUS`. */
export function errorOf(
  status: number,
  envelope: unknown,
  beside: { requestId?: string | null; retryAfterMs?: number | null } = {},
): ApiError {
  const body = objectOf(envelope);
  const error = objectOf(body.error);
  const code = typeof error.code === "string" ? error.code : `http_${status}`;
  const Kind = BY_CODE[code] ?? BY_STATUS[status] ?? (status >= 500 ? ServerError : ApiError);
  return new Kind({
    status,
    code,
    message: typeof error.message === "string" ? error.message : `the server answered ${status}`,
    details: objectOf(error.details),
    category: typeof error.category === "string" ? error.category : code,
    next: typeof error.next === "string" ? error.next : null,
    retryable: typeof error.retryable === "boolean" ? error.retryable : [408, 429, 502, 503, 504].includes(status),
    requestId: typeof body.request_id === "string" ? body.request_id : (beside.requestId ?? null),
    retryAfterMs: beside.retryAfterMs ?? null,
  });
}

/** The same refusal as `HistoryChanged`. */
export function historyChanged(error: Conflict): HistoryChanged {
  return new HistoryChanged({ ...error, message: error.message.slice(error.code.length + 2) });
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
