// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { rawRequest } from "../../support/http.mjs";

const deployments = async (daemon) =>
  (await rawRequest({ host: "127.0.0.1", port: daemon.deployPort }, { path: "/status" })).json.deployments;

test("7: the signal starts the deployer exactly once, in a cage scoped to one other host and port", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  const events = await daemon.finished(session);

  const signal = only(events, "signal.emitted");
  const fired = only(events, "interconnect.fired");
  assert.deepEqual(
    [fired.body.rule, fired.body.signal_seq, fired.body.from, fired.body.invoke, fired.actor],
    [0, signal.seq, "primary/scraper", "primary/deployer", "daemon"],
  );
  const started = only(events, "invocation.started", (e) => e.body.agent === "primary/deployer");
  assert.ok(signal.seq < fired.seq && fired.seq <= started.seq, "recorded before it starts");
  assert.equal(started.body.id, fired.body.invocation);
  assert.deepEqual(
    [started.body.cause.type, started.body.cause.rule, started.body.cause.signal_seq],
    ["signal", 0, signal.seq],
  );
  assert.deepEqual(started.body.cage.hosts, [`host.volary:${daemon.deployPort}`]);
  const ended = only(events, "invocation.finished", (e) => e.body.id === started.body.id);
  assert.equal(ended.body.outcome, "succeeded", ended.body.reason);

  const cages = ofKind(events, "cage.started").map((e) => e.body.cage);
  assert.equal(new Set(cages).size, 3, "one cage each");
  const output = ofKind(events, "cage.output")
    .filter((e) => e.body.invocation === started.body.id && e.body.stream === "stdout")
    .map((e) => e.body.text)
    .join("");
  assert.match(output, /deploy\/tides-at-noon is ready/);
  const page = readFileSync(`${daemon.project}/deploy/tides-at-noon/release.html`, "utf8");
  assert.match(page, /<h1>Tides at Noon<\/h1>/);
  assert.equal((await deployments(daemon)).length, 1);
  // The run is over only when what its signal started is over.
  assert.ok(ended.seq < only(events, "run.finished").seq);
});

test("7: the same release again is held back by dedupe, and the log says so", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  await daemon.send();
  const events = await daemon.finished(session, 2);

  assert.equal(ofKind(events, "signal.emitted").length, 2);
  only(events, "interconnect.fired");
  const limited = only(events, "interconnect.limited");
  assert.deepEqual([limited.body.rule, limited.body.limit], [0, "dedupe"]);
  assert.equal((await deployments(daemon)).length, 1);
});

test("7: a crash after the signal does not fire the rule twice", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const stream = await daemon.operatorStream();
  const { session } = await daemon.send();
  stream.subscribe(session);
  const fired = await stream.event("interconnect.fired");
  await daemon.crash();
  await daemon.launch();

  const events = await daemon.finished(session);
  assert.equal(only(events, "interconnect.fired").seq, fired.seq);
  assert.ok(ofKind(events, "invocation.started").filter((e) => e.body.agent === "primary/deployer").length <= 1);
});
