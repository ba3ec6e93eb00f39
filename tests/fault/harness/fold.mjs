// SPDX-License-Identifier: Apache-2.0
// The state of a session from its events, written after docs/events.md and not after the daemon's code:
// what a client holds must be what GET /sessions/{id} answers.

const kRunStatus = {
  "run.holding": "holding",
  "run.held": "held",
  "run.resumed": "working",
  "run.stopping": "stopping",
};

const without = (list, matches) => list.filter((each) => !matches(each));

const handlers = {
  "session.created": (state, event, body) => {
    Object.assign(state, {
      id: event.session,
      project: body.project,
      title: body.title,
      created_at: event.at,
    });
  },
  "message.user": (state, event, body) => {
    state.queue.push({ run: event.run, message: { id: body.id, text: body.text } });
  },
  "message.cancelled": (state, event) => {
    state.queue = without(state.queue, (queued) => queued.run === event.run);
  },
  "run.started": (state, event) => {
    const { message } = state.queue.find((queued) => queued.run === event.run);
    state.queue = without(state.queue, (queued) => queued.run === event.run);
    state.run = { id: event.run, status: "working", started_at: event.at, message };
    state.invocations = [];
    state.pending_steps = [];
    state.plan.entries = [];
  },
  "run.finished": (state) => {
    state.run = null;
    state.pending_steps = [];
  },
  "plan.updated": (state, event, body) => {
    state.plan = { revision: body.revision, entries: body.entries };
  },
  "invocation.started": (state, event, body) => {
    const { id, parent, agent, runner, depth, cause, cage } = body;
    const fresh = { state: "starting", outcome: null, reason: "", started_at: event.at, finished_at: null };
    state.invocations.push({ id, parent, agent, runner, depth, cause, cage, ...fresh });
  },
  "invocation.finished": (state, event, body) => {
    const { outcome, reason } = body;
    const end = { state: "finished", outcome, reason, finished_at: event.at };
    Object.assign(invocation(state, body.id), end);
    state.pending_steps = without(state.pending_steps, (step) => step.invocation === body.id);
  },
  "cage.started": (state, event, body) => become(state, body.invocation, "working"),
  "step.held": (state, event, body) => {
    const { id, type, name, title } = body;
    const { invocation: of, arguments: given = {} } = body;
    state.pending_steps.push({ id, invocation: of, type, name, title, arguments: given });
    become(state, of, "held");
  },
  "step.released": (state, event, body) => {
    const step = state.pending_steps.find((each) => each.id === body.id);
    state.pending_steps = without(state.pending_steps, (each) => each.id === body.id);
    if (step) become(state, step.invocation, "working");
  },
};

const invocation = (state, id) => state.invocations.find((each) => each.id === id) ?? {};

function become(state, id, to) {
  const found = invocation(state, id);
  if (found.state !== "finished") found.state = to;
}

/** What GET /sessions/{id} answers when these are all of its events. */
export function fold(events) {
  const state = { run: null, queue: [], plan: { revision: 0, entries: [] }, invocations: [], pending_steps: [] };
  for (const event of events) {
    handlers[event.kind]?.(state, event, event.body);
    if (kRunStatus[event.kind] && state.run) state.run.status = kRunStatus[event.kind];
    if (event.kind === "run.stopping") state.pending_steps = [];
    state.updated_at = event.at;
    state.last_seq = event.seq;
  }
  return { ...state, status: state.run?.status ?? "idle" };
}

/** The part of it that the list shows. */
export function summary({ id, project, title, status, created_at, updated_at, last_seq }) {
  return { id, project, title, status, created_at, updated_at, last_seq };
}
