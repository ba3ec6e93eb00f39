// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SessionState } from "../src/api/types.ts";
import { asksLast, type CardEntry, type Entry, kCardLines, weight } from "../src/fold/entries.ts";
import { advance } from "../src/fold/live.ts";
import { Transcript } from "../src/fold/transcript.ts";
import { emptyState, log, storyLog } from "./make.ts";

function stateAfter(seq: number): SessionState {
  return storyLog().slice(0, seq).reduce(advance, emptyState());
}

function transcript(from = 0, known: SessionState["invocations"] = []): Entry[] {
  const folded = new Transcript(known);
  for (const event of storyLog().slice(from)) folded.add(event);
  return folded.entries;
}

const card = (entries: Entry[], agent: string) =>
  entries.find((each): each is CardEntry => each.kind === "card" && each.agent === agent);

describe("the state of a session", () => {
  it("follows a run through hold, resume and end", () => {
    expect(stateAfter(1).status).toBe("idle");
    expect(stateAfter(2).queue).toHaveLength(1);
    const working = stateAfter(3);
    expect(working.status).toBe("working");
    expect(working.queue).toHaveLength(0);
    expect(working.run?.message.text).toBe("go");
    expect(stateAfter(19).status).toBe("holding");
    const held = stateAfter(21);
    expect(held.status).toBe("held");
    expect(held.pending_steps.map((step) => step.id)).toEqual(["stp_3"]);
    expect(held.invocations.find((each) => each.id === "inv_p")?.state).toBe("held");
    const resumed = stateAfter(26);
    expect(resumed.pending_steps).toHaveLength(0);
    expect(resumed.invocations.find((each) => each.id === "inv_p")?.state).toBe("working");
    expect(stateAfter(31).run).toBeNull();
  });

  it("keeps the message that was sent meanwhile in the queue, and drops a cancelled one", () => {
    const state = stateAfter(31);
    expect(state.queue.map((each) => each.message.text)).toEqual(["and then"]);
    const cancelled = {
      ...storyLog()[0],
      seq: 32,
      kind: "message.cancelled",
      body: { id: "msg_2" },
    };
    expect(advance(state, cancelled as never).queue).toHaveLength(0);
  });

  it("has the operator's edit in its plan", () => {
    expect(stateAfter(22).plan.entries[1]?.text).toBe("deploy one");
  });

  it("is changed by no event twice, in whatever order repeats arrive", () => {
    const events = storyLog();
    fc.assert(
      fc.property(fc.array(fc.nat(events.length - 1), { maxLength: 60 }), (repeats) => {
        let state = emptyState();
        for (const event of events) {
          state = advance(state, event);
          for (const i of repeats) {
            const old = events[i];
            if (old && old.seq <= state.last_seq) expect(advance(state, old)).toBe(state);
          }
        }
        expect(state).toEqual(stateAfter(events.length));
      }),
      { numRuns: 30 },
    );
  });
});

describe("the conversation", () => {
  it("puts the primary on the page and each subagent in its card", () => {
    const entries = transcript();
    expect(card(entries, "primary")).toBeUndefined();
    const scraper = card(entries, "primary/scraper");
    expect(scraper?.children.map((each) => each.kind)).toEqual([
      "step",
      "denial",
      "output",
      "signal",
    ]);
    expect(scraper?.outcome).toBe("failed");
    expect(scraper?.layers).toEqual(["net ns"]);
    expect(card(entries, "primary/deployer")?.cause?.type).toBe("signal");
  });

  it("joins the output of one stream", () => {
    const output = card(transcript(), "primary/scraper")?.children[2];
    expect(output?.kind === "output" && output.text).toBe("a\nb\n");
  });

  it("shows a held step once, and leaves nothing running after the run", () => {
    const steps = transcript().filter((each) => each.kind === "step");
    expect(steps.map((each) => each.id)).toEqual(["stp_1", "stp_3"]);
    expect(steps.map((each) => each.state)).toEqual(["ended", "ended"]);
  });

  it("keeps what a command prints with the command", () => {
    const step = { id: "s", invocation: "", type: "tool", name: "shell" };
    const printed = (text: string) => ({ invocation: "", stream: "stdout", text });
    const folded = new Transcript();
    for (const event of log(
      ["step.started", "agent:primary", step],
      ["cage.output", "agent:primary", printed("a\n")],
      ["cage.output", "agent:primary", printed("b\n")],
      ["step.finished", "agent:primary", { id: "s", ok: true, result: "{}" }],
      ["cage.output", "agent:primary", printed("late\n")],
    )) {
      folded.add(event);
    }
    expect(folded.entries).toMatchObject([
      { kind: "step", output: "a\nb\n" },
      { kind: "output", text: "late\n" },
    ]);
  });

  it("counts a refusal that repeats on one card", () => {
    const what = (name: string, count: number) => ({
      invocation: "",
      layer: "dns",
      what: name,
      count,
    });
    const folded = new Transcript();
    for (const event of log(
      ["cage.denied", "daemon", what("name a.example", 1)],
      ["cage.denied", "daemon", what("name b.example", 1)],
      ["cage.denied", "daemon", what("name a.example", 3)],
    )) {
      folded.add(event);
    }
    expect(folded.entries).toMatchObject([
      { what: "name a.example", count: 4 },
      { what: "name b.example", count: 1 },
    ]);
  });

  it("puts an open question to a model below what it streams", () => {
    const folded = new Transcript();
    const ask = { id: "s", invocation: "", type: "model", name: "smart" };
    for (const event of log(
      ["step.started", "agent:primary", ask],
      ["message.agent", "agent:primary", { item: "i", invocation: "", text: "hello" }],
    )) {
      folded.add(event);
    }
    expect(asksLast(folded.entries).map((each) => each.kind)).toEqual(["text", "step"]);
  });

  it("shows an unknown kind as such", () => {
    const strange = transcript().find((each) => each.kind === "unknown");
    expect(strange?.kind === "unknown" && strange.event).toBe("strange.kind");
  });

  it("tells a plan edit of the operator from the agent's own", () => {
    const plans = transcript().filter((each) => each.kind === "plan");
    expect(plans.map((each) => each.before?.text ?? null)).toEqual([null, "deploy"]);
  });

  it("gives the same entries from the middle of the log as from its beginning", () => {
    const known = stateAfter(31).invocations;
    const whole = transcript(0, known);
    for (let from = 0; from < storyLog().length; from++) {
      const ids = new Set(whole.map((each) => each.id));
      for (const entry of transcript(from, known)) expect(ids).toContain(entry.id);
    }
  });

  it("survives events without the fields it expects", () => {
    const kinds = new Set(storyLog().map((event) => event.kind));
    const broken = log(
      ...([...kinds].map((kind) => [kind, "daemon", {}] as [string, string, object]) as never[]),
    );
    const folded = new Transcript();
    let state = emptyState();
    for (const event of broken) {
      folded.add(event);
      state = advance(state, event);
    }
    expect(state.last_seq).toBe(broken.length);
  });

  it("folds ten thousand events in a blink", () => {
    const many = log(
      ...Array.from({ length: 10_000 }, (_, i): [string, string, Record<string, unknown>] => [
        "message.agent",
        "agent:primary",
        { item: `itm_${i}`, invocation: "inv_p", text: "x" },
      ]),
    );
    const from = performance.now();
    const folded = new Transcript();
    for (const event of many) folded.add(event);
    expect(folded.entries).toHaveLength(10_000);
    expect(performance.now() - from).toBeLessThan(500);
  });

  it("counts no more lines of a card than are drawn", () => {
    const scraper = card(transcript(), "primary/scraper");
    if (!scraper) throw new Error("no card");
    const child = scraper.children[0];
    if (!child) throw new Error("no child");
    const children = Array.from({ length: 500 }, () => child);
    expect(weight({ ...scraper, children })).toBe(kCardLines + 1);
  });
});
