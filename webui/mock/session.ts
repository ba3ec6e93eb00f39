// SPDX-License-Identifier: Apache-2.0
import type { LogEvent, SessionState, SessionSummary } from "../src/api/types.ts";
import { advance } from "../src/fold/live.ts";
import { type Body, type Stage, story } from "./story.ts";

export class Stopped extends Error {}

export interface Fan {
  event(event: LogEvent): void;
  delta(delta: Body): void;
  summary(summary: SessionSummary): void;
}

let ids = 0;
export const newId = (prefix: string) => `${prefix}_${String(++ids).padStart(6, "0")}`;

interface Item {
  item: string;
  invocation: string;
  kind: string;
  text: string;
}

/** One session of the mock: a log, its state, and the story that its runs play. */
export class MockSession implements Stage {
  readonly events: LogEvent[] = [];
  readonly items = new Map<string, Item>();
  state: SessionState;
  private readonly fan: Fan;
  private readonly speed: number;
  private run: string | null = null;
  private stopping = false;
  private wake: (() => void)[] = [];

  constructor(project: string, fan: Fan, speed: number, at = Date.now()) {
    this.fan = fan;
    this.speed = speed;
    this.state = {
      id: newId("ses"),
      project,
      title: "",
      status: "idle",
      created_at: at,
      updated_at: at,
      last_seq: 0,
      run: null,
      queue: [],
      plan: { revision: 0, entries: [] },
      invocations: [],
      pending_steps: [],
    };
    this.event("session.created", "daemon", { project, title: "" });
  }

  summary(): SessionSummary {
    const { id, project, title, status, created_at, updated_at, last_seq } = this.state;
    return { id, project, title, status, created_at, updated_at, last_seq };
  }

  event(kind: string, actor: string, body: Body, run = this.run, at = Date.now()): number {
    const seq = this.events.length + 1;
    const event: LogEvent = { session: this.state.id, seq, at, kind, actor, run, body };
    this.events.push(event);
    this.state = advance(this.state, event);
    this.fan.event(event);
    this.fan.summary(this.summary());
    return seq;
  }

  message(text: string, client: string): { run: string; message: string; seq: number } {
    const run = newId("run");
    const message = newId("msg");
    const seq = this.event("message.user", "operator:uid 0", { id: message, text, client }, run);
    if (this.run === null) void this.play();
    return { run, message, seq };
  }

  private async play(): Promise<void> {
    for (let next = this.state.queue[0]; next; next = this.state.queue[0]) {
      this.run = next.run;
      this.stopping = false;
      this.event("run.started", "daemon", { message: next.message.id });
      let outcome = "succeeded";
      try {
        await story(this, next.run, next.message.text);
      } catch (error) {
        if (!(error instanceof Stopped)) throw error;
        outcome = "stopped";
      }
      this.finish(outcome);
    }
    this.run = null;
  }

  private finish(outcome: string): void {
    for (const item of this.items.values()) this.finishItem(item, true);
    for (const each of this.state.invocations) {
      if (each.state === "finished") continue;
      this.event("invocation.finished", "daemon", { id: each.id, outcome, reason: "", result: "" });
    }
    this.event("run.finished", "daemon", { outcome, reason: "" });
  }

  control(verb: string): number | null {
    const status = this.state.status;
    const actor = "operator:uid 0";
    if (verb === "hold" && status === "working") {
      return this.event("run.holding", actor, {});
    }
    if (verb === "resume" && (status === "holding" || status === "held")) {
      const notes = this.edits.splice(0);
      const seq = this.event("run.resumed", actor, { notes });
      for (const step of this.state.pending_steps)
        this.event("step.released", actor, { id: step.id });
      for (const text of notes) {
        this.event("agent.note", "daemon", { invocation: `inv_main${this.run}`, text });
      }
      this.wakeAll();
      return seq;
    }
    if (verb === "stop" && this.run !== null && status !== "stopping") {
      const seq = this.event("run.stopping", actor, { reason: "" });
      this.stopping = true;
      this.wakeAll();
      return seq;
    }
    return null;
  }

  private readonly edits: string[] = [];

  edit(entry: string, change: { text?: string; status?: string }): number | null {
    const status = this.state.status;
    const before = this.state.plan.entries.find((each) => each.id === entry);
    if (!before || (status !== "holding" && status !== "held")) return null;
    const after = { ...before, ...change };
    this.edits.push(
      `The operator changed plan entry ${entry}: "${before.text}" is now "${after.text}".`,
    );
    return this.writePlan("operator:uid 0", entry, change, { entry, before, after });
  }

  private writePlan(actor: string, entry: string, change: Body, note?: Body): number {
    const entries = this.state.plan.entries.map((each) =>
      each.id === entry ? { ...each, ...change } : each,
    );
    const body: Body = { revision: this.state.plan.revision + 1, entries };
    if (note) body.change = note;
    return this.event("plan.updated", actor, body);
  }

  cancel(run: string): number | null {
    const queued = this.state.queue.find((each) => each.run === run);
    if (!queued) return null;
    return this.event("message.cancelled", "operator:uid 0", { id: queued.message.id }, run);
  }

  private wakeAll(): void {
    for (const wake of this.wake.splice(0)) wake();
  }

  private async held(): Promise<void> {
    if (this.stopping) throw new Stopped();
    while (this.state.status === "holding" || this.state.status === "held") {
      if (this.state.status === "holding") this.event("run.held", "daemon", {});
      await new Promise<void>((resolve) => this.wake.push(resolve));
      if (this.stopping) throw new Stopped();
    }
  }

  async pause(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms / this.speed));
    if (this.stopping) throw new Stopped();
  }

  async step(invocation: string, agent: string, name: string, args: Body, title = name) {
    const id = newId("stp");
    const body = { id, invocation, type: "tool", name, title, arguments: args };
    await this.admit(body, agent);
    return id;
  }

  private async admit(body: Body, agent: string): Promise<void> {
    if (this.state.status === "holding" || this.state.status === "held") {
      this.event("step.held", `agent:${agent}`, body);
      await this.held();
    }
    if (this.stopping) throw new Stopped();
    this.event("step.started", `agent:${agent}`, body);
  }

  done(step: string, invocation: string, agent: string, result: string, ms: number): void {
    const ok = !/"exit_code":[1-9]/.test(result);
    this.event("step.finished", `agent:${agent}`, {
      id: step,
      invocation,
      ok,
      result,
      duration_ms: ms,
    });
  }

  async think(invocation: string, agent: string): Promise<void> {
    const id = newId("stp");
    await this.admit(
      { id, invocation, type: "model", name: "smart", title: "smart", arguments: {} },
      agent,
    );
    await this.pause(500);
    const usage = { input_tokens: 812, output_tokens: 64 };
    const body = { id, invocation, ok: true, result: "", duration_ms: 500, usage };
    this.event("step.finished", `agent:${agent}`, body);
  }

  async say(invocation: string, agent: string, text: string): Promise<void> {
    const item: Item = { item: newId("itm"), invocation, kind: "text", text: "" };
    this.items.set(item.item, item);
    const encoder = new TextEncoder();
    for (const word of text.match(/\s*\S+\s*/g) ?? []) {
      const offset = encoder.encode(item.text).length;
      item.text += word;
      const { item: id, kind } = item;
      this.fan.delta({ session: this.state.id, item: id, invocation, kind, offset, text: word });
      await this.pause(25);
    }
    this.finishItem(item, false, agent);
  }

  private finishItem(item: Item, partial: boolean, agent = "primary"): void {
    this.items.delete(item.item);
    const body: Body = { item: item.item, invocation: item.invocation, text: item.text };
    if (partial) body.partial = true;
    this.event("message.agent", `agent:${agent}`, body);
  }

  plan(entries: { id: string; text: string; status: string }[]): void {
    this.event("plan.updated", "agent:primary", {
      revision: this.state.plan.revision + 1,
      entries,
    });
  }

  planText(entry: string): string {
    return this.state.plan.entries.find((each) => each.id === entry)?.text ?? "";
  }

  setStatus(entry: string, status: string): void {
    this.writePlan("agent:primary", entry, { status });
  }
}
