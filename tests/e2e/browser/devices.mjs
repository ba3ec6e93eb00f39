// SPDX-License-Identifier: Apache-2.0
// A phone and a laptop that look at one daemon, each through a wire that can be cut.
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import path from "node:path";
import { source } from "../../support/daemon.mjs";

const require = createRequire(path.join(source, "webui/package.json"));
const { chromium } = require("playwright-core");
const executablePath = process.env.VOLARY_CHROMIUM ?? "/usr/bin/chromium";

/** Long enough for a loaded two-core machine; a green test never waits it out. */
const kPatienceMs = 60_000;

const kinds = {
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  laptop: { viewport: { width: 1280, height: 800 } },
};

/** A TCP relay: what it cuts looks to the browser like a lost network. */
class Wire {
  #pairs = new Set();
  #server;
  blocked = false;
  cuts = 0;

  static async to(port) {
    const wire = new Wire();
    wire.#server = createServer((near) => wire.#relay(near, port));
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    wire.port = wire.#server.address().port;
    return wire;
  }

  #relay(near, port) {
    if (this.blocked) return near.destroy();
    const far = connect(port, "127.0.0.1");
    const pair = { near, far };
    this.#pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      from.pipe(to);
    }
  }

  /** Every connection breaks in the middle of whatever it carries. */
  cut() {
    this.cuts++;
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

export class Device {
  static async open(test, daemon, kind, options = {}) {
    const device = new Device();
    device.wire = await Wire.to(daemon.port);
    device.browser = await chromium.launch({
      executablePath,
      args: [
        // The browser is the test's own and opens nothing but the daemon's page.
        "--no-sandbox",
        // The address, and with it Host, Origin and cookie, stays the daemon's.
        `--host-resolver-rules=MAP ${daemon.url.host} 127.0.0.1:${device.wire.port}`,
      ],
    });
    test.after(() => device.close());
    device.context = await device.browser.newContext({ ...kinds[kind], ...options });
    device.page = await device.context.newPage();
    device.page.setDefaultTimeout(kPatienceMs);
    device.errors = [];
    device.page.on("pageerror", (error) => device.errors.push(`${kind}: ${error.message}`));
    device.page.on("console", (message) => {
      // What the content policy refuses is told on the console only.
      if (/Content Security Policy/.test(message.text())) device.errors.push(message.text());
    });
    device.kind = kind;
    device.origin = daemon.url.origin;
    return device;
  }

  async close() {
    await this.browser.close();
    this.wire.close();
  }

  /** Opens a launch URL, as a person does who got it from the command line. */
  async signIn(daemon) {
    const { url } = await daemon.api.post("/auth/launch-codes");
    await this.page.goto(this.origin + new URL(url).pathname);
    await this.page.locator("nav.list, main").first().waitFor();
  }

  async press(selector) {
    const target = this.page.locator(selector).first();
    await (this.kind === "phone" ? target.tap() : target.click());
  }

  async openSession(session) {
    await this.page.goto(`${this.origin}/#/s/${session}`);
    await this.log.waitFor();
  }

  get log() {
    return this.page.locator("[data-testid=log]");
  }

  /** Writes into the docked field and sends with the button or the Enter key. */
  async say(text) {
    await this.page.fill("#message", text);
    if (this.kind === "phone") await this.press(".send");
    else await this.page.press("#message", "Enter");
  }

  /** Waits for the agent's state as the header tells it. */
  status(status) {
    return this.page.locator(`[data-testid=agent][data-status=${status}]`).waitFor();
  }

  live() {
    return this.page.locator("[data-link=live]").waitFor();
  }

  /** The conversation as it is read: [id, text] of each entry. */
  transcript() {
    return this.log.locator(".entry[data-id]").evaluateAll((entries) =>
      entries.map((entry) => [entry.dataset.id, entry.innerText.replace(/\s+/g, " ").trim()]),
    );
  }

  /** Waits until the page holds the log up to its last event: the run's end is shown. */
  async finished(outcome) {
    await this.status("idle");
    await this.log.locator(".entry-control", { hasText: `run ${outcome}` }).last().waitFor();
  }
}

/** A phone and a laptop, signed in. */
export async function devices(test, daemon) {
  const [phone, laptop] = await Promise.all([
    Device.open(test, daemon, "phone"),
    Device.open(test, daemon, "laptop"),
  ]);
  await phone.signIn(daemon);
  await laptop.signIn(daemon);
  return { phone, laptop };
}

/** Sends the demo's message from the phone's project screen; the session that it opened. */
export async function sendFromPhone(phone, text = "scrape the new releases and prep a deploy") {
  await phone.press("nav.list a:has-text('music-site')");
  await phone.say(text);
  await phone.page.waitForURL(/#\/s\/ses_/);
  await phone.log.waitFor();
  return new URL(phone.page.url()).hash.slice("#/s/".length);
}
