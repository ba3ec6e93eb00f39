// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { assertError } from "../../support/http.mjs";
import { until } from "../../support/wait.mjs";

async function holdAtFirstPlan(daemon) {
  const stream = await daemon.operatorStream();
  const { session } = await daemon.send();
  stream.subscribe(session);
  await stream.event("plan.updated");
  await daemon.api.post(`/sessions/${session}/hold`);
  await stream.event("run.held");
  return { session, stream };
}

test("9: the operator holds the run, edits the plan, resumes; the agent is told and acts on it", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const { session } = await holdAtFirstPlan(daemon);
  const path = `/sessions/${session}`;

  const held = await daemon.api.get(path);
  assert.equal(held.status, "held");
  assert.equal(held.plan.entries.length, 4);
  assert.ok(held.pending_steps.length >= 1, "a held run shows what waits");
  assert.ok(held.invocations.some((i) => i.agent === "primary" && i.state !== "finished"));
  // Nothing goes on while it is held: the log stands still but for what the operator does.
  const entry = held.plan.entries.at(-1);
  assert.match(entry.text, /production/);
  await daemon.api.mutate("PATCH", `${path}/plan/entries/${entry.id}`, { text: "Publish to staging" });
  const edited = await daemon.api.get(path);
  assert.equal(edited.plan.entries.at(-1).text, "Publish to staging");
  assert.equal(edited.last_seq, held.last_seq + 1);

  await daemon.api.post(`${path}/resume`);
  const events = await daemon.finished(session);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");

  // The log says who did what.
  for (const kind of ["run.holding", "run.resumed"]) assert.match(only(events, kind).actor, /^operator:/);
  const change = only(events, "plan.updated", (e) => e.body.change);
  assert.match(change.actor, /^operator:/);
  assert.deepEqual(
    [change.body.change.entry, change.body.change.before.text, change.body.change.after.text],
    [entry.id, entry.text, "Publish to staging"],
  );
  const note = only(events, "agent.note");
  assert.match(note.body.text, /Publish to staging/);
  // The agent was told, and acted on it.
  const said = ofKind(events, "message.agent").map((e) => e.body.text).join("\n");
  assert.match(said, /Deploying to staging, as you asked/);
  assert.doesNotMatch(said, /Publishing to production/);
  const after = ofKind(events, "plan.updated").filter((e) => e.seq > change.seq);
  assert.equal(after.at(-1).actor, "agent:primary");
  assert.equal(after.at(-1).body.entries.at(-1).text, "Publish to staging");
});

test("9: while held no step starts, and a hold outlives the operator's connection", async (t) => {
  const daemon = await Daemon.start(t, { delay: 5 });
  const { session, stream } = await holdAtFirstPlan(daemon);
  stream.cut();
  const before = await daemon.api.events(session);
  const heldAt = before.findLast((e) => e.kind === "run.held").seq;
  // A second device looks at it many times: still the same.
  for (let i = 0; i < 50; i++) await daemon.api.get(`/sessions/${session}`);
  const now = await daemon.api.events(session);
  assert.deepEqual(
    now.filter((e) => e.seq > heldAt && e.kind === "step.started"),
    [],
  );
  await daemon.api.post(`/sessions/${session}/resume`);
  const events = await daemon.finished(session);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");
});

test("9: what the state does not allow is a conflict", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const act = (method, path, body = {}) =>
    daemon.api.request(method, path, { body, key: `${method}${path}` });
  const { session } = await daemon.send();
  const path = `/sessions/${session}`;
  await until("there is a plan", async () => (await daemon.api.get(path)).plan.entries.length === 4);

  assertError(await act("PATCH", `${path}/plan/entries/4`, { text: "x" }), 409, "conflict");
  assertError(await act("POST", `${path}/resume`), 409, "conflict");
  await daemon.finished(session);
  assertError(await act("POST", `${path}/hold`), 409, "conflict");
  assertError(await act("POST", `${path}/stop`), 409, "conflict");
});
