// SPDX-License-Identifier: Apache-2.0
// Attempts to swap what a cage binds while it is being built, by a program that may write the
// workspace: as the agent of another cage may.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { bin } from "../../support/daemon.mjs";
import { kSecret, Workspace, withBackend } from "./cage.mjs";

const kCages = 40;

const forever = (script) => ["/bin/sh", "-c", `echo begun; while :; do ${script}; done`];

/** Two names that change places without a moment in which one is missing (RENAME_EXCHANGE). */
const exchange = (a, b) => [
  "/usr/bin/python3",
  "-c",
  `
import ctypes, random, time
print("begun", flush=True)
renameat2 = ctypes.CDLL(None).renameat2
while True:
    renameat2(-100, b"${a}", -100, b"${b}", 2)
    # A cage takes some milliseconds: by chance, or for a whole start, either name is the folder.
    time.sleep(random.choice((0, 0.001, 0.005, 0.2)))
`,
];

/** Runs a program in the workspace until the answer is called. */
async function attack(t, workspace, argv) {
  const child = spawn(argv[0], argv.slice(1), {
    cwd: workspace.work,
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    // With what it runs: a shell's child would go on without it.
    process.kill(-child.pid, "SIGKILL");
    await gone;
  };
  t.after(stop);
  await once(child.stdout, "data");
  return stop;
}

test("a bound folder that becomes a link while the cage is built", async (t) => {
  const workspace = new Workspace(t);
  mkdirSync(path.join(workspace.work, "data"));
  writeFileSync(path.join(workspace.work, "data/secret"), "own\n");
  symlinkSync("../outside", path.join(workspace.work, "link"));
  const stop = await attack(t, workspace, exchange("data", "link"));
  const seen = { own: 0, refused: 0 };
  // `..` of the policy's folder is never the host's: a bind by its path alone would follow the link.
  const policy = "fs: [{ path: project:/data, mode: rw }]";
  const both = () => seen.own > 0 && seen.refused > 0;
  for (let round = 0; round < kCages || (round < 20 * kCages && !both()); round++) {
    const tried = await workspace.caged("cat data/secret; echo planted > data/planted", policy);
    assert.doesNotMatch(tried.stdout, new RegExp(kSecret));
    if (tried.stdout === "own\n") seen.own++;
    else seen.refused++;
  }
  await stop();
  assert.equal(existsSync(path.join(workspace.outside, "planted")), false);
  assert.equal(readFileSync(workspace.secret, "utf8"), `${kSecret}\n`);
  // The control: both were met.
  assert.ok(both(), JSON.stringify(seen));
});

test("a protected folder, swapped by the agent of another cage", async (t) => {
  const workspace = new Workspace(t);
  const policy = path.join(workspace.folder, "attacker.yaml");
  writeFileSync(policy, `${withBackend("{}")}\n`);
  // Were .git/hooks a link or away when the next cage is built, its own protection would be elsewhere.
  const swap = "mv .git/hooks .git/h; ln -s ../data .git/hooks; mv .git g; mkdir -p .git/hooks; rm -rf .git/hooks";
  const cage = [path.join(bin, "volary"), "cage", "run", "--policy", policy, "--"];
  const stop = await attack(t, workspace, [...cage, ...forever(swap)]);
  for (let round = 0; round < kCages; round++) {
    await workspace.caged("echo planted > .git/hooks/pre-commit; echo planted > .git/h/pre-commit");
  }
  await stop();
  const found = readdirSync(workspace.work, { recursive: true });
  assert.deepEqual(found.filter((name) => name.endsWith("pre-commit")), []);
  assert.equal(existsSync(path.join(workspace.work, ".git/hooks")), true);
});

test("a bound file that becomes a FIFO or a device's link does not hang the start", async (t) => {
  const workspace = new Workspace(t);
  const file = path.join(workspace.work, "notes");
  writeFileSync(file, "own\n");
  const stop = await attack(
    t,
    workspace,
    forever("rm -f notes; mkfifo notes; rm -f notes; ln -s /dev/zero notes; rm -f notes; echo own > notes"),
  );
  const started = performance.now();
  for (let round = 0; round < 10; round++) {
    await workspace.caged("true", "fs: [{ path: project:/notes, mode: ro }]");
  }
  await stop();
  assert.ok(performance.now() - started < 60_000);
});
