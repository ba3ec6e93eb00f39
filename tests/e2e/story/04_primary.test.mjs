// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { descendants, pidDepth, uids } from "../../support/processes.mjs";

test("4: the primary runs in its own cage, calls the model, publishes a plan and invokes the scraper", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const stream = await daemon.operatorStream();
  const { session, run } = await daemon.send();
  stream.subscribe(session);

  const started = await stream.event("invocation.started", (e) => e.body.agent === "primary");
  const cage = await stream.event("cage.started", (e) => e.body.invocation === started.body.id);
  assert.ok(cage.body.layers.length >= 3, JSON.stringify(cage.body.layers));
  // While it works: a process below the daemon, in a pid namespace of its own, never as uid 0.
  await stream.event("step.started", (e) => e.body.type === "model");
  const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
  const mine = cages.find((c) => c.invocation === started.body.id);
  const below = descendants(daemon.pid).map((p) => p.pid);
  assert.equal(mine.running, true);
  assert.ok(mine.limits.find((l) => l.name === "pids").limit > 0);
  assert.ok(below.some((pid) => pidDepth(pid) > 1));
  for (const pid of below) assert.ok(!uids(pid).includes(0), `${pid} runs as uid 0`);

  const plan = await stream.event("plan.updated");
  assert.equal(plan.actor, "agent:primary");
  assert.equal(plan.body.entries.length, 4);
  assert.equal(plan.body.entries[0].status, "in_progress");

  const events = await daemon.finished(session);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");
  const scraper = only(events, "invocation.started", (e) => e.body.agent === "primary/scraper");
  assert.equal(scraper.body.parent, started.body.id);
  assert.equal(scraper.body.cause.type, "tool");
  assert.equal(scraper.run, run);
  const steps = ofKind(events, "step.started").filter((e) => e.body.invocation === started.body.id);
  const tools = steps.filter((e) => e.body.type === "tool").map((e) => e.body.name);
  assert.deepEqual(tools, ["plan_update", "subagent_invoke", "subagent_result", "plan_update"]);
  for (const step of steps) only(events, "step.finished", (e) => e.body.id === step.body.id);
  const model = ofKind(events, "step.finished").find((e) => e.body.usage);
  assert.ok(model.body.usage.output_tokens > 0);
  const said = ofKind(events, "message.agent").filter((e) => e.actor === "agent:primary");
  assert.match(said.at(-1).body.text, /Publishing to production/);
});

test("4: a tool that the project file disables is not offered", async (t) => {
  const daemon = await Daemon.start(t, {
    scripts: {
      primary: [
        {
          when: { turn: 0 },
          content: [{ type: "tool_use", name: "shell", input: { command: "touch /workspace/ran" } }],
        },
        { when: {}, content: [{ type: "text", text: "So I have no shell." }] },
      ],
    },
  });
  const { session } = await daemon.send("use the shell");
  const events = await daemon.finished(session);
  for (const step of ofKind(events, "step.finished")) {
    const begun = events.find((e) => e.kind === "step.started" && e.body.id === step.body.id);
    if (begun.body.name === "shell") assert.equal(step.body.ok, false);
  }
  const { existsSync } = await import("node:fs");
  assert.equal(existsSync(`${daemon.project}/ran`), false);
});
