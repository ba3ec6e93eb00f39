// SPDX-License-Identifier: Apache-2.0
// The daemon is killed while agents work; the next one goes on with them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import test from "node:test";
import { Daemon, assertContiguous, ofKind, only } from "../support/daemon.mjs";
import { commandOf, descendants, survivors } from "../support/processes.mjs";
import { until } from "../support/wait.mjs";

/** A project whose primary is one program. */
const program = (script, cage = "") => ({
  edit: (folder) => {
    writeFileSync(path.join(folder, "agent.sh"), script);
    writeFileSync(
      path.join(folder, ".volary/project.yaml"),
      `version: 1
project: music-site
description: one program
primary:
  runner: { exec: ["/bin/sh", "/workspace/agent.sh"] }
  ${cage}
`,
    );
  },
});

const output = (events, stream = "stdout") =>
  ofKind(events, "cage.output")
    .filter((event) => event.body.stream === stream)
    .map((event) => event.body.text)
    .join("");

const verdicts = (events) => ofKind(events, "cage.recovered").map((event) => event.body.verdict);

/** Kills the daemon once the log has such an event, and starts the next one; what was its family. */
async function crashAt(daemon, session, when) {
  const stream = await daemon.operatorStream();
  stream.subscribe(session, 0);
  await stream.message("the moment to crash", (m) => m.event && when(m.event));
  const family = descendants(daemon.pid);
  await daemon.crash();
  return family;
}

const sockets = (daemon) => readdirSync(path.join(daemon.state, "shims")).filter((name) => name.endsWith(".sock"));

const idle = (daemon, session) =>
  until("the session is idle", async () => (await daemon.api.get(`/sessions/${session}`)).status === "idle");

/** Nothing happened twice, and every step and invocation that began has ended once. */
function assertOnce(events) {
  assertContiguous(events);
  for (const kind of ["step.started", "step.finished", "invocation.started", "invocation.finished", "cage.started", "cage.exited"]) {
    const ids = ofKind(events, kind).map((event) => event.body.id ?? event.body.cage);
    assert.deepEqual(ids, [...new Set(ids)], `${kind} came twice for one`);
  }
  const ended = ofKind(events, "step.finished").map((event) => event.body.id).sort();
  assert.deepEqual(ofKind(events, "step.started").map((event) => event.body.id).sort(), ended);
  const fired = ofKind(events, "interconnect.fired").map((event) => `${event.body.rule} ${event.body.signal_seq}`);
  assert.deepEqual(fired, [...new Set(fired)]);
}

test("a run goes on through three crashes and ends as if there had been none", async (t) => {
  const daemon = await Daemon.start(t, { delay: 4 });
  const { session } = await daemon.send();
  const moments = [
    (event) => event.seq >= 9,
    (event) => event.kind === "cage.denied",
    (event) => event.kind === "interconnect.fired",
  ];
  const families = [];
  for (const moment of moments) {
    families.push(...(await crashAt(daemon, session, moment)));
    await daemon.launch();
  }
  await idle(daemon, session);
  const events = await daemon.api.events(session, 1000);
  assertOnce(events);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");
  assert.ok(verdicts(events).length >= 3, `verdicts: ${verdicts(events)}`);
  assert.ok(!verdicts(events).includes("lost"), `verdicts: ${verdicts(events)}`);
  only(events, "signal.emitted");
  only(events, "interconnect.fired");
  assert.equal(ofKind(events, "invocation.started").length, 3);
  await until("no process is left", () => survivors(families).length === 0);
  assert.deepEqual(sockets(daemon), []);
});

test("what a program prints is in the log once and in order, whoever was there", async (t) => {
  const script = 'for i in $(seq 1 400); do echo "line $i"; echo "err $i" >&2; sleep 0.005; done; exit 3';
  const daemon = await Daemon.start(t, program(script));
  const { session } = await daemon.send();
  const lines = (n) => (event) => event.kind === "cage.output" && event.body.text.includes(`line ${n}`);
  for (const n of [20, 120, 220]) {
    await crashAt(daemon, session, lines(n));
    await daemon.launch();
  }
  await idle(daemon, session);
  const events = await daemon.api.events(session, 1000);
  const numbers = (word) => Array.from({ length: 400 }, (_, i) => `${word} ${i + 1}\n`).join("");
  assert.equal(output(events), numbers("line"));
  assert.equal(output(events, "stderr"), numbers("err"));
  assert.equal(only(events, "invocation.finished").body.reason, "exit 3");
  assert.deepEqual(verdicts(events), ["re-adopted", "re-adopted", "re-adopted"]);
});

test("a program that ended meanwhile is read to its end", async (t) => {
  const daemon = await Daemon.start(t, program("echo before; sleep 0.3; echo after; exit 4"));
  const { session } = await daemon.send();
  const family = await crashAt(daemon, session, (event) => event.kind === "cage.output");
  const shims = () => survivors(family).filter((each) => commandOf(each.pid) === "volary-shim");
  await until("only the shim is left", () => shims().length === survivors(family).length);
  await daemon.launch();
  await idle(daemon, session);
  const events = await daemon.api.events(session);
  assert.equal(output(events), "before\nafter\n");
  assert.deepEqual(verdicts(events), ["exited_while_away"]);
  assert.equal(only(events, "cage.exited").body.status, "exit 4");
  assert.equal(only(events, "invocation.finished").body.outcome, "failed");
  await until("the shim has gone, too", () => survivors(family).length === 0);
});

test("a held run stays held, and goes on when it is resumed", async (t) => {
  const daemon = await Daemon.start(t, { delay: 4 });
  const { session, run } = await daemon.send();
  await until("the primary works", async () => (await daemon.api.events(session)).length > 6);
  await daemon.api.post(`/sessions/${session}/hold`, { run });
  const family = await crashAt(daemon, session, (event) => event.kind === "run.held");
  await daemon.launch();
  await until("it is adopted", async () => verdicts(await daemon.api.events(session)).length > 0);
  assert.equal((await daemon.api.get(`/sessions/${session}`)).status, "held");
  await daemon.api.post(`/sessions/${session}/resume`, { run });
  await idle(daemon, session);
  const events = await daemon.api.events(session, 1000);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");
  const held = ofKind(events, "step.held").map((event) => event.body.id);
  assert.deepEqual(held, [...new Set(held)]);
  await until("no process is left", () => survivors(family).length === 0);
});

test("stop stops what was adopted", async (t) => {
  const daemon = await Daemon.start(t, program("trap '' TERM; echo up; sleep 600 & while :; do sleep 1; done"));
  const { session, run } = await daemon.send();
  const family = await crashAt(daemon, session, (event) => event.kind === "cage.output");
  await daemon.launch();
  await until("it is adopted", async () => verdicts(await daemon.api.events(session)).length > 0);
  await daemon.api.post(`/sessions/${session}/stop`, { run });
  await idle(daemon, session);
  await until("no process is left", () => survivors(family).length === 0);
  assert.equal(only(await daemon.api.events(session), "run.finished").body.outcome, "stopped");
});

test("a run that was being stopped is stopped by the next daemon", async (t) => {
  const daemon = await Daemon.start(t, program("trap '' TERM; echo up; while :; do sleep 1; done"));
  const { session, run } = await daemon.send();
  await until("it runs", async () => output(await daemon.api.events(session)) === "up\n");
  void daemon.api.post(`/sessions/${session}/stop`, { run }).catch(() => {});
  const family = await crashAt(daemon, session, (event) => event.kind === "run.stopping");
  await daemon.launch();
  await idle(daemon, session);
  assert.equal(only(await daemon.api.events(session), "run.finished").body.outcome, "stopped");
  await until("no process is left", () => survivors(family).length === 0);
});

test("the network of an adopted cage is what it was, at the addresses that programs remember", async (t) => {
  const heard = [];
  const server = createServer((request, response) => {
    heard.push(request.headers.host);
    response.end("reached\n");
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  const { port } = server.address();
  const script = `
address=$(curl -4 -sS --max-time 20 -o /dev/null -w '%{remote_ip}' http://b.shop.example:${port}/)
echo "address $address"
ask() { curl -sS --max-time 20 --resolve "$1:${port}:$2" "http://$1:${port}/"; }
ask b.shop.example "$address"
while [ ! -e /workspace/go ]; do sleep 0.05; done
ask b.shop.example "$address"
curl -sS --max-time 20 http://a.shop.example:${port}/
curl -sS --max-time 5 http://other.example:${port}/ || echo refused
`;
  const cage = `cage: { net: { allow: ["a.shop.example:${port}", "*.shop.example:${port}"] } }`;
  const config = '[gatekeeper.hosts]\n"a.shop.example" = "127.0.0.1"\n"b.shop.example" = "127.0.0.1"\n';
  const daemon = await Daemon.start(t, { ...program(script, cage), config });
  const { session } = await daemon.send();
  await crashAt(daemon, session, (event) => event.kind === "cage.output" && event.body.text.includes("reached"));
  // It asks while nobody is there: the kernel keeps the connection for the next daemon.
  writeFileSync(path.join(daemon.project, "go"), "");
  await daemon.launch();
  await idle(daemon, session);
  const events = await daemon.api.events(session);
  assert.match(output(events), /^address 198\.18\.\d+\.\d+\nreached\nreached\nreached\nrefused\n$/);
  assert.equal(heard.length, 4);
  assert.equal(only(events, "run.finished").body.outcome, "succeeded");
  assert.ok(ofKind(events, "cage.denied").some((event) => event.body.what.includes("other.example")));
});

test("a cage whose shim was killed is lost, and nothing of it is left", async (t) => {
  const daemon = await Daemon.start(t, program("echo up; sleep 600"));
  const { session } = await daemon.send();
  const family = await crashAt(daemon, session, (event) => event.kind === "cage.output");
  for (const each of survivors(family))
    if (commandOf(each.pid) === "volary-shim") process.kill(each.pid, "SIGKILL");
  await until("its cage ends with it", () => survivors(family).length === 0);
  await daemon.launch();
  await idle(daemon, session);
  const events = await daemon.api.events(session);
  assert.deepEqual(verdicts(events), ["lost"]);
  assert.equal(only(events, "run.finished").body.outcome, "lost");
  assert.deepEqual(sockets(daemon), []);
});

test("a cage that no daemon comes for ends by itself", async (t) => {
  const config = '[cages]\norphan_ttl = "1s"\n';
  const daemon = await Daemon.start(t, { ...program("echo up; sleep 600"), config });
  const { session } = await daemon.send();
  const family = await crashAt(daemon, session, (event) => event.kind === "cage.output");
  await until("it has ended", () => survivors(family).length === 0);
});
