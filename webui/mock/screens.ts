// SPDX-License-Identifier: Apache-2.0
// Takes the screenshots of docs/img against the mock: each screen on a phone and a laptop, in both
// themes. Whoever changes a screen looks at all four.   npm run build && npm run screens

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type Browser, chromium, type Page } from "playwright-core";

const here = new URL(".", import.meta.url).pathname;
const images = new URL("../../docs/img/", import.meta.url).pathname;
const executablePath = process.env.VOLARY_CHROMIUM ?? "/usr/bin/chromium";
const kSettleMs = 400;

const devices = {
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  laptop: { viewport: { width: 1280, height: 800 } },
};
type Kind = keyof typeof devices;
type Theme = "light" | "dark";

async function shoot(page: Page, name: string): Promise<void> {
  // Animations and the first "now" have settled; this is a picture, not a test.
  await page.waitForTimeout(kSettleMs);
  await page.screenshot({ path: `${images}${name}.png` });
}

async function story(browser: Browser, origin: string, kind: Kind, theme: Theme): Promise<void> {
  const context = await browser.newContext({ ...devices[kind], colorScheme: theme });
  const page = await context.newPage();
  const tail = `${kind}-${theme}`;
  await page.goto(origin);
  await page.locator("nav.list .row").nth(1).waitFor();
  await shoot(page, `list-${tail}`);
  await page.locator("nav.list .row").first().click();
  await page.fill("#message", "scrape the new releases and prep a deploy");
  await page.click(".send");
  await page.locator(".entry-denial").waitFor();
  await page.locator(".strip .button", { hasText: "Hold" }).click();
  await page.locator("[data-testid=agent][data-status=held]").waitFor();
  await page.locator(".entry-denial").evaluate((card) => card.scrollIntoView({ block: "center" }));
  await shoot(page, `denied-${tail}`);
  if (kind === "phone") await page.click(".strip-open");
  const plan = page.locator(kind === "phone" ? ".sheet .plan-entry" : ".side .plan-entry");
  await plan.nth(1).locator("button").click();
  await page.fill(".plan-editor textarea", "Check only the Ibeyi release");
  await shoot(page, `held-${tail}`);
  await page.getByText("Save entry").click();
  if (kind === "phone") await page.locator("[aria-label=Close]").click();
  await page.locator(".held-button").click();
  await page.locator(".entry-control", { hasText: "run succeeded" }).waitFor();
  await shoot(page, `done-${tail}`);
  await context.close();
}

const mock = spawn(process.execPath, [`${here}server.ts`, "--port", "0"], {
  stdio: ["ignore", "pipe", "inherit"],
});
const [line] = (await once(createInterface({ input: mock.stdout }), "line")) as [string];
const origin = new URL(line.replace("ready ", "")).origin;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  // A finished session first, so that the list is not empty.
  await fetch(`${origin}/api/v1/projects/music-site/messages`, {
    method: "POST",
    headers: { "x-volary-client": "screens", "idempotency-key": "first" },
    body: JSON.stringify({ text: "check the catalogue for doubles" }),
  });
  for (const kind of ["phone", "laptop"] as const) {
    for (const theme of ["light", "dark"] as const) await story(browser, origin, kind, theme);
  }
} finally {
  await browser.close();
  mock.kill();
}
