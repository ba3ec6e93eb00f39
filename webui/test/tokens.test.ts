// SPDX-License-Identifier: Apache-2.0
// Every text colour on every ground it stands on, in both themes (WCAG 2.2 contrast).

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("../src/style/tokens.css", import.meta.url), "utf8");
type Rgb = [number, number, number];

/** OKLCH to linear sRGB; matrices from Björn Ottosson's definition of Oklab. */
function linear(l: number, c: number, h: number): Rgb {
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const l3 = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m3 = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s3 = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3,
    -1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3,
    -0.0041960863 * l3 - 0.7034186147 * m3 + 1.707614701 * s3,
  ];
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((each) => Math.min(1, Math.max(0, each))) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function token(name: string, theme: "light" | "dark"): Rgb {
  const found = new RegExp(
    `--${name}:\\s*light-dark\\(\\s*oklch\\(([^)]+)\\),\\s*oklch\\(([^)]+)\\)`,
  ).exec(css);
  const parts = found?.[theme === "light" ? 1 : 2];
  if (!parts) throw new Error(`no token --${name}`);
  const [l = 0, c = 0, h = 0] = parts.split(/\s+/).map(Number);
  return linear(l, c, h);
}

function contrast(a: Rgb, b: Rgb): number {
  const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

const texts = [
  "text",
  "text-dim",
  "accent",
  "working",
  "waiting",
  "held",
  "denied",
  "done",
  "idle",
];

describe.each(["light", "dark"] as const)("the %s theme", (theme) => {
  const grounds = ["bg", "bg-raised", "bg-sunken"];
  it.each(texts.flatMap((text) => grounds.map((ground) => [text, ground])))(
    "reads --%s on --%s",
    (text, ground) => {
      expect(contrast(token(text ?? "", theme), token(ground ?? "", theme))).toBeGreaterThanOrEqual(
        4.5,
      );
    },
  );

  it("reads what a person said, and the one primary button", () => {
    for (const [text, ground] of [
      ["text", "mine"],
      ["text-dim", "mine"],
      ["waiting", "mine"],
      ["on-accent", "accent-fill"],
    ]) {
      expect(contrast(token(text ?? "", theme), token(ground ?? "", theme))).toBeGreaterThanOrEqual(
        4.5,
      );
    }
  });
});
