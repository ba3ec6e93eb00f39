// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import test from "node:test";
import { Daemon } from "../support/daemon.mjs";
import { Api, assertError, rawRequest } from "../support/http.mjs";
import { Stream } from "../support/stream.mjs";

const kSession = "ses_00000000000000000000000000";

/** Every mutation with a body: [method, path, a good body]. */
function mutations(session) {
  return [
    ["POST", "/projects", { path: "/nowhere" }],
    ["POST", "/projects/music-site/messages", { text: "hello" }],
    ["POST", `/sessions/${session}/hold`, {}],
    ["POST", `/sessions/${session}/resume`, {}],
    ["POST", `/sessions/${session}/stop`, {}],
    ["PATCH", `/sessions/${session}/plan/entries/1`, { text: "x" }],
    ["POST", `/sessions/${session}/grants`, { agent: "primary", net: "x.example:443", scope: "session" }],
  ];
}

test("a body that is not what the route takes is 400 with one error shape", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  await daemon.finished(session);
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  for (const [method, path, good] of mutations(session)) {
    const bodies = ["{", "", "null", "[]", '"text"', "{\"a\":1}}", "\xff\xfe", deep, "{\"__proto__\":1}",
      JSON.stringify({ ...good, surprise: 1 })];
    for (const body of bodies) {
      // Routes whose body is all optional take an empty one.
      if (body === "" && Object.keys(good).length === 0) continue;
      const answer = await daemon.api.request(method, path, { body, key: randomUUID() });
      await t.test(`${method} ${path} ${body.slice(0, 20)}`, () => assertError(answer, 400, "invalid"));
    }
  }
  for (const text of [1, null, {}, [], true, ""]) {
    const body = { text };
    const answer = await daemon.api.request("POST", "/projects/music-site/messages", { body, key: randomUUID() });
    const error = assertError(answer, 400, "invalid");
    assert.match(JSON.stringify(error), /text/, "the error names the field");
  }
});

test("what is not there is 404, a wrong method is 405 with Allow", async (t) => {
  const daemon = await Daemon.start(t);
  const unknown = [
    ["GET", "/projects/nobody"],
    ["GET", `/sessions/${kSession}`],
    ["GET", `/sessions/${kSession}/events`],
    ["GET", `/sessions/${kSession}/cages`],
    ["GET", `/sessions/${kSession}/network`],
    ["GET", "/cages/cage_00000000000000000000000000/network"],
    ["GET", "/cages/not-a-cage/network"],
    ["GET", "/sessions/not-an-id"],
    ["GET", "/nothing/here"],
    ["POST", `/sessions/${kSession}/stop`],
    ["PATCH", `/sessions/${kSession}/plan/entries/1`],
    ["DELETE", `/sessions/${kSession}/queue/run_00000000000000000000000000`],
  ];
  for (const [method, path] of unknown) {
    const body = method === "PATCH" ? { text: "x" } : method === "POST" ? {} : undefined;
    const answer = await daemon.api.request(method, path, { body, key: randomUUID() });
    await t.test(`${method} ${path}`, () => assertError(answer, 404, "not_found"));
  }
  const climbing = await daemon.api.request("GET", "/sessions/..%2f..%2fetc");
  assertError(climbing, 400, "invalid");
  const wrong = await daemon.api.request("DELETE", "/status", { key: randomUUID() });
  assertError(wrong, 405);
  assert.match(wrong.headers.allow, /GET/);
});

test("numbers in a query are checked", async (t) => {
  const daemon = await Daemon.start(t);
  const { session } = await daemon.send();
  for (const query of ["after=-1", "after=x", "limit=0", "limit=1001", "limit=1e9", "after=99999999999999999999"]) {
    const answer = await daemon.api.request("GET", `/sessions/${session}/events?${query}`);
    await t.test(query, () => assertError(answer, 400, "invalid"));
  }
});

test("a body beyond the limit is 413, announced or not", async (t) => {
  const daemon = await Daemon.start(t);
  const body = JSON.stringify({ text: "x".repeat(32 << 20) });
  const answer = await daemon.api
    .request("POST", "/projects/music-site/messages", { body, key: "big" })
    .catch((error) => error);
  // The daemon may hang up on a sender that goes on after the answer.
  if (!(answer instanceof Error)) assertError(answer, 413, "too_large");
  const announced = await daemon.api.request("POST", "/projects/music-site/messages", {
    body: "{}",
    key: "announced",
    headers: { "content-length": "99999999999", expect: "100-continue" },
  }).catch((error) => error);
  if (!(announced instanceof Error)) assert.ok([413, 400].includes(announced.status));
  assert.equal((await daemon.api.get("/healthz")).status, "ok");
});

test("a browser of another site gets nothing: wrong Host, Origin, Sec-Fetch-Site, no header", async (t) => {
  const daemon = await Daemon.start(t);
  const web = await daemon.signIn();
  const path = "/projects/music-site/messages";
  const options = { body: { text: "hello" }, key: "k" };
  const refused = {
    "wrong host": { host: `evil.example:${daemon.port}` },
    "wrong port in host": { host: `127.0.0.1:${daemon.port + 1}` },
    "other origin": { origin: "http://evil.example" },
    "null origin": { origin: "null" },
    "origin that starts alike": { origin: `${daemon.url.origin}.evil.example` },
    "no origin": { origin: undefined },
    "cross-site fetch": { "sec-fetch-site": "cross-site" },
    "same-site fetch": { "sec-fetch-site": "same-site" },
    "no client header": { "x-volary-client": undefined },
  };
  for (const [name, headers] of Object.entries(refused)) {
    const answer = await web.request("POST", path, { ...options, headers });
    await t.test(name, () => assertError(answer, 403, "denied"));
  }
  const badHost = await web.request("GET", "/projects", { headers: { host: "evil.example" } });
  assertError(badHost, 403, "denied");
  for (const cookie of [undefined, "volary_session=", "volary_session=guess"]) {
    assertError(await web.request("GET", "/projects", { headers: { cookie } }), 401, "denied");
  }
  assert.equal((await web.request("POST", path, options)).status, 202);
});

test("the stream of another origin, or without a cookie, is refused before the upgrade", async (t) => {
  const daemon = await Daemon.start(t);
  await daemon.signIn();
  const { origin, cookie } = daemon.webHeaders();
  const open = (headers) => Stream.open(daemon.tcp, headers);
  await assert.rejects(open({ origin: "http://evil.example", cookie }), { status: 403 });
  await assert.rejects(open({ cookie }), { status: 403 });
  await assert.rejects(open({ origin }), { status: 401 });
  (await open({ origin, cookie })).cut();
});

test("launch codes come over the operator socket only, and guesses are limited", async (t) => {
  const daemon = await Daemon.start(t);
  const web = await daemon.signIn();
  assertError(
    await web.request("POST", "/auth/launch-codes", { body: {}, key: "k" }),
    403,
    "denied",
  );
  const statuses = [];
  for (let i = 0; i < 60; i++) {
    const guess = await rawRequest(daemon.tcp, {
      path: `/launch/guess${i}`,
      headers: { host: daemon.url.host },
    });
    assert.equal(guess.headers["set-cookie"], undefined);
    statuses.push(guess.status);
  }
  assert.ok(statuses.includes(429) || statuses.includes(503), `never limited: ${statuses}`);
});

test("every answer carries the security headers", async (t) => {
  const daemon = await Daemon.start(t);
  const nobody = new Api(daemon.tcp, { host: daemon.url.host });
  for (const path of ["/healthz", "/projects", "/nothing"]) {
    const { headers } = await nobody.request("GET", path);
    assert.match(headers["content-security-policy"], /frame-ancestors 'none'/);
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["referrer-policy"], "no-referrer");
  }
});
