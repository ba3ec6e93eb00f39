// SPDX-License-Identifier: Apache-2.0
// kill -9 in the middle of the story, again and again, on one state folder. VOLARY_FAULT_ROUNDS says
// how often; the moment is drawn from a seed that a failure prints.
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, assertContiguous, ofKind } from "../support/daemon.mjs";
import { descendants, survivors } from "../support/processes.mjs";
import { until } from "../support/wait.mjs";

const kRounds = Number(process.env.VOLARY_FAULT_ROUNDS ?? 3);
const kSeed = Number(process.env.VOLARY_FAULT_SEED ?? Date.now() % 1_000_000);

/** mulberry32: a tiny generator, so that a seed repeats a run's choices. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Crashes the daemon when the log has grown by `count` events. */
async function crashAfter(daemon, session, from, count) {
  const stream = await daemon.operatorStream();
  stream.subscribe(session, from);
  await stream.message("the moment to crash", (m) => m.event?.seq >= from + count || m.event?.kind === "run.finished");
  const processes = descendants(daemon.pid);
  const seen = stream.events(session);
  await daemon.crash();
  await until("no process is left of the crashed daemon", () => survivors(processes).length === 0);
  return seen;
}

test(`${kRounds} crashes lose nothing that was acknowledged (seed ${kSeed})`, async (t) => {
  const daemon = await Daemon.start(t, { delay: 4 });
  const draw = random(kSeed);
  const acknowledged = [];
  let session;
  for (let round = 0; round < kRounds; round++) {
    const from = session ? (await daemon.api.events(session)).length : 0;
    const sent = await daemon.send(`round ${round}`);
    acknowledged.push(sent);
    session = sent.session;
    const seen = await crashAfter(daemon, session, from, 1 + Math.floor(draw() * 40));
    await daemon.launch();

    await until("the session is idle again", async () => {
      const state = await daemon.api.get(`/sessions/${session}`);
      return state.status === "idle" && state.queue.length === 0;
    });
    const events = await daemon.api.events(session, 1000);
    assertContiguous(events);
    // What a client was shown is what was stored.
    assert.deepEqual(events.slice(from, from + seen.length), seen);
    for (const { run, message } of acknowledged) {
      assert.equal(ofKind(events, "message.user").filter((e) => e.body.id === message).length, 1);
      assert.equal(ofKind(events, "run.finished").filter((e) => e.run === run).length, 1);
    }
    const fired = ofKind(events, "interconnect.fired").map((e) => `${e.body.rule} ${e.body.signal_seq}`);
    assert.equal(new Set(fired).size, fired.length, "a rule fired twice for one signal");
    for (const { body } of ofKind(events, "invocation.started")) {
      const ends = ofKind(events, "invocation.finished").filter((e) => e.body.id === body.id);
      assert.equal(ends.length, 1, `${body.agent} ${body.id} ended ${ends.length} times`);
    }
  }
});
