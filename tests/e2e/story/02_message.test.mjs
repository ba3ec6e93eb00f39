// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, assertContiguous, only } from "../../support/daemon.mjs";
import { assertError } from "../../support/http.mjs";

const kPath = "/projects/music-site/messages";
const kText = "scrape the new releases and prep a deploy";

test("2: a message is committed before it is acknowledged, and once per key", async (t) => {
  const daemon = await Daemon.start(t, { delay: 20 });
  const post = (body, headers) =>
    daemon.api.request("POST", kPath, { body, key: "first", headers });

  const answer = await post({ text: kText });
  assert.equal(answer.status, 202, answer.text);
  const { session, run, message, seq } = answer.json;
  assert.match(session, /^ses_/);
  assert.match(run, /^run_/);
  assert.ok(Number.isInteger(seq) && seq >= 1);
  // What was acknowledged survives kill -9 at that very moment.
  await daemon.crash();
  await daemon.launch();

  const events = await daemon.api.events(session);
  assertContiguous(events);
  const stored = only(events, "message.user");
  assert.deepEqual([stored.body.id, stored.body.text, stored.run], [message, kText, run]);
  assert.ok(stored.seq <= seq);
  assert.match(stored.actor, /^operator:/);

  const again = await post({ text: kText });
  assert.deepEqual([again.status, again.json], [202, answer.json]);
  only(await daemon.api.events(session), "message.user");
  assertError(await post({ text: "something else" }), 409, "conflict");
  only(await daemon.api.events(session), "message.user");
});

test("2: a mutation needs its headers", async (t) => {
  const daemon = await Daemon.start(t);
  const body = { text: kText };

  assertError(await daemon.api.request("POST", kPath, { body }), 400, "invalid");
  for (const key of ["", "x".repeat(129), "tab\there"]) {
    assertError(
      await daemon.api.request("POST", kPath, { body, headers: { "idempotency-key": key } }),
      400,
      "invalid",
    );
  }
  assertError(
    await daemon.api.request("POST", kPath, {
      body,
      key: "k",
      headers: { "x-volary-client": undefined },
    }),
    403,
    "denied",
  );
  assert.equal((await daemon.api.get("/sessions")).total, 0);
});
