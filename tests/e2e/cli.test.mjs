// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { Daemon, bin, ofKind, run } from "../support/daemon.mjs";

const Exit = { ok: 0, failed: 1, usage: 2, notFound: 3, refused: 4 };

/** Runs a verb that must succeed. */
async function ok(daemon, ...args) {
  const done = await daemon.cli(...args);
  assert.equal(done.code, Exit.ok, `volary ${args.join(" ")}: ${done.stderr}`);
  return done;
}

test("the whole story from the command line", async (t) => {
  const daemon = await Daemon.start(t);
  const sent = (await ok(daemon, "send", "music-site", "scrape, please", "--wait", "--json")).json();
  assert.match(sent.session, /^ses_/);

  const listed = (await ok(daemon, "session", "list", "--json")).json();
  assert.deepEqual(listed.sessions.map((s) => s.id), [sent.session]);
  const shown = (await ok(daemon, "session", "show", sent.session, "--json")).json();
  assert.equal(shown.status, "idle");
  assert.equal(shown.plan.entries.length, 4);
  const projects = (await ok(daemon, "project", "list", "--json")).json();
  assert.equal(projects.projects[0].name, "music-site");
  assert.equal((await ok(daemon, "project", "show", "music-site", "--json")).json().valid, true);
  assert.equal((await ok(daemon, "status", "--json")).json().sessions, 1);
  for (const verb of [["status"], ["project", "list"], ["session", "list"], ["session", "show", sent.session]]) {
    assert.ok((await ok(daemon, ...verb)).stdout.trim().length > 0);
  }
});

test("tail prints the API's events, one JSON a line", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  const stored = await daemon.api.events(session);
  const { spawn } = await import("node:child_process");
  const { createInterface } = await import("node:readline");
  const child = spawn(path.join(bin, "volary"), ["--socket", daemon.socket, "tail", session, "--after", "3", "--json"]);
  t.after(() => child.kill("SIGKILL"));
  const events = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = JSON.parse(line);
    if (parsed.seq) events.push(parsed);
    if (parsed.seq === stored.at(-1).seq) break;
  }
  assert.deepEqual(events, stored.filter((e) => e.seq > 3));
});

test("hold, plan, resume and stop from the command line", async (t) => {
  const daemon = await Daemon.start(t, { delay: 20 });
  const stream = await daemon.operatorStream();
  const { session } = await daemon.send();
  stream.subscribe(session);
  await stream.event("plan.updated");
  await ok(daemon, "session", "hold", session);
  await stream.event("run.held");
  assert.match((await ok(daemon, "session", "plan", session)).stdout, /Publish to production/);
  await ok(daemon, "session", "resume", session);
  await stream.event("run.resumed");
  await ok(daemon, "session", "stop", session);
  assert.equal((await stream.event("run.finished")).body.outcome, "stopped");
  assert.equal((await daemon.cli("session", "hold", session)).code, Exit.refused);
});

test("send --wait says by its exit code how the run ended", async (t) => {
  const daemon = await Daemon.start(t, {
    scripts: { primary: [{ when: { contains: "never" }, content: [{ type: "text", text: "x" }] }] },
  });
  const done = await daemon.cli("send", "music-site", "no reply matches this", "--wait");
  assert.equal(done.code, Exit.failed);
  const { sessions } = await daemon.api.get("/sessions");
  const ended = ofKind(await daemon.api.events(sessions[0].id), "run.finished");
  assert.equal(ended[0].body.outcome, "failed");
  assert.ok(ended[0].body.reason.length > 0);
});

test("exit codes: usage, not found, no daemon", async (t) => {
  const daemon = await Daemon.start(t);
  const unknown = await daemon.cli("sesion", "list");
  assert.equal(unknown.code, Exit.usage);
  assert.match(unknown.stderr, /^volary has no verb "sesion" \(did you mean "session"\?\): serve, /);
  assert.match((await daemon.cli("session", "stap")).stderr, /^session has no verb "stap" \(did you/);
  assert.match((await daemon.cli("session")).stderr, /^session needs a verb: list, /);
  assert.equal((await daemon.cli("send")).code, Exit.usage);
  assert.equal((await daemon.cli("send", "nobody", "hello")).code, Exit.notFound);
  assert.equal((await daemon.cli("session", "show", "ses_00000000000000000000000000")).code, Exit.notFound);
  const lost = await run(path.join(bin, "volary"), ["--socket", "/nonexistent/volary.sock", "status"]);
  assert.equal(lost.code, Exit.failed);
  assert.match(lost.stderr, /\/nonexistent\/volary\.sock/);
});

test("dsl verbs work without a daemon", async (t) => {
  const daemon = await Daemon.start(t);
  const volary = (...args) => run(path.join(bin, "volary"), args);
  assert.equal((await volary("dsl", "validate", daemon.project)).code, Exit.ok);
  const schema = (await volary("dsl", "schema")).json();
  assert.equal(schema.type, "object");
  const shown = await volary("dsl", "show", daemon.project);
  assert.equal(shown.code, Exit.ok);
  assert.match(shown.stdout, /found_release/);
  const { appendFileSync } = await import("node:fs");
  appendFileSync(path.join(daemon.project, ".volary/project.yaml"), "primry: {}\n");
  const broken = await volary("dsl", "validate", daemon.project);
  assert.equal(broken.code, Exit.failed);
  assert.match(broken.stdout + broken.stderr, /project\.yaml:\d+:\d+: .*primry/);
  assert.match(broken.stdout + broken.stderr, /primary/, "did you mean");
});

test("cage run runs a command under a policy file, and explain prints the policy", async (t) => {
  const daemon = await Daemon.start(t);
  const { mkdirSync } = await import("node:fs");
  const folder = path.join(daemon.folder, "caged");
  mkdirSync(folder);
  const policy = path.join(folder, "policy.yaml");
  writeFileSync(policy, `net: { allow: ["host.volary:${daemon.shopPort}"] }\nlimits: { pids: 32 }\n`);
  const caged = (command) =>
    run(path.join(bin, "volary"), ["cage", "run", "--policy", policy, "--", "/bin/sh", "-c", command], { cwd: folder });
  const good = await caged(`curl -sS --max-time 10 http://host.volary:${daemon.shopPort}/releases.json`);
  assert.equal(good.code, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).releases.length, 3);
  assert.notEqual((await caged(`curl -sS --max-time 3 http://127.0.0.1:${daemon.shopPort}/`)).code, 0);
  assert.notEqual((await caged("curl -sS --max-time 3 http://evil.example/")).code, 0);
  assert.equal((await caged("exit 7")).code, 7);
  const explained = await run(path.join(bin, "volary"), ["cage", "explain", "--policy", policy], { cwd: folder });
  assert.equal(explained.code, 0, explained.stderr);
  assert.match(explained.stdout, /host\.volary/);
});

test("a host without user namespaces is named as such, every time", async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-userns-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const policy = path.join(folder, "policy.yaml");
  writeFileSync(policy, "limits: { pids: 32 }\n");
  // A user namespace whose owner forbids further ones stands for such a host.
  const command = [
    "echo 0 > /proc/sys/user/max_user_namespaces",
    "exec setpriv --inh-caps=-all --ambient-caps=-all " +
      `${path.join(bin, "volary")} cage run --policy ${policy} -- /bin/true`,
  ].join(" && ");
  for (let i = 0; i < 20; i++) {
    const refused = await run(
      "unshare",
      ["--user", "--map-current-user", "--keep-caps", "sh", "-c", command],
      { cwd: folder },
    );
    assert.equal(refused.code, Exit.failed);
    assert.match(refused.stderr, /unshare .*does not let ordinary users make user namespaces; as root/);
  }
});
