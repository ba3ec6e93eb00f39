// SPDX-License-Identifier: Apache-2.0
// The page as a phone (390x844, touch) and a laptop at the same time: points 2, 8, 9 and 10.
import assert from "node:assert/strict";
import test from "node:test";
import { Browser, shot } from "../../support/browser.mjs";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { descendants } from "../../support/processes.mjs";
import { until } from "../../support/wait.mjs";

const kText = "scrape the new releases and prep a deploy";

/** Sends from a phone: the project first, then the message. Returns the session's id. */
async function sendFromPhone(phone, daemon, text = kText) {
  await phone.getByRole("link", { name: /music-site/ }).first().tap();
  await phone.getByRole("textbox").fill(text);
  await phone.getByRole("button", { name: "Send", exact: true }).tap();
  await phone.waitForURL(/#\/s\/ses_/);
  const { sessions } = await daemon.api.get("/sessions");
  return sessions[0].id;
}

const conversation = (page) => page.getByTestId("log");
const agentStatus = (page) => page.getByTestId("agent").first().getAttribute("data-status");
const idle = (page) => until("the page shows the agent idle", async () => (await agentStatus(page)) === "idle");

async function openOnLaptop(laptop, session) {
  await laptop.getByRole("navigation", { name: "Projects and sessions" }).locator(`a[href="#/s/${session}"]`).click();
}

test("2: a message sent from the phone is stored, and its answer streams onto the page", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const browser = await Browser.start(t, daemon);
  const phone = await browser.phone();
  const session = await sendFromPhone(phone, daemon);

  await conversation(phone).getByText(kText).first().waitFor();
  await conversation(phone).getByText(/This is the plan/).waitFor();
  await shot(phone, "phone");
  const events = await daemon.finished(session);
  assert.equal(only(events, "message.user").body.client, "web");
  await conversation(phone).getByText(/Publishing to production/).waitFor();
  // The phone's screen is not wider than the phone.
  const width = await phone.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} px wide`);
  assert.deepEqual(browser.problems, []);
});

test("8: a laptop that joins late, and a phone that loses its network, end up with the same", async (t) => {
  const daemon = await Daemon.start(t, { delay: 15 });
  const browser = await Browser.start(t, daemon);
  const phone = await browser.phone();
  const session = await sendFromPhone(phone, daemon);
  await conversation(phone).getByText(/This is the plan/).waitFor();

  const laptop = await browser.laptop();
  await openOnLaptop(laptop, session);
  await conversation(laptop).getByText(/This is the plan/).waitFor();
  await phone.context().setOffline(true);
  await daemon.finished(session);
  await conversation(laptop).getByText(/Publishing to production/).waitFor();
  await phone.context().setOffline(false);
  await conversation(phone).getByText(/Publishing to production/).waitFor();

  await idle(phone);
  await idle(laptop);
  const said = ofKind(await daemon.api.events(session), "message.agent").filter((e) => e.actor === "agent:primary");
  for (const page of [phone, laptop]) {
    const text = (await conversation(page).innerText()).replace(/\s+/g, " ");
    for (const { body } of said) {
      const words = body.text.replace(/\s+/g, " ").replace(/`/g, "");
      assert.equal(text.split(words).length - 1, 1, `"${words}" is not there exactly once`);
    }
  }
});

test("9: hold on the phone, edit on the laptop, resume on the phone", async (t) => {
  // Slow enough that a tap on a loaded machine still finds the run at work.
  const daemon = await Daemon.start(t, { delay: 80 });
  const browser = await Browser.start(t, daemon);
  const laptop = await browser.laptop();
  const phone = await browser.phone();
  const session = await sendFromPhone(phone, daemon);
  await phone.getByRole("button", { name: /plan 0 of 4/ }).waitFor();
  await phone.getByRole("button", { name: "Hold" }).tap();
  await until("the run is held", async () => (await agentStatus(phone)) === "held");

  await openOnLaptop(laptop, session);
  await laptop.getByTestId("pending").first().waitFor();
  await laptop.getByTestId("tree").first().getByText(/primary/).first().waitFor();
  await laptop.getByRole("button", { name: "Edit: Publish to production" }).click();
  await laptop.getByRole("textbox", { name: "What is to be done" }).fill("Publish to staging");
  await laptop.getByRole("button", { name: "Save entry" }).click();
  await laptop.getByTestId("plan").first().getByText("Publish to staging").waitFor();
  await shot(laptop, "laptop-held");

  await phone.getByRole("button", { name: "Resume" }).tap();
  for (const page of [phone, laptop]) {
    await conversation(page).getByText(/Deploying to staging, as you asked/).first().waitFor();
  }
  const events = await daemon.finished(session);
  assert.match(only(events, "plan.updated", (e) => e.body.change).actor, /^operator:/);
  assert.deepEqual(browser.problems, []);
});

test("10: stop is always there on the phone, and ends everything", async (t) => {
  const daemon = await Daemon.start(t, {
    scripts: {
      scraper: [
        { when: { turn: 0 }, content: [{ type: "tool_use", name: "shell", input: { command: "sleep 1000" } }] },
        { when: {}, content: [{ type: "text", text: "never said" }] },
      ],
    },
  });
  const browser = await Browser.start(t, daemon);
  const phone = await browser.phone();
  const session = await sendFromPhone(phone, daemon);
  await until("the scraper works", async () =>
    ofKind(await daemon.api.events(session), "step.started").some((e) => e.body.name === "shell"),
  );
  const stop = phone.getByRole("button", { name: "Stop the run" });
  await stop.waitFor({ state: "visible" });
  const box = await stop.boundingBox();
  assert.ok(box.width >= 40 && box.height >= 40, "big enough for a thumb");
  await stop.tap();

  await idle(phone);
  assert.equal(only(await daemon.finished(session), "run.finished").body.outcome, "stopped");
  assert.deepEqual(descendants(daemon.pid), []);
});
