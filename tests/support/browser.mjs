// SPDX-License-Identifier: Apache-2.0
// Debian's Chromium, as a phone and as a laptop.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { kPatienceMs } from "./wait.mjs";
import { source } from "./daemon.mjs";

// The page's own packages hold playwright-core; the tests are beside it, not below it.
const { chromium } = createRequire(path.join(source, "webui/package.json"))("playwright-core");

const kPhone = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};
const kLaptop = { viewport: { width: 1280, height: 800 } };

const kArguments = [
  // No user namespace sandbox inside containers; the pages are our own.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser with devices; each signs in with a launch URL of its own. */
export class Browser {
  static async start(test, daemon) {
    const browser = new Browser();
    browser.daemon = daemon;
    browser.chromium = await chromium.launch({
      executablePath: process.env.VOLARY_CHROMIUM ?? "/usr/bin/chromium",
      args: kArguments,
    });
    test.after(() => browser.chromium.close());
    return browser;
  }

  /** Problems that the pages reported: exceptions and refused resources. */
  problems = [];

  phone() {
    return this.#device(kPhone);
  }

  laptop() {
    return this.#device(kLaptop);
  }

  async #device(options) {
    const context = await this.chromium.newContext(options);
    context.setDefaultTimeout(kPatienceMs);
    const page = await context.newPage();
    page.on("pageerror", (error) => this.problems.push(`${error}`));
    page.on("console", (message) => {
      // A lost network is told by the browser itself; the tests cut it on purpose.
      if (message.type() === "error" && !/net::ERR_|WebSocket/.test(message.text())) {
        this.problems.push(message.text());
      }
    });
    const { url } = await this.daemon.api.post("/auth/launch-codes");
    await page.goto(url);
    return page;
  }
}

/** Keeps a picture of a page when VOLARY_SHOTS names a folder. */
export async function shot(page, name) {
  const folder = process.env.VOLARY_SHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}
