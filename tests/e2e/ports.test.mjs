// SPDX-License-Identifier: Apache-2.0
// Published ports with a real server in a real cage, as clients see it that are no browsers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { bin } from "../support/daemon.mjs";
import { assertError, rawRequest } from "../support/http.mjs";
import { startApp } from "../support/ports.mjs";
import { until, within } from "../support/wait.mjs";

/** One request to the app below its capability URL. */
function visit(daemon, url, rest = "", { method, headers = {}, body } = {}) {
  const all = { host: daemon.url.host, ...headers };
  if (body !== undefined) all["content-length"] = Buffer.byteLength(body);
  return rawRequest(daemon.tcp, { method, path: url + rest, headers: all, body });
}

test("a published port is listed, opened and reached; it ends with its cage", async (t) => {
  const { daemon, session, web, list } = await startApp(t);
  const { ports } = await list();
  assert.deepEqual(
    ports.map(({ name, port, agent, listening, ...rest }) => [name, port, agent, listening, rest.public]),
    [["web", 3000, "primary", true, false], ["quiet", 3001, "primary", false, true]],
  );
  const told = await daemon.cli("cage", "ports", session);
  assert.match(told.stdout, /web +3000 +operators +listening +primary/);

  const api = await daemon.signIn();
  const { url, expires_at } = await api.post(`/sessions/${session}/ports/web/open`);
  assert.match(url, /^\/ports\/t\/[\w-]{43}\/$/);
  assert.ok(expires_at > Date.now());
  // The capability is the address: no cookie, and none is passed on.
  const answer = await visit(daemon, url, "api?x=1", {
    headers: { cookie: daemon.cookie, authorization: "Bearer x", "accept-encoding": "identity" },
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.json.path, "/api?x=1");
  assert.equal(answer.json.headers.host, "localhost:3000");
  for (const name of ["cookie", "authorization"]) assert.equal(answer.json.headers[name], undefined);
  assert.equal(answer.headers["set-cookie"], undefined);
  assert.equal(answer.headers["service-worker-allowed"], undefined);
  assert.match(answer.headers["content-security-policy"], /^sandbox allow-scripts/);
  assert.doesNotMatch(answer.headers["content-security-policy"], /allow-same-origin/);
  assert.equal(answer.headers["access-control-allow-origin"], undefined);

  const body = "x".repeat(3 << 20);
  const posted = await visit(daemon, url, "form", { method: "POST", body, headers: { origin: "null" } });
  assert.equal(posted.json.body.length, body.length);
  assert.equal(posted.headers["access-control-allow-origin"], "null");
  const moved = await visit(daemon, url, "away");
  assert.equal(moved.headers.location, `${url}api?came=1`);
  assert.doesNotMatch(daemon.log, new RegExp(url.split("/")[3]));

  const quiet = await api.post(`/sessions/${session}/ports/quiet/open`, { agent: "primary" });
  assert.match(assertError(await visit(daemon, quiet.url), 503).message, /nothing listens on port 3001/);

  await daemon.cli("session", "stop", session);
  await daemon.finished(session);
  assertError(await visit(daemon, url), 404);
  assert.deepEqual((await list()).ports, []);
});

test("who has no session, no token or another origin gets nothing", async (t) => {
  const { daemon, session, web } = await startApp(t);
  const api = await daemon.signIn();
  const { url } = await api.post(`/sessions/${session}/ports/web/open`);
  // Opening needs a sign-in, and is a change like any other.
  const bare = (method, path, headers = {}) =>
    rawRequest(daemon.tcp, { method, path, headers: { host: daemon.url.host, ...headers } });
  const open = `/api/v1/sessions/${session}/ports/web/open`;
  assert.equal((await bare("GET", web.url)).status, 401);
  assert.equal((await bare("POST", open, { origin: daemon.url.origin, "x-volary-client": "x" })).status, 401);
  assert.equal((await bare("POST", open, { origin: "null", "x-volary-client": "x", cookie: daemon.cookie })).status, 403);
  assert.equal((await bare("GET", web.url, { cookie: daemon.cookie, "sec-fetch-site": "cross-site" })).status, 403);
  const led = await bare("GET", web.url, { cookie: daemon.cookie, "sec-fetch-site": "same-origin" });
  assert.equal(led.status, 303);
  assert.match(led.headers.location, /^\/ports\/t\/[\w-]{43}\/$/);
  assert.equal((await bare("GET", web.url.replace(/web$/, "other"), { cookie: daemon.cookie })).status, 404);

  const wrong = url.replace(/.(?=\/$)/, (last) => (last === "A" ? "B" : "A"));
  assert.equal((await visit(daemon, wrong)).status, 404);
  assert.equal((await visit(daemon, url, "", { headers: { host: "evil.example" } })).status, 403);
  assert.equal((await visit(daemon, url, "form", { method: "POST", body: "", headers: { origin: "https://evil.example" } })).status, 403);
  assert.equal((await visit(daemon, url, "worker.js", { headers: { "service-worker": "script" } })).status, 403);
  // A page of a cage has the origin "null": it gets nowhere else, not even with the cookie.
  for (const [method, path] of [["GET", "/api/v1/sessions"], ["POST", open]]) {
    const headers = { origin: "null", cookie: daemon.cookie, "x-volary-client": "x" };
    assert.equal((await bare(method, path, headers)).status, 403, path);
  }
  const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", origin: "null", cookie: daemon.cookie };
  assert.equal((await bare("GET", "/api/v1/stream", upgrade)).status, 403);
  // Bytes go over the operator socket alone.
  const bytes = { connection: "Upgrade", upgrade: "volary-bytes", cookie: daemon.cookie };
  assert.equal((await bare("GET", `/api/v1/sessions/${session}/ports/web/tcp`, bytes)).status, 403);
});

test("`volary cage forward` brings the port to the host, many connections at once", async (t) => {
  const { daemon, session } = await startApp(t);
  const child = spawn(path.join(bin, "volary"), [
    ...["--socket", daemon.socket, "cage", "forward", session, "web", "0", "--json"],
  ]);
  t.after(() => child.kill("SIGKILL"));
  const [line] = await within("the forward listens", once(createInterface({ input: child.stdout }), "line"));
  const [host, port] = JSON.parse(line).listen.split(":");
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => rawRequest({ host, port }, { path: `/api?${i}` })),
  );
  assert.deepEqual(answers.map((answer) => answer.json.path), answers.map((_, i) => `/api?${i}`));
  // Raw bytes: what is no HTTP gets through as it is.
  const raw = net.connect(Number(port), host);
  raw.write("GET /api HTTP/1.0\r\n\r\n");
  let text = "";
  raw.on("data", (chunk) => (text += chunk));
  await within("the app closes", once(raw, "close"));
  assert.match(text, /"path": "\/api"/);
  await daemon.cli("session", "stop", session);
  await daemon.finished(session);
  const late = net.connect(Number(port), host);
  await within("a late connection ends", once(late, "close"));
  const ended = once(child, "exit");
  child.kill("SIGINT");
  assert.deepEqual(await ended, [0, null]);
  const wrong = await daemon.cli("cage", "forward", session, "nothing");
  assert.equal(wrong.code, 3, wrong.stderr);
});

test("a port that nobody may hold open for ever: the app's connection ends with the client's", async (t) => {
  const { daemon, session } = await startApp(t);
  const api = await daemon.signIn();
  const { url } = await api.post(`/sessions/${session}/ports/web/open`);
  const socket = net.connect(daemon.port, daemon.url.hostname);
  socket.write(`GET ${url}events HTTP/1.1\r\nHost: ${daemon.url.host}\r\n\r\n`);
  let text = "";
  socket.on("data", (chunk) => (text += chunk));
  await until("the first event comes at once", () => /data: chirp/.test(text));
  socket.destroy();
  assert.equal((await visit(daemon, url, "api")).status, 200);
});
