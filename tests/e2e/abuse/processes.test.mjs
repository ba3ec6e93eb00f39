// SPDX-License-Identifier: Apache-2.0
// Attempts on other processes, to outlive the end, and to use up the host.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { Workspace } from "./cage.mjs";

/** Command lines of the processes that are not dead. */
function commandLines() {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const state = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "")[0];
      return state === "Z" ? [] : [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")];
    } catch {
      return [];
    }
  });
}

/** A process of the host, that ends with the test. */
function hostProcess(t) {
  const child = spawn("/bin/sleep", ["1000"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

const alive = (child) => child.exitCode === null && child.signalCode === null;

test("other processes are not seen", async (t) => {
  const workspace = new Workspace(t);
  const host = hostProcess(t);
  const seen = await workspace.caged("cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
  assert.doesNotMatch(seen.stdout, /sleep 1000|volary-shim|node/);
  assert.match((await workspace.caged("sleep 7 & cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).stdout, /sleep 7/);
  assert.equal(alive(host), true);
});

test("signals stay inside", async (t) => {
  const workspace = new Workspace(t);
  const host = hostProcess(t);
  const named = await workspace.caged(`kill -9 ${host.pid}`);
  assert.match(named.stderr, /no such process/i);
  assert.equal((await workspace.caged("sleep 100 & kill -9 $! && wait $!; echo $?")).stdout, "137\n");
  assert.equal((await workspace.caged("kill -9 -1; echo left")).stdout, "left\n");
  assert.equal(alive(host), true);
});

for (const file of ["mem", "environ", "auxv", "fd/0"]) {
  test(`the first process of the cage keeps its ${file}`, async (t) => {
    const workspace = new Workspace(t);
    // The native back end's first process has no descriptor at all.
    const refused = file === "fd/0" ? /denied|not permitted|no such file/i : /denied|not permitted/i;
    assert.match((await workspace.caged(`cat /proc/1/${file}`)).stderr, refused);
    if (file === "environ") assert.match((await workspace.caged("cat /proc/self/environ")).stdout, /HOME=/);
  });
}

/** Until that runs inside; a shell that only names it has a space there. */
const runs = (number) => `until grep -qaP 'sleep\\x00${number}' /proc/[0-9]*/cmdline; do :; done`;

for (const [how, command] of [
  ["the background", `sleep 1234501 & ${runs(1234501)}`],
  ["a session of its own", `setsid sleep 1234502 & ${runs(1234502)}`],
  ["two forks and a session", `(setsid sh -c 'sleep 1234503 & exit' &); ${runs(1234503)}`],
  ["ignored signals", `trap '' TERM HUP INT; sleep 1234504 & ${runs(1234504)}`],
  ["a stop of itself", "sh -c 'kill -STOP $$; sleep 1234505' & until grep -q '^State:.T' /proc/[0-9]*/status; do :; done"],
]) {
  test(`nothing outlives the command by ${how}`, async (t) => {
    const left = /12345\d\d/;
    const done = await new Workspace(t).caged(command, "limits: { wall: 20s }");
    assert.equal(done.code, 0, done.stderr);
    assert.deepEqual(commandLines().filter((line) => left.test(line)), []);
  });
}

test("a program that ignores SIGTERM and stops itself ends with its time", async (t) => {
  const started = performance.now();
  const done = await new Workspace(t).caged(
    "trap '' TERM; kill -STOP $$; sleep 600",
    "limits: { wall: 1s }",
  );
  assert.equal(done.code, 137);
  assert.match(done.stderr, /limit wall/);
  assert.ok(performance.now() - started < 20_000);
});

const kForks = `
import os, signal
children = 0
try:
    while children < 300:
        if os.fork() == 0: signal.pause()
        children += 1
except OSError as error:
    print("refused", children, error.errno)
else:
    print("made", children)
`;

test("a fork bomb", async (t) => {
  const workspace = new Workspace(t);
  const bomb = await workspace.python(kForks, "limits: { pids: 40 }");
  const [, made] = bomb.stdout.match(/^refused (\d+) 11$/m) ?? assert.fail(bomb.stdout + bomb.stderr);
  assert.ok(Number(made) < 40);
  assert.equal((await workspace.python(kForks, "limits: { pids: 400 }")).stdout, "made 300\n");
});

test("an army of zombies", async (t) => {
  const script = `
import os
dead = 0
try:
    while dead < 300:
        if os.fork() == 0: os._exit(0)
        dead += 1
except OSError as error:
    print("refused", error.errno)
`;
  assert.equal((await new Workspace(t).python(script, "limits: { pids: 40 }")).stdout, "refused 11\n");
});

test("a memory bomb", async (t) => {
  const workspace = new Workspace(t);
  const take = "taken = bytearray(300 << 20); print(len(taken))";
  const bomb = await workspace.python(take, "limits: { memory: 128M }");
  assert.notEqual(bomb.code, 0);
  assert.equal(bomb.stdout, "");
  assert.equal((await workspace.python(take, "limits: { memory: 1G }")).stdout, `${300 << 20}\n`);
});

test("a memory bomb of many processes", async (t) => {
  const workspace = new Workspace(t);
  const take = `
import os, signal
for _ in range(8):
    if os.fork() == 0:
        taken = bytearray(60 << 20)
        signal.pause()
signal.pause()
`;
  const bomb = await workspace.python(take, "limits: { memory: 160M, wall: 20s }");
  assert.equal(bomb.code, 137);
  assert.match(bomb.stderr, /limit memory/);
});

for (const place of ["/tmp", "/home/agent", "/dev/shm"]) {
  test(`a disk bomb in ${place}`, async (t) => {
    const workspace = new Workspace(t);
    const write = (mb) => `dd if=/dev/zero of=${place}/bomb bs=1M count=${mb} && echo written`;
    const bomb = await workspace.caged(write(100), "limits: { disk: 16M, memory: 1G }");
    assert.match(bomb.stderr, /no space left/i);
    assert.equal((await workspace.caged(write(4), "limits: { disk: 16M }")).stdout, "written\n");
  });
}

for (const place of ["/tmp", "/home/agent", "/dev/shm"]) {
  test(`a bomb of empty files in ${place}`, async (t) => {
    const workspace = new Workspace(t);
    const make = (count) => `
import os
for i in range(${count}): os.close(os.open("${place}/%d" % i, os.O_CREAT | os.O_WRONLY))
print("made")
`;
    const bomb = await workspace.python(make(5_000_000), "limits: { disk: 16M, wall: 60s }");
    assert.equal(bomb.code, 137);
    assert.match(bomb.stderr, /limit disk: \d+ files in own folders, 16384 allowed/);
    assert.equal((await workspace.python(make(10_000), "limits: { disk: 64M }")).stdout, "made\n");
  });
}

test("a descriptor bomb", async (t) => {
  const workspace = new Workspace(t);
  const open = `
import os
try:
    for count in range(200): os.dup(0)
    print("made")
except OSError as error:
    print("refused", error.errno)
`;
  assert.equal((await workspace.python(open, "limits: { files: 64 }")).stdout, "refused 24\n");
  assert.equal((await workspace.python(open, "limits: { files: 256 }")).stdout, "made\n");
});

test("limits cannot be raised from inside", async (t) => {
  const script = `
import resource
for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(limit)
    try:
        resource.setrlimit(limit, (hard + 1, hard + 1))
        print("raised")
    except ValueError: print("refused")
`;
  const tried = await new Workspace(t).python(script, "limits: { pids: 40, files: 64 }");
  assert.equal(tried.stdout, "refused\n".repeat(3), tried.stderr);
});
