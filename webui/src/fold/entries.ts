// SPDX-License-Identifier: Apache-2.0
// What the conversation shows. Every entry has an id that is the same on each device.

import type { CageBadge, Cause, Outcome, PlanEntry } from "../api/types.ts";

interface Base {
  id: string;
  at: number;
}

export interface UserEntry extends Base {
  kind: "user";
  message: string;
  text: string;
  actor: string;
  client: string;
  run: string | null;
  state: "queued" | "started" | "cancelled";
}

export interface TextEntry extends Base {
  kind: "text" | "thought";
  agent: string;
  text: string;
  streaming: boolean;
  /** The run ended before the text did. */
  partial: boolean;
}

export interface StepEntry extends Base {
  kind: "step";
  invocation: string;
  type: "model" | "tool";
  name: string;
  title: string;
  arguments: unknown;
  state: "running" | "held" | "ok" | "failed" | "ended";
  result: string;
  /** What its program printed so far. */
  output: string;
  duration: number;
}

export interface CardEntry extends Base {
  kind: "card";
  invocation: string;
  agent: string;
  runner: string;
  cause: Cause | null;
  cage: CageBadge | null;
  layers: string[];
  limitsBackend: string;
  input: string;
  state: "starting" | "working" | "held" | "finished";
  outcome: Outcome | null;
  reason: string;
  result: string;
  finishedAt: number;
  tokens: number;
  children: Entry[];
}

export interface DenialEntry extends Base {
  kind: "denial";
  cage: string;
  invocation: string;
  agent: string;
  layer: string;
  what: string;
  rule: string;
  process: string;
  count: number;
  /** When it was tried last. */
  lastAt: number;
  /** The scope of a grant that came after it was tried last; "" for none. */
  granted: string;
}

/** Refusals of one agent beyond the first few: one line, however many there are. */
export interface DenialsEntry extends Base {
  kind: "denials";
  list: DenialEntry[];
}

export interface LimitEntry extends Base {
  kind: "limit";
  limit: string;
  detail: string;
  count: number;
}

export interface GrantEntry extends Base {
  kind: "grant";
  agent: string;
  rule: string;
  scope: string;
  applied: string;
  by: string;
  /** Why it could not be applied as it was meant; "" when it was. */
  failure: string;
}

export interface ChangesEntry extends Base {
  kind: "changes";
  agent: string;
  by: string;
  kept: boolean;
  count: number;
  /** What could not be done, each "PATH: why". */
  refused: string[];
}

export interface OutputEntry extends Base {
  kind: "output";
  stream: string;
  text: string;
}

export interface SignalEntry extends Base {
  kind: "signal";
  agent: string;
  signal: string;
  data: unknown;
  seq: number;
}

export interface WireEntry extends Base {
  kind: "wire";
  from: string;
  invoke: string;
  signalSeq: number;
  limit: string;
  action: string;
}

export interface ControlEntry extends Base {
  kind: "control";
  what: "holding" | "held" | "resumed" | "stopping" | "finished";
  actor: string;
  outcome: Outcome | null;
  reason: string;
}

export interface PlanChangeEntry extends Base {
  kind: "plan";
  actor: string;
  done: number;
  total: number;
  current: string;
  before: Partial<PlanEntry> | null;
  after: Partial<PlanEntry> | null;
}

export interface NoteEntry extends Base {
  kind: "note";
  text: string;
}

export interface CageEntry extends Base {
  kind: "cage";
  status: string;
  reason: string;
}

/** What a start of the daemon found of a cage that an earlier one had left. */
export interface RecoveryEntry extends Base {
  kind: "recovery";
  agent: string;
  verdict: string;
  detail: string;
}

export interface UnknownEntry extends Base {
  kind: "unknown";
  event: string;
  actor: string;
  body: unknown;
}

export type Entry =
  | UserEntry
  | TextEntry
  | StepEntry
  | CardEntry
  | DenialEntry
  | DenialsEntry
  | LimitEntry
  | GrantEntry
  | ChangesEntry
  | OutputEntry
  | SignalEntry
  | WireEntry
  | ControlEntry
  | PlanChangeEntry
  | NoteEntry
  | CageEntry
  | RecoveryEntry
  | UnknownEntry;

/**
 * An open question to a model goes below what it already streams: when it ends it disappears, and
 * nothing that is being read moves.
 */
export function asksLast(list: Entry[]): Entry[] {
  const open = (entry: Entry) =>
    entry.kind === "step" &&
    entry.type === "model" &&
    (entry.state === "running" || entry.state === "held");
  return list.some(open) ? [...list.filter((each) => !open(each)), ...list.filter(open)] : list;
}

/** How many lines of a card are drawn; a card that worked for hours stays one screen. */
export const kCardLines = 20;

/** How many lines an entry takes on the page. */
export function weight(entry: Entry): number {
  if (entry.kind !== "card") return 1;
  let sum = 1;
  for (const child of entry.children.slice(-kCardLines)) sum += weight(child);
  return sum;
}
