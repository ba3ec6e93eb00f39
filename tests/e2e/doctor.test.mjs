// SPDX-License-Identifier: Apache-2.0
// `volary doctor` on the host that runs the tests: real cages, real attacks.
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../support/daemon.mjs";

const volary = path.join(bin, "volary");
// What one host has and another lacks, and says so.
const kOptional = new Set([
  "bwrap", "writing where the mounts allow it", "refused calls are told", "limits by the kernel",
  "backend native", "backend podman", "backend firejail", "overlay for cow", "memory of the cage's first process",
]);

test("volary doctor proves each layer of a cage on this host", async (t) => {
  const done = await run(volary, ["doctor", "--json"]);
  const report = done.json();
  assert.equal(report.ok, true, done.stdout);
  assert.equal(done.code, 0, done.stderr);
  assert.ok(report.checks.length > 35, done.stdout);
  for (const check of report.checks) {
    await t.test(check.name, () => {
      assert.deepEqual(Object.keys(check).sort(), ["detail", "fix", "layer", "name", "verdict"]);
      if (check.verdict === "ok") return assert.equal(check.fix, "");
      assert.equal(check.verdict, "missing", JSON.stringify(check));
      assert.ok(kOptional.has(check.name), `${check.name} is missing`);
      assert.ok(check.fix.length > 10, "says what to do");
    });
  }
  for (const layer of ["namespaces", "privileges", "files", "seccomp", "network", "limits"])
    assert.ok(report.checks.some((check) => check.layer === layer && check.verdict === "ok"), layer);
});

test("volary doctor is a table for people", async () => {
  const done = await run(volary, ["doctor"]);
  assert.equal(done.code, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /^ok +seccomp +mount\(2\) +EPERM$/m);
  assert.match(done.stdout, /\d+ ok, \d+ missing, 0 broken\n$/);
});

test("what breaks every cage is one broken check that names it, and exit code 1", async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-doctor-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  copyFileSync(volary, path.join(folder, "volary"));
  chmodSync(path.join(folder, "volary"), 0o755);
  const done = await run(path.join(folder, "volary"), ["doctor", "--json"]);
  assert.equal(done.code, 1, done.stdout);
  const report = done.json();
  assert.equal(report.ok, false);
  assert.equal(report.checks.length, 1);
  assert.equal(report.checks[0].verdict, "broken");
  assert.match(report.checks[0].detail, /volary-(init|shim|probe)/);
});
