// SPDX-License-Identifier: Apache-2.0
// Attempts on cages of firejail, which have the host's root: what of it is seen, what can be changed,
// whom a program inside reaches, and what is left of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../../support/daemon.mjs";
import { until } from "../../support/wait.mjs";
import { kSecret, Workspace } from "../abuse/cage.mjs";

process.env.VOLARY_CAGE_BACKEND = "firejail";
const volary = path.join(bin, "volary");
const installed = existsSync("/usr/bin/firejail");
const mayGain = /^NoNewPrivs:\s+0$/m.test(readFileSync("/proc/self/status", "utf8"));
const skip = installed && mayGain ? false : "needs firejail, and a caller without no_new_privs";

/** Processes of the host whose command line has `mark`. */
async function running(mark) {
  const found = await run("/usr/bin/pgrep", ["-f", mark]);
  return found.stdout.trim();
}

test("a process that gave up privileges is told why it cannot", { skip: !installed }, async (t) => {
  const workspace = new Workspace(t);
  const policy = path.join(workspace.folder, "policy.yaml");
  writeFileSync(policy, "{ backend: firejail }\n");
  const argv = ["--no-new-privs", volary, "cage", "run", "--policy", policy, "--", "true"];
  const tried = await run("/usr/bin/setpriv", argv, { cwd: workspace.work });
  assert.notEqual(tried.code, 0);
  assert.match(tried.stderr, /no_new_privs/);
});

test("the doctor finds that a cage of it holds", { skip }, async () => {
  const report = (await run(volary, ["doctor", "--json"])).json();
  const own = report.checks.find((check) => check.name === "backend firejail");
  assert.deepEqual([own.verdict, own.detail], ["ok", "a cage of it holds as well"]);
});

test("the command, its folder, streams and exit status", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged("pwd; id -un >&2; echo made > new; cat new; exit 7");
  assert.equal(tried.code, 7, tried.stderr);
  assert.equal(tried.stdout, `${workspace.work}\nmade\n`);
  assert.equal(readFileSync(path.join(workspace.work, "new"), "utf8"), "made\n");
  assert.equal((await workspace.caged("kill -9 $$")).code, 137);
});

for (const [what, command] of [
  ["by its path", (w) => `cat ${w.secret}`],
  ["through ..", () => "cat ../outside/secret"],
  ["through a link", (w) => `ln -s ${w.secret} link; cat link`],
  ["through /proc/1/root", (w) => `cat /proc/1/root${w.secret}`],
  ["through a process of the host", (w) => `cat /proc/${process.pid}/root${w.secret}`],
]) {
  test(`a file outside, ${what}`, { skip }, async (t) => {
    const workspace = new Workspace(t);
    const tried = await workspace.caged(command(workspace));
    assert.notEqual(tried.code, 0);
    assert.ok(!tried.stdout.includes(kSecret), tried.stdout);
    writeFileSync(path.join(workspace.work, "own"), "own\n");
    assert.equal((await workspace.caged("cat own; cat ./../work/own")).stdout, "own\nown\n");
  });
}

test("folders of the host are empty or cannot be read", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const places = "/ /root /home /var /var/lib /run /opt /srv /mnt /media /boot /sys /etc/ssh /var/lib/volary";
  const tried = await workspace.caged(`for f in ${places}; do ls -A $f 2>/dev/null; done`);
  assert.equal(tried.stdout, "");
  const files = await workspace.caged("cat /etc/shadow /etc/machine-id /etc/fstab /proc/kcore /proc/kmsg | wc -c");
  assert.equal(files.stdout, "0\n");
  assert.match((await workspace.caged("ls /usr/bin/env /etc/passwd")).stdout, /env\n$/);
});

test("nothing outside can be written", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const places = ["/", "/usr", "/etc", "/var", "/var/tmp", "/run", "/root", "/home", workspace.outside, workspace.folder];
  const tried = await workspace.caged(
    places.map((each) => `(echo x > ${each}/planted-by-firejail) 2>/dev/null && echo ${each}`).join("; "),
  );
  assert.equal(tried.stdout, "");
  for (const each of places) assert.equal(existsSync(path.join(each, "planted-by-firejail")), false);
  const own = await workspace.caged("echo a > here; echo b > $HOME/there; cat here $HOME/there; echo $HOME");
  assert.equal(own.stdout, "a\nb\n/tmp\n");
  assert.equal(existsSync("/tmp/there"), false);
});

test("protected paths of the project stay as they are", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged(
    "echo evil > .git/hooks/pre-commit; echo evil >> .git/config; mv .git away; rm -r .git; echo evil > .volary/project.yaml; true",
  );
  assert.match(tried.stderr, /read-only file system/i);
  assert.match(tried.stderr, /busy/i);
  assert.equal(readFileSync(path.join(workspace.work, ".git/config"), "utf8"), "[core]\n");
  assert.equal(existsSync(path.join(workspace.work, ".git/hooks/pre-commit")), false);
  assert.equal(readFileSync(path.join(workspace.work, ".volary/project.yaml"), "utf8"), "version: 1\n");
});

test("a read-only project with one writable folder", { skip }, async (t) => {
  const workspace = new Workspace(t);
  mkdirSync(path.join(workspace.work, "out"));
  const policy = "{ fs: [{ path: 'project:/', mode: ro }, { path: 'project:/out', mode: rw }] }";
  const tried = await workspace.caged("echo x > a; echo x > out/a && echo wrote; mkdir b; true", policy);
  assert.equal(tried.stdout, "wrote\n", tried.stderr);
  assert.equal(existsSync(path.join(workspace.work, "a")), false);
  assert.equal(readFileSync(path.join(workspace.work, "out/a"), "utf8"), "x\n");
});

test("sockets of the host", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const heard = { connections: 0 };
  const serve = async (where) => {
    const server = createServer((socket) => {
      heard.connections += 1;
      socket.destroy();
    });
    t.after(() => server.close());
    server.listen(where);
    await once(server, "listening");
    return server.address();
  };
  const outside = path.join(workspace.outside, "agent.sock");
  await serve(outside);
  const { port } = await serve(0);
  const script = `
import socket, sys
def tried(family, where):
    s = socket.socket(family)
    s.settimeout(3)
    try:
        s.connect(where)
        print("reached")
    except OSError: print("refused")
tried(socket.AF_UNIX, ${JSON.stringify(outside)})
tried(socket.AF_UNIX, "/run/dbus/system_bus_socket")
tried(socket.AF_UNIX, "/run/volary/volary.sock")
tried(socket.AF_INET, ("127.0.0.1", ${port}))
tried(socket.AF_INET, ("169.254.169.254", 80))
for family in (socket.AF_PACKET, socket.AF_VSOCK):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
        print("made")
    except OSError: print("refused")
`;
  const tried = await workspace.python(script);
  assert.equal(tried.stdout, "refused\n".repeat(7), tried.stderr);
  assert.equal(heard.connections, 0);
  // Control: what lies in the workspace is the cage's to use, and its own loopback works.
  const own = path.join(workspace.work, "own.sock");
  await serve(own);
  const control = await workspace.python(`
import socket
s = socket.socket(socket.AF_UNIX); s.connect(${JSON.stringify(own)}); print("reached")
l = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(l.getsockname(), 3); print("reached")
`);
  assert.equal(control.stdout, "reached\nreached\n", control.stderr);
});

test("privileges, descriptors and environment", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const status = await workspace.caged("grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
  assert.equal(status.stdout.match(/^Cap\w+:\s+0{16}$/gm).length, 5, status.stdout);
  assert.match(status.stdout, /^NoNewPrivs:\s+1$/m);
  assert.match(status.stdout, /^Seccomp:\s+2$/m);
  const env = await workspace.caged("env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | wc -l");
  assert.match(env.stdout, /^HOME LANG PATH PWD USER (_ )?4\n$/, env.stdout);
  const tools = await workspace.caged("unshare -r true; mount -t tmpfs x /tmp; kill -9 1; firejail true; su -c true; true");
  assert.match(tools.stderr, /unshare/);
  assert.match(tools.stderr, /mount/);
});

test("processes of the host cannot be seen or signalled", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const tried = await workspace.caged(`ls /proc | grep -c '^[0-9]'; kill -9 ${process.pid}; true`);
  assert.ok(Number(tried.stdout) <= 6, tried.stdout);
  assert.equal((await workspace.caged("sleep 60 & kill -9 $!; wait $!; echo $?")).stdout, "137\n");
});

test("what the command leaves behind ends with it", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const mark = `volary-left-${process.pid}`;
  const sleeper = `exec -a ${mark} sleep 600`;
  const tried = await workspace.cagedProgram(
    ["/bin/bash", "-c", `(setsid bash -c '${sleeper}' &) ; bash -c '${sleeper}' & sleep 0.2; echo done`],
  );
  assert.equal(tried.stdout, "done\n", tried.stderr);
  assert.equal(await running(`^${mark}`), "");
});

test("a killed volary leaves no process of its cage", { skip }, async (t) => {
  const workspace = new Workspace(t);
  const policy = path.join(workspace.folder, "policy.yaml");
  writeFileSync(policy, "{ backend: firejail }\n");
  const mark = `volary-orphan-${process.pid}`;
  const script = `trap '' TERM HUP; (setsid bash -c 'exec -a ${mark} sleep 600' &); echo begun; exec -a ${mark} sleep 600`;
  const child = spawn(volary, ["cage", "run", "--policy", policy, "--", "/bin/bash", "-c", script], {
    cwd: workspace.work,
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(child.stdout, "data");
  t.after(() => child.kill("SIGKILL"));
  const count = async () => (await running(`^${mark}`)).split("\n").filter((each) => each !== "").length;
  await until("both run", async () => (await count()) === 2);
  child.kill("SIGKILL");
  await until("none is left", async () => (await count()) === 0);
});

for (const [limit, policy, command] of [
  ["wall", "{ limits: { wall: 1s } }", "trap '' TERM; sleep 60"],
  ["memory", "{ limits: { memory: 96M } }", `for i in 1 2 3 4 5 6; do python3 -c "
import time
b = bytearray(60 << 20)
time.sleep(60)" & done; wait`],
  ["disk", "{}", "head -c 1300M /dev/zero > /tmp/big; sleep 60"],
]) {
  test(`the limit ${limit} ends the cage`, { skip }, async (t) => {
    const tried = await new Workspace(t).caged(command, policy);
    assert.equal(tried.code, 137, tried.stderr);
    assert.match(tried.stderr, new RegExp(`limit ${limit}`));
  });
}

for (const [what, policy, needs] of [
  ["network rules", "{ net: { allow: ['a.example:443'] } }", "network rules"],
  ["a layer for changes", "{ fs: [{ path: 'project:/', mode: cow }] }", "cow"],
  ["a private folder", "{ fs: [{ path: 'project:/own', mode: tmp }] }", "other places"],
  ["a size", "{ limits: { disk: 64M } }", "sized folders"],
  ["a device", "{ devices: [/dev/null] }", "devices"],
  ["kept state", "{ state: kept }", "kept state"],
  ["telling", "{ require: [notify] }", "notified system calls"],
]) {
  test(`${what} is refused by name`, { skip }, async (t) => {
    const workspace = new Workspace(t);
    mkdirSync(path.join(workspace.work, "own"));
    const tried = await workspace.caged("echo ran", policy);
    assert.notEqual(tried.code, 0);
    assert.equal(tried.stdout, "");
    assert.ok(tried.stderr.includes(`needs "${needs}", which backend "firejail" does not give`), tried.stderr);
  });
}
