// SPDX-License-Identifier: Apache-2.0
// What happens to one daemon, drawn from a seed: what is broken while it works, and how it ends.

const kDay = 86_400;
/** About as many calls of each kind as a busy daemon makes in a second or two: [anywhere, state]. */
const kCalls = {
  any: [800, 300],
  write: [500, 250],
  sync: [60, 60],
  send: [250],
  create: [30, 12],
  name: [30, 12],
};
const kStartCalls = 40;

/** `draw`: numbers from 0 to 1. */
const whole = (draw, below) => Math.floor(draw() * below);
const one = (draw, list) => list[whole(draw, list.length)];

/** A rule that ends the process, counted from its start. */
function deadly(draw) {
  const where = one(draw, ["all", "state"]);
  const kind = one(draw, ["any", "any", "write", "sync", "send", "create", "name"]);
  const torn = kind === "write" && where === "state";
  const action = one(draw, torn ? ["torn", "torn", "kill"] : ["kill", "kill-after"]);
  const [all, state = all] = kCalls[kind];
  // Some in the start, most in the work.
  const most = draw() < 0.2 ? kStartCalls : where === "state" ? state : all;
  return { action, kind, where: kind === "send" ? "all" : where, first: 1 + whole(draw, most) };
}

/** A rule that disturbs for a while. */
function disturbing(draw) {
  const action = one(draw, ["eio", "enospc", "eio", "enospc", "short", "delay", "clock", "clock"]);
  const kinds = { short: ["write"], delay: ["sync"], clock: ["any"] };
  const kind = one(draw, kinds[action] ?? ["any", "write", "write", "sync", "create", "name"]);
  const [, calls] = kCalls[kind];
  const first = 1 + whole(draw, calls);
  const rule = { action, kind, where: "state", first, last: first + whole(draw, calls / 4) };
  if (action === "delay") return { ...rule, argument: 1000 + whole(draw, 40_000) };
  if (action !== "clock") return rule;
  return { ...rule, last: null, argument: one(draw, [-kDay, -3600, -2, 3, 3600, kDay]) };
}

/**
 * {rules, kills, end, after}: faults to arm before the start, [{command, at}] processes to kill, and
 * how it ends ("kill", "call", "term") at the latest `after` ms of work.
 */
export function drawLife(draw) {
  const end = one(draw, ["kill", "kill", "call", "call", "call", "term"]);
  const after = 100 + whole(draw, 1200);
  const rules = [];
  if (draw() < 0.4) rules.push(disturbing(draw));
  if (end === "call") rules.push(deadly(draw));
  const commands = ["volary-shim", "volary-agent", "volary-init", "bwrap", "sh"];
  const kills = draw() < 0.35 ? [{ command: one(draw, commands), at: whole(draw, after) }] : [];
  const cuts = draw() < 0.5 ? [whole(draw, after)] : [];
  return { rules, kills, cuts, end, after };
}

export function describeRule({ action, kind = "any", where = "all", first, last, argument }) {
  const range = last === undefined ? `${first}` : `${first} to ${last ?? "the end"}`;
  return `${action}${argument ? ` ${argument}` : ""} at ${kind} call ${range} of ${where}`;
}
