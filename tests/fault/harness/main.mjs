// SPDX-License-Identifier: Apache-2.0
// tests/fault/crash: rounds of load and faults, or the sweep. Prints a line for each, and for what fails
// the problems, the daemon's log and how to have it again. The last line is the count.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { random } from "../../support/random.mjs";
import { library } from "./faults.mjs";
import { describeRule } from "./plan.mjs";
import { round } from "./round.mjs";
import { measure, step } from "./sweep.mjs";
import { closeAll } from "./world.mjs";

const kUsage = `usage: tests/fault/crash [--rounds N] [--seed S] [--jobs J] [--for SECONDS]
       tests/fault/crash --every-write [--sample N] [--seed S] [--jobs J]

--rounds N     so many rounds (10); round i has the seed S+i, which alone says what it draws
--seed S       drawn from the clock when it is left out
--for SECONDS  no new round after so long
--every-write  the sweep: dies at each write-class call of a start and a story in turn
--sample N     of those only so many, drawn from the seed
--jobs J       so many at once (3)
`;

/** Lines of a failed daemon's log that are shown. */
const kLogTail = 60;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    jobs: { type: "string", default: "3" },
    for: { type: "string", default: "0" },
    sample: { type: "string", default: "0" },
    "every-write": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function number(name) {
  const value = Number(options[name]);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`--${name} ${options[name]}: needs a whole number\n${kUsage}`);
  return process.exit(2);
}

const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);

let passed = 0;
let failed = 0;
let crashes = 0;
/** what -> how many changes of it were acknowledged in all rounds. */
const taken = {};

/** Does `work` for each of `list`, `jobs` at once, until `deadline`. */
async function inParallel(list, jobs, deadline, work) {
  let next = 0;
  const worker = async () => {
    while (next < list.length && performance.now() < deadline) await work(list[next++]);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

function tell(name, begun, { problems, log }, detail, again) {
  const verdict = problems.length === 0 ? "ok" : "FAILED";
  process.stdout.write(`${verdict} ${name} ${detail} (${seconds(begun)} s)\n`);
  if (problems.length === 0) {
    passed++;
    return;
  }
  failed++;
  const tail = log.trim().split("\n").slice(-kLogTail).join("\n");
  process.stdout.write(`${problems.join("\n")}\n--- the end of the daemons' log\n${tail}\n--- again: ${again}\n`);
}

async function rounds(seed, deadline) {
  const seeds = Array.from({ length: number("rounds") }, (_, i) => seed + i);
  await inParallel(seeds, number("jobs"), deadline, async (each) => {
    const begun = performance.now();
    const result = await round(each);
    for (const [what, count] of Object.entries(result.taken)) taken[what] = (taken[what] ?? 0) + count;
    crashes += result.told.length;
    const detail = `${result.told.join("; ")}: ${result.changes} changes, ${result.events} events`;
    tell(`seed ${each}`, begun, result, detail, `tests/fault/crash --rounds 1 --seed ${each}`);
  });
  const counts = Object.entries(taken).map(([what, count]) => `${count} ${what}`);
  process.stdout.write(`${crashes} daemons died; acknowledged: ${counts.join(", ")}\n`);
}

/** `count` of the list, drawn; all of it for 0. */
function sampled(list, count, draw) {
  if (count === 0) return list;
  const rest = [...list];
  return Array.from({ length: Math.min(count, rest.length) }, () =>
    rest.splice(Math.floor(draw() * rest.length), 1)[0]);
}

async function sweep(seed, deadline) {
  const all = await measure();
  const chosen = sampled(all, number("sample"), random(seed));
  process.stdout.write(`${chosen.length} of the ${all.length} steps of the sweep (seed ${seed})\n`);
  await inParallel(chosen, number("jobs"), deadline, async (rule) => {
    const begun = performance.now();
    const result = await step(rule);
    const place = describeRule(rule);
    tell(place, begun, result, result.struck ? "" : "(not met)", `tests/fault/crash --every-write: ${place}`);
  });
}

if (options.help) {
  process.stdout.write(kUsage);
  process.exit(0);
}
if (!existsSync(library)) {
  process.stderr.write(`tests/fault/crash: ${library} is missing: build it, or name it in VOLARY_FAULT_LIBRARY\n`);
  process.exit(2);
}
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => closeAll().finally(() => process.exit(130)));
const limit = number("for");
const deadline = limit === 0 ? Infinity : performance.now() + limit * 1000;
const begun = performance.now();
await (options["every-write"] ? sweep : rounds)(number("seed"), deadline);
process.stdout.write(`${passed} passed, ${failed} failed in ${seconds(begun)} s\n`);
process.exit(failed === 0 ? 0 : 1);
