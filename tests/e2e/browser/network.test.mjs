// SPDX-License-Identifier: Apache-2.0
// What the page does when its network is taken away, and what two devices see of each other.
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { Device, devices, sendFromPhone } from "./devices.mjs";

/** A tap on a loaded machine still finds the run at work. */
const kSlow = { delay: 60 };

function assertWhole(transcript, events) {
  const ids = transcript.map(([id]) => id);
  assert.equal(new Set(ids).size, ids.length, "no entry is shown twice");
  const text = transcript.map(([, line]) => line).join("\n");
  for (const event of ofKind(events, "message.agent")) {
    assert.ok(ids.includes(`t${event.body.item}`), `the text of event ${event.seq} is shown`);
  }
  for (const event of ofKind(events, "message.user")) assert.ok(text.includes(event.body.text));
  for (const event of ofKind(events, "signal.emitted")) assert.ok(text.includes(event.body.signal));
  for (const event of ofKind(events, "cage.denied")) assert.ok(text.includes(event.body.what));
}

test("without a cookie the page says how to sign in", async (t) => {
  const daemon = await Daemon.start(t, { add: false });
  const phone = await Device.open(t, daemon, "phone");
  await phone.page.goto(phone.origin);
  await phone.page.getByText("volary auth launch-url").waitFor();
  await phone.signIn(daemon);
  await phone.page.getByText("volary project add").waitFor();
  assert.deepEqual(phone.errors, []);
});

test("2: a message that is sent while the network is away goes out once when it is back", async (t) => {
  const daemon = await Daemon.start(t);
  const phone = await Device.open(t, daemon, "phone");
  await phone.signIn(daemon);
  await phone.press("nav.list a:has-text('music-site')");
  await phone.context.setOffline(true);
  phone.wire.blocked = true;
  phone.wire.cut();
  await phone.say("scrape the new releases and prep a deploy");
  await phone.page.locator("[data-act=unknown]").waitFor();
  phone.wire.blocked = false;
  await phone.context.setOffline(false);
  await phone.page.waitForURL(/#\/s\/ses_/);
  await phone.finished("succeeded");
  const session = new URL(phone.page.url()).hash.slice("#/s/".length);
  only(await daemon.finished(session), "message.user");
  assert.equal((await daemon.api.get("/sessions")).total, 1);
});

test("8: a socket that is cut at random loses nothing and doubles nothing", async (t) => {
  const daemon = await Daemon.start(t, kSlow);
  const { phone, laptop } = await devices(t, daemon);
  const session = await sendFromPhone(phone);
  await laptop.openSession(session);
  let running = true;
  const torn = (async () => {
    // A cut wherever the next few entries happen to leave off.
    for (let i = 0; running && i < 40; i++) {
      await phone.live();
      const shown = await phone.log.locator(".entry").count();
      const more = 1 + Math.floor(Math.random() * 3);
      await phone.page
        .waitForFunction(
          ([count]) => document.querySelectorAll("[data-testid=log] .entry").length >= count,
          [shown + more],
          { timeout: 2000 },
        )
        .catch(() => {});
      if (running) phone.wire.cut();
    }
  })();
  await laptop.finished("succeeded");
  running = false;
  await torn;
  await phone.finished("succeeded");
  assert.ok(phone.wire.cuts > 1, `${phone.wire.cuts} cuts`);
  const seen = await phone.transcript();
  assert.deepEqual(seen, await laptop.transcript(), `after ${phone.wire.cuts} cuts`);
  assertWhole(seen, await daemon.finished(session));
  // A page that reads everything anew shows the same.
  await phone.page.reload();
  await phone.finished("succeeded");
  assert.deepEqual(await phone.transcript(), seen);
});

test("8: while the link is down the page says so, and comes back by itself", async (t) => {
  const daemon = await Daemon.start(t);
  const phone = await Device.open(t, daemon, "phone");
  await phone.signIn(daemon);
  const session = await sendFromPhone(phone);
  await phone.finished("succeeded");
  phone.wire.blocked = true;
  phone.wire.cut();
  await phone.page.locator("[data-testid=link]", { hasText: "link lost" }).waitFor();
  await daemon.send("scrape the new releases and prep a deploy", { session });
  await daemon.finished(session, 2);
  phone.wire.blocked = false;
  await phone.live();
  await phone.log.locator(".entry-user").nth(1).waitFor();
  await phone.finished("succeeded");
  assertWhole(await phone.transcript(), await daemon.api.events(session));
});

test("9: hold on the phone, edit the plan on the laptop, resume on the phone: both see it", async (t) => {
  const daemon = await Daemon.start(t, kSlow);
  const { phone, laptop } = await devices(t, daemon);
  const session = await sendFromPhone(phone);
  await laptop.openSession(session);
  await phone.log.locator(".entry-plan").first().waitFor();
  await phone.press(".strip .button:has-text('Hold')");
  await Promise.all([phone.status("held"), laptop.status("held")]);
  await laptop.page.locator(".side [data-testid=pending] li").first().waitFor();

  const last = laptop.page.locator(".side .plan-entry").last();
  const entry = await last.getAttribute("data-entry");
  await last.locator("button[aria-label^=Edit]").click();
  await last.locator("textarea").fill("Publish to staging");
  await last.getByText("Save entry").click();
  for (const device of [phone, laptop]) {
    await device.log.locator(".entry-plan", { hasText: "Publish to staging" }).waitFor();
  }

  // The phone has the same plan in its sheet, and Back closes it.
  await phone.press("[aria-label='Plan, agents and cages']");
  await phone.page.locator(`.sheet [data-entry="${entry}"]`, { hasText: "Publish to staging" }).waitFor();
  await phone.page.goBack();
  await phone.page.locator(".sheet").waitFor({ state: "detached" });
  await phone.press(".strip .button:has-text('Resume')");
  await Promise.all([phone.finished("succeeded"), laptop.finished("succeeded")]);
  assert.deepEqual(await phone.transcript(), await laptop.transcript());
  const events = await daemon.finished(session);
  assert.equal(only(events, "plan.updated", (e) => e.body.change).body.change.entry, entry);
  assertWhole(await laptop.transcript(), events);
});

test("10: stop from the phone ends the run on both, and a cancelled message never runs", async (t) => {
  const daemon = await Daemon.start(t, kSlow);
  const { phone, laptop } = await devices(t, daemon);
  const session = await sendFromPhone(phone);
  await laptop.openSession(session);
  await phone.log.locator(".entry-card").first().waitFor();
  await laptop.say("a second message");
  await phone.page.locator(".queued", { hasText: "a second message" }).waitFor();
  await phone.press(".queued button");
  await laptop.page.locator(".queued").waitFor({ state: "detached" });
  await phone.press("button.stop");
  await Promise.all([phone.finished("stopped"), laptop.finished("stopped")]);
  const running = laptop.page.locator("[data-testid=tree] [data-state=working]");
  assert.equal(await running.count(), 0, "no agent is shown as working");
  assert.equal(await phone.page.locator("button.stop").isDisabled(), true);
  const events = await daemon.finished(session);
  assert.equal(only(events, "run.finished").body.outcome, "stopped");
  only(events, "message.cancelled");
  assert.deepEqual(await phone.transcript(), await laptop.transcript());
});
