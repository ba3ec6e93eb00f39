// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, assertContiguous, ofKind } from "../../support/daemon.mjs";

/** Puts deltas together by their byte offsets; the text of each item as this client saw it. */
function textsSeen(messages, session) {
  const items = new Map();
  for (const message of messages) {
    if (message.live?.session === session) {
      for (const { item, text } of message.live.items) items.set(item, Buffer.from(text));
    }
    if (message.delta?.session === session) {
      const { item, offset, text } = message.delta;
      const have = items.get(item) ?? Buffer.alloc(0);
      assert.equal(offset, have.length, `a delta of ${item} starts at ${offset}, not ${have.length}`);
      items.set(item, Buffer.concat([have, Buffer.from(text)]));
    }
  }
  return items;
}

test("8: a laptop that attaches in the middle ends up with what the phone has", async (t) => {
  const daemon = await Daemon.start(t, { delay: 10 });
  const phone = await daemon.webStream();
  assert.ok((await phone.message("hello", (m) => m.hello)).hello.epoch);
  const { session } = await daemon.send();
  phone.subscribe(session);
  await phone.event("plan.updated");

  // The laptop pages through the log first, then goes on live from there.
  const page = await daemon.api.get(`/sessions/${session}/events?after=0&limit=5`);
  assert.equal(page.events.length, 5);
  const laptop = await daemon.operatorStream();
  laptop.subscribe(session, 5);
  for (const each of [phone, laptop]) await each.event("run.finished");

  const stored = await daemon.api.events(session);
  assertContiguous(stored);
  assert.deepEqual(phone.events(session), stored);
  assert.deepEqual([...page.events, ...laptop.events(session)], stored);
});

test("8: deltas add up to the finished text, for the one who joins late too", async (t) => {
  const daemon = await Daemon.start(t, { delay: 20 });
  const phone = await daemon.operatorStream();
  const { session } = await daemon.send();
  phone.subscribe(session);
  await phone.message("a delta", (m) => m.delta?.session === session);
  const laptop = await daemon.operatorStream();
  laptop.subscribe(session);
  for (const each of [phone, laptop]) await each.event("run.finished");

  const finished = new Map(
    ofKind(await daemon.api.events(session), "message.agent").map((e) => [e.body.item, e.body.text]),
  );
  for (const each of [phone, laptop]) {
    const seen = textsSeen(each.messages, session);
    assert.ok(seen.size > 0);
    for (const [item, bytes] of seen) assert.equal(bytes.toString("utf8"), finished.get(item));
    assert.ok(each.messages.some((m) => m.live?.session === session));
  }
  assert.equal(textsSeen(phone.messages, session).size, finished.size);
});

test("8: a socket that is cut again and again misses nothing and doubles nothing", async (t) => {
  const daemon = await Daemon.start(t, { delay: 10 });
  const { session } = await daemon.send();
  const seen = [];
  let cuts = 0;
  while (!seen.some((e) => e.kind === "run.finished")) {
    const stream = await daemon.operatorStream();
    const after = seen.length ? seen.at(-1).seq : 0;
    stream.subscribe(session, after);
    // One more event each time, then the network is gone.
    await stream.message("the next event", (m) => m.event?.seq > after);
    stream.cut();
    cuts += 1;
    seen.push(...stream.events(session));
  }
  assert.ok(cuts >= 5, `only ${cuts} cuts`);
  const stored = await daemon.api.events(session);
  assertContiguous(seen);
  assert.deepEqual(seen, stored.slice(0, seen.length));
});

test("8: list subscribers see the session change, and a bad message does not cost the socket", async (t) => {
  const daemon = await Daemon.start(t);
  const stream = await daemon.operatorStream();
  stream.send({ subscribe: { list: true } });
  stream.send("no json");
  assert.ok((await stream.message("the error", (m) => m.error)).error);
  const { session } = await daemon.send();
  for (const status of ["working", "idle"]) {
    await stream.message(
      `the summary ${status}`,
      (m) => m.summary?.id === session && m.summary.status === status,
    );
  }
});
