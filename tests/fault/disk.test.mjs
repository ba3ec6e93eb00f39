// SPDX-License-Identifier: Apache-2.0
// A disk that is full for a while, or takes nothing: what cannot be kept is refused, what happened is not
// lost, and work goes on by itself when the disk does. The full one is a small tmpfs in a mount namespace of the
// daemon's own. For the other each call that would write to the state folder is answered EROFS: a kernel makes a
// file system read-only below open files when it finds damage, mount(8) does not. EIO: tests/fault/crash.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, assertContiguous, ofKind } from "../support/daemon.mjs";
import { Faults } from "./harness/faults.mjs";
import { until } from "../support/wait.mjs";

/** Room for the database and its log of one story, several times. */
const kSize = "24m";

/** Runs the daemon with `state` on a disk of its own, without capabilities beyond that. */
function onSmallDisk(program, args, { state }) {
  const script = 'mount -t tmpfs -o size="$1",mode=0700 disk "$2" && shift 2 && '
    + 'exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"';
  const inside = ["/bin/sh", "-c", script, "sh", kSize, state, program, ...args];
  return ["unshare", ["--user", "--map-current-user", "--keep-caps", "--mount", ...inside]];
}

/** The daemon's state folder, as the daemon sees it. */
const inside = (daemon, ...parts) => path.join(`/proc/${daemon.pid}/root`, daemon.state, ...parts);

/** Writes until the disk takes no more. */
function fill(daemon) {
  const file = openSync(inside(daemon, "filler"), "a");
  for (let size = 1 << 20; size >= 1; ) {
    try {
      if (writeSync(file, Buffer.alloc(size)) < size) size >>= 1;
    } catch (error) {
      assert.equal(error.code, "ENOSPC");
      size >>= 1;
    }
  }
  closeSync(file);
}

const empty = (daemon) => rmSync(inside(daemon, "filler"));

/** Sends until the disk shows: what fits in the room that the log has already is still taken. */
async function refusedMessage(daemon) {
  let answer;
  await until("a message is refused", async () => {
    const body = { text: "while the disk is full", session: "new" };
    answer = await daemon.api.request("POST", "/projects/music-site/messages", {
      body,
      key: randomUUID(),
    });
    return answer.status !== 202;
  });
  return answer;
}

test("a full disk: messages are refused, and taken once when there is room", async (t) => {
  const daemon = await Daemon.start(t, { wrap: onSmallDisk });
  const { session } = await daemon.send();
  await daemon.finished(session);
  fill(daemon);
  const refused = await refusedMessage(daemon);
  assert.equal(refused.status, 503, refused.text);
  assert.equal(refused.json.error.code, "unavailable");
  // Reading goes on.
  assert.equal((await daemon.api.get(`/sessions/${session}`)).status, "idle");
  const key = randomUUID();
  const send = () =>
    daemon.api.request("POST", "/projects/music-site/messages", { body: { text: "again", session }, key });
  const before = await daemon.api.events(session, 1000);
  assert.equal((await send()).status, 503);
  assert.deepEqual(await daemon.api.events(session, 1000), before);
  empty(daemon);
  let taken;
  await until("it is taken", async () => (taken = await send()).status === 202);
  assert.deepEqual((await send()).json, taken.json);
  const events = await daemon.finished(session, 2);
  assert.equal(ofKind(events, "message.user").length, 2);
  assert.equal((await daemon.api.get(`/sessions/${session}/verify`)).ok, true);
});

/** A run whose disk is taken away and given back in its middle. */
async function runWithoutDisk(daemon, takeAway, giveBack) {
  const stream = await daemon.operatorStream();
  const { session } = await daemon.send();
  stream.subscribe(session);
  await stream.event("plan.updated");
  takeAway();
  const refused = await refusedMessage(daemon);
  assert.equal(refused.status, 503, refused.text);
  const held = await daemon.api.events(session, 1000);
  giveBack();
  const events = await daemon.finished(session);
  assertContiguous(events);
  assert.deepEqual(events.slice(0, held.length), held);
  const [ended] = ofKind(events, "run.finished");
  assert.equal(ended.body.outcome, "succeeded", JSON.stringify(ended));
  // Each step that began has ended, once.
  const ids = (kind) => ofKind(events, kind).map((e) => e.body.id).sort();
  assert.deepEqual(ids("step.finished"), ids("step.started"));
  assert.deepEqual(ids("invocation.finished"), ids("invocation.started"));
  assert.equal((await daemon.api.get(`/sessions/${session}/verify`)).ok, true);
  await daemon.crash();
}

test("a full disk in the middle of a run: it is held, and goes on by itself", async (t) => {
  const daemon = await Daemon.start(t, { wrap: onSmallDisk, delay: 20 });
  await runWithoutDisk(daemon, () => fill(daemon), () => empty(daemon));
});

/** A daemon whose disk takes nothing between refuse() and heal(). */
async function onFailingDisk(t, action, options = {}) {
  const failing = {};
  const wrap = (program, args, daemon) => {
    failing.faults ??= new Faults(path.join(daemon.folder, "faults"));
    return ["env", [...failing.faults.environment(daemon.state), program, ...args]];
  };
  failing.daemon = await Daemon.start(t, { ...options, wrap });
  t.after(() => failing.faults.close());
  failing.refuse = () => {
    failing.rule = failing.faults.arm({ action, where: "state", first: 1, last: null });
  };
  failing.heal = () => failing.faults.disarm(failing.rule);
  return failing;
}

test("a read-only disk: messages are refused, and taken once when it is writable again", async (t) => {
  const { daemon, refuse, heal } = await onFailingDisk(t, "erofs");
  const { session } = await daemon.send();
  const before = await daemon.finished(session);
  const key = randomUUID();
  const send = () =>
    daemon.api.request("POST", "/projects/music-site/messages", { body: { text: "again", session }, key });
  refuse();
  for (let i = 0; i < 3; i += 1) {
    const refused = await send();
    assert.equal(refused.status, 503, refused.text);
    assert.equal(refused.json.error.code, "unavailable");
  }
  // Reading goes on, and nothing of it is there.
  assert.equal((await daemon.api.get(`/sessions/${session}`)).status, "idle");
  assert.deepEqual(await daemon.api.events(session, 1000), before);
  heal();
  let taken;
  await until("it is taken", async () => (taken = await send()).status === 202);
  assert.deepEqual((await send()).json, taken.json);
  const events = await daemon.finished(session, 2);
  assert.equal(ofKind(events, "message.user").length, 2);
  assert.equal((await daemon.api.get(`/sessions/${session}/verify`)).ok, true);
  // What is on the disk is what was acknowledged.
  await daemon.crash();
  await daemon.launch();
  assert.deepEqual((await daemon.api.events(session, 1000)).slice(0, events.length), events);
});

test("a read-only disk in the middle of a run: it stands still, and goes on by itself", async (t) => {
  const { daemon, refuse, heal } = await onFailingDisk(t, "erofs", { delay: 20 });
  await runWithoutDisk(daemon, refuse, heal);
});
