// SPDX-License-Identifier: Apache-2.0
// What a refused attempt leaves in the session's log: the layers that owe an event give it, once and
// with a count, whatever the agent does to hide among others or to drown it.
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { until } from "../../support/wait.mjs";

/** A daemon whose project is one caged program: `script` (shell) with `cage` (YAML, flow). */
async function attempt(t, script, cage) {
  const daemon = await Daemon.start(t, {
    edit: (folder, self) => {
      const program = path.join(folder, "attempt.sh");
      writeFileSync(program, `#!/bin/sh\n${script(self)}\n`);
      chmodSync(program, 0o755);
      const lines = [
        "version: 1",
        "project: music-site",
        "primary:",
        '  runner: { exec: ["./attempt.sh"] }',
        `  cage: ${cage(self)}`,
      ];
      writeFileSync(path.join(folder, ".volary/project.yaml"), `${lines.join("\n")}\n`);
    },
  });
  const { session } = await daemon.send("go");
  const events = await daemon.finished(session);
  const output = ofKind(events, "cage.output").map((e) => e.body.text).join("");
  return { daemon, session, events, output };
}

const denials = (events) => ofKind(events, "cage.denied").map((e) => e.body);

test("each refusal of the network is an event with its layer", async (t) => {
  const curl = (rest) => `curl -s --max-time 5 ${rest} && echo reached`;
  const { events, output } = await attempt(
    t,
    ({ shopPort }) => [
      curl("http://evil.example/"),
      curl("http://1.2.3.4:8080/"),
      curl(`-H 'Host: other.example' http://host.volary:${shopPort}/`),
      curl(`-k --connect-to ::host.volary:${shopPort} https://other.example/`),
      "exit 0",
    ].join("\n"),
    ({ shopPort }) => `{ net: { allow: ["host.volary:${shopPort}"] } }`,
  );
  assert.doesNotMatch(output, /reached/);
  const told = denials(events);
  const has = (layer, what) =>
    assert.ok(told.some((d) => d.layer === layer && what.test(d.what)), `${layer} ${what}: ${JSON.stringify(told)}`);
  has("dns", /evil\.example/);
  has("net", /1\.2\.3\.4:8080/);
  has("host", /other\.example/);
  has("sni", /other\.example/);
  // What would allow it is said where a rule could.
  assert.equal(told.find((d) => d.layer === "net").rule, "1.2.3.4:8080");
});

test("ten thousand refusals are a handful of events", async (t) => {
  const { daemon, session } = await attempt(
    t,
    () => `/usr/bin/python3 -I -c '
import socket
for i in range(10000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("10.%d.%d.1" % (i % 40, i // 40 % 250), 80))
    s.close()
'`,
    () => "{}",
  );
  let told = [];
  // What was only counted is told when the cage has gone.
  await until("all attempts are counted", async () => {
    told = denials(await daemon.api.events(session));
    return told.reduce((sum, d) => sum + d.count, 0) > 1000;
  });
  assert.ok(told.length > 10, `${told.length} events`);
  assert.ok(told.length <= 120, `${told.length} events`);
});

for (const [limit, script, cage, reason] of [
  ["wall", "sleep 60", "{ limits: { wall: 1s } }", "wall"],
  [
    "memory",
    "/usr/bin/python3 -I -c 'import os,signal\nfor _ in range(6):\n    if os.fork() == 0: x = bytearray(60<<20); signal.pause()\nsignal.pause()'",
    "{ limits: { memory: 128M, wall: 60s } }",
    "oom",
  ],
]) {
  test(`the limit ${limit} is an event, and the cage's end says so`, async (t) => {
    const { events } = await attempt(t, () => script, () => cage);
    const told = only(events, "cage.limit");
    assert.equal(told.body.limit, limit);
    assert.match(told.body.detail, /\d/);
    assert.equal(only(events, "cage.exited").body.reason, reason);
    assert.notEqual(only(events, "invocation.finished").body.outcome, "succeeded");
  });
}

test("a log bomb costs neither the log nor the daemon more than its share", async (t) => {
  const { daemon, events } = await attempt(
    t,
    () => "head -c 200000000 /dev/zero | tr '\\0' x\necho done >&2",
    () => "{ limits: { wall: 2m } }",
  );
  const kept = ofKind(events, "cage.output").reduce((sum, e) => sum + e.body.text.length, 0);
  assert.ok(kept <= 9 << 20, `${kept} bytes in the log`);
  assert.equal(only(events, "cage.limit").body.limit, "output");
  // The program was not stopped: its end is in the log, on the other stream.
  assert.match(ofKind(events, "cage.output").map((e) => e.body.text).join("").slice(-20), /done|x/);
  assert.equal(only(events, "invocation.finished").body.outcome, "succeeded");
  const rss = Number(readFileSync(`/proc/${daemon.pid}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/)[1]);
  assert.ok(rss < 200 * 1024, `the daemon has ${rss} kB resident`);
});

test("a project file that an agent poisons does not change its next cage", async (t) => {
  const { daemon, session, output } = await attempt(
    t,
    () => [
      "sed -i s/limits/env/ .volary/project.yaml; echo 'x' >> .volary/project.yaml",
      "echo 'primary: { cage: disabled }' > .volary/project.local.yaml",
      "mv .volary away; mkdir .volary; cp -r away/. .volary; rm -rf .volary/*",
      "grep -c Cap /proc/self/status; cat /proc/self/uid_map",
    ].join("\n"),
    () => "{ limits: { wall: 1m } }",
  );
  assert.match(output, /read-only file system/i);
  const file = readFileSync(path.join(daemon.project, ".volary/project.yaml"), "utf8");
  assert.match(file, /limits: \{ wall: 1m \}/);
  await daemon.api.post("/projects/music-site/messages", { text: "again", session });
  const events = await daemon.finished(session, 2);
  for (const started of ofKind(events, "invocation.started")) assert.equal(started.body.cage.disabled, false);
});
