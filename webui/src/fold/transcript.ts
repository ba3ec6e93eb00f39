// SPDX-License-Identifier: Apache-2.0
import type { CageBadge, Cause, Invocation, LogEvent, Outcome, PlanEntry } from "../api/types.ts";
import { CageLog, cageHandlers } from "./cage-events.ts";
import type { CardEntry, Entry, OutputEntry, StepEntry, TextEntry, UserEntry } from "./entries.ts";
import { list, num, object, str } from "./read.ts";
import type { StreamItem } from "./streams.ts";

/** Output of one program that is kept on the page; the log has all of it. */
const kOutputChars = 64 * 1024;

function agentOf(actor: string): string {
  return actor.startsWith("agent:") ? actor.slice("agent:".length) : "";
}

/**
 * The conversation as a tree of entries, folded from events in ascending order. It may begin in
 * the middle of the log: what refers to something earlier gets a card without its beginning.
 * The result depends on the events alone, so two devices that hold the same ones show the same.
 */
export class Transcript {
  readonly entries: Entry[] = [];
  readonly cages = new CageLog();
  private readonly cards = new Map<string, CardEntry>();
  private readonly steps = new Map<string, StepEntry>();
  /** The newest shell step of each invocation. */
  private readonly shells = new Map<string, StepEntry>();
  private readonly users = new Map<string, UserEntry>();
  private readonly top = new Set<string>();
  private readonly known: Map<string, Invocation>;

  /** `known`: invocations whose start may be earlier than the first event. */
  constructor(known: readonly Invocation[] = []) {
    this.known = new Map(known.map((each) => [each.id, each]));
    for (const each of known) if (isPrimary(each.parent, each.cause)) this.top.add(each.id);
  }

  add(event: LogEvent): void {
    const handler = handlers[event.kind];
    if (handler) handler(this, event);
    else this.unknown(event);
  }

  /** Where entries of an invocation go: the page itself for the primary, else its card. */
  home(invocation: string, event: LogEvent): Entry[] {
    if (invocation === "" || this.top.has(invocation)) return this.entries;
    const card = this.cards.get(invocation);
    if (card) return card.children;
    return this.adopt(invocation, event)?.children ?? this.entries;
  }

  card(invocation: string): CardEntry | undefined {
    return this.cards.get(invocation);
  }

  /** The path of an invocation's agent. */
  agent(invocation: string): string {
    return this.cards.get(invocation)?.agent ?? this.known.get(invocation)?.agent ?? "primary";
  }

  step(id: string): StepEntry | undefined {
    return this.steps.get(id);
  }

  user(id: string): UserEntry | undefined {
    return this.users.get(id);
  }

  userOfRun(run: string | null): UserEntry | undefined {
    for (const each of this.users.values()) if (each.run === run && run !== null) return each;
    return undefined;
  }

  /** The shell command of this invocation that runs now: what is printed belongs to it. */
  runningShell(invocation: string): StepEntry | undefined {
    const step = this.shells.get(invocation);
    return step?.state === "running" ? step : undefined;
  }

  putStep(step: StepEntry, home: Entry[]): void {
    this.steps.set(step.id, step);
    if (step.name === "shell") this.shells.set(step.invocation, step);
    home.push(step);
  }

  putUser(user: UserEntry): void {
    this.users.set(user.message, user);
    this.entries.push(user);
  }

  markTop(invocation: string): void {
    this.top.add(invocation);
  }

  putCard(card: CardEntry, parent: string | null): void {
    this.cards.set(card.invocation, card);
    const outer = parent === null ? undefined : this.cards.get(parent);
    (outer?.children ?? this.entries).push(card);
  }

  /** A card shows whether its agent waits for a hold to end. */
  cardState(invocation: string, step: "running" | "held"): void {
    const card = this.cards.get(invocation);
    if (card && card.state !== "finished") card.state = step === "held" ? "held" : "working";
  }

  /** A run that ended leaves nothing running, whatever its events left open. */
  closeOpenSteps(): void {
    for (const step of this.steps.values()) {
      if (step.state === "running" || step.state === "held") step.state = "ended";
    }
  }

  private adopt(invocation: string, event: LogEvent): CardEntry | undefined {
    const known = this.known.get(invocation);
    const agent = known?.agent ?? agentOf(event.actor);
    if (agent === "" || agent === "primary") {
      this.top.add(invocation);
      return undefined;
    }
    const card = newCard(invocation, agent, known?.started_at ?? event.at);
    card.runner = known?.runner ?? "";
    card.cage = known?.cage ?? null;
    card.cause = known?.cause ?? null;
    card.state = "working";
    this.putCard(card, known?.parent ?? null);
    return card;
  }

  private unknown(event: LogEvent): void {
    const entry: Entry = {
      kind: "unknown",
      id: `e${event.seq}`,
      at: event.at,
      event: event.kind,
      actor: event.actor,
      body: event.body,
    };
    this.home(str(event.body, "invocation"), event).push(entry);
  }
}

function isPrimary(parent: string | null, cause: Cause | null): boolean {
  return parent === null && (cause?.type ?? "message") === "message";
}

function newCard(invocation: string, agent: string, at: number): CardEntry {
  return {
    kind: "card",
    id: `i${invocation}`,
    at,
    invocation,
    agent,
    runner: "",
    cause: null,
    cage: null,
    layers: [],
    limitsBackend: "",
    input: "",
    state: "starting",
    outcome: null,
    reason: "",
    result: "",
    finishedAt: 0,
    tokens: 0,
    children: [],
  };
}

export type Handler = (to: Transcript, event: LogEvent) => void;

function startInvocation(to: Transcript, event: LogEvent): void {
  const body = event.body;
  const id = str(body, "id");
  const parent = typeof body.parent === "string" ? body.parent : null;
  const cause = object<Cause>(body, "cause");
  if (isPrimary(parent, cause)) return to.markTop(id);
  if (to.card(id)) return;
  const card = newCard(id, str(body, "agent"), event.at);
  card.runner = str(body, "runner");
  card.cause = cause;
  card.cage = object<CageBadge>(body, "cage");
  card.input = str(body, "input");
  // What a signal started stands on its own: its emitter is often finished by then.
  to.putCard(card, cause?.type === "signal" ? null : parent);
}

function finishInvocation(to: Transcript, event: LogEvent): void {
  const card = to.card(str(event.body, "id"));
  if (!card) return;
  card.state = "finished";
  card.outcome = (str(event.body, "outcome") || "lost") as Outcome;
  card.reason = str(event.body, "reason");
  card.result = str(event.body, "result");
  card.finishedAt = event.at;
}

function finishText(kind: "text" | "thought"): Handler {
  return (to, event) => {
    const entry: TextEntry = {
      kind,
      id: `t${str(event.body, "item") || event.seq}`,
      at: event.at,
      agent: agentOf(event.actor),
      text: str(event.body, "text"),
      streaming: false,
      partial: event.body.partial === true,
    };
    to.home(str(event.body, "invocation"), event).push(entry);
  };
}

/** Whom a step waits for, by name: the log has only its id. */
function awaited(to: Transcript, body: Record<string, unknown>): string {
  if (!str(body, "name").endsWith("subagent_result")) return "";
  const args = object<Record<string, unknown>>(body, "arguments");
  const agent = to.card(args ? str(args, "invocation") : "")?.agent ?? "";
  return agent.slice(agent.lastIndexOf("/") + 1);
}

function openStep(state: "running" | "held"): Handler {
  return (to, event) => {
    const body = event.body;
    const id = str(body, "id");
    const invocation = str(body, "invocation");
    const seen = to.step(id);
    if (seen) {
      seen.state = state;
      seen.arguments = body.arguments ?? seen.arguments;
      to.cardState(seen.invocation, state);
      return;
    }
    const step: StepEntry = {
      kind: "step",
      id,
      at: event.at,
      invocation,
      type: str(body, "type") === "model" ? "model" : "tool",
      name: str(body, "name"),
      title: awaited(to, body) || str(body, "title"),
      arguments: body.arguments ?? {},
      state,
      result: "",
      output: "",
      duration: 0,
    };
    to.putStep(step, to.home(invocation, event));
    to.cardState(invocation, state);
  };
}

function finishStep(to: Transcript, event: LogEvent): void {
  const body = event.body;
  const step = to.step(str(body, "id"));
  const card = to.card(str(body, "invocation"));
  const usage = object<Record<string, unknown>>(body, "usage");
  if (card && usage) card.tokens += num(usage, "input_tokens") + num(usage, "output_tokens");
  if (!step) return;
  step.state = body.ok === false ? "failed" : "ok";
  step.result = str(body, "result");
  step.duration = num(body, "duration_ms");
}

function addOutput(to: Transcript, event: LogEvent): void {
  const invocation = str(event.body, "invocation");
  const stream = str(event.body, "stream");
  const text = str(event.body, "text");
  const step = to.runningShell(invocation);
  if (step) {
    step.output = (step.output + text).slice(-kOutputChars);
    return;
  }
  const home = to.home(invocation, event);
  const last = home[home.length - 1];
  if (last?.kind === "output" && last.stream === stream) {
    last.text = (last.text + text).slice(-kOutputChars);
    return;
  }
  const entry: OutputEntry = { kind: "output", id: `e${event.seq}`, at: event.at, stream, text };
  home.push(entry);
}

function control(what: "holding" | "held" | "resumed" | "stopping" | "finished"): Handler {
  return (to, event) => {
    if (what === "finished") to.closeOpenSteps();
    to.entries.push({
      kind: "control",
      id: `e${event.seq}`,
      at: event.at,
      what,
      actor: event.actor,
      outcome: what === "finished" ? ((str(event.body, "outcome") || "lost") as Outcome) : null,
      reason: str(event.body, "reason"),
    });
  };
}

function planUpdated(to: Transcript, event: LogEvent): void {
  const entries = list<PlanEntry>(event.body, "entries");
  const change = object<{ before?: Partial<PlanEntry>; after?: Partial<PlanEntry> }>(
    event.body,
    "change",
  );
  const last = to.entries[to.entries.length - 1];
  // The agent ticking off one entry after the other is one line, the newest.
  if (!change && last?.kind === "plan" && last.before === null) to.entries.pop();
  to.entries.push({
    kind: "plan",
    id: `e${event.seq}`,
    at: event.at,
    actor: event.actor,
    done: entries.filter((each) => each.status === "completed").length,
    total: entries.length,
    current: entries.find((each) => each.status === "in_progress")?.text ?? "",
    before: change?.before ?? null,
    after: change?.after ?? null,
  });
}

function inInvocation(make: (event: LogEvent) => Entry): Handler {
  return (to, event) => {
    to.home(str(event.body, "invocation"), event).push(make(event));
  };
}

const base = (event: LogEvent) => ({ id: `e${event.seq}`, at: event.at });
const nothing: Handler = () => {};

const handlers: Record<string, Handler> = {
  ...cageHandlers,
  "session.created": nothing,
  // Which conversation of its own an agent keeps: for the daemon, after a restart.
  "agent.session": nothing,
  "message.user": (to, event) =>
    to.putUser({
      kind: "user",
      ...base(event),
      message: str(event.body, "id"),
      text: str(event.body, "text"),
      actor: event.actor,
      client: str(event.body, "client"),
      run: event.run,
      state: "queued",
    }),
  "message.cancelled": (to, event) => {
    const user = to.user(str(event.body, "id"));
    if (user) user.state = "cancelled";
  },
  "run.started": (to, event) => {
    const user = to.user(str(event.body, "message")) ?? to.userOfRun(event.run);
    if (user) user.state = "started";
  },
  "run.holding": control("holding"),
  "run.held": control("held"),
  "run.resumed": control("resumed"),
  "run.stopping": control("stopping"),
  "run.finished": control("finished"),
  "invocation.started": startInvocation,
  "invocation.finished": finishInvocation,
  "cage.output": addOutput,
  "step.started": openStep("running"),
  "step.held": openStep("held"),
  "step.released": (to, event) => {
    const step = to.step(str(event.body, "id"));
    if (step?.state !== "held") return;
    step.state = "running";
    to.cardState(step.invocation, "running");
  },
  "step.finished": finishStep,
  "message.agent": finishText("text"),
  "thought.agent": finishText("thought"),
  "plan.updated": planUpdated,
  "agent.note": inInvocation((event) => ({
    kind: "note",
    ...base(event),
    text: str(event.body, "text"),
  })),
  "signal.emitted": inInvocation((event) => ({
    kind: "signal",
    ...base(event),
    agent: str(event.body, "agent"),
    signal: str(event.body, "signal"),
    data: event.body.data ?? null,
    seq: event.seq,
  })),
  "interconnect.fired": (to, event) =>
    to.entries.push({
      kind: "wire",
      ...base(event),
      from: str(event.body, "from"),
      invoke: str(event.body, "invoke"),
      signalSeq: num(event.body, "signal_seq"),
      limit: "",
      action: "",
    }),
  "interconnect.limited": (to, event) =>
    to.entries.push({
      kind: "wire",
      ...base(event),
      from: "",
      invoke: "",
      signalSeq: num(event.body, "signal_seq"),
      limit: str(event.body, "limit"),
      action: str(event.body, "action"),
    }),
};

/** The entry of an item that still streams; the finished one takes the same id. */
export function streamEntry(item: StreamItem): TextEntry {
  return {
    kind: item.kind,
    id: `t${item.item}`,
    at: 0,
    agent: "",
    text: item.text,
    streaming: true,
    partial: false,
  };
}
