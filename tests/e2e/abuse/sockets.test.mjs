// SPDX-License-Identifier: Apache-2.0
// Unix sockets of the host that an agent could ask for more than its cage gives: the agent of ssh,
// the message bus, the display, a container daemon, volary itself.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import test from "node:test";
import { bin, Daemon, run } from "../../support/daemon.mjs";
import { withBackend, Workspace } from "./cage.mjs";

const connect = (where) => `
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(${JSON.stringify(where)})
    print("reached")
except OSError as error: print("refused", error.errno)
`;

/** A server on a unix socket; how many came. */
async function serve(t, where) {
  mkdirSync(path.dirname(where), { recursive: true });
  const heard = { connections: 0 };
  const server = createServer((socket) => {
    heard.connections++;
    socket.destroy();
  });
  await once(server.listen(where), "listening");
  t.after(() => server.close());
  return heard;
}

for (const [what, variable, place] of [
  ["the agent of ssh", "SSH_AUTH_SOCK", "ssh/agent.1"],
  ["the message bus", "DBUS_SESSION_BUS_ADDRESS", "run/bus"],
  ["the display", "DISPLAY", ".X11-unix/X9"],
  ["a container daemon", "DOCKER_HOST", "docker.sock"],
]) {
  test(`${what} of the host`, async (t) => {
    const workspace = new Workspace(t);
    const where = path.join(workspace.outside, place);
    const heard = await serve(t, where);
    const policy = path.join(workspace.folder, "policy.yaml");
    writeFileSync(policy, `${withBackend("{}")}\n`);
    const cage = (...argv) =>
      run(path.join(bin, "volary"), ["cage", "run", "--policy", policy, "--", ...argv], {
        cwd: workspace.work,
        env: { ...process.env, [variable]: `unix:path=${where}` },
      });
    const tried = await cage("/usr/bin/python3", "-I", "-c", connect(where));
    assert.equal(tried.stdout, "refused 2\n", tried.stderr);
    // What would tell a program where to look is not there either.
    assert.doesNotMatch((await cage("env")).stdout, new RegExp(variable));
    assert.equal(heard.connections, 0);
    const own = await serve(t, path.join(workspace.work, "own.sock"));
    assert.equal((await cage("/usr/bin/python3", "-I", "-c", connect("/workspace/own.sock"))).stdout, "reached\n");
    assert.equal(own.connections, 1);
  });
}

test("the operator's socket of a running daemon", async (t) => {
  const daemon = await Daemon.start(t);
  const workspace = new Workspace(t);
  assert.equal((await workspace.python(connect(daemon.socket))).stdout, "refused 2\n");
  // Its page on loopback: the cage's loopback is its own.
  const script = `
import socket
try:
    socket.create_connection(("127.0.0.1", ${daemon.port}), 2); print("reached")
except OSError as error: print("refused", error.errno)
`;
  assert.equal((await workspace.python(script)).stdout, "refused 111\n");
  assert.equal((await daemon.cli("status")).code, 0);
});
