// SPDX-License-Identifier: Apache-2.0
// How long a person waits for a session of ten thousand events: from the start of the navigation,
// with nothing in the browser's cache, to the frame that shows the newest lines of the log.
// Beside it, the same for a page of one line whose script makes one request: what the browser takes.
// Prints {"page_10k_first_paint_ms": median, "page_floor_first_paint_ms": median}.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { Daemon, source } from "../support/daemon.mjs";

const { chromium } = createRequire(path.join(source, "webui/package.json"))("playwright-core");

const kEvents = 10_000;
/** The first ones also warm the daemon and the browser's own start, and do not count. */
const kWarmUps = 2;
const kLoads = 9;
const kRestMs = 500;
const kPainted = "first paint ";

/** The demo's own story, told again and again under new ids until the log is long enough. */
function repeatStory(file, session) {
  const db = new DatabaseSync(file);
  const { no } = db.prepare("SELECT no FROM session WHERE id = ?").get(session);
  const story = db.prepare("SELECT * FROM event WHERE session = ? ORDER BY seq").all(no);
  const add = db.prepare("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)");
  const again = (text, round) =>
    text?.replace(/\b(inv|run|step|item|msg|cage)_[0-9A-Z]{22}/g, (id) => id + round);
  db.exec("BEGIN");
  let seq = story.length;
  for (let round = 1000; seq < kEvents; round++) {
    // The first event is the creation of the session, which happens once.
    for (const event of story.slice(1, 1 + kEvents - seq)) {
      const { at, kind, actor, run, body } = event;
      add.run(no, ++seq, at, kind, actor, again(run, round), again(body, round));
    }
  }
  db.prepare(
    "UPDATE session SET last_seq = ?1, state = json_set(state, '$.last_seq', ?1) WHERE id = ?2",
  ).run(seq, session);
  db.exec("COMMIT");
  db.close();
}

/** Runs in the page: keeps the time of the first frame that shows a line of the log. */
function watchFirstPaint() {
  const seen = new MutationObserver(() => {
    if (!document.querySelector("[data-testid=log] .entry")) return;
    seen.disconnect();
    // A task after the frame's callbacks runs when that frame has been made.
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        console.log(`first paint ${performance.now()}`);
      };
      port2.postMessage(0);
    });
  });
  seen.observe(document, { childList: true, subtree: true });
}

async function load(browser, state, url) {
  const context = await browser.newContext({ storageState: state });
  const page = await context.newPage();
  await page.addInitScript(watchFirstPaint);
  // The end of the last page and the birth of this one's process are not what is measured.
  await delay(kRestMs);
  // The page tells it by itself: a question from outside would take part in the race.
  const painted = page.waitForEvent("console", (message) => message.text().startsWith(kPainted));
  await page.goto(url, { waitUntil: "commit" });
  const ms = Number((await painted).text().slice(kPainted.length));
  await context.close();
  return ms;
}

/** A page with nothing to wait for, served by this process. */
async function serveFloor() {
  const script = "await (await fetch('/x')).text(); document.body.innerHTML =";
  const line = "'<div data-testid=log><p class=entry>hello</p></div>'";
  const server = createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end(`<!doctype html><body><script type=module>${script} ${line}</script>`);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

async function signIn(browser, daemon) {
  const context = await browser.newContext();
  const { url } = await daemon.api.post("/auth/launch-codes");
  await (await context.newPage()).goto(url);
  return context.storageState();
}

/** Medians of both pages, loaded in turns. */
async function measure(daemon, session) {
  const floor = await serveFloor();
  const browser = await chromium.launch({
    executablePath: process.env.VOLARY_CHROMIUM ?? "/usr/bin/chromium",
    // The browser is the bench's own and opens nothing but these two pages.
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    const state = await signIn(browser, daemon);
    const urls = [
      `${daemon.url.origin}/#/s/${session}`,
      `http://127.0.0.1:${floor.address().port}/`,
    ];
    const times = urls.map(() => []);
    for (let i = 0; i < kWarmUps + kLoads; i++) {
      for (const [which, url] of urls.entries()) {
        const ms = await load(browser, state, url);
        if (i >= kWarmUps) times[which].push(ms);
      }
    }
    return times.map((each) => Math.round(each.sort((a, b) => a - b)[kLoads >> 1]));
  } finally {
    await browser.close();
    floor.close();
    floor.closeAllConnections();
  }
}

const daemon = await Daemon.start();
try {
  const { session } = await daemon.send();
  await daemon.finished(session);
  await daemon.terminate();
  repeatStory(path.join(daemon.state, "volary.db"), session);
  await daemon.launch();
  assert.equal((await daemon.api.get(`/sessions/${session}`)).last_seq, kEvents);
  const [ours, floor] = await measure(daemon, session);
  console.log(
    JSON.stringify({ page_10k_first_paint_ms: ours, page_floor_first_paint_ms: floor }),
  );
} finally {
  await daemon.stop();
}
