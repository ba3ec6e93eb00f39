// SPDX-License-Identifier: Apache-2.0
// Attempts on files that the policy does not list, and on those that stay read-only.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { kSecret, Workspace } from "./cage.mjs";

/** Reading `where` gives no secret; reading a copy in the workspace, which is allowed, does. */
async function cannotRead(t, where, prepare = () => {}) {
  const workspace = new Workspace(t);
  prepare(workspace);
  const at = typeof where === "function" ? where(workspace) : where;
  const tried = await workspace.caged(`cat ${at}`);
  assert.notEqual(tried.code, 0, `${at} could be read`);
  assert.doesNotMatch(tried.stdout, new RegExp(kSecret));
  copyFileSync(workspace.secret, path.join(workspace.work, "copy"));
  const control = await workspace.caged("cat ./copy");
  assert.equal(control.stdout, `${kSecret}\n`, control.stderr);
}

test("a file outside, by its path", (t) => cannotRead(t, (w) => w.secret));

test("a file outside, by ..", (t) => cannotRead(t, "../outside/secret"));

test("a file outside, by a symbolic link", (t) =>
  cannotRead(t, "link", (w) => symlinkSync(w.secret, path.join(w.work, "link"))));

test("a file outside, by a link of a folder", (t) =>
  cannotRead(t, "up/outside/secret", (w) => symlinkSync("..", path.join(w.work, "up"))));

for (const root of ["/proc/1/root", "/proc/self/root", "/proc/1/cwd/..", "/proc/self/cwd/.."]) {
  test(`a file outside, by ${root}`, (t) => cannotRead(t, (w) => `${root}${w.secret}`));
}

test("a file outside, by a descriptor that was left open", async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged("ls /proc/self/fd | tr '\\n' ' '");
  // ls itself opens the folder as 3.
  assert.equal(tried.stdout, "0 1 2 3 ", tried.stderr);
});

test("a file outside, by a handle", async (t) => {
  const workspace = new Workspace(t);
  const script = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
handle = (ctypes.c_char * 256)()
ctypes.c_uint.from_buffer(handle).value = 128
mount = ctypes.c_int()
print(libc.name_to_handle_at(-100, b"/workspace", handle, ctypes.byref(mount), 0), ctypes.get_errno())
print(libc.open_by_handle_at(0, handle, 0), ctypes.get_errno())
`;
  assert.equal((await workspace.python(script)).stdout, "-1 1\n-1 1\n");
});

test("a hard link out of the workspace", async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged("ln /usr/bin/env stolen");
  assert.match(tried.stderr, /cross-device|not permitted/i);
  assert.equal(existsSync(path.join(workspace.work, "stolen")), false);
  assert.equal((await workspace.caged("echo a > a && ln a b && cat b")).stdout, "a\n");
});

for (const file of [".git/hooks/pre-commit", ".git/config", ".volary/project.yaml"]) {
  test(`planting ${file}`, async (t) => {
    const workspace = new Workspace(t);
    const at = path.join(workspace.work, file);
    const before = existsSync(at) ? readFileSync(at, "utf8") : null;
    const tried = await workspace.caged(`echo planted > ${file}`);
    assert.match(tried.stderr, /read-only file system/i);
    const moved = await workspace.caged(`mv ${path.dirname(file)} away; mkdir -p ${path.dirname(file)} && echo planted > ${file}`);
    assert.notEqual(moved.code, 0);
    assert.equal(existsSync(at) ? readFileSync(at, "utf8") : null, before);
    assert.equal((await workspace.caged("echo mine > .git/description && cat .git/description")).stdout, "mine\n");
  });
}

for (const target of ["/x", "/dev/x", "/etc/x", "/usr/bin/env", "/bin/sh", "/etc/passwd", "/etc/resolv.conf", "/lib/x"]) {
  test(`writing ${target}`, async (t) => {
    const tried = await new Workspace(t).caged(`echo x >> ${target}`);
    assert.match(tried.stderr, /read-only|permission denied/i);
  });
}

for (const absent of [
  "/sys/kernel", "/sys/class", "/root", "/home/volary", "/var/lib", "/var/log", "/boot", "/etc/shadow", "/etc/machine-id",
  "/etc/ssh", "/run/dbus", "/run/user", "/tmp/.X11-unix", "/var/run/docker.sock", "/proc/kcore/x",
  "/dev/kmsg", "/dev/mem", "/dev/fuse", "/dev/kvm", "/dev/vsock", "/dev/net/tun", "/dev/input",
]) {
  test(`${absent} is not there`, async (t) => {
    const tried = await new Workspace(t).caged(`ls -d ${absent}`);
    assert.notEqual(tried.code, 0, tried.stdout);
  });
}

test("nothing is in /sys", async (t) => {
  const tried = await new Workspace(t).caged("ls -A /sys 2>/dev/null");
  assert.equal(tried.stdout, "");
});

test("devices: only the harmless ones", async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged(
    "for f in $(find /dev); do if [ -b $f ] || { [ -c $f ] && [ ! -h $f ]; }; then echo $f; fi; done",
  );
  const harmless = ["full", "null", "random", "tty", "urandom", "zero"];
  assert.deepEqual(
    tried.stdout.trim().split("\n").sort().filter((each) => !each.startsWith("/dev/pts/")),
    harmless.map((each) => `/dev/${each}`),
  );
  const made = await workspace.caged("mknod sda b 8 0");
  assert.match(made.stderr, /not permitted/i);
  assert.equal((await workspace.caged("mkfifo pipe && ls pipe")).stdout, "pipe\n");
});

for (const [file, text] of [
  ["/proc/sys/kernel/core_pattern", "|/workspace/x"], ["/proc/sysrq-trigger", "b"],
  ["/proc/sys/kernel/hostname", "x"], ["/proc/sys/vm/drop_caches", "1"],
]) {
  test(`writing ${file}`, async (t) => {
    const tried = await new Workspace(t).caged(`echo '${text}' > ${file}`);
    assert.match(tried.stderr, /read-only|permission denied|nonexistent|no such/i);
  });
}

test("a setuid program gains nothing", async (t) => {
  const workspace = new Workspace(t);
  const status = await workspace.caged("grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status");
  const lines = Object.fromEntries(status.stdout.trim().split("\n").map((line) => line.split(/:\s+/)));
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) assert.equal(lines[set], "0".repeat(16));
  assert.equal(lines.NoNewPrivs, "1");
  const made = await workspace.caged("cp /usr/bin/id id && chmod u+s id; ./id -u");
  assert.equal(made.stdout, "1000\n");
});

test("a FIFO or a link that is planted where the host reads stays what it is", async (t) => {
  const workspace = new Workspace(t);
  const planted = await workspace.caged(`ln -s ${workspace.secret} result && mkfifo fifo`);
  assert.equal(planted.code, 0, planted.stderr);
  assert.equal(lstatSync(path.join(workspace.work, "result")).isSymbolicLink(), true);
  // Inside, the link leads nowhere: the name is resolved against the cage's own root.
  writeFileSync(path.join(workspace.work, "own"), "own\n");
  assert.notEqual((await workspace.caged("cat result")).code, 0);
  assert.equal((await workspace.caged("cat own")).stdout, "own\n");
});
