// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { commandOf, descendants, survivors } from "../../support/processes.mjs";
import { until } from "../../support/wait.mjs";

/** The grace period of a stop, and room for a loaded machine. */
const kGraceMs = 15_000;
/** Ignores TERM, leaves its session, forks twice: only the pid namespace gets rid of it. */
const kStubborn = "trap '' TERM; (setsid sh -c \"trap '' TERM; while :; do sleep 100; done\" &); echo up; while :; do sleep 100; done";

const stubborn = {
  scripts: {
    scraper: [
      { when: { turn: 0 }, content: [{ type: "tool_use", name: "shell", input: { command: kStubborn } }] },
      { when: {}, content: [{ type: "text", text: "never said" }] },
    ],
  },
};

async function startStubborn(t) {
  const daemon = await Daemon.start(t, stubborn);
  const stream = await daemon.operatorStream();
  const { session, run } = await daemon.send();
  stream.subscribe(session);
  await stream.event("step.started", (e) => e.body.name === "shell");
  return { daemon, stream, session, run };
}

test("10: stop ends everything below within the grace period, by the kernel's count", async (t) => {
  const { daemon, stream, session, run } = await startStubborn(t);
  const before = descendants(daemon.pid);
  assert.ok(before.length >= 4, "two cages are up");

  const begun = Date.now();
  await daemon.api.post(`/sessions/${session}/stop`);
  const finished = await stream.event("run.finished", () => true, kGraceMs);
  // Stop is done when the kernel says so: the event comes after the last process is gone.
  const shims = before.filter((each) => commandOf(each.pid) === "volary-shim");
  assert.deepEqual(survivors(before.filter((each) => !shims.includes(each))), []);
  assert.ok(Date.now() - begun < kGraceMs);
  // Their shims are told to go once it is in the log.
  await until("no process is left", () => descendants(daemon.pid).length === 0);

  assert.deepEqual([finished.run, finished.body.outcome], [run, "stopped"]);
  const events = await daemon.api.events(session);
  assert.match(only(events, "run.stopping").actor, /^operator:/);
  const started = ofKind(events, "invocation.started").map((e) => e.body.id);
  for (const id of started) {
    assert.equal(only(events, "invocation.finished", (e) => e.body.id === id).body.outcome, "stopped");
  }
  assert.equal((await daemon.api.get(`/sessions/${session}`)).status, "idle");
});

test("10: stop does not eat the queue", async (t) => {
  const { daemon, stream, session } = await startStubborn(t);
  const queued = await daemon.send("the next one");
  await daemon.api.post(`/sessions/${session}/stop`);
  await stream.event("run.finished");
  // Nothing runs on behind the operator's back: the queue waits for a word.
  const { status, queue } = await daemon.api.get(`/sessions/${session}`);
  assert.equal(status, "idle");
  assert.deepEqual(
    queue.map((entry) => entry.run),
    [queued.run],
  );
  await daemon.api.post(`/sessions/${session}/resume`);
  await stream.event("run.started", (e) => e.run === queued.run);
  await daemon.api.post(`/sessions/${session}/stop`);
  await stream.event("run.finished", (e) => e.run === queued.run);
});

test("10: a daemon that is told to end leaves no process behind", async (t) => {
  const { daemon } = await startStubborn(t);
  const before = descendants(daemon.pid);
  const { code } = await daemon.terminate();
  assert.equal(code, 0);
  assert.deepEqual(survivors(before), []);
});

test("10: what a killed daemon left at work is stopped by the next one", async (t) => {
  const { daemon, session } = await startStubborn(t);
  const before = descendants(daemon.pid);
  await daemon.crash();
  assert.notDeepEqual(survivors(before), [], "its agents go on");
  await daemon.launch();
  const stream = await daemon.operatorStream();
  stream.subscribe(session);
  await stream.event("cage.recovered");
  await daemon.api.post(`/sessions/${session}/stop`);
  const events = await daemon.finished(session);
  assert.equal(only(events, "run.finished").body.outcome, "stopped");
  await until("no process is left", () => survivors(before).length === 0);
});
