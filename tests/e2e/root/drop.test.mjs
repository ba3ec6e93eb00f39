// SPDX-License-Identifier: Apache-2.0
// What only root can try: a daemon that root starts, and cages that root asks for. `./test` runs
// this file as root; for everybody else it is skipped.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { bin, run } from "../../support/daemon.mjs";
import { within } from "../../support/wait.mjs";

const volary = path.join(bin, "volary");
const asRoot = { skip: process.getuid() !== 0 && "needs root" };
const idOf = (option) => Number(execFileSync("id", [option, "volary"], { encoding: "utf8" }));

function folderFor(t) {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-root-"));
  execFileSync("chmod", ["0755", folder]);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function statusOf(pid) {
  const lines = readFileSync(`/proc/${pid}/status`, "utf8").split("\n");
  return Object.fromEntries(lines.map((line) => line.split(":\t")));
}

test("a daemon that root starts becomes the system user for good", asRoot, async (t) => {
  const folder = folderFor(t);
  const runtime = path.join(folder, "volary");
  const state = path.join(folder, "state");
  const args = ["serve", "--state", state, "--listen", "127.0.0.1:0",
    "--listen", `unix:${runtime}/volary.sock`];
  const daemon = spawn(volary, args, { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => daemon.kill("SIGKILL"));
  const [line] = await within("ready", once(createInterface({ input: daemon.stdout }), "line"));
  assert.match(line, /^ready http/);
  const uid = idOf("-u");
  const gid = idOf("-g");
  const status = statusOf(daemon.pid);
  assert.equal(status.Uid, [uid, uid, uid, uid].join("\t"));
  assert.equal(status.Gid, [gid, gid, gid, gid].join("\t"));
  assert.ok(!status.Groups.trim().split(" ").includes("0"), status.Groups);
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) assert.match(status[set], /^0+$/, set);
  assert.equal(status.NoNewPrivs, "1");
  for (const place of [state, runtime, path.join(state, "volary.db")])
    assert.equal(statSync(place).uid, uid, place);
  for (const name of readdirSync(state)) assert.equal(statSync(path.join(state, name)).uid, uid, name);
  assert.equal(readlinkSync(`/proc/${daemon.pid}/cwd`), "/");
  daemon.kill("SIGTERM");
  const [code] = await within("end", once(daemon, "exit"));
  assert.equal(code, 0);
});

test("root gives no folder away that somebody else made", asRoot, async (t) => {
  const folder = folderFor(t);
  const state = path.join(folder, "state");
  mkdirSync(state);
  const done = await run(volary, ["serve", "--state", state, "--listen", "127.0.0.1:0"]);
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /state" does not belong to the user volary/);
  assert.equal(statSync(state).uid, 0);
});

test("root starts no cage", asRoot, async (t) => {
  const folder = folderFor(t);
  const policy = path.join(folder, "policy.yaml");
  writeFileSync(policy, "{}\n");
  const done = await run(volary, ["cage", "run", "--policy", policy, "--", "/bin/true"], { cwd: folder });
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /never started by root/);
});

test("the doctor examines as the system user", asRoot, async () => {
  const done = await run(volary, ["doctor", "--json"]);
  assert.equal(done.json().ok, true, done.stdout + done.stderr);
  const user = done.json().checks.find((check) => check.name === "the cage's user on the host");
  assert.equal(user.detail, `uid ${idOf("-u")}`);
});
