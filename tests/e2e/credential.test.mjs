// SPDX-License-Identifier: Apache-2.0
// A credential of the operator's, used from a real cage: the cage speaks plain HTTP, the server hears
// TLS with the header, and nothing that the cage can see holds the secret.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { bin, run } from "../support/daemon.mjs";

const kName = "api.shop.example";
const kSecret = "a-secret-of-the-operator";

/** A root, and a certificate for `name` that it signed. */
function certificates(folder, name) {
  const at = (file) => path.join(folder, file);
  const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test root");
  openssl("req", ...key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", `/CN=${name}`);
  writeFileSync(at("ext"), `subjectAltName=DNS:${name}\n`);
  openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "leaf.pem");
  return { ca: at("ca.pem"), key: readFileSync(at("leaf.key")), cert: readFileSync(at("leaf.pem")) };
}

/** An HTTPS server on loopback for `name`, and a config and policy by which a cage reaches it. */
async function stage(t, { certified = kName, hosts = `${kName}:443`, rule = kName } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), "volary-credential-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { ca, key, cert } = certificates(folder, certified);
  const heard = [];
  const server = createServer({ key, cert }, (request, response) => {
    heard.push({ url: request.url, headers: request.headers, raw: request.rawHeaders });
    response.end("answered\n");
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  const config = path.join(folder, "config.toml");
  writeFileSync(
    config,
    `[credentials.api]
prefix = "Bearer "
value = "${kSecret}"
hosts = ["${hosts}"]
[tls]
ca = "${ca}"
[gatekeeper.hosts]
"${kName}" = "127.0.0.1:${server.address().port}"
`,
    { mode: 0o600 },
  );
  const policy = path.join(folder, "policy.yaml");
  writeFileSync(policy, `net: { allow: [ { to: "${rule}:443", credential: api } ] }\n`);
  const caged = (command) =>
    run(path.join(bin, "volary"), ["cage", "run", "--config", config, "--policy", policy, "--", "/bin/sh", "-c", command], { cwd: folder });
  return { heard, caged };
}

test("the credential is added outside, and the cage's own header is not", async (t) => {
  const { heard, caged } = await stage(t);
  const done = await caged(`curl -sS --max-time 10 -H 'Authorization: mine' http://${kName}/a?b=c; env; cat /proc/self/environ`);
  assert.match(done.stdout, /^answered$/m, done.stderr);
  assert.equal(heard.length, 1);
  assert.equal(heard[0].url, "/a?b=c");
  assert.equal(heard[0].headers.authorization, `Bearer ${kSecret}`);
  assert.equal(heard[0].headers.host, kName);
  assert.equal(heard[0].raw.filter((name) => /^authorization$/i.test(name)).length, 1);
  assert.doesNotMatch(done.stdout + done.stderr, new RegExp(kSecret));
});

test("the name's port 443 stays closed", async (t) => {
  const { heard, caged } = await stage(t);
  const done = await caged(`curl -sSk --max-time 10 https://${kName}/`);
  assert.notEqual(done.code, 0);
  assert.equal(heard.length, 0);
  assert.match(done.stderr, /denied \(net\): tcp api\.shop\.example:443/);
});

test("a server with another's certificate hears no request", async (t) => {
  const { heard, caged } = await stage(t, { certified: "elsewhere.example" });
  const done = await caged(`curl -sS --max-time 10 http://${kName}/`);
  assert.notEqual(done.code, 0);
  assert.equal(heard.length, 0);
  assert.match(done.stderr, /denied \(credential\): hostname mismatch/i);
  assert.doesNotMatch(done.stderr, new RegExp(kSecret));
});

test("a credential that may not go to the rule's host is refused before the start", async (t) => {
  const { caged } = await stage(t, { hosts: "other.example:443" });
  const done = await caged("echo started");
  assert.notEqual(done.code, 0);
  assert.doesNotMatch(done.stdout, /started/);
  assert.match(done.stderr, /credential "api" may not go there/);
});
