// SPDX-License-Identifier: Apache-2.0
// A page of a cage in a real browser: what it may, and what it may not (docs/decisions/0013).
import assert from "node:assert/strict";
import test from "node:test";
import { startApp } from "../../support/ports.mjs";
import { Device } from "./devices.mjs";

test("a page of a cage works, and cannot act as the operator", async (t) => {
  const { daemon, web } = await startApp(t);
  const laptop = await Device.open(t, daemon, "laptop");
  // Signed in, on whatever the daemon shows there: the page itself is not what is tested.
  const launch = await daemon.api.post("/auth/launch-codes");
  await laptop.page.goto(laptop.origin + new URL(launch.url).pathname);
  // As a link of the daemon's own origin: the strict cookie comes along.
  await laptop.page.evaluate((url) => {
    const link = document.createElement("a");
    link.href = url;
    document.body.append(link);
    link.click();
  }, web.url);
  await laptop.page.waitForURL(/\/ports\/t\/[\w-]{43}\/$/);
  await laptop.page.waitForFunction(() => document.title.startsWith("{"));
  const tried = JSON.parse(await laptop.page.title());
  assert.deepEqual(
    { ...tried, worker: tried.worker.slice(0, 8), storage: tried.storage.slice(0, 8), cookie: tried.cookie.slice(0, 8) },
    {
      origin: "null",
      api: "/api",
      put: "PUT",
      socket: "hello",
      events: "chirp",
      module: "wren",
      cookie: "refused:",
      storage: "refused:",
      worker: "refused:",
      daemonRead: "refused: TypeError",
      daemonWrite: "refused: TypeError",
      daemonSocket: "refused: WebSocketError",
      elsewhere: "refused: TypeError",
      image: "refused: ImageError",
    },
  );
  // A form, as pages had before scripts.
  await laptop.page.click("form button");
  await laptop.page.waitForURL(/\/form$/);
  const sent = JSON.parse(await laptop.page.locator("body").innerText());
  assert.equal(sent.method, "POST");
  assert.equal(sent.body, "word=wren");
  assert.equal(sent.headers.cookie, undefined);
  assert.equal(sent.headers.origin, "http://localhost:3000");
  // The operator is still who they were.
  const cookies = await laptop.context.cookies();
  assert.deepEqual(cookies.map((cookie) => cookie.name), ["volary_session"]);
  assert.notEqual(cookies[0].value, "stolen");
});
