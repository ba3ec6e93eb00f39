// SPDX-License-Identifier: Apache-2.0
// Databases of real runs, damaged page by page at random, and what can be saved of them. A round that
// fails prints its seed; VOLARY_FAULT_SEED and VOLARY_FAULT_ROUNDS run others.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, assertContiguous, bin, ofKind, run } from "../support/daemon.mjs";
import { random } from "../support/random.mjs";
import { until } from "../support/wait.mjs";

const kPage = 4096;
const kRounds = Math.max(2, Math.min(Number(process.env.VOLARY_FAULT_ROUNDS ?? 4), 40));
const kSeed = Number(process.env.VOLARY_FAULT_SEED ?? 4711);

/** Overwrites `count` pages; their numbers from 0. */
function damage(file, count, draw) {
  const bytes = readFileSync(file);
  const pages = new Set();
  for (let i = 0; i < count; i += 1) pages.add(Math.floor(draw() * (bytes.length / kPage)));
  for (const page of pages)
    for (let i = 0; i < kPage; i += 1) bytes[page * kPage + i] = Math.floor(draw() * 256);
  writeFileSync(file, bytes);
  return pages;
}

/** Three sessions that have run, one of them killed in its middle; what each of them said. */
async function written(t) {
  const daemon = await Daemon.start(t);
  const logs = new Map();
  for (let i = 0; i < 2; i += 1) {
    const { session } = await daemon.send(`message ${i}`, { session: "new" });
    await daemon.finished(session);
    logs.set(session, []);
  }
  const stream = await daemon.operatorStream();
  const { session } = await daemon.send("the last one", { session: "new" });
  stream.subscribe(session);
  await stream.event("plan.updated");
  logs.set(session, []);
  for (const id of logs.keys()) logs.set(id, await daemon.api.events(id, 1000));
  await daemon.crash();
  return { daemon, logs };
}

/** What a state folder's database says now, through a daemon on it. */
async function logsNow(daemon, ids) {
  await daemon.launch();
  const logs = new Map();
  for (const id of ids) {
    const answer = await daemon.api.request("GET", `/sessions/${id}`);
    if (answer.status === 404) continue;
    assert.equal((await daemon.api.get(`/sessions/${id}/verify`)).ok, true, id);
    logs.set(id, await daemon.api.events(id, 1000));
  }
  return logs;
}

const salvage = (daemon) =>
  run(path.join(bin, "volary"), ["backup", "salvage", "--state", daemon.state, "--json"]);

test("what a daemon acknowledged is there after its database was damaged and salvaged", async (t) => {
  const { daemon, logs } = await written(t);
  const whole = path.join(daemon.folder, "whole");
  mkdirSync(whole);
  const files = ["volary.db", "volary.db-wal"].filter((f) => existsSync(path.join(daemon.state, f)));
  for (const name of files) copyFileSync(path.join(daemon.state, name), path.join(whole, name));

  await t.test("control: nothing is damaged, and nothing is changed", async () => {
    const done = await salvage(daemon);
    assert.equal(done.code, 0, done.stderr);
    assert.equal(done.json().was_whole, true);
    const now = await logsNow(daemon, logs.keys());
    for (const [id, log] of logs) assert.deepEqual(now.get(id).slice(0, log.length), log);
    await daemon.crash();
  });

  for (let round = 0; round < kRounds; round += 1) {
    const seed = kSeed + round;
    await t.test(`seed ${seed}`, async () => {
      const draw = random(seed);
      for (const name of ["volary.db", "volary.db-wal", "volary.db-shm"])
        await run("rm", ["-f", path.join(daemon.state, name)]);
      for (const name of files) copyFileSync(path.join(whole, name), path.join(daemon.state, name));
      // The log holds most of what was written last: one of the two is hit, or both.
      for (const name of files)
        damage(path.join(daemon.state, name), 1 + Math.floor(draw() * 3), draw);
      const done = await salvage(daemon);
      assert.ok([0, 1].includes(done.code), done.stderr);
      const report = done.json();
      assert.equal(done.code === 0, report.ok);
      if (!report.was_whole) assert.ok(existsSync(report.kept));
      const now = await logsNow(daemon, logs.keys());
      for (const [id, log] of logs) {
        const told = report.sessions.find((one) => one.session === id);
        // What is whole is left as it is.
        const saved = report.was_whole ? log.length : (told?.saved ?? 0);
        if (saved === 0) continue;
        const after = now.get(id);
        assertContiguous(after);
        // Never anything else than what was written, and the cut is told.
        assert.deepEqual(after.slice(0, Math.min(saved, log.length)), log.slice(0, saved));
        if (report.was_whole) continue;
        const marks = ofKind(after, "session.salvaged");
        assert.equal(marks.length, saved < told.known ? 1 : 0);
        if (marks.length > 0) assert.equal(marks[0].seq, saved + 1);
      }
      // It goes on.
      if (!report.sessions.some((one) => one.saved > 0)) return void (await daemon.crash());
      await daemon.api.post("/projects", { path: daemon.project });
      const { session } = await daemon.send("after the damage", { session: "new" });
      await daemon.finished(session);
      await daemon.crash();
    });
  }
});

test("a database that cannot be opened is refused with what can be done, and left alone", async (t) => {
  const { daemon } = await written(t);
  const file = path.join(daemon.state, "volary.db");
  const wal = `${file}-wal`;
  const saved = [file, wal].map((name) => [name, readFileSync(name)]);
  const hit = (name, at, size) => () => {
    const bytes = readFileSync(name);
    bytes.fill(0xee, at, at + size);
    writeFileSync(name, bytes);
  };
  const frames = (saved[1][1].length - 32) / (24 + kPage);
  assert.ok(frames > 20, `${frames} pages in the log`);
  const cases = [
    ["a torn head", hit(file, 0, 50), /is not an SQLite database, or its first page is damaged/],
    ["cut short", () => { writeFileSync(file, saved[0][1].subarray(0, 2000)); writeFileSync(wal, ""); }, /was cut short/],
    ["the head of the log", hit(wal, 0, 24), /has lost commits: the head of/],
    ["the middle of the log", hit(wal, 32 + 3 * (24 + kPage) + 100, 20), /has lost commits: page 4 of/],
  ];
  for (const [what, damageIt, words] of cases) {
    for (const [name, bytes] of saved) writeFileSync(name, bytes);
    damageIt();
    const before = [file, wal].map((name) => readFileSync(name));
    await assert.rejects(daemon.launch(), (error) => {
      assert.match(error.message, words, what);
      assert.match(error.message, /volary backup restore FILE.*volary backup salvage/, what);
      assert.ok(error.message.includes(file), what);
      return true;
    });
    assert.deepEqual([file, wal].map((name) => readFileSync(name)), before, what);
  }
  // The last of them is salvaged by what the message says.
  const done = await salvage(daemon);
  assert.ok([0, 1].includes(done.code), done.stderr);
  await daemon.launch();
  await until("it is checked", async () => (await daemon.api.get("/status")).database.checked_at);
});
