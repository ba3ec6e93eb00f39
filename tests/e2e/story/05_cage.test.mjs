// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";

test("5: the scraper fetches from the record shop through the gatekeeper, and from nowhere else", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  const events = await daemon.finished(session);

  const scraper = only(events, "invocation.started", (e) => e.body.agent === "primary/scraper");
  const id = scraper.body.id;
  assert.deepEqual(scraper.body.cage.hosts, [`host.volary:${daemon.shopPort}`]);
  assert.equal(scraper.body.cage.disabled, false);
  assert.equal(only(events, "invocation.finished", (e) => e.body.id === id).body.outcome, "succeeded");

  // It really asked the shop, once, and got what the shop serves.
  assert.deepEqual(
    daemon.shopLog.filter((line) => line.startsWith("shop ")),
    ["shop GET /releases.json HTTP/1.1"],
  );
  const got = JSON.parse(readFileSync(`${daemon.project}/data/releases.json`, "utf8"));
  assert.equal(got.releases.length, 3);

  // Another name, an address, another port: refused in the cage, and told as denials.
  const shell = ofKind(events, "step.finished").filter(
    (e) => e.body.invocation === id && /refused http/.test(e.body.result),
  );
  assert.equal(shell.length, 1);
  for (const url of ["http://evil.example/", "http://1.1.1.1/", "/status"]) {
    assert.ok(shell[0].body.result.includes(url), shell[0].body.result);
  }
  assert.doesNotMatch(shell[0].body.result, /reached/);
  assert.equal(daemon.shopLog.filter((line) => line.startsWith("deploy GET")).length, 1, "the deployer's");
  const denied = ofKind(events, "cage.denied").filter((e) => e.body.invocation === id);
  const what = denied.map((e) => `${e.body.layer} ${e.body.what}`).join("\n");
  assert.match(what, /evil\.example/);
  assert.match(what, /1\.1\.1\.1/);
  assert.match(what, new RegExp(String(daemon.deployPort)));
});

test("5: the output of a caged program streams into the log, and the scraper sees only its folder", async (t) => {
  const probe = [
    "echo to-stdout",
    "echo to-stderr >&2",
    "id -u",
    "cat /etc/shadow 2>&1 | head -1",
    "touch /workspace/.volary/x 2>&1",
    "touch /workspace/data/mine && echo wrote-data",
    "ls /proc | grep -c '^[0-9]'",
    "env | sort | tr '\\n' ' '",
  ].join("; ");
  const daemon = await Daemon.start(t, {
    scripts: {
      scraper: [
        { when: { turn: 0 }, content: [{ type: "tool_use", name: "shell", input: { command: probe } }] },
        { when: {}, content: [{ type: "text", text: "done" }] },
      ],
    },
  });
  const { session } = await daemon.send();
  const events = await daemon.finished(session);

  const scraper = only(events, "invocation.started", (e) => e.body.agent === "primary/scraper");
  const step = ofKind(events, "step.finished").find(
    (e) => e.body.invocation === scraper.body.id && e.body.result.includes("to-stdout"),
  );
  const { stdout } = JSON.parse(step.body.result);
  assert.match(step.body.result, /to-stderr/);
  assert.match(stdout, /wrote-data/);
  assert.doesNotMatch(stdout, /root:/);
  assert.doesNotMatch(stdout, /^0$/m, "uid 0 inside");
  assert.doesNotMatch(stdout, /VOLARY_BIN|VOLARY_SOURCE|_API_KEY/);
  // A pid namespace of its own: a handful of processes, not the host's.
  const processes = Number(stdout.match(/^(\d+)$/gm).at(-1));
  assert.ok(processes < 20, `sees ${processes} processes`);
  const { existsSync } = await import("node:fs");
  assert.equal(existsSync(`${daemon.project}/.volary/x`), false);
});
