// SPDX-License-Identifier: Apache-2.0
// One round: a world, clients that load it, daemons that die; then a last daemon, and what must hold.
import { ofKind } from "../../support/daemon.mjs";
import { random } from "../../support/random.mjs";
import { until } from "../../support/wait.mjs";
import {
  checkChanges,
  checkFolds,
  checkKept,
  checkLog,
  checkNoneLeft,
  checkProjectFile,
  checkReplays,
  checkVerify,
} from "./checks.mjs";
import { Client } from "./client.mjs";
import { describeRule, drawLife } from "./plan.mjs";
import { Watcher } from "./watcher.mjs";
import { World } from "./world.mjs";

const kClients = 3;
const kMostLives = 3;
/** Of a session that does not come to rest. */
const kShownEvents = 12;
const kDiskFaults = new Set(["eio", "enospc"]);

/** Waits until `moment` of performance.now(), or until the daemon is dead. */
const aliveUntil = (world, moment) =>
  until("a drawn moment", () => !world.up || performance.now() >= moment);

/** Runs one life to its end; a sentence about it. */
async function live(world, clients, watchers, life) {
  world.bad_disk = life.rules.some(({ action }) => kDiskFaults.has(action));
  const told = life.rules.map(describeRule);
  if (!(await world.launch(life.rules))) return [...told, "died in its start"].join(", ");
  const begun = performance.now();
  const added = world.daemon.api.post("/projects", { path: world.daemon.project });
  await added.catch(() => {});
  world.loading = true;
  const seen = () => [...watchers[0].events.values()].reduce((sum, list) => sum + list.length, 0);
  const load = clients.map((client) => client.run(seen));
  const acts = [
    ...life.kills.map(({ at, command }) => ({ at, act: () => world.killOne(command, () => 0.5) && told.push(`killed ${command}`) })),
    ...life.cuts.map((at) => ({ at, act: () => watchers[0].cut() })),
  ].sort((left, right) => left.at - right.at);
  for (const { at, act } of acts) {
    await aliveUntil(world, begun + at);
    if (world.up) act();
  }
  await aliveUntil(world, begun + life.after);
  world.checkInheritance();
  if (!world.up) told.push("died at a call");
  world.loading = false;
  if (world.up && life.end === "term") {
    const { code, signal } = await world.terminate();
    if (code !== 0 && !world.bad_disk && signal !== "SIGKILL") world.problem(`TERM ended with ${code ?? signal}`);
    told.push("TERM");
  } else if (world.up) {
    await world.kill();
    told.push(`killed after ${life.after} ms`);
  }
  return { told: told.join(", "), load };
}

/** Brings every session to rest: what is held goes on, what works for ever is stopped. */
async function settle(world) {
  const { api } = world.daemon;
  const act = (session, verb) => {
    const key = `settle-${session}-${verb}-${performance.now()}`;
    return api.request("POST", `/sessions/${session}/${verb}`, { body: {}, key });
  };
  const rested = async ({ id, status }) => {
    const { run, queue } = await api.get(`/sessions/${id}`);
    if (status === "idle" && queue.length === 0) return true;
    if (status === "held" || status === "holding" || status === "idle") await act(id, "resume");
    else if (run?.message.text.startsWith("long")) await act(id, "stop");
    return false;
  };
  const restless = async () => {
    const { sessions } = await api.get("/sessions?limit=200");
    const found = [];
    for (const session of sessions) if (!(await rested(session))) found.push(session.id);
    return found;
  };
  const all = until("every session rests", async () => (await restless()).length === 0);
  await all.catch(async (error) => {
    for (const session of await restless()) {
      world.problem(`${session} does not rest: ${JSON.stringify(await api.get(`/sessions/${session}`))}`);
      const events = (await api.events(session, 1000)).slice(-kShownEvents);
      world.problem(events.map((event) => JSON.stringify(event)).join("\n"));
    }
    throw error;
  });
}

/** A last daemon on a sound disk: everything is brought to its end and looked at. */
export async function conclude(world, pending, watchers) {
  const problem = (text) => world.problem(text);
  world.bad_disk = false;
  await world.launch();
  const { api } = world.daemon;
  await api.post("/projects", { path: world.daemon.project });
  await Promise.all(pending);
  // What the harness does from here on is not among the changes that were noted.
  const noted = [...world.changes];
  const before = await logsOf(world);
  await settle(world);
  await checkNoneLeft(world, "when everything rests", problem);
  const { session } = await api.post("/projects/music-site/messages", { text: "talk to me", session: "new" });
  const usable = ofKind(await world.daemon.finished(session), "run.finished");
  if (usable[0].body.outcome !== "succeeded") problem(`a new run ended so: ${JSON.stringify(usable[0].body)}`);
  const logs = await logsOf(world);
  for (const [id, events] of logs) checkLog(events, (text) => problem(`${id}: ${text}`));
  checkChanges(noted, before, problem);
  await checkReplays(world, problem);
  checkProjectFile(world, logs, problem);
  checkKept(world, problem);
  await checkFolds(world, logs, watchers, problem);
  await checkVerify(world, problem);
  const { code } = await world.terminate();
  if (code !== 0) problem(`the last daemon ended with ${code}`);
  await checkNoneLeft(world, "when the daemon has ended", problem);
  return [...logs.values()].reduce((sum, events) => sum + events.length, 0);
}

async function logsOf(world) {
  const { sessions } = await world.daemon.api.get("/sessions?limit=200");
  const logs = new Map();
  for (const { id } of sessions) logs.set(id, await world.daemon.api.events(id, 1000));
  return logs;
}

/** what -> how many changes of it were acknowledged. */
function tally(changes) {
  const counts = {};
  for (const { what, answer } of changes)
    if (answer?.status >= 200 && answer?.status < 300) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
}

/** {problems, told, changes, taken, events, log}; throws only for what is wrong with the harness itself. */
export async function round(seed) {
  const draw = random(seed);
  const world = await World.make();
  const told = [];
  const clients = Array.from({ length: kClients }, (_, i) => new Client(world, `c${i}`, random(seed * 31 + i)));
  const watchers = [new Watcher(world, "one"), new Watcher(world, "two")];
  const watching = watchers.map((watcher) => watcher.run());
  let events = 0;
  try {
    const lives = 1 + Math.floor(draw() * kMostLives);
    let load = [];
    for (let i = 0; i < lives; i++) {
      const ended = await live(world, clients, watchers, drawLife(draw));
      told.push(ended.told ?? ended);
      load = [...load, ...(ended.load ?? [])];
    }
    events = await conclude(world, load, watchers);
  } catch (error) {
    world.problem(error.stack);
  } finally {
    await world.close();
    await Promise.allSettled(watching);
  }
  const { problems, changes, daemon } = world;
  return { problems, told, changes: changes.length, taken: tally(changes), events, log: daemon.log };
}
