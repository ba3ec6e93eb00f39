// SPDX-License-Identifier: Apache-2.0
// The shapes of API v1, as the daemon documents them in docs/api.md.

export type SessionStatus = "idle" | "working" | "holding" | "held" | "stopping";
export type RunStatus = Exclude<SessionStatus, "idle">;
export type Outcome = "succeeded" | "failed" | "stopped" | "lost";
export type PlanStatus = "pending" | "in_progress" | "completed";

export interface CageBadge {
  disabled: boolean;
  hosts: string[];
  folders: { path: string; mode: string }[];
  limits: Record<string, unknown>;
}

export interface ProjectSummary {
  name: string;
  description: string;
  path: string;
  valid: boolean;
  sessions: number;
  active_session: string | null;
}

export interface SessionSummary {
  id: string;
  project: string;
  title: string;
  status: SessionStatus;
  created_at: number;
  updated_at: number;
  last_seq: number;
}

export interface Message {
  id: string;
  text: string;
}

export interface PlanEntry {
  id: string;
  text: string;
  status: PlanStatus;
}

export interface Plan {
  revision: number;
  entries: PlanEntry[];
}

export interface Cause {
  type: "message" | "tool" | "signal";
  rule?: number;
  signal_seq?: number;
}

export interface Invocation {
  id: string;
  parent: string | null;
  agent: string;
  runner: string;
  depth: number;
  state: "starting" | "working" | "held" | "finished";
  outcome: Outcome | null;
  started_at: number;
  finished_at: number | null;
  cause: Cause;
  cage: CageBadge;
  reason: string;
}

export interface PendingStep {
  id: string;
  invocation: string;
  type: "model" | "tool";
  name: string;
  title: string;
  arguments: unknown;
}

export interface SessionState extends SessionSummary {
  run: { id: string; status: RunStatus; started_at: number; message: Message } | null;
  queue: { run: string; message: Message }[];
  plan: Plan;
  invocations: Invocation[];
  pending_steps: PendingStep[];
}

export interface LogEvent {
  session: string;
  seq: number;
  at: number;
  kind: string;
  actor: string;
  run: string | null;
  body: Record<string, unknown>;
}

export interface EventPage {
  epoch: string;
  events: LogEvent[];
  last_seq: number;
}

export interface NetLine {
  rule: string;
  /** Name of the operator's credential that the gatekeeper adds; "" for none. */
  credential: string;
  private: boolean;
}

export interface PortLine {
  name: string;
  port: number;
  public: boolean;
  listening: boolean;
  /** Where the daemon publishes it; "" while nothing does. */
  url: string;
}

export interface CagePolicy extends CageBadge {
  net: NetLine[];
  ports: PortLine[];
  seccomp: string;
  state: string;
  devices: string[];
}

export interface CageLimit {
  name: string;
  limit: number | null;
  used: number | null;
  unit: string;
}

export interface CageGrant {
  rule: string;
  layer: string;
  scope: string;
  at: number;
  by: string;
}

export interface Cage {
  cage: string;
  invocation: string;
  agent: string;
  running: boolean;
  startedAt: number;
  backend: string;
  layers: string[];
  limitsBackend: string;
  policy: CagePolicy;
  limits: CageLimit[];
  denials: number;
  /** Null where nothing counts: it has ended. */
  network: { open: number; total: number; up: number; down: number } | null;
  grants: CageGrant[];
}

export interface Connection {
  at: number;
  name: string;
  port: number;
  up: number;
  down: number;
  /** Null while it is open. */
  duration: number | null;
  verdict: string;
}

export interface Change {
  agent: string;
  path: string;
  kind: "added" | "changed" | "deleted";
  bytes: number;
  binary: boolean;
  /** What it is now; sent with the wish to keep it, so that nothing else is kept. */
  digest: string;
  /** Why it cannot be kept; "" when it can. */
  refused: string;
}

/** What became of changes that were to be kept or dropped. */
export interface SettledAnswer {
  count?: number;
  /** At most 50 of "PATH: why". */
  refused?: string[];
}

export interface Check {
  name: string;
  layer: string;
  verdict: string;
  detail: string;
  fix: string;
}

export type GrantScope = "once" | "session" | "project";

/** What the daemon answers to a grant: done, or for the project file what would be written. */
export interface GrantAnswer {
  applied?: string;
  /** Why it could not be applied to the running cage. */
  reason?: string;
  rule?: string;
  file?: string;
  diff?: string;
  hash?: string;
}

export interface DaemonStatus {
  version: string;
  epoch: string;
  uptime_ms: number;
  rss_bytes: number;
  projects: number;
  sessions: number;
  working: number;
  cages: number;
  insecure: boolean;
  no_cage: boolean;
  /** What reading every page of the database found. */
  database: { checked_at: number | null; problems: string[] };
}

export interface LiveItem {
  item: string;
  invocation: string;
  kind: "text" | "thought";
  text: string;
}

export interface Delta extends LiveItem {
  session: string;
  /** Where `text` starts, in UTF-8 bytes of the item. */
  offset: number;
}

export interface ServerMessage {
  hello?: { epoch: string; version: string; name: string };
  event?: LogEvent;
  live?: { session: string; seq: number; items: LiveItem[] };
  delta?: Delta;
  summary?: SessionSummary;
  ping?: number;
  at?: number;
  error?: { code: string; message: string };
}
