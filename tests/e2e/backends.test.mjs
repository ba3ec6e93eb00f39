// SPDX-License-Identifier: Apache-2.0
// Back ends that the host may lack: what is refused before anything starts, and what podman leaves.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../support/daemon.mjs";

const volary = path.join(bin, "volary");

/** A workspace with a policy; {work, policy, env}: HOME is a folder of its own. */
function workspace(t, policy) {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-backends-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const work = path.join(folder, "work");
  const home = path.join(folder, "home");
  mkdirSync(work);
  mkdirSync(home);
  const file = path.join(folder, "policy.yaml");
  writeFileSync(file, `${policy}\n`);
  return { folder, work, home, policy: file, env: { ...process.env, HOME: home } };
}

function tryCage(place, env = place.env) {
  const marker = path.join(place.work, "ran");
  return run(volary, ["cage", "run", "--policy", place.policy, "--", "/bin/sh", "-c", "echo > ran"], {
    cwd: place.work,
    env,
  }).then((done) => ({ ...done, ran: readdirSync(place.work).includes("ran"), marker }));
}

test("podman that is not installed is told, with its package, before anything starts", async (t) => {
  const place = workspace(t, "backend: podman");
  const done = await tryCage(place, { ...place.env, PATH: place.work });
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /podman \(package podman\) is not installed/);
  assert.equal(done.ran, false);
});

test("a podman that is too old is told with its version", async (t) => {
  const place = workspace(t, "backend: podman");
  for (const [name, text] of [["podman", "echo podman version 3.0.1"], ["crun", "true"]]) {
    const program = path.join(place.folder, name);
    writeFileSync(program, `#!/bin/sh\n${text}\n`);
    chmodSync(program, 0o755);
  }
  const done = await tryCage(place, { ...place.env, PATH: place.folder });
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /needs podman 4\.0 or newer; this host has "podman version 3\.0\.1"/);
  assert.equal(done.ran, false);
});

/** As every process of a daemon that root started. */
const kNoNewPrivileges = /^NoNewPrivs:\t1$/m.test(readFileSync("/proc/self/status", "utf8"));

test("firejail is refused where it cannot be, and replaced by nothing", { skip: !kNoNewPrivileges }, async (t) => {
  const done = await tryCage(workspace(t, "backend: firejail"));
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /backend firejail gains privileges by a setuid program/);
  assert.equal(done.ran, false);
});

/** Command lines of this user's processes that are of podman's kind. */
function containerProcesses() {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid)) return [];
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      const mine = words.includes("/sys/fs/cgroup/state") || words.startsWith("/.volary/init --first");
      const zombie = /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
      return mine && !zombie ? [Number(pid)] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

async function until(holds) {
  for (const end = Date.now() + 20_000; !holds(); ) {
    assert.ok(Date.now() < end, "waited 20 s");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`a cage of podman whose volary gets ${signal} leaves no process and no file`, async (t) => {
    const place = workspace(t, "backend: podman");
    const before = new Set(containerProcesses());
    const shared = readdirSync("/dev/shm").sort();
    const child = spawn(volary, ["cage", "run", "--policy", place.policy, "--", "/bin/sh", "-c", "echo up; sleep 100"], {
      cwd: place.work,
      env: place.env,
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const ours = containerProcesses().filter((pid) => !before.has(pid));
    assert.ok(ours.length >= 3, "podman, conmon and the first process are there");
    child.kill(signal);
    await ended;
    const left = () => containerProcesses().filter((pid) => ours.includes(pid));
    if (signal === "SIGTERM") assert.deepEqual(left(), []);
    await until(() => left().length === 0);
    assert.deepEqual(readdirSync(place.home), [], "nothing in $HOME");
    assert.deepEqual(readdirSync("/dev/shm").sort().filter((name) => name.includes("libpod")),
      shared.filter((name) => name.includes("libpod")));
    assert.ok(!readFileSync("/proc/mounts", "utf8").includes("/sys/fs/cgroup/root"));
  });
}
