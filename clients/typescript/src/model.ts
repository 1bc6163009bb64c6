/**
 * Shapes of what the node takes and gives. Members have the names of the wire; a node may add members within `v1`.
 *
 * Integers above 2^53 in a payload lose digits in JavaScript: write such numbers as strings.
 */

/** Kinds of actors. */
export type ActorType = "agent" | "person" | "role" | "system";
/** Decisions of a policy. */
export type PolicyDecision = "allow" | "deny" | "require_exception";
/** Decisions of an approver. */
export type ApprovalDecision = "approved" | "rejected";
/** Results of an action. */
export type ActionStatus = "success" | "failure" | "partial";
/** Outcomes of a trace. */
export type Outcome = "success" | "failure" | "abandoned";
/** Roles of an entity in a decision. */
export type EntityRole = "primary" | "related";
/** Edges by their end at the node. */
export type Direction = "both" | "incoming" | "outgoing";
/** Catch-up, or a rebuild beside the live rows. */
export type ReplayMode = "catch_up" | "rebuild";
/** An object as JSON has it. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The acting party: an agent, a person, a role or a system. */
export interface Actor {
  actor_type: ActorType;
  actor_id: string;
}

/** A thing of the business: an account, an order, a ticket. */
export interface Entity {
  entity_type: string;
  entity_id: string;
  system?: string | null;
}

/** The program that offers an event. */
export interface Source {
  producer_id: string;
  system: string;
  subsystem?: string | null;
}

/** One observed value. JSON without fractions: scale them to integers, or write them as strings. */
export interface Fact {
  name: string;
  value: unknown;
}

/** An event as a producer offers it. Without `trace_seq` (or with `"next"`) the node numbers it. */
export interface NewEvent {
  trace_id: string;
  event_type: string;
  occurred_at: string;
  source: Source;
  actor: Actor;
  idempotency_key: string;
  payload: JsonObject;
  event_id?: string;
  trace_seq?: number | "next";
  tenant_id?: string;
  correlation_id?: string | null;
  causation_event_id?: string | null;
  schema_version?: number;
  tags?: readonly string[];
  payload_hash?: string;
}

/** An event as it is stored. */
export interface StoredEvent {
  log_seq: number;
  tenant_id: string;
  event_id: string;
  trace_id: string;
  trace_seq: number;
  event_type: string;
  occurred_at: string;
  recorded_at: string;
  source: Source;
  actor: Actor;
  idempotency_key: string;
  correlation_id: string | null;
  causation_event_id: string | null;
  schema_version: number;
  tags: string[];
  payload: Record<string, unknown>;
  payload_hash: string;
}

/** A row of the trace summary. `outcome` and `finished_at` are null while the trace is open. */
export interface Summary {
  trace_id: string;
  workflow: string;
  title: string;
  primary_entity_type: string;
  primary_entity_system: string | null;
  primary_entity_id: string;
  started_at: string;
  outcome: Outcome | null;
  finished_at: string | null;
  event_count: number;
  last_log_seq: number;
}

/** A trace by id: its events in order, and its summary. */
export interface TraceWithEvents {
  events: StoredEvent[];
  summary: Summary;
}

/** A row of the list of traces. */
export interface TraceRow extends Summary {
  status: "open" | "finished";
  started_log_seq: number;
  events_stored: number;
  last_event: { log_seq: number; event_type: string; occurred_at: string };
}

/** A node of the context graph; `node_id` is the whole key, for example `entity:account:acme`. */
export interface GraphNode {
  node_id: string;
  node_type: string;
  trace_id: string;
  log_seq: number;
  created_at: string;
  attrs: Record<string, unknown>;
}

/** An edge of the context graph. */
export interface Edge {
  edge_id: string;
  edge_type: string;
  from_node_id: string;
  to_node_id: string;
  trace_id: string;
  log_seq: number;
  created_at: string;
  attrs: Record<string, unknown>;
}

/** The neighbourhood of a node; `truncated` when a bound cut it. */
export interface Subgraph {
  center: { node_type: string; node_id: string };
  nodes: GraphNode[];
  edges: Edge[];
  truncated: boolean;
}

/** A finished decision that is like the one asked about. */
export interface Precedent {
  trace_id: string;
  workflow: string;
  title: string;
  outcome: Outcome;
  policy_id: string | null;
  policy_version: string | null;
  finished_at: string;
  exception_id: string | null;
  last_log_seq: number;
  primary_entity_type: string;
  primary_entity_id: string;
}

/** The answer to one line of a batch. A refused line has `code` and `message`, any other `log_seq`. */
export interface Verdict {
  line: number;
  verdict: "accepted" | "repeated" | "refused";
  log_seq?: number;
  event_id?: string;
  trace_id?: string;
  trace_seq?: number;
  code?: string;
  message?: string;
  details?: Record<string, unknown>;
}

/** Counts of a batch; `last_log_seq` is the highest position among its lines. */
export interface BatchSummary {
  lines: number;
  accepted: number;
  repeated: number;
  refused: number;
  last_log_seq: number | null;
}

/** A catch-up or rebuild that was asked for. */
export interface Run {
  job_id: string;
  tenant_id: string;
  projection_name: string;
  mode: string;
  status: string;
  reason: string;
  requested_by: string;
  requested_at: string;
  started_at: string | null;
  finished_at: string | null;
  processed_events: number;
  last_log_seq: number | null;
  since_log_seq: number | null;
  until_log_seq: number | null;
  cancel_requested: boolean;
  error_code: string | null;
  error_message: string | null;
  metadata: Record<string, unknown>;
  metadata_json: string;
}
