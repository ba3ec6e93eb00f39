// SPDX-License-Identifier: Apache-2.0
// The cage card in words and figures.

import type { CageLimit, Change, Connection } from "../api/types.ts";
import { duration } from "./words.ts";

const kUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

/** As project files count: 512M is 512 MiB, not 537 MB. */
export function binary(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1023.5 && unit < kUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  const whole = Number.isInteger(value) || value >= 10;
  return `${whole ? Math.round(value) : value.toFixed(1)} ${kUnits[unit]}`;
}

/** A number of a limit with its unit. */
export function figure(value: number, unit: string): string {
  if (unit === "bytes") return binary(value);
  if (unit === "ms") return duration(value).replace(/ 0 (?:s|min)$/, "");
  if (unit === "cpus") return `${Number(value.toFixed(2))} CPU`;
  return String(Number(value.toFixed(2)));
}

const kLimitNames: Record<string, string> = {
  memory: "Memory",
  swap: "Swap",
  cpu: "CPU",
  pids: "Processes",
  wall: "Time",
  disk: "Private files",
  files: "Open files",
  output: "Output a second",
};

export interface LimitLine {
  name: string;
  /** "120 MiB of 512 MiB" */
  text: string;
  /** 0 to 1; null where nothing is measured or nothing limits. */
  share: number | null;
  /** Told in words, too: a bar's colour alone says nothing. */
  near: "" | "near its limit" | "at its limit";
}

/** From here on the limit soon ends or slows the cage. */
const kNear = 0.8;
const kAt = 0.98;

export function limitLine(limit: CageLimit): LimitLine {
  const { used, limit: most, unit } = limit;
  const has = most !== null && most > 0;
  const name = kLimitNames[limit.name] ?? limit.name;
  if (used === null && most === 0) return { name, text: "none", share: null, near: "" };
  const parts: string[] = [];
  // "0.12 of 0.5 CPU": a unit that both share is said once.
  const shared = unit === "cpus" && most !== null && used !== null;
  if (used !== null) parts.push(shared ? figure(used, "") : figure(used, unit));
  if (most !== null)
    parts.push(used !== null ? `of ${figure(most, unit)}` : `up to ${figure(most, unit)}`);
  else if (used !== null) parts.push("no limit");
  const share = has && used !== null ? Math.min(1, Math.max(0, used / most)) : null;
  const near =
    share === null || share < kNear ? "" : share < kAt ? "near its limit" : "at its limit";
  return {
    name,
    text: parts.join(used !== null && most === null ? ", " : " ") || "not limited",
    share,
    near,
  };
}

/** What was tried, as the end of "... tried to". */
export function tried(what: string): string {
  const hidden = /^private address, \w+ (\S+) at (\S+)$/.exec(what);
  if (hidden) return `connect to ${hidden[1]}, whose address ${hidden[2]} is not public`;
  const [, verb, rest] = /^(name|tcp|udp|icmp|server name|host) (.+)$/.exec(what) ?? [];
  const [first, over] = (rest ?? "").split(" to ");
  switch (verb) {
    case "name":
      return `look up the name ${rest}`;
    case "tcp":
      return `connect to ${rest}`;
    case "udp":
      return `send UDP to ${rest}`;
    case "icmp":
      return `ping ${rest}`;
    case "server name":
      return over ? `start TLS with ${first} over the rule for ${over}` : `start TLS with ${rest}`;
    case "host":
      return over ? `ask ${over} for the host ${first}` : `ask for the host ${rest}`;
    default:
      return /^\S+:\d+$/.test(what) ? `connect to ${what}` : what;
  }
}

export interface DiffLine {
  kind: "added" | "removed" | "place" | "same";
  text: string;
}

/** A unified diff as lines; names of files are left out, for the view has them. */
export function diffLines(diff: string): DiffLine[] {
  const lines: DiffLine[] = [];
  let inHunk = false;
  for (const line of diff.replace(/\n$/, "").split("\n")) {
    if (/^(diff |index |--- |\+\+\+ )/.test(line) && !inHunk) continue;
    if (line.startsWith("@@")) {
      inHunk = true;
      lines.push({ kind: "place", text: line.replace(/^@@ -(\d+)\S* .*$/, "line $1") });
    } else if (line.startsWith("+")) lines.push({ kind: "added", text: line.slice(1) });
    else if (line.startsWith("-")) lines.push({ kind: "removed", text: line.slice(1) });
    else if (!line.startsWith("\\")) lines.push({ kind: "same", text: line.slice(1) });
  }
  return lines;
}

export interface DiffCount {
  added: number;
  removed: number;
}

export function diffCount(lines: readonly DiffLine[]): DiffCount {
  const of = (kind: string) => lines.filter((line) => line.kind === kind).length;
  return { added: of("added"), removed: of("removed") };
}

const kVerdicts: Record<string, string> = {
  sni: "refused: other server name",
  host: "refused: other host",
  private: "refused: not a public address",
  resolve: "name not found",
  connect: "no answer from the host",
  limit: "refused: too many connections",
  block: "refused: outside the block",
  http: "refused: method or path",
  credential: "refused: credential",
  idle: "ended: idle",
};

/** How a connection stands or ended. */
export function verdictWords(connection: Connection): string {
  if (connection.duration === null && connection.verdict === "allowed") return "open";
  return kVerdicts[connection.verdict] ?? connection.verdict;
}

/** Open ones first, then the newest. */
export function rankConnections(list: readonly Connection[]): Connection[] {
  return [...list].sort((a, b) => {
    const open = Number(b.duration === null) - Number(a.duration === null);
    return open !== 0 ? open : b.at - a.at;
  });
}

/** What is common to the start of a path goes first to where it matters: its end. */
export function splitPath(path: string): { folder: string; name: string } {
  const cut = path.lastIndexOf("/") + 1;
  return { folder: path.slice(0, cut), name: path.slice(cut) };
}

/** Changes of one agent each, in the order of paths. */
export function byAgent(changes: readonly Change[]): Map<string, Change[]> {
  const found = new Map<string, Change[]>();
  for (const change of [...changes].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const list = found.get(change.agent);
    if (list) list.push(change);
    else found.set(change.agent, [change]);
  }
  return found;
}
