// SPDX-License-Identifier: Apache-2.0
// System calls and socket families that a cage refuses whatever else its policy says.
import assert from "node:assert/strict";
import { arch } from "node:os";
import test from "node:test";
import { Workspace } from "./cage.mjs";

// Numbers of arch/x86/entry/syscalls/syscall_64.tbl. Arguments are chosen so that an unfiltered
// kernel answers an ordinary user with another errno than EPERM, or succeeds, where that is possible.
const kCalls = {
  mount: [165, 0, 0, 0, 0, 0], umount2: [166, 0, 0], pivot_root: [155, 0, 0], chroot: [161, 0],
  open_tree: [428, -1, 0, 0], move_mount: [429, -1, 0, -1, 0, 0], fsopen: [430, 0, 0],
  fsconfig: [431, -1, 0, 0, 0, 0], fsmount: [432, -1, 0, 0], fspick: [433, -1, 0, 0],
  mount_setattr: [442, -1, 0, 0, 0, 0], statmount: [457, 0, 0, 0, 0], listmount: [458, 0, 0, 0, 0],
  unshare: [272, 0], setns: [308, -1, 0],
  process_vm_readv: [310, 0, 0, 0, 0, 0, 0], process_vm_writev: [311, 0, 0, 0, 0, 0, 0],
  pidfd_getfd: [438, -1, 0, 0], kcmp: [312, 0, 0, 0, 0, 0], process_madvise: [440, -1, 0, 0, 0, 0],
  ptrace: [101, 0, 0, 0, 0],
  bpf: [321, 0, 0, 0], init_module: [175, 0, 0, 0], finit_module: [313, -1, 0, 0],
  delete_module: [176, 0, 0], kexec_load: [246, 0, 0, 0, 0], kexec_file_load: [320, -1, -1, 0, 0, 0],
  reboot: [169, 0, 0, 0, 0],
  keyctl: [250, 0, 0, 0, 0, 0], add_key: [248, 0, 0, 0, 0, 0], request_key: [249, 0, 0, 0, 0],
  userfaultfd: [323, 0], perf_event_open: [298, 0, 0, 0, 0, 0], io_uring_setup: [425, 0, 0],
  io_uring_enter: [426, -1, 0, 0, 0, 0], io_uring_register: [427, -1, 0, 0, 0],
  vmsplice: [278, -1, 0, 0, 0], remap_file_pages: [216, 0, 0, 0, 0, 0], modify_ldt: [154, 0, 0, 0],
  clock_settime: [227, 0, 0], clock_adjtime: [305, 0, 0], adjtimex: [159, 0], settimeofday: [164, 0, 0],
  swapon: [167, 0, 0], swapoff: [168, 0], acct: [163, 0], quotactl: [179, 0, 0, 0, 0],
  syslog: [103, 3, 0, 0], sethostname: [170, 0, 0], setdomainname: [171, 0, 0], iopl: [172, 0],
  ioperm: [173, 0, 0, 0], vhangup: [153],
  open_by_handle_at: [304, -1, 0, 0], name_to_handle_at: [303, -1, 0, 0, 0, 0],
  fanotify_init: [300, 0, 0],
  mbind: [237, 0, 0, 0, 0, 0, 0], set_mempolicy: [238, 0, 0, 0], migrate_pages: [256, 0, 0, 0, 0],
  move_pages: [279, 0, 0, 0, 0, 0, 0],
  personality: [135, 0x0040000],
};
/** These are made to look as if the kernel did not have them, so that libc takes the older way. */
const kMissing = { clone3: [435, 0, 0] };
/** The same call with other arguments is allowed: what is refused is the argument. */
const kFlags = {
  "clone with CLONE_NEWUSER": [56, 0x10000000, 0, 0, 0, 0],
  "clone with CLONE_NEWNET": [56, 0x40000000, 0, 0, 0, 0],
  "clone with CLONE_NEWNS": [56, 0x00020000, 0, 0, 0, 0],
  "ioctl TIOCSTI": [16, 0, 0x5412, 0],
  "ioctl TIOCSTI with high bits": [16, 0, 0x100005412, 0],
  "ioctl TIOCLINUX": [16, 0, 0x541c, 0],
};
const kFamilies = {
  AF_AX25: 3, AF_X25: 9, AF_KEY: 15, AF_PACKET: 17, AF_RDS: 21, AF_LLC: 26, AF_CAN: 29, AF_TIPC: 30,
  AF_BLUETOOTH: 31, AF_ALG: 38, AF_NFC: 39, AF_VSOCK: 40, AF_KCM: 41, AF_SMC: 43, AF_XDP: 44,
};

const prologue = `
import ctypes, errno, json, socket
libc = ctypes.CDLL(None, use_errno=True)
def name(code): return errno.errorcode.get(code, str(code))
`;

/** Refused by user notification: each attempt is told, by these words. */
const kTold = {
  mount: "mount", umount2: "umount2", pivot_root: "pivot_root", chroot: "chroot", open_tree: "open_tree",
  move_mount: "move_mount", fsopen: "fsopen", fsmount: "fsmount", fspick: "fspick",
  mount_setattr: "mount_setattr", unshare: "unshare", setns: "setns", ptrace: "ptrace",
  pidfd_getfd: "pidfd_getfd", bpf: "bpf", init_module: "init_module", finit_module: "finit_module",
  kexec_load: "kexec_load", keyctl: "keyctl", add_key: "add_key", request_key: "request_key",
  userfaultfd: "userfaultfd", perf_event_open: "perf_event_open", io_uring_setup: "io_uring_setup",
  "clone with CLONE_NEWUSER": "clone of namespaces (user)",
  "clone with CLONE_NEWNET": "clone of namespaces (net)",
  "clone with CLONE_NEWNS": "clone of namespaces (mount)",
  "ioctl TIOCSTI": "ioctl TIOCSTI", "ioctl TIOCLINUX": "ioctl TIOCLINUX",
};

/** The errno that each call ends with, by its name; "0" when it succeeds; and what was told. */
async function errnos(workspace, calls, policy) {
  const script = `${prologue}
out = {}
for call, args in json.loads(${JSON.stringify(JSON.stringify(calls))}).items():
    ctypes.set_errno(0)
    rc = libc.syscall(*[ctypes.c_long(a) for a in args])
    out[call] = name(ctypes.get_errno()) if rc == -1 else "0"
print(json.dumps(out))
`;
  const done = await workspace.python(script, policy);
  assert.equal(done.code, 0, done.stderr);
  return { got: JSON.parse(done.stdout), told: done.stderr };
}

const onlyX86 = { skip: arch() !== "x64" && "the numbers are those of x86-64" };

test("system calls", onlyX86, async (t) => {
  const workspace = new Workspace(t);
  const { got, told } = await errnos(workspace, { ...kCalls, ...kMissing, ...kFlags });
  for (const call of [...Object.keys(kCalls), ...Object.keys(kFlags)])
    await t.test(call, () => assert.equal(got[call], "EPERM"));
  await t.test("clone3", () => assert.equal(got.clone3, "ENOSYS"));
  for (const [call, words] of Object.entries(kTold)) {
    await t.test(`${call} is told`, () =>
      assert.ok(told.includes(`volary: denied (syscall): ${words} by python3`), told));
  }
  // A denial names a rule only where a rule can allow it.
  assert.match(told, /ptrace by python3; "seccomp: \{add: \[ptrace\]\}" would allow it/);
  assert.doesNotMatch(told, /add: \[(mount|unshare|bpf|keyctl|io_uring_setup)\]/);
});

test("a flood of refused calls is counted, not told one by one", onlyX86, async (t) => {
  const workspace = new Workspace(t);
  const calls = 3000;
  const script = `${prologue}
libc.prctl(15, b"flood", 0, 0, 0)
for _ in range(${calls}): libc.syscall(165, 0, 0, 0, 0, 0)
print("done")
`;
  const done = await workspace.python(script);
  assert.equal(done.stdout, "done\n", done.stderr);
  const lines = done.stderr.split("\n").filter((line) => line.includes("mount by flood"));
  assert.ok(lines.length <= 3, done.stderr);
  const counts = lines.map((line) => Number(/\((\d+) times\)/.exec(line)?.[1] ?? 1));
  assert.equal(counts.reduce((a, b) => a + b, 0), calls, done.stderr);
});

test("seccomp.add and seccomp.remove change what is refused, by name", onlyX86, async (t) => {
  const workspace = new Workspace(t);
  const calls = { ptrace: kCalls.ptrace, kcmp: kCalls.kcmp, mount: kCalls.mount, sync: [162] };
  const policy = "seccomp: { add: [ptrace, kcmp], remove: [sync] }";
  const { got } = await errnos(workspace, calls, policy);
  assert.notEqual(got.ptrace, "EPERM");
  assert.notEqual(got.kcmp, "EPERM");
  assert.equal(got.mount, "EPERM");
  assert.equal(got.sync, "EPERM");
  const plain = await errnos(workspace, calls);
  assert.equal(plain.got.sync, "0");
  for (const [list, says] of [
    ["add: [ptrase]", /"ptrase" is no system call; did you mean "ptrace"\?/],
    ["add: [mount]", /"mount" is refused in every cage: would change what the cage sees/],
    ["remove: [execve]", /"execve" is needed to start the command/],
  ]) {
    const done = await workspace.caged("true", `seccomp: { ${list} }`);
    assert.notEqual(done.code, 0);
    assert.match(done.stderr, says);
  }
});

test("what a debugger needs is allowed by the relaxed profile, and nothing else", onlyX86, async (t) => {
  const workspace = new Workspace(t);
  const { got } = await errnos(workspace, kCalls, "seccomp: relaxed");
  assert.notEqual(got.ptrace, "EPERM");
  delete got.ptrace;
  assert.deepEqual([...new Set(Object.values(got))], ["EPERM"]);
});

test("calls of other architectures end the program", onlyX86, async (t) => {
  const workspace = new Workspace(t);
  // mov eax, 20; int 0x80; ret: getpid by the i386 table. The control asks the x86-64 one (39).
  const run = (code) => `${prologue}
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("${code}"))
entry = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(entry() > 0)
`;
  assert.equal((await workspace.python(run("b8270000000f05c3"))).stdout, "True\n");
  assert.equal((await workspace.python(run("b814000000cd80c3"))).code, 128 + 31);
  // x32: the same table with bit 30.
  assert.equal((await workspace.python(run("b8270000400f05c3"))).code, 128 + 31);
});

test("socket families", async (t) => {
  const workspace = new Workspace(t);
  const script = `${prologue}
out = {}
for family, number in json.loads(${JSON.stringify(JSON.stringify(kFamilies))}).items():
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(number, kind).close()
            out[family] = "0"
        except OSError as error:
            out.setdefault(family, name(error.errno))
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6): socket.socket(family).close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
for protocol in (2, 4, 9, 10, 12, 15, 16):
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()
        out["netlink %d" % protocol] = "0"
    except OSError as error:
        out["netlink %d" % protocol] = name(error.errno)
for family in (socket.AF_INET, socket.AF_INET6):
    try:
        socket.socket(family, socket.SOCK_RAW, 1).close()
        out["raw %d" % family] = "0"
    except OSError as error:
        out["raw %d" % family] = name(error.errno)
print(json.dumps(out))
`;
  const done = await workspace.python(script);
  assert.equal(done.code, 0, done.stderr);
  for (const family of ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_NETLINK"])
    assert.ok(done.stderr.includes(`denied (syscall): socket ${family} by python3`), done.stderr);
  for (const [family, got] of Object.entries(JSON.parse(done.stdout))) {
    const raw = family.startsWith("raw");
    await t.test(family, () => assert.equal(got, raw ? "EPERM" : "EAFNOSUPPORT"));
  }
});

// The same by the programs that people have, as an agent would try first.
for (const [what, command, control] of [
  ["a user namespace of its own", "unshare --user --map-root-user id -u", "id -u"],
  ["a network namespace of its own", "unshare --net true", "true"],
  ["the namespaces of the first process", "nsenter --target 1 --all true", "true"],
  ["a mount", "mount -t tmpfs none /tmp", "ls /tmp"],
  ["another root", "/usr/sbin/chroot /workspace /bin/true", "ls -d /workspace"],
  ["another host name", "hostname elsewhere", "hostname"],
  ["another time", "date -s 2001-01-01", "date"],
  ["the kernel's messages", "dmesg", "true"],
]) {
  test(`${what}, by its command`, async (t) => {
    const workspace = new Workspace(t);
    const tried = await workspace.caged(command);
    assert.notEqual(tried.code, 0, `${tried.stdout}${tried.stderr}`);
    assert.match(tried.stderr, /not permitted|permission denied|must be superuser|must be root|cannot set date/i);
    assert.equal((await workspace.caged(control)).code, 0);
  });
}
