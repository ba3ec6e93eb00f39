// SPDX-License-Identifier: Apache-2.0
// Attempts on what a cage may change: layers, protected paths, devices, and what tells one host from another.
import assert from "node:assert/strict";
import {
  existsSync, lstatSync, mkdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync,
} from "node:fs";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../../support/daemon.mjs";
import { Workspace } from "./cage.mjs";

const kCow = "{ fs: [{ path: 'project:/', mode: cow }] }";

/** Runs a shell command with its layers kept in `layers` of the workspace's folder. */
function layered(workspace, command, policy = kCow) {
  const file = path.join(workspace.folder, "policy.yaml");
  writeFileSync(file, `${policy}\n`);
  const layers = path.join(workspace.folder, "layers");
  const argv = ["cage", "run", "--policy", file, "--layers", layers, "--", "/bin/sh", "-c", command];
  return run(path.join(bin, "volary"), argv, { cwd: workspace.work });
}

test("a change through cow does not reach the host", async (t) => {
  const workspace = new Workspace(t);
  writeFileSync(path.join(workspace.work, "file"), "old\n");
  const tried = await layered(workspace, "echo new > file; rm -r .git/description; echo x > made; cat file");
  assert.equal(tried.stdout, "new\n", tried.stderr);
  assert.match(tried.stderr, /changed: \/workspace\/file/);
  assert.match(tried.stderr, /added: \/workspace\/made/);
  assert.equal(readFileSync(path.join(workspace.work, "file"), "utf8"), "old\n");
  assert.equal(existsSync(path.join(workspace.work, "made")), false);
  // Control: the next run goes on with the layer, and without cow the host changes.
  assert.equal((await layered(workspace, "cat file")).stdout, "new\n");
  await workspace.caged("echo new > file");
  assert.equal(readFileSync(path.join(workspace.work, "file"), "utf8"), "new\n");
});

test("a layer that nobody keeps is dropped, and that is said", async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged("echo x > made; cat made", kCow);
  assert.equal(tried.stdout, "x\n", tried.stderr);
  assert.match(tried.stderr, /1 changes in cow folders were dropped/);
  assert.equal(existsSync(path.join(workspace.work, "made")), false);
});

test("a link in a layer leads nowhere outside", async (t) => {
  const workspace = new Workspace(t);
  const tried = await layered(workspace, `ln -s ${workspace.outside} out; cat out/secret; echo x > out/planted`);
  assert.notEqual(tried.code, 0);
  assert.equal(existsSync(path.join(workspace.outside, "planted")), false);
  const again = await layered(workspace, "ls -d out; cat out/secret");
  assert.doesNotMatch(again.stdout, /the-secret/);
});

test("overlay attributes cannot be set from inside", async (t) => {
  const workspace = new Workspace(t);
  mkdirSync(path.join(workspace.work, "folder"));
  const script = `
import os
for name in ("user.overlay.opaque", "user.overlay.redirect", "trusted.overlay.opaque"):
    try:
        os.setxattr("/workspace/folder", name, b"y")
        print(name, os.listxattr("/workspace/folder"))
    except OSError as error:
        print("refused")
os.setxattr("/workspace/folder", "user.mine", b"y")
print("control", os.getxattr("/workspace/folder", "user.mine"))
`;
  const file = path.join(workspace.work, "x.py");
  writeFileSync(file, script);
  const tried = await layered(workspace, "/usr/bin/python3 -I x.py");
  assert.match(tried.stdout, /control b'y'/, tried.stderr);
  // Where the kernel lets it through, it is escaped and means nothing.
  const seen = await layered(workspace, "ls folder && echo visible");
  assert.match(seen.stdout, /visible/);
});

for (const file of [
  ".git/hooks/pre-commit", ".git/config", ".volary/project.yaml", ".bashrc", ".profile", ".zshrc", ".envrc",
  ".vscode/tasks.json", ".vscode/settings.json", ".idea/workspace.xml", ".husky/pre-commit", ".devcontainer/x",
  ".git/modules/lib/hooks/post-checkout", ".git/modules/lib/config",
]) {
  test(`writing the protected ${file}`, async (t) => {
    const workspace = new Workspace(t);
    const at = path.join(workspace.work, file);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, "mine\n");
    mkdirSync(path.join(workspace.work, ".git/modules/lib"), { recursive: true });
    writeFileSync(path.join(workspace.work, ".git/modules/lib/HEAD"), "ref: refs/heads/main\n");
    const tried = await workspace.caged(
      `echo planted > ${file}; rm -f ${file}; mv ${file.split("/")[0]} away; ` +
        `mkdir -p $(dirname ${file}); echo planted > ${file}; ln -sf /tmp/x ${file}; true`,
    );
    assert.match(tried.stderr, /read-only file system|busy/i);
    assert.equal(readFileSync(at, "utf8"), "mine\n");
    assert.equal((await workspace.caged(`cat ${file}; echo ok > other && cat other`)).stdout, "mine\nok\n");
  });
}

for (const file of [".vscode/tasks.json", ".envrc", ".git/hooks/pre-commit", ".husky"]) {
  test(`${file} planted where there was none is told`, async (t) => {
    const workspace = new Workspace(t);
    if (file.startsWith(".git/hooks")) rmdirSync(path.join(workspace.work, ".git/hooks"));
    const tried = await workspace.caged(`mkdir -p $(dirname ${file}); echo planted > ${file}; echo x > not-protected`);
    assert.equal(tried.code, 0, tried.stderr);
    const told = file.startsWith(".git/hooks") ? ".git/hooks" : file;
    assert.ok(tried.stderr.includes(`${path.join(workspace.work, told)}", a protected path`), tried.stderr);
    assert.doesNotMatch(tried.stderr, /not-protected/);
  });
}

test("a protected link cannot be turned unseen", async (t) => {
  const workspace = new Workspace(t);
  symlinkSync("somewhere", path.join(workspace.work, ".bashrc"));
  const tried = await workspace.caged("ln -sfn /workspace/evil .bashrc");
  assert.match(tried.stderr, /a protected path/);
  assert.equal(lstatSync(path.join(workspace.work, ".bashrc")).isSymbolicLink(), true);
});

test("a device that is not listed is absent, one that is listed is there", async (t) => {
  const workspace = new Workspace(t);
  const attempt = await workspace.caged("test -e /dev/fuse && echo there; mknod /tmp/fuse c 10 229");
  assert.doesNotMatch(attempt.stdout, /there/);
  if (existsSync("/dev/fuse")) {
    const control = await workspace.caged("test -c /dev/fuse && echo there", "{ devices: [/dev/fuse] }");
    assert.equal(control.stdout, "there\n", control.stderr);
  }
  for (const wrong of ["/dev/absent", "/dev/shm", "/dev/stdin"]) {
    const refused = await workspace.caged("true", `{ devices: [${wrong}] }`);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /devices/);
  }
});

test("what tells one host from another is masked", async (t) => {
  const workspace = new Workspace(t);
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const tried = await workspace.caged(
    "cat /proc/cmdline /proc/keys /proc/key-users /proc/kcore /proc/timer_list /proc/interrupts /etc/machine-id " +
      "/sys/class/dmi/id/product_uuid 2>/dev/null; hostname; cat /proc/sys/kernel/random/boot_id",
  );
  const [host, boot, ...rest] = tried.stdout.trim().split("\n");
  assert.equal(host, "cage");
  assert.notEqual(boot, bootId);
  assert.match(boot, /^[0-9a-f-]{36}$/);
  assert.deepEqual(rest, []);
  // Control: what is the cage's own can be read.
  assert.match((await workspace.caged("cat /proc/self/status /proc/meminfo | head -3")).stdout, /Name:/);
});

test("processes of the host are not in /proc", async (t) => {
  const tried = await new Workspace(t).caged("ls /proc | grep -c '^[0-9]'; cat /proc/1/environ | wc -c");
  const [count] = tried.stdout.split("\n").map(Number);
  assert.ok(count <= 6, tried.stdout);
});

for (const [name, command] of [
  ["a disk bomb", "head -c 200M /dev/zero > big; sleep 20"],
  ["an inode bomb", "for i in $(seq 60000); do : > f$i; done; sleep 20"],
  ["a bomb of nested folders", "for i in $(seq 3000); do mkdir d && cd d || break; done; sleep 20"],
]) {
  test(`${name} in a layer ends the cage`, async (t) => {
    const workspace = new Workspace(t);
    const started = Date.now();
    const tried = await workspace.caged(command, `{ fs: [{ path: 'project:/', mode: cow }], limits: { disk: 64M } }`);
    assert.match(tried.stderr, /limit disk/);
    assert.ok(Date.now() - started < 19_000);
    assert.equal((await workspace.caged("echo fine > a; cat a", kCow)).stdout, "fine\n");
  });
}
