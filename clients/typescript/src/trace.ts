/**
 * A decision while it is made: one method per event type. `client.trace(…)` ends it with `TraceFinished`.
 *
 * Each method appends one event and resolves when it is durable: in the spool, or, with `sync`, at the node.
 */

import * as builders from "./builders.js";
import { drawn, envelope, type Draft, type EnvelopeOptions } from "./builders.js";
import type {
  ActionStatus,
  Actor,
  ApprovalDecision,
  Entity,
  EntityRole,
  JsonObject,
  NewEvent,
  Outcome,
  PolicyDecision,
  Source,
} from "./model.js";

/** Options of every method: another actor than the usual one, and further members of the payload. */
export interface Extra {
  actor?: Actor;
  extra?: JsonObject;
}

/** Members that all events of a trace share. */
export interface TraceSetting {
  source: Source;
  actor: Actor;
  tags?: readonly string[] | undefined;
  correlationId?: string | undefined;
}

/** One trace. */
export class Trace {
  /** True behind `TraceFinished`. */
  isFinished = false;

  constructor(
    /** Id of the trace. */
    readonly traceId: string,
    private readonly put: (event: NewEvent) => Promise<unknown>,
    private readonly setting: TraceSetting,
  ) {}

  /** Appends a draft of `builders`, with another actor, time or key than the usual ones. */
  async record(draft: Draft, options: EnvelopeOptions = {}): Promise<NewEvent> {
    const { tags, correlationId } = this.setting;
    const shared = { ...(tags ? { tags } : {}), ...(correlationId === undefined ? {} : { correlationId }) };
    const event = envelope(draft, this.traceId, this.setting, { ...shared, ...options });
    await this.put(event);
    return event;
  }

  /** `InputObserved`: something was read. Resolves to the id of the input, which policies name. */
  async input(
    system: string,
    objectType: string,
    objectId: string,
    options: Extra & { facts?: readonly JsonObject[]; inputId?: string } = {},
  ): Promise<string> {
    const inputId = options.inputId ?? drawn();
    const source = { system, objectType, objectId };
    await this.#add(builders.inputObserved(inputId, source, options.facts, options.extra), options);
    return inputId;
  }

  /** `EntityObserved`: another entity has a part in the decision. */
  async entity(
    observed: Entity,
    role: EntityRole = "related",
    options: Extra & { facts?: readonly JsonObject[] } = {},
  ): Promise<void> {
    await this.#add(builders.entityObserved(observed, role, options.facts, options.extra), options);
  }

  /** `PolicyEvaluated`: a policy allowed, denied, or asked for an exception. */
  async policy(
    policyId: string,
    policyVersion: string,
    decision: PolicyDecision,
    options: Extra & { inputs?: readonly unknown[] } = {},
  ): Promise<void> {
    await this.#add(
      builders.policyEvaluated(policyId, policyVersion, decision, options.inputs, options.extra),
      options,
    );
  }

  /** `ExceptionRequested`: resolves to the id of the exception, which its approval names. */
  async exceptionRequested(
    policyId: string,
    policyVersion: string,
    reason: string,
    options: Extra & { exceptionId?: string } = {},
  ): Promise<string> {
    const exceptionId = options.exceptionId ?? drawn();
    await this.#add(
      builders.exceptionRequested(exceptionId, policyId, policyVersion, reason, options.extra),
      options,
    );
    return exceptionId;
  }

  /** `ApprovalRecorded`: the approver decided about an exception (or another subject). */
  async approval(
    subjectId: string,
    approver: Actor,
    decision: ApprovalDecision = "approved",
    options: Extra & { subjectType?: string; approvalId?: string } = {},
  ): Promise<string> {
    const approvalId = options.approvalId ?? drawn();
    const { subjectType, extra } = options;
    await this.#add(
      builders.approvalRecorded(approvalId, subjectId, approver, decision, subjectType, extra),
      options,
    );
    return approvalId;
  }

  /** `PrecedentCited`: an earlier decision speaks for this one. */
  async precedent(citedTraceId: string, reason: string, options: Extra = {}): Promise<void> {
    await this.#add(builders.precedentCited(citedTraceId, reason, options.extra), options);
  }

  /** `ActionProposed`: resolves to the id of the action, which `actionCommitted` names. */
  async actionProposed(
    actionType: string,
    targetEntity: Entity,
    targetSystem: string,
    options: Extra & { changes?: readonly JsonObject[]; actionId?: string } = {},
  ): Promise<string> {
    const actionId = options.actionId ?? drawn();
    const { changes, extra } = options;
    await this.#add(
      builders.actionProposed(actionId, actionType, targetEntity, targetSystem, changes, extra),
      options,
    );
    return actionId;
  }

  /** `ActionCommitted`: the action was done, failed, or was done in part. */
  async actionCommitted(actionId: string, status: ActionStatus = "success", options: Extra = {}): Promise<void> {
    await this.#add(builders.actionCommitted(actionId, status, options.extra), options);
  }

  /** `TraceFinished`: the last event; the end of `client.trace(…)` then adds nothing. */
  async finish(outcome: Outcome = "success", options: Extra = {}): Promise<void> {
    this.isFinished = true;
    await this.#add(builders.traceFinished(outcome, options.extra), options);
  }

  #add(draft: Draft, options: Extra): Promise<NewEvent> {
    return this.record(draft, options.actor === undefined ? {} : { actor: options.actor });
  }
}
