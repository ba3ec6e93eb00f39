// SPDX-License-Identifier: Apache-2.0
// Times, sizes and names in the words of the page.

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

/** Whole seconds and coarser, for figures that count up while one looks at them. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export function ago(at: number, now: number): string {
  const passed = now - at;
  return passed < 5000 ? "now" : `${age(passed)} ago`;
}

const twoDigits = (n: number) => String(n).padStart(2, "0");

// By hand: the first use of Intl costs a phone more than the rest of the first screen.

/** "17:41" by this device's clock. */
export function clock(at: number): string {
  const t = new Date(at);
  return [t.getHours(), t.getMinutes()].map(twoDigits).join(":");
}

/** "2026-11-21 17:41:07" by this device's clock, as logs have it. */
export function exact(at: number): string {
  const t = new Date(at);
  const day = [t.getFullYear(), twoDigits(t.getMonth() + 1), twoDigits(t.getDate())].join("-");
  return `${day} ${[t.getHours(), t.getMinutes(), t.getSeconds()].map(twoDigits).join(":")}`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  const units = ["KB", "MB", "GB", "TB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** 980 -> "980 tokens", 12400 -> "12k tokens" */
export function tokens(n: number): string {
  if (n < 1000) return `${n} tokens`;
  const thousands = n / 1000;
  return `${thousands < 10 ? thousands.toFixed(1) : Math.round(thousands)}k tokens`;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** As much of a device's random name as tells it from the others. */
const kDeviceTail = 4;

/**
 * "operator:uid 0" -> "uid 0"; "agent:primary/scraper" -> "primary/scraper";
 * "operator:device dev_01M7Z8R2JE18BZ0VY8VZPTJPFG" -> "device JPFG".
 */
export function who(actor: string): string {
  const name = actor.slice(actor.indexOf(":") + 1);
  return name.replace(/\bdev_[0-9A-Z]{20,}/g, (id) => id.slice(-kDeviceTail));
}

/** "primary/scraper" -> "scraper" */
export function leaf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

// Direction overrides and other invisible characters can make a command read as another one.
const kHidden = /[\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/gu;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const kAnsi = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it shows
const kControl = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;

/** Text of an agent or program with nothing invisible in it. */
export function visible(text: string): string {
  return text
    .replace(kAnsi, "")
    .replace(/\r\n?/g, "\n")
    .replace(kControl, "\u00b7")
    .replace(
      kHidden,
      (c) => `\u27e8U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`,
    );
}

/** A line that somebody decides by: nothing is left out of it, not even what colours a terminal. */
export function exactly(line: string): string {
  return visible(line.replaceAll("\u001b", "\u00b7").replace(/\r(?!$)/g, "\u00b7"));
}

export function firstLine(text: string, limit = 120): string {
  const trimmed = text.trimStart();
  const end = trimmed.indexOf("\n");
  const line = end < 0 ? trimmed : trimmed.slice(0, end);
  const points = Array.from(line.slice(0, limit * 2));
  return points.length > limit || line.length > limit * 2
    ? `${points.slice(0, limit - 1).join("")}\u2026`
    : line.trimEnd();
}

export function pretty(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value, null, 2) ?? "";
  } catch {
    return String(value);
  }
}
