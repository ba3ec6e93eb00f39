// SPDX-License-Identifier: Apache-2.0
import type {
  CageBadge,
  Cause,
  Invocation,
  LogEvent,
  Outcome,
  PendingStep,
  PlanEntry,
  SessionState,
} from "../api/types.ts";
import { list, num, object, str, strOrNull } from "./read.ts";

const kNoCage: CageBadge = { disabled: false, hosts: [], folders: [], limits: {} };

function patch(state: SessionState, id: string, change: Partial<Invocation>): SessionState {
  const invocations = state.invocations.map((each) =>
    each.id === id ? { ...each, ...change } : each,
  );
  return { ...state, invocations };
}

function setRun(state: SessionState, status: "working" | "holding" | "held" | "stopping") {
  return { ...state, status, run: state.run && { ...state.run, status } };
}

function startRun(state: SessionState, event: LogEvent): SessionState {
  const run = event.run ?? "";
  const queued = state.queue.find((each) => each.run === run);
  const message = queued?.message ?? { id: str(event.body, "message"), text: "" };
  return {
    ...state,
    status: "working",
    run: { id: run, status: "working", started_at: event.at, message },
    queue: state.queue.filter((each) => each.run !== run),
    invocations: [],
    pending_steps: [],
  };
}

function startInvocation(state: SessionState, event: LogEvent): SessionState {
  const body = event.body;
  const id = str(body, "id");
  if (state.invocations.some((each) => each.id === id)) return state;
  const invocation: Invocation = {
    id,
    parent: strOrNull(body, "parent"),
    agent: str(body, "agent"),
    runner: str(body, "runner"),
    depth: num(body, "depth"),
    state: "starting",
    outcome: null,
    started_at: event.at,
    finished_at: null,
    cause: object<Cause>(body, "cause") ?? { type: "message" },
    cage: object<CageBadge>(body, "cage") ?? kNoCage,
    reason: "",
  };
  return { ...state, invocations: [...state.invocations, invocation] };
}

function holdStep(state: SessionState, event: LogEvent): SessionState {
  const body = event.body;
  const id = str(body, "id");
  const step: PendingStep = {
    id,
    invocation: str(body, "invocation"),
    type: str(body, "type") === "model" ? "model" : "tool",
    name: str(body, "name"),
    title: str(body, "title"),
    arguments: body.arguments ?? {},
  };
  const others = state.pending_steps.filter((each) => each.id !== id);
  return patch({ ...state, pending_steps: [...others, step] }, step.invocation, { state: "held" });
}

function releaseStep(state: SessionState, event: LogEvent): SessionState {
  const id = str(event.body, "id");
  const step = state.pending_steps.find((each) => each.id === id);
  if (step === undefined) return state;
  const pending_steps = state.pending_steps.filter((each) => each.id !== id);
  return patch({ ...state, pending_steps }, step.invocation, { state: "working" });
}

function fold(state: SessionState, event: LogEvent): SessionState {
  const body = event.body;
  switch (event.kind) {
    case "session.created":
      return { ...state, title: str(body, "title") || state.title };
    case "message.user": {
      const message = { id: str(body, "id"), text: str(body, "text") };
      const queue = [...state.queue, { run: event.run ?? "", message }];
      return { ...state, queue, title: state.title || message.text };
    }
    case "message.cancelled": {
      const id = str(body, "id");
      return { ...state, queue: state.queue.filter((each) => each.message.id !== id) };
    }
    case "run.started":
      return startRun(state, event);
    case "run.holding":
      return setRun(state, "holding");
    case "run.held":
      return setRun(state, "held");
    case "run.resumed":
      return setRun(state, "working");
    case "run.stopping":
      return setRun(state, "stopping");
    case "run.finished":
      return { ...state, status: "idle", run: null, pending_steps: [] };
    case "invocation.started":
      return startInvocation(state, event);
    case "cage.started":
      return patch(state, str(body, "invocation"), { state: "working" });
    case "invocation.finished":
      return patch(state, str(body, "id"), {
        state: "finished",
        outcome: (str(body, "outcome") || null) as Outcome | null,
        reason: str(body, "reason"),
        finished_at: event.at,
      });
    case "step.held":
      return holdStep(state, event);
    case "step.released":
    case "step.finished":
      return releaseStep(state, event);
    case "step.started":
      return releaseStep(state, event);
    case "plan.updated": {
      const entries = list<PlanEntry>(body, "entries");
      return { ...state, plan: { revision: num(body, "revision"), entries } };
    }
    default:
      return state;
  }
}

/**
 * The session's state after one more event. Pure; an event that the state already contains
 * (seq <= last_seq) changes nothing.
 */
export function advance(state: SessionState, event: LogEvent): SessionState {
  if (event.seq <= state.last_seq) return state;
  return { ...fold(state, event), last_seq: event.seq, updated_at: event.at };
}
