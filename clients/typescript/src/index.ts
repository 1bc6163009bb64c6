/** Records the decisions of AI agents in DecisionGraph, and asks it about them. */

export * as builders from "./builders.js";
export { actor, entity, facts, type Draft, type EnvelopeOptions } from "./builders.js";
export { Client, defaultSpoolDir, type ClientOptions, type TraceOptions } from "./client.js";
export * from "./errors.js";
export type * from "./model.js";
export type { EventsFilter, Freshness, TracesFilter } from "./queries.js";
export { Backoff } from "./retry.js";
export type { OnLog, OnRefused, SpoolStatus } from "./sender.js";
export { Stream, type StreamMessage } from "./stream.js";
export { Trace, type Extra } from "./trace.js";
export type { Token } from "./transport.js";
