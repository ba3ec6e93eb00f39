// SPDX-License-Identifier: Apache-2.0
// A policy that cannot be enforced here is refused before anything is started, with its file and line,
// the key, and what to do. (A host without Landlock or cgroups: tests/cage/refusals_test.cpp; one without
// user namespaces: cli.test.mjs; a whole project file: tests/dsl/golden.)
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../support/daemon.mjs";

const kRefused = {
  "a port below 1 to publish": [
    "net: { ports: [ { name: web, port: 0 } ] }",
    /policy\.yaml:2:36: net\.ports\[0\]\.port: expected a port from 1 to 65535, found 0/,
  ],
  "a port below 1 to reach": [
    'net: { allow: ["x.example:0"] }',
    /policy\.yaml:2:16: net\.allow\[0\]: port "0" is not one: expected 1 to 65535 \(.+\)/,
  ],
  "a system call that there is not": [
    "seccomp: { add: [ptrase] }",
    /seccomp\.add\[0\] \(\S*policy\.yaml:2\): "ptrase" is no system call; did you mean "ptrace"\?/,
  ],
  "a system call that is never allowed": [
    "seccomp: { add: [mount] }",
    /seccomp\.add\[0\] \(\S*policy\.yaml:2\): "mount" is refused in every cage/,
  ],
  "a path out of the root": [
    "fs: [ { path: project:/../etc, mode: ro } ]",
    /policy\.yaml:2:15: fs\[0\]\.path: "\.\." is not allowed in a path \(name the folder itself\)/,
  ],
  "a link out of the root": [
    "fs: [ { path: project:/out, mode: ro } ]",
    /policy\.yaml:2:15: fs\[0\]\.path: "out" leaves the project through a symlink \(only what is beneath .+\)/,
  ],
  "a source that is not there": [
    "fs: [ { path: project:/nowhere, mode: rw } ]",
    /policy\.yaml:2:15: fs\[0\]\.path: there is no "nowhere" in the project \(create it first: .+\)/,
  ],
  "a device that is not there": [
    "devices: [/dev/no-such-device]",
    /devices\[0\] \(\S*policy\.yaml:2\): "\/dev\/no-such-device" is not on this host/,
  ],
  "a layer that this policy cannot have": [
    "require: [disk]",
    /require\[0\] \(\S*policy\.yaml:2\): disk: .+: use ro and tmp entries/,
  ],
  "a limit that is none": [
    "limits: { memory: 0 }",
    /policy\.yaml:2:19: limits\.memory: expected a size such as 512M, found "0"/,
  ],
};

for (const [name, [line, words]] of Object.entries(kRefused)) {
  test(`${name} is refused with its line and what to do`, async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), "volary-refused-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const workspace = path.join(folder, "project");
    mkdirSync(workspace);
    symlinkSync("/etc", path.join(workspace, "out"));
    const policy = path.join(folder, "policy.yaml");
    writeFileSync(policy, `# a policy\n${line}\n`);
    const command = ["/bin/touch", "/workspace/started"];
    const args = ["cage", "run", "--policy", policy, "--workspace", workspace, "--", ...command];
    const done = await run(path.join(bin, "volary"), args);
    assert.ok(done.code >= 1 && done.code <= 4, `${done.code} ${done.stderr}`);
    assert.match(done.stderr, words);
    assert.equal(done.stdout, "");
    assert.equal(existsSync(path.join(workspace, "started")), false);
  });
}

test("the same command is started by a policy that can be enforced", async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-refused-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const policy = path.join(folder, "policy.yaml");
  writeFileSync(policy, "limits: { pids: 64 }\n");
  const args = ["cage", "run", "--policy", policy, "--workspace", folder, "--", "/bin/touch", "/workspace/started"];
  const done = await run(path.join(bin, "volary"), args);
  assert.equal(done.code, 0, done.stderr);
  assert.ok(existsSync(path.join(folder, "started")));
});
