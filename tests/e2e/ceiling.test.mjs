// SPDX-License-Identifier: Apache-2.0
// What a project file may ask for: not more than the operator's ceiling, nor than a parent's cage.
import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, run, bin } from "../support/daemon.mjs";
import { assertError } from "../support/http.mjs";

/** Lays `text` over the demo's project file. */
function overlay(folder, text) {
  writeFileSync(path.join(folder, ".volary/project.local.yaml"), text);
}

async function refusal(daemon) {
  const answer = await daemon.api.request("POST", "/projects", {
    body: { path: daemon.project },
    key: crypto.randomUUID(),
  });
  return JSON.stringify(assertError(answer, 400, "invalid"));
}

test("a project beyond the ceiling is refused with file, line, key and bound", async (t) => {
  const daemon = await Daemon.start(t, {
    add: false,
    config: '[ceiling]\nmemory = "256M"\nnet = ["host.volary:1"]\n',
    edit: (folder) => overlay(folder, "primary: { cage: { devices: [/dev/kvm] } }\n"),
  });
  const told = await refusal(daemon);
  assert.match(told, /project\.yaml:\d+:\d+: primary\.subagents\.scraper\.cage\.limits\.memory: 512M: the operator's ceiling is 256M/);
  assert.match(told, /project\.yaml:\d+:\d+: [a-z.]*scraper\.cage\.net\.allow\[0\]: .* is not in the net of the operator's ceiling/);
  assert.match(told, /project\.local\.yaml:1:\d+: primary\.cage\.devices\[0\]: .*the operator's ceiling allows no device/);
});

test("limits that the project leaves open take the ceiling's", async (t) => {
  const daemon = await Daemon.start(t, { config: '[ceiling]\nmemory = "1G"\nwall = "20m"\n' });
  const project = await daemon.api.get("/projects/music-site");
  const { limits } = project.agents.find((agent) => agent.path === "primary").cage;
  assert.equal(limits.memory, "1G");
  assert.equal(limits.wall, "20m");
});

test("a subagent that exceeds its parent's cage is refused", async (t) => {
  const daemon = await Daemon.start(t, {
    add: false,
    edit: (folder) => overlay(folder, "primary: { cage: { net: { allow: [] }, limits: { pids: 40 } } }\n"),
  });
  const told = await refusal(daemon);
  assert.match(told, /scraper\.cage\.net\.allow\[0\]: .* is not among what \\"primary\\" may reach/);
  assert.match(told, /scraper\.cage\.limits\.pids: 64 is more than the 40 of \\"primary\\"/);
  assert.match(told, /detached: true/);
});

test("a config whose bounds are wrong is refused with file, line and key", async (t) => {
  const daemon = await Daemon.start(t, { add: false });
  const file = daemon.writeConfig();
  appendFileSync(
    file,
    '[ceiling]\nmemory = "lots"\n[credentials.key]\nfile = "key"\n[proxy]\nurl = "proxy"\n[tls]\nca = "ca.pem"\n',
  );
  const { code, stderr } = await run(path.join(bin, "volary"), ["config", "check", file]);
  assert.equal(code, 2);
  for (const key of ["ceiling.memory", "credentials.key.file", "credentials.key.hosts", "proxy.url", "tls.ca"])
    assert.match(stderr, new RegExp(`config\\.toml:\\d+:\\d+: ${key}: `));
});
