// SPDX-License-Identifier: Apache-2.0
// How long a person waits for a session of ten thousand events: from the start of the navigation,
// with nothing in the browser's cache, to the frame that shows the newest lines of the log.
// Prints {"page_10k_first_paint_ms": median}.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Daemon, source } from "../support/daemon.mjs";

const { chromium } = createRequire(path.join(source, "webui/package.json"))("playwright-core");

const kEvents = 10_000;
/** The first ones also warm the daemon and the browser's own start, and do not count. */
const kWarmUps = 2;
const kLoads = 9;

/** The demo's own story, told again and again under new ids until the log is long enough. */
function repeatStory(file, session) {
  const db = new DatabaseSync(file);
  const story = db.prepare("SELECT * FROM event WHERE session = ? ORDER BY seq").all(session);
  const add = db.prepare("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)");
  const again = (text, round) =>
    text?.replace(/\b(inv|run|step|item|msg|cage)_[0-9A-Z]{22}/g, (id) => id + round);
  db.exec("BEGIN");
  let seq = story.length;
  for (let round = 1000; seq < kEvents; round++) {
    // The first event is the creation of the session, which happens once.
    for (const event of story.slice(1, 1 + kEvents - seq)) {
      const { at, kind, actor, run, body } = event;
      add.run(session, ++seq, at, kind, actor, again(run, round), again(body, round));
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
        globalThis.firstPaint = performance.now();
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
  await page.goto(url);
  const painted = await page.waitForFunction(() => globalThis.firstPaint);
  const ms = await painted.jsonValue();
  await context.close();
  return ms;
}

async function measure(daemon, session) {
  const browser = await chromium.launch({
    executablePath: process.env.VOLARY_CHROMIUM ?? "/usr/bin/chromium",
    // The browser is the bench's own and opens nothing but the daemon's page.
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    const context = await browser.newContext();
    const { url } = await daemon.api.post("/auth/launch-codes");
    await (await context.newPage()).goto(url);
    const state = await context.storageState();
    const times = [];
    for (let i = 0; i < kWarmUps + kLoads; i++) {
      const ms = await load(browser, state, `${daemon.url.origin}/#/s/${session}`);
      if (i >= kWarmUps) times.push(ms);
    }
    return times.sort((a, b) => a - b)[kLoads >> 1];
  } finally {
    await browser.close();
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
  const ms = await measure(daemon, session);
  console.log(JSON.stringify({ page_10k_first_paint_ms: Math.round(ms) }));
} finally {
  await daemon.stop();
}
