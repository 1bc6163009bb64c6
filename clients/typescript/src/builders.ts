/**
 * Payloads and envelopes of every event type, as pure functions: time and identity are arguments.
 *
 * The node decides what an event may be. Here an envelope refuses floats alone, because the compiler does not see them.
 * Payload members that this package does not know are passed as `extra`.
 */

import { randomUUID } from "node:crypto";
import type {
  ActionStatus,
  Actor,
  ActorType,
  ApprovalDecision,
  Entity,
  EntityRole,
  Fact,
  JsonObject,
  NewEvent,
  Outcome,
  PolicyDecision,
  Source,
} from "./model.js";

/** Advice for a float in a payload, in the words of the node. */
export const INSTEAD_OF_A_FLOAT =
  'write a scaled integer, such as "confidence_ppm": 870000, or a string, such as "0.87"';

/** An event type and its payload, before an envelope is around them. */
export interface Draft {
  eventType: string;
  payload: JsonObject;
}

/** An actor; by default an agent. */
export function actor(actorId: string, actorType: ActorType = "agent"): Actor {
  return { actor_type: actorType, actor_id: actorId };
}

/** An entity; `system` names the system of record and is not part of its id. */
export function entity(entityType: string, entityId: string, system?: string): Entity {
  return { entity_type: entityType, entity_id: entityId, ...(system === undefined ? {} : { system }) };
}

/** Facts from names and values: `facts({ amount_cents: 180000 })`. */
export function facts(values: JsonObject): Fact[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}

/** The first event of a trace: a decision about `primaryEntity` begins. */
export function traceStarted(workflow: string, title: string, primaryEntity: Entity, extra: JsonObject = {}): Draft {
  return { eventType: "TraceStarted", payload: { ...extra, workflow, title, primary_entity: primaryEntity } };
}

/** Something was read: an object of a system, and the facts that were taken from it. */
export function inputObserved(
  inputId: string,
  source: { system: string; objectType: string; objectId: string },
  observed: readonly JsonObject[] = [],
  extra: JsonObject = {},
): Draft {
  const place = { system: source.system, object_type: source.objectType, object_id: source.objectId };
  return { eventType: "InputObserved", payload: { ...extra, input_id: inputId, source: place, facts: observed } };
}

/** Another entity has a part in the decision. */
export function entityObserved(
  observed: Entity,
  role: EntityRole = "related",
  about: readonly JsonObject[] = [],
  extra: JsonObject = {},
): Draft {
  return { eventType: "EntityObserved", payload: { ...extra, entity: observed, role, facts: about } };
}

/** A policy gave its decision about the named inputs. */
export function policyEvaluated(
  policyId: string,
  policyVersion: string,
  decision: PolicyDecision,
  inputs: readonly unknown[] = [],
  extra: JsonObject = {},
): Draft {
  const policy = { policy_id: policyId, policy_version: policyVersion };
  return { eventType: "PolicyEvaluated", payload: { ...extra, policy, inputs, decision } };
}

/** An exception from a policy was asked for. */
export function exceptionRequested(
  exceptionId: string,
  policyId: string,
  policyVersion: string,
  reason: string,
  extra: JsonObject = {},
): Draft {
  const policy = { policy_id: policyId, policy_version: policyVersion };
  return { eventType: "ExceptionRequested", payload: { ...extra, exception_id: exceptionId, policy, reason } };
}

/** A person, role or system approved or rejected the subject. */
export function approvalRecorded(
  approvalId: string,
  subjectId: string,
  approver: Actor,
  decision: ApprovalDecision,
  subjectType = "exception",
  extra: JsonObject = {},
): Draft {
  const subject = { subject_type: subjectType, subject_id: subjectId };
  return { eventType: "ApprovalRecorded", payload: { ...extra, approval_id: approvalId, subject, approver, decision } };
}

/** An earlier decision was used as a precedent. */
export function precedentCited(citedTraceId: string, reason: string, extra: JsonObject = {}): Draft {
  return { eventType: "PrecedentCited", payload: { ...extra, cited_trace_id: citedTraceId, reason } };
}

/** An action is about to be done. */
export function actionProposed(
  actionId: string,
  actionType: string,
  targetEntity: Entity,
  targetSystem: string,
  changes: readonly JsonObject[] = [],
  extra: JsonObject = {},
): Draft {
  const target = { action_type: actionType, target_entity: targetEntity, target_system: targetSystem };
  return { eventType: "ActionProposed", payload: { ...extra, action_id: actionId, ...target, changes } };
}

/** A proposed action was done, or failed. */
export function actionCommitted(actionId: string, status: ActionStatus = "success", extra: JsonObject = {}): Draft {
  return { eventType: "ActionCommitted", payload: { ...extra, action_id: actionId, status } };
}

/** The last event of a trace. */
export function traceFinished(outcome: Outcome = "success", extra: JsonObject = {}): Draft {
  return { eventType: "TraceFinished", payload: { ...extra, outcome } };
}

/** Members of an envelope that are drawn or taken from the client when they are absent. */
export interface EnvelopeOptions {
  actor?: Actor;
  idempotencyKey?: string;
  occurredAt?: string;
  correlationId?: string;
  causationEventId?: string;
  tags?: readonly string[];
}

/**
 * A draft in its envelope: key drawn, time now. The node draws `event_id` and the number in the trace.
 *
 * A float in the payload is a `TypeError`: the node would refuse the event later.
 */
export function envelope(
  draft: Draft,
  traceId: string,
  by: { source: Source; actor: Actor },
  options: EnvelopeOptions = {},
): NewEvent {
  refuseFloats(draft.payload, "payload");
  return {
    trace_id: traceId,
    trace_seq: "next",
    event_type: draft.eventType,
    occurred_at: options.occurredAt ?? new Date().toISOString(),
    source: by.source,
    actor: options.actor ?? by.actor,
    idempotency_key: options.idempotencyKey ?? drawn(),
    payload: draft.payload,
    schema_version: 1,
    tags: options.tags ?? [],
    ...(options.correlationId === undefined ? {} : { correlation_id: options.correlationId }),
    ...(options.causationEventId === undefined ? {} : { causation_event_id: options.causationEventId }),
  };
}

/** Throws at the first number that is written with a fraction or an exponent, and at those that JSON does not have. */
function refuseFloats(value: unknown, place: string): void {
  if (typeof value === "number" && !/^-?\d+$/.test(String(value))) {
    throw new TypeError(`\`${place}\` is a float, and a payload has none: ${INSTEAD_OF_A_FLOAT}`);
  }
  if (Array.isArray(value)) {
    value.forEach((item, index) => refuseFloats(item, `${place}[${index}]`));
  } else if (typeof value === "object" && value !== null) {
    Object.entries(value).forEach(([key, member]) => refuseFloats(member, `${place}.${key}`));
  }
}

/** A new id. */
export function drawn(): string {
  return randomUUID();
}
