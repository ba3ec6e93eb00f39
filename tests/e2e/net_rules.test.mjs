// SPDX-License-Identifier: Apache-2.0
// Every kind of network rule, from a real cage to a server on the host, by IPv4 and IPv6.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { networkInterfaces, tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../support/daemon.mjs";

async function stage(t, limits = "") {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-rules-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const heard = [];
  const server = createServer((request, response) => {
    heard.push(`${request.method} ${request.headers.host}${request.url}`);
    response.end("reached\n");
  });
  // Both families on one port.
  await once(server.listen(0, "::"), "listening");
  t.after(() => server.close());
  const { port } = server.address();
  const config = path.join(folder, "config.toml");
  writeFileSync(config, `${limits}[gatekeeper.hosts]\n"a.shop.example" = "127.0.0.1"\n"b.shop.example" = "::1"\n`);
  const caged = (rules, command) => {
    const policy = path.join(folder, "policy.yaml");
    writeFileSync(policy, `net: { allow: [ ${rules} ] }\n`);
    const program = ["--", "/bin/sh", "-c", command];
    return run(path.join(bin, "volary"), ["cage", "run", "--config", config, "--policy", policy, ...program], { cwd: folder });
  };
  return { port, heard, caged };
}

const curl = (rest) => `curl -gsS --max-time 10 ${rest}`;

test("a wildcard reaches names below it, by either family, and no others", async (t) => {
  const { port, heard, caged } = await stage(t);
  for (const family of ["-4", "-6"]) {
    for (const name of ["a.shop.example", "b.shop.example"]) {
      const done = await caged(`"*.shop.example:${port}"`, curl(`${family} http://${name}:${port}/`));
      assert.equal(done.stdout, "reached\n", done.stderr);
    }
  }
  const before = heard.length;
  const outside = await caged(`"*.shop.example:${port}"`, curl(`http://shop.example:${port}/`));
  assert.notEqual(outside.code, 0);
  assert.match(outside.stderr, /denied \(dns\): name shop\.example/);
  assert.equal(heard.length, before);
});

/** An address of this host that is not its loopback: a cage's loopback is its own. */
function own(family) {
  const all = Object.values(networkInterfaces()).flat();
  const found = all.find((entry) => entry.family === family && !entry.internal && !entry.scopeid);
  return found?.address;
}

test("addresses and blocks of both families, where the rule says private", async (t) => {
  const { port, caged } = await stage(t);
  const v4 = own("IPv4");
  const v6 = own("IPv6");
  const rules = [[`[::]/96:${port}`, `http://[::1]:${port}/`]];
  if (v4) rules.push([`${v4}:${port}`, `http://${v4}:${port}/`], [`${v4}/32:${port}`, `http://${v4}:${port}/`]);
  if (v6) rules.push([`[${v6}]:${port}`, `http://[${v6}]:${port}/`]);
  for (const [rule, url] of rules) {
    const done = await caged(`{ to: "${rule}", private: true }`, curl(url));
    assert.equal(done.stdout, "reached\n", `${rule}: ${done.stderr}`);
  }
});

test("two blocks of one port, and what lies in neither", async (t) => {
  const { port, heard, caged } = await stage(t);
  const rules = `{ to: "[fd00::]/8:${port}", private: true }, { to: "[::]/96:${port}", private: true }`;
  const done = await caged(rules, curl(`http://[::1]:${port}/`));
  assert.equal(done.stdout, "reached\n", done.stderr);
  const outside = await caged(rules, curl(`http://[2001:db8::1]:${port}/`));
  assert.notEqual(outside.code, 0);
  assert.match(outside.stderr, /denied \(net\): tcp \[2001:db8::1\]/);
  assert.equal(heard.length, 1);
});

test("the operator's share of the network for a cage ends what goes beyond it", async (t) => {
  const { port, heard, caged } = await stage(t, '[gatekeeper]\nbytes = "1K"\nconnections_per_second = 1\n');
  const rule = `"a.shop.example:${port}"`;
  const url = `http://a.shop.example:${port}/`;
  // Two at once, and one a second.
  const many = await caged(rule, `${curl(`${url} --next ${url}`)}; ${curl(url)}; ${curl(url)}; ${curl(url)}`);
  assert.match(many.stderr, /denied \(limit\): more than 1 new connections a second/);
  const before = heard.length;
  assert.ok(before >= 2 && before <= 5, heard.join("\n"));
  const large = await caged(rule, `${curl(`-d ${"x".repeat(5000)} ${url}`)}; ${curl(url)}`);
  assert.notEqual(large.code, 0);
  assert.match(large.stderr, /denied \(limit\): more than 1024 bytes/);
  assert.ok(heard.length <= before + 1, heard.join("\n"));
});

test("methods and paths of plain HTTP", async (t) => {
  const { port, heard, caged } = await stage(t);
  const rule = `{ to: "a.shop.example:${port}", methods: [GET], paths: ["/public/*"] }`;
  const url = `http://a.shop.example:${port}`;
  const done = await caged(rule, curl(`${url}/public/x?y=1`));
  assert.equal(done.stdout, "reached\n", done.stderr);
  for (const rest of [
    `-X POST ${url}/public/x`,
    `${url}/private`,
    `--path-as-is ${url}/public/../private`,
    `--path-as-is ${url}/public/%2e%2e/private`,
    `--path-as-is ${url}/public//../private`,
    `${url}/public/x ${url}/private`,
  ]) {
    const tried = await caged(rule, curl(rest));
    assert.notEqual(tried.code, 0, rest);
    assert.match(tried.stderr, /denied \(http\)/, rest);
  }
  assert.ok(heard.every((line) => line.startsWith(`GET a.shop.example:${port}/public/x`)), heard.join("\n"));
});
