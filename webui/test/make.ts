// SPDX-License-Identifier: Apache-2.0
import type { LogEvent, SessionState } from "../src/api/types.ts";

export function emptyState(): SessionState {
  return {
    id: "ses_1",
    project: "music-site",
    title: "",
    status: "idle",
    created_at: 1,
    updated_at: 1,
    last_seq: 0,
    run: null,
    queue: [],
    plan: { revision: 0, entries: [] },
    invocations: [],
    pending_steps: [],
  };
}

type Line = [kind: string, actor: string, body: Record<string, unknown>, run?: string];

export function log(...lines: Line[]): LogEvent[] {
  return lines.map(([kind, actor, body, run], i) => ({
    session: "ses_1",
    seq: i + 1,
    at: 1000 + i,
    kind,
    actor,
    run: run ?? "run_1",
    body,
  }));
}

const operator = "operator:uid 0";
const cage = { disabled: false, hosts: ["host.volary:18480"], folders: [], limits: {} };
const entries = [
  { id: "1", text: "scrape", status: "in_progress" },
  { id: "2", text: "deploy", status: "pending" },
];

function invoked(id: string, agent: string, parent: string | null, type: string) {
  return { id, parent, agent, runner: "builtin", depth: 0, cause: { type }, cage, input: "in" };
}

function tool(id: string, invocation: string, name: string) {
  return { id, invocation, type: "tool", name, title: name, arguments: { command: "ls" } };
}

/** The story in small: a subagent, a denial, a signal, a wire, a hold with an edit, an end. */
export function storyLog(): LogEvent[] {
  const scraper = "agent:primary/scraper";
  return log(
    ["session.created", "daemon", { project: "music-site", title: "" }],
    ["message.user", operator, { id: "msg_1", text: "go", client: "web" }],
    ["run.started", "daemon", { message: "msg_1" }],
    ["invocation.started", "daemon", invoked("inv_p", "primary", null, "message")],
    ["cage.started", "daemon", { cage: "c1", invocation: "inv_p", layers: [], limits_backend: "" }],
    ["plan.updated", "agent:primary", { revision: 1, entries }],
    ["message.agent", "agent:primary", { item: "itm_1", invocation: "inv_p", text: "I start." }],
    ["step.started", "agent:primary", tool("stp_1", "inv_p", "subagent_invoke")],
    ["invocation.started", "daemon", invoked("inv_s", "primary/scraper", "inv_p", "tool")],
    ["cage.started", "daemon", { cage: "c2", invocation: "inv_s", layers: ["net ns"] }],
    ["step.started", scraper, tool("stp_2", "inv_s", "shell")],
    [
      "cage.denied",
      "daemon",
      {
        cage: "c2",
        invocation: "inv_s",
        layer: "dns",
        what: "evil.example:443",
        rule: "r",
        count: 1,
      },
    ],
    ["step.finished", scraper, { id: "stp_2", invocation: "inv_s", ok: true, duration_ms: 7 }],
    ["cage.output", "daemon", { invocation: "inv_s", stream: "stdout", text: "a\n" }],
    ["cage.output", "daemon", { invocation: "inv_s", stream: "stdout", text: "b\n" }],
    [
      "signal.emitted",
      scraper,
      { invocation: "inv_s", agent: "primary/scraper", signal: "found_release", data: {} },
    ],
    ["interconnect.fired", "daemon", { rule: 0, signal_seq: 16, from: "a", invoke: "b" }],
    ["invocation.started", "daemon", invoked("inv_d", "primary/deployer", null, "signal")],
    ["run.holding", operator, {}],
    ["step.held", "agent:primary", tool("stp_3", "inv_p", "shell")],
    ["run.held", "daemon", {}],
    [
      "plan.updated",
      operator,
      {
        revision: 2,
        entries: [{ ...entries[0] }, { ...entries[1], text: "deploy one" }],
        change: { entry: "2", before: { text: "deploy" }, after: { text: "deploy one" } },
      },
    ],
    ["message.user", operator, { id: "msg_2", text: "and then", client: "cli" }, "run_2"],
    ["run.resumed", operator, { notes: ["edited"] }],
    ["step.released", operator, { id: "stp_3" }],
    ["step.started", "agent:primary", tool("stp_3", "inv_p", "shell")],
    ["agent.note", "daemon", { invocation: "inv_p", text: "edited" }],
    ["strange.kind", "daemon", { some: "thing" }],
    ["invocation.finished", "daemon", { id: "inv_d", outcome: "succeeded", result: "ok" }],
    ["invocation.finished", "daemon", { id: "inv_s", outcome: "failed", reason: "exit 1" }],
    ["run.finished", "daemon", { outcome: "stopped", reason: "operator" }],
  );
}
