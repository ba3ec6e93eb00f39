// SPDX-License-Identifier: Apache-2.0
// Takes the screenshots of docs/img against the mock: each screen on a phone and a laptop, in both
// themes. Whoever changes a screen looks at all four.   npm run build && npm run screens
// With a folder behind it, also those that no page of docs shows go there: npm run screens -- /tmp/x

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Browser, chromium, type Page } from "playwright-core";

const here = new URL(".", import.meta.url).pathname;
const images = process.argv[2] ?? new URL("../../docs/img/", import.meta.url).pathname;
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
  await page.screenshot({ path: join(images, `${name}.png`) });
}

/** The run's pane: at the side, or on a phone the sheet. */
async function pane(page: Page, kind: Kind) {
  if (kind === "phone") await page.click("[aria-label='Plan, agents and cages']");
  return page.locator(kind === "phone" ? ".sheet" : ".side");
}

async function close(page: Page): Promise<void> {
  await page.locator(".sheet [aria-label=Close]").click();
  await page.locator(".sheet").waitFor({ state: "detached" });
}

/** A cage's card, its network log and its changes. */
async function cages(page: Page, kind: Kind, tail: string): Promise<void> {
  const run = await pane(page, kind);
  const card = run.locator("[data-cage='primary/scraper']");
  await card.locator("summary").click();
  await card.evaluate((element) => element.scrollIntoView({ block: "start" }));
  await shoot(page, `cage-${tail}`);
  await card.locator("[data-testid=refused]").scrollIntoViewIfNeeded();
  await shoot(page, `cage-refused-${tail}`);
  await card.getByText("Network log").click();
  await page.locator(".connection").first().waitFor();
  await shoot(page, `network-${tail}`);
  if (kind === "phone") await page.locator(".sheet-head [aria-label=Back]").click();
  else await close(page);
  await card.getByText("Look at the changes").click();
  await page.locator(".change-open:enabled").first().click();
  await page.locator(".diff-line").first().waitFor();
  await shoot(page, `changes-${tail}`);
  await page.getByText("Drop all...").click();
  await shoot(page, `changes-drop-${tail}`);
  await close(page);
}

/** From the refusal to the project file, with a file that changed meanwhile. */
async function grants(page: Page, tail: string): Promise<void> {
  const allow = (what: string) => page.getByRole("button", { name: `Allow ${what}` }).first();
  await allow("private address").click();
  await shoot(page, `grant-private-${tail}`);
  await close(page);
  await allow("evil.example:443").click();
  await shoot(page, `grant-${tail}`);
  await page.locator("[data-scope=project]").click();
  await page.locator(".diff-added").waitFor();
  await shoot(page, `grant-diff-${tail}`);
  await page.locator("[data-testid=write]").click();
  await page.locator(".outcome").waitFor();
  await shoot(page, `grant-done-${tail}`);
  await page.getByRole("button", { name: "Done" }).click();
  await page.locator(".line-granted").first().waitFor();
  await shoot(page, `granted-${tail}`);
}

async function daemon(page: Page, origin: string, tail: string): Promise<void> {
  await page.goto(`${origin}/#/daemon`);
  await page.getByText("Memory").waitFor();
  await shoot(page, `daemon-${tail}`);
  await page.goto(`${origin}/#/doctor`);
  await page.locator(".check-card").first().waitFor();
  await shoot(page, `doctor-${tail}`);
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
  await page.locator(".entry-denial").first().waitFor();
  await page.locator(".strip .button", { hasText: "Hold" }).click();
  await page.locator("[data-testid=agent][data-status=held]").waitFor();
  await page
    .locator(".entry-denial")
    .first()
    .evaluate((card) => card.scrollIntoView({ block: "center" }));
  await shoot(page, `denied-${tail}`);
  await cages(page, kind, tail);
  await grants(page, tail);
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
  await daemon(page, origin, tail);
  await context.close();
}

const mock = spawn(process.execPath, [`${here}server.ts`, "--port", "0", "--speed", "0.5"], {
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
