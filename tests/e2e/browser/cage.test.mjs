// SPDX-License-Identifier: Apache-2.0
// What a cage refuses, allowed from the page: on the phone with a thumb, on the laptop by keyboard.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { shot } from "../../support/browser.mjs";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { startApp } from "../../support/ports.mjs";
import { until } from "../../support/wait.mjs";
import { Device, devices } from "./devices.mjs";

/** Tries until it is let in: what a program does that somebody looks after. */
const kRetry =
  "until curl -fsS --max-time 5 http://host.volary:18481/status; do sleep 0.3; done; echo let in";
const kProjectFile = ".volary/project.yaml";

function shell(command) {
  return { type: "tool_use", name: "shell", input: { command } };
}

/** A daemon whose scraper runs one command, with the ports of this test in it; `data` is its mode. */
function start(t, command = kRetry, data = "rw") {
  const replies = [
    { when: { turn: 0 }, content: [shell(command)] },
    { when: {}, content: [{ type: "text", text: "That is all." }] },
  ];
  const edit = (project, daemon) => {
    const own = path.join(project, kProjectFile);
    writeFileSync(own, readFileSync(own, "utf8").replace("data, mode: rw", `data, mode: ${data}`));
    const file = path.join(daemon.replay, "scraper.json");
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("18481", daemon.deployPort));
  };
  return Daemon.start(t, { scripts: { scraper: replies }, edit });
}

/** The rule that the scraper lacks. */
const ruleOf = (daemon) => `host.volary:${daemon.deployPort}`;

/** Opens the session on a device and waits for the refusal's card. */
async function refused(device, daemon) {
  const { session } = await daemon.send();
  await device.openSession(session);
  await device.log.locator(".entry-denial", { hasText: daemon.deployPort }).first().waitFor();
  return session;
}

/** What the browser says when its window is covered, or is seen again. */
function turn(page, state) {
  return page.evaluate((now) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => now });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
}

const allow = (daemon) => `.entry-denial:has-text("${daemon.deployPort}") button.allow`;
const panel = (device) => device.page.getByTestId("grant");
const scraperOf = (events) => only(events, "invocation.started", (e) => e.body.agent === "primary/scraper").body.id;

test("a refusal is allowed once from the phone, and the retry gets through", async (t) => {
  const daemon = await start(t);
  const phone = await Device.open(t, daemon, "phone");
  await phone.signIn(daemon);
  const session = await refused(phone, daemon);
  await phone.press(allow(daemon));
  await panel(phone).getByText(ruleOf(daemon)).first().waitFor();
  await shot(phone.page, "grant-phone");
  const sizes = await panel(phone).locator("button").evaluateAll((all) =>
    all.map((each) => each.getBoundingClientRect().height),
  );
  assert.ok(Math.min(...sizes) >= 44, `big enough for a thumb: ${sizes}`);
  await phone.press("[data-scope=once]");
  await panel(phone).getByText(/It applies now/).waitFor();
  await panel(phone).getByRole("button", { name: "Done", exact: true }).tap();
  await phone.page.locator(".sheet").waitFor({ state: "detached" });

  await phone.finished("succeeded");
  const events = await daemon.finished(session);
  const granted = only(events, "cage.granted").body;
  assert.equal(granted.scope, "once");
  assert.equal(granted.applied, "live");
  assert.equal(granted.agent, "primary/scraper");
  assert.equal(granted.rule, ruleOf(daemon));
  const done = ofKind(events, "step.finished").filter((e) => e.body.invocation === scraperOf(events));
  assert.ok(done.some((e) => /let in/.test(e.body.result)), "the same command went on");
  await phone.log.locator(".entry-denial", { hasText: "allowed once" }).waitFor();
  await phone.log.locator(".entry-grant", { hasText: ruleOf(daemon) }).waitFor();
  // Once was for that cage: the project file has nothing of it.
  assert.ok(!readFileSync(path.join(daemon.project, kProjectFile), "utf8").includes("granted"));
  assert.deepEqual(phone.errors, []);
});

test("a grant whose answer is lost counts once, and both devices see it", async (t) => {
  const daemon = await start(t);
  const { phone, laptop } = await devices(t, daemon);
  const session = await refused(phone, daemon);
  await laptop.openSession(session);
  await phone.press(allow(daemon));
  // The daemon does it, but its answer never comes.
  let cut = false;
  await phone.page.route("**/grants", async (route) => {
    if (cut) return route.continue();
    cut = true;
    await route.fetch();
    return route.abort("connectionreset");
  });
  await phone.press("[data-scope=session]");
  await panel(phone).getByText(/It applies now/).waitFor();
  assert.ok(cut);
  await Promise.all([phone.finished("succeeded"), laptop.finished("succeeded")]);
  only(await daemon.finished(session), "cage.granted");
  await laptop.log.locator(".entry-denial", { hasText: "allowed for this session" }).waitFor();
  assert.equal(await laptop.page.locator(allow(daemon)).count(), 0);
});

test("a grant is written to the project file after a second look, by keyboard alone", async (t) => {
  const daemon = await start(t);
  const laptop = await Device.open(t, daemon, "laptop");
  await laptop.signIn(daemon);
  const session = await refused(laptop, daemon);
  const { page } = laptop;
  const focused = () => page.evaluate(() => document.activeElement?.textContent ?? "");
  const file = path.join(daemon.project, kProjectFile);
  const before = readFileSync(file, "utf8");

  await page.locator(allow(daemon)).first().focus();
  await page.keyboard.press("Enter");
  await page.locator("[data-scope=project]").waitFor();
  // Tab goes round in the sheet and never behind it.
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press("Tab");
    const inside = await page.evaluate(() => {
      const at = document.activeElement;
      return at === document.body || at?.closest(".sheet") !== null;
    });
    assert.ok(inside, `after ${i + 1} tabs`);
  }
  await page.keyboard.press("Escape");
  await page.locator(".sheet").waitFor({ state: "detached" });
  await until("the button has the focus again", async () => /^Allow/.test(await focused()));
  await page.keyboard.press("Enter");
  await page.locator("[data-scope=project]").focus();
  await page.keyboard.press("Enter");
  await page.locator(".diff-added", { hasText: ruleOf(daemon) }).waitFor();
  await shot(page, "grant-diff-laptop");
  assert.equal(readFileSync(file, "utf8"), before, "nothing is written before the second tap");

  // Somebody else writes meanwhile: told, with the change to the file as it is now.
  const moved = `# somebody was here\n${before}`;
  writeFileSync(file, moved);
  await page.locator("[data-testid=write]").focus();
  await page.keyboard.press("Enter");
  await page.getByText("The file has changed since you looked").waitFor();
  assert.equal(readFileSync(file, "utf8"), moved);
  await page.locator("[data-testid=write]").focus();
  await page.keyboard.press("Enter");
  await panel(laptop).getByText(/It applies now/).waitFor();
  const after = readFileSync(file, "utf8");
  assert.ok(after.startsWith("# somebody was here\n"), "comments stay");
  assert.ok(after.includes(ruleOf(daemon)));
  await until("Done has the focus", async () => (await focused()) === "Done");
  await page.keyboard.press("Enter");
  await laptop.finished("succeeded");
  assert.equal(only(await daemon.finished(session), "cage.granted").body.scope, "project");
  assert.deepEqual(laptop.errors, []);
});

test("a cage's card has its policy, its live figures and its network log", async (t) => {
  const daemon = await start(t);
  const laptop = await Device.open(t, daemon, "laptop");
  await laptop.signIn(daemon);
  const session = await refused(laptop, daemon);
  const { page } = laptop;
  await page.clock.install();
  await page.reload();
  const card = page.locator(".side [data-cage='primary/scraper']");
  await card.locator("summary").click();
  await card.getByText(`host.volary:${daemon.shopPort}`).first().waitFor();
  await card.getByText(/of 512 MiB/).waitFor();
  await card.locator("[data-testid=refused]", { hasText: daemon.deployPort }).waitFor();
  await shot(page, "cage-laptop");

  // Looked at, it is read again and again; on a hidden page it is not, and at once when it is back.
  const asked = () => page.waitForRequest(/\/cages$/);
  await asked();
  await asked();
  await turn(page, "hidden");
  let hidden = 0;
  page.on("request", (request) => {
    if (request.url().endsWith("/cages")) hidden++;
  });
  await page.clock.runFor(10_000);
  assert.equal(hidden, 0, "nobody looks");
  const back = asked();
  await turn(page, "visible");
  await back;
  await card.locator("button.allow").first().click();
  await page.locator("[data-scope=session]").click();
  await page.getByRole("button", { name: "Done", exact: true }).click();
  await laptop.finished("succeeded");
  await card.locator("summary", { hasText: "ended" }).waitFor();
  await card.getByText("Granted").waitFor();
  await card.getByText("Network log").click();
  await page.getByTestId("network").getByText(ruleOf(daemon)).first().waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual(laptop.errors, []);
  const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
  assert.ok(cages.some((each) => each.agent === "primary/scraper" && each.running === false));
});

test("changes of a cow folder are looked at, kept one by one, and dropped after a question", async (t) => {
  const writes = "cd data && echo new > new.txt && echo more >> README.md && echo written";
  const daemon = await start(t, writes, "cow");
  const phone = await Device.open(t, daemon, "phone");
  await phone.signIn(daemon);
  const { session } = await daemon.send();
  const events = await daemon.finished(session);
  const steps = ofKind(events, "step.finished").filter((e) => e.body.invocation === scraperOf(events));
  assert.ok(steps.some((e) => /written/.test(e.body.result)), daemon.log);
  const host = path.join(daemon.project, "data");
  const readme = readFileSync(path.join(host, "README.md"), "utf8");
  assert.ok(!existsSync(path.join(host, "new.txt")), "nothing is written before it is kept");

  await phone.openSession(session);
  await phone.press("[aria-label='Plan, agents and cages']");
  await phone.press(".sheet [data-cage='primary/scraper'] summary");
  await phone.press(".sheet [data-cage='primary/scraper'] button:has-text('Look at the changes')");
  const changes = phone.page.getByTestId("changes");
  await changes.locator("[data-path$='README.md'] .change-open").tap();
  await changes.locator(".diff-added", { hasText: "more" }).waitFor();
  await shot(phone.page, "changes-phone");
  await changes.locator("[data-path$='new.txt'] input").check();
  await phone.press("button:has-text('Keep 1')");
  await changes.getByText("1 change kept").waitFor();
  assert.equal(readFileSync(path.join(host, "new.txt"), "utf8"), "new\n");
  await phone.press("button:has-text('Drop all...')");
  await phone.press("button:has-text('Drop them')");
  await changes.getByText("1 change dropped").waitFor();
  await changes.getByText("Nothing has changed").waitFor();
  assert.equal(readFileSync(path.join(host, "README.md"), "utf8"), readme);
  await phone.press(".sheet [aria-label=Close]");
  await phone.log.locator(".entry-changes", { hasText: "dropped 1 change" }).waitFor();
  assert.deepEqual(phone.errors, []);
});

test("a published port opens from the cage's card, in a tab of its own", async (t) => {
  const { daemon, session } = await startApp(t);
  const laptop = await Device.open(t, daemon, "laptop");
  await laptop.signIn(daemon);
  await laptop.openSession(session);
  const card = laptop.page.locator(".side [data-cage=primary]");
  await card.locator("summary").click();
  const port = (name) => card.locator("li", { hasText: name });
  await port("quiet").getByText("nothing listens yet").waitFor();
  const link = port("web").locator("a");
  assert.equal(await link.getAttribute("rel"), "noopener noreferrer");
  const [tab] = await Promise.all([laptop.context.waitForEvent("page"), link.click()]);
  await tab.waitForURL(/\/ports\/t\/[\w-]+\/$/);
  assert.equal(await tab.evaluate(() => window.opener), null);
  await laptop.press("button.stop");
  await card.locator("summary", { hasText: "ended" }).waitFor();
  await port("web").getByText("ended").waitFor();
  assert.equal(await link.count(), 0);
  assert.deepEqual(laptop.errors, []);
});

test("the doctor's page tells of each layer whether it holds", async (t) => {
  const daemon = await Daemon.start(t);
  const phone = await Device.open(t, daemon, "phone");
  await phone.signIn(daemon);
  await phone.press(".bar a[href='#/daemon']");
  await phone.press("a[href='#/doctor']");
  await phone.page.locator(".check-card").first().waitFor();
  const told = await phone.page.locator(".check-card").evaluateAll((cards) =>
    cards.map((card) => [card.dataset.check, card.querySelector(".verdict").innerText.trim()]),
  );
  const { checks } = await daemon.api.get("/doctor");
  assert.deepEqual(told.map(([name]) => name).sort(), checks.map((each) => each.name).sort());
  for (const [name, word] of told) assert.match(word, /^(holds|missing|broken)$/, name);
  await phone.press("button:has-text('Run again')");
  await phone.page.locator("[data-testid=checks][aria-busy=false]").waitFor();
  await shot(phone.page, "doctor-phone");
  assert.deepEqual(phone.errors, []);
});
