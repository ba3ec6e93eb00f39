// SPDX-License-Identifier: Apache-2.0
// Whole sessions and the whole database: verified, exported, imported, backed up, restored.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, bin, ofKind, run } from "../support/daemon.mjs";
import { until } from "../support/wait.mjs";

const Exit = { ok: 0, failed: 1, usage: 2, notFound: 3, refused: 4 };
const volary = (...args) => run(path.join(bin, "volary"), args);

async function ok(daemon, ...args) {
  const done = await daemon.cli(...args);
  assert.equal(done.code, Exit.ok, `volary ${args.join(" ")}: ${done.stderr}`);
  return done;
}

/** A daemon whose demo has run once, and that session's export. */
async function exported(t) {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  const file = path.join(daemon.folder, "session.ndjson");
  await ok(daemon, "session", "export", session, file);
  return { daemon, session, file };
}

/** The hash of docs/durability.md, computed by somebody else's SHA-256. */
function headOf(events) {
  let head = Buffer.alloc(32);
  for (const e of events) {
    const hash = createHash("sha256").update(head);
    const sorted = (value) =>
      value && typeof value === "object" && !Array.isArray(value)
        ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
        : Array.isArray(value) ? value.map(sorted) : value;
    const body = JSON.stringify(sorted(e.body));
    for (const text of [e.session, String(e.seq), String(e.at), e.kind, e.actor, e.run ?? "", body]) {
      hash.update(`${Buffer.byteLength(text)}:`).update(text).update(",");
    }
    head = hash.digest();
  }
  return head.toString("hex");
}

test("a session verifies, and an export of it verifies elsewhere", async (t) => {
  const { daemon, session, file } = await exported(t);
  const verdict = (await ok(daemon, "session", "verify", session, "--json")).json();
  const events = await daemon.api.events(session, 1000);
  assert.deepEqual(verdict, {
    session, ok: true, events: events.length, head: headOf(events), problem: null,
  });
  const lines = readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines[0], {
    format: "volary-session", version: 1, session, project: "music-site",
    events: events.length, head: verdict.head,
  });
  assert.deepEqual(lines.slice(1).map(({ hash, ...event }) => event), events);
  const offline = await volary("session", "verify", "--file", file, "--json");
  assert.deepEqual(offline.json(), verdict);
  // A file that is there is not written over; a session that is not there leaves none.
  const again = await daemon.cli("session", "export", session, file);
  assert.equal(again.code, Exit.failed);
  assert.match(again.stderr, /File exists/);
  const none = path.join(daemon.folder, "none");
  const missing = await daemon.cli("session", "export", "ses_01JD0000000000000000000000", none);
  assert.equal(missing.code, Exit.notFound);
  assert.ok(!existsSync(none));
  assert.equal((await volary("session", "verify")).code, Exit.usage);
});

test("an export is taken over by another daemon, and says the same there", async (t) => {
  const { daemon, session, file } = await exported(t);
  const other = await Daemon.start(t);
  await ok(other, "session", "import", file);
  const before = await daemon.api.events(session, 1000);
  const after = await other.api.events(session, 1000);
  assert.deepEqual(after.slice(0, before.length), before);
  const [marked] = ofKind(after, "session.imported");
  assert.equal(marked.seq, before.length + 1);
  assert.deepEqual(marked.body, { events: before.length, head: headOf(before) });
  const here = await daemon.api.get(`/sessions/${session}`);
  const there = await other.api.get(`/sessions/${session}`);
  for (const key of ["id", "project", "title", "status", "plan", "queue", "invocations"])
    assert.deepEqual(there[key], here[key], key);
  assert.equal((await ok(other, "session", "verify", session, "--json")).json().ok, true);

  const twice = await other.cli("session", "import", file);
  assert.equal(twice.code, Exit.refused, twice.stderr);
  assert.match(twice.stderr, /is here already/);
  // It goes on there.
  const sent = await other.send("again", { session });
  assert.equal(sent.session, session);
  await other.finished(session, 2);
  await other.crash();
  await other.launch();
  assert.equal((await ok(other, "session", "verify", session, "--json")).json().ok, true);
});

test("what worked when it was exported is lost where it is imported", async (t) => {
  const daemon = await Daemon.start(t, { delay: 30 });
  const stream = await daemon.operatorStream();
  const { session, run: working } = await daemon.send();
  stream.subscribe(session);
  await stream.event("plan.updated");
  const file = path.join(daemon.folder, "working.ndjson");
  await ok(daemon, "session", "export", session, file);
  const other = await Daemon.start(t);
  await ok(other, "session", "import", file);
  const state = await other.api.get(`/sessions/${session}`);
  assert.equal(state.status, "idle");
  const events = await other.api.events(session, 1000);
  const ended = ofKind(events, "run.finished").filter((e) => e.run === working);
  assert.deepEqual(ended.map((e) => e.body.outcome), ["lost"]);
  assert.equal((await ok(other, "session", "verify", session, "--json")).json().ok, true);
});

test("an export that was changed is refused, with the line", async (t) => {
  const { daemon, session, file } = await exported(t);
  const text = readFileSync(file, "utf8");
  const lines = text.trimEnd().split("\n");
  const other = await Daemon.start(t);
  const changed = (change) => {
    const copy = [...lines];
    change(copy);
    return `${copy.join("\n")}\n`;
  };
  const cases = [
    ["a body", changed((l) => (l[2] = l[2].replace(/"body":\{/, '"body":{"more":1,'))), /line 3 .*event 2 .*not what was written/],
    ["an actor", changed((l) => (l[1] = l[1].replace(/"actor":"[^"]*"/, '"actor":"operator:x"'))), /line 2 .*event 1/],
    ["a missing event", changed((l) => l.splice(4, 1)), /line 5 .*event 4 is missing/],
    ["cut short", changed((l) => l.pop()), /cut short/],
    ["no JSON", changed((l) => (l[3] = "{")), /line 4 of the export/],
    ["another session", changed((l) => (l[2] = l[2].replace(session, "ses_01JD0000000000000000000000"))), /line 3 .*belongs to session/],
    ["another format", '{"format":"x"}\n', /line 1 .*no export of a session/],
    ["a later version", changed((l) => (l[0] = l[0].replace('"version":1', '"version":2'))), /line 1 .*version 2/],
    ["nothing", "", /empty/],
  ];
  for (const [what, content, words] of cases) {
    const bad = path.join(daemon.folder, "bad.ndjson");
    writeFileSync(bad, content);
    for (const done of [
      await other.cli("session", "import", bad),
      await volary("session", "verify", "--file", bad),
    ]) {
      assert.notEqual(done.code, Exit.ok, what);
      assert.match(done.stderr, words, what);
    }
  }
  assert.equal((await other.api.get("/sessions")).total, 0);
});

test("a backup is made while agents work, verified, and restored after a loss", async (t) => {
  const daemon = await Daemon.start(t);
  const first = await daemon.send();
  await daemon.finished(first.session);
  const second = await daemon.send("one more", { session: "new" });
  const made = (await ok(daemon, "backup", "create", "--json")).json();
  assert.equal(path.dirname(made.path), path.join(daemon.state, "backups"));
  assert.equal(statSync(made.path).mode & 0o777, 0o600);
  assert.deepEqual((await ok(daemon, "backup", "list", "--json")).json().backups, [made]);
  const whole = (await volary("backup", "verify", made.path, "--json")).json();
  assert.equal(whole.ok, true);
  assert.equal(whole.sessions, 2);
  await daemon.finished(second.session);
  const { epoch } = await daemon.api.get("/status");

  const refused = await volary("backup", "restore", made.path, "--state", daemon.state);
  assert.notEqual(refused.code, Exit.ok);
  assert.match(refused.stderr, /in use by another volary/);
  await daemon.crash();
  const restored = await volary("backup", "restore", made.path, "--state", daemon.state, "--json");
  assert.equal(restored.code, Exit.ok, restored.stderr);
  assert.ok(existsSync(restored.json().kept));
  await daemon.launch();
  // Clients must start over: what they have seen may not have happened.
  assert.notEqual((await daemon.api.get("/status")).epoch, epoch);
  const state = await daemon.api.get(`/sessions/${second.session}`);
  assert.equal(state.status, "idle");
  for (const { session } of [first, second])
    assert.equal((await ok(daemon, "session", "verify", session, "--json")).json().ok, true);
  // Nobody else has business there.
  const bare = await daemon.api.request("POST", "/backups", { body: { keep: 0 } });
  assert.equal(bare.status, 400);
});

test("a damaged page of the database is found after the start, and told", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  const checked = async () => {
    let found;
    await until("the database is checked", async () => {
      found = (await daemon.api.get("/status")).database;
      return found.checked_at;
    });
    return found.problems;
  };
  assert.deepEqual(await checked(), []);
  await daemon.terminate();
  const file = path.join(daemon.state, "volary.db");
  const bytes = readFileSync(file);
  // The last page of the log's own table: the start reads its root alone.
  const at = bytes.lastIndexOf("run.finished");
  bytes.fill("x", at - (at % 4096), at - (at % 4096) + 64);
  writeFileSync(file, bytes);
  await daemon.launch();
  assert.ok((await checked()).length > 0);
  const shown = await ok(daemon, "status");
  assert.match(shown.stdout, /DAMAGED DATABASE: /);
  assert.match(daemon.log, /the database is damaged: stop volary, then restore a backup.*volary backup salvage/);
});

test("a damaged backup is told and not restored", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  const { path: file } = (await ok(daemon, "backup", "create", "--json")).json();
  await daemon.terminate();
  const bad = path.join(daemon.folder, "bad.db");
  copyFileSync(file, bad);
  const bytes = readFileSync(bad);
  bytes.fill("x", 5 * 4096, 8 * 4096);
  writeFileSync(bad, bytes);
  const verdict = await volary("backup", "verify", bad);
  assert.equal(verdict.code, Exit.failed);
  assert.match(verdict.stdout, /DAMAGED/);
  const refused = await volary("backup", "restore", bad, "--state", daemon.state);
  assert.notEqual(refused.code, Exit.ok);
  assert.match(refused.stderr, /is not restored/);
  await daemon.launch();
  assert.equal((await daemon.api.get(`/sessions/${session}`)).status, "idle");
});
