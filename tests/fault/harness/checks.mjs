// SPDX-License-Identifier: Apache-2.0
// What must hold when a round is over, whatever was broken in it. Each check says what it found wrong.
import { deepStrictEqual } from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { commandOf, survivors } from "../../support/processes.mjs";
import { until } from "../../support/wait.mjs";
import { fold, summary } from "./fold.mjs";

/** change -> the kinds of the event that its answer's seq may name, of which there is one for each. */
const kKinds = {
  message: ["message.user"],
  hold: ["run.holding"],
  // In an idle session it starts the queue, and names the last event of that.
  resume: ["run.resumed", "invocation.started"],
  stop: ["run.stopping"],
  cancel: ["message.cancelled"],
  edit: ["plan.updated"],
  grant: ["cage.granted"],
  keep: ["cage.changes_kept"],
  drop: ["cage.changes_dropped"],
};

/** Time for cages that were killed to be gone, on a busy machine. */
const kGoneMs = 20_000;

const ofKind = (events, kind) => events.filter((event) => event.kind === kind);

function differ(left, right) {
  try {
    deepStrictEqual(left, right);
    return undefined;
  } catch (error) {
    return error.message;
  }
}

/** The values that come more than once. */
function doubles(values) {
  const seen = new Set();
  return values.filter((value) => seen.has(value) || !seen.add(value));
}

/** One session's log by itself: order, beginnings and ends. */
export function checkLog(events, problem) {
  events.forEach((event, index) => {
    if (event.seq !== index + 1) problem(`event ${event.seq} stands at ${index + 1}`);
  });
  const once = (what, values) => {
    for (const value of doubles(values)) problem(`${what} ${value} twice`);
  };
  const ids = (kind) => ofKind(events, kind).map((event) => event.body.id);
  const runs = (kind) => ofKind(events, kind).map((event) => event.run);
  const firing = ({ body }) => `${body.rule} of ${body.signal_seq}`;
  once("fired", ofKind(events, "interconnect.fired").map(firing));
  for (const kind of ["message.user", "message.cancelled", "step.started", "step.held"]) once(kind, ids(kind));
  for (const kind of ["step.released", "step.finished"]) once(kind, ids(kind));
  for (const kind of ["cage.started", "cage.exited"])
    once(kind, ofKind(events, kind).map((event) => event.body.cage));
  for (const kind of ["message.agent", "thought.agent"])
    once(kind, ofKind(events, kind).map((event) => event.body.item));
  checkPairs("run", runs("run.started"), runs("run.finished"), problem);
  checkPairs("invocation", ids("invocation.started"), ids("invocation.finished"), problem);
  checkRuns(events, problem);
}

function checkPairs(what, started, finished, problem) {
  for (const id of doubles(started)) problem(`${what} ${id} started twice`);
  for (const id of doubles(finished)) problem(`${what} ${id} ended twice`);
  for (const id of started) if (!finished.includes(id)) problem(`${what} ${id} has no end`);
  for (const id of finished) if (!started.includes(id)) problem(`${what} ${id} ended without a start`);
}

/** One run at a time; messages are worked on in the order in which they came. */
function checkRuns(events, problem) {
  let running;
  let queue = [];
  for (const { kind, run, seq } of events) {
    if (kind === "message.user") queue.push(run);
    if (kind === "message.cancelled") queue = queue.filter((each) => each !== run);
    if (kind === "run.started") {
      if (running) problem(`run ${run} starts at ${seq} while ${running} works`);
      if (queue[0] !== run) problem(`run ${run} starts at ${seq}, it is the turn of ${queue[0]}`);
      queue = queue.filter((each) => each !== run);
      running = run;
    }
    if (kind === "run.finished") running = undefined;
    if (kind === "invocation.started" && run !== running) problem(`event ${seq} is of a run that does not work`);
  }
}

/** An event's trace of the request that caused it, where it has one. */
function namedBy(event) {
  if (event.kind === "message.user") return event.body.text.split(" ").at(-1);
  if (event.kind === "plan.updated") return event.body.change?.after.text.split(" ").at(1);
  if (event.kind === "cage.granted") return event.body.rule.split(".")[0];
  return undefined;
}

const sessionOf = (change) =>
  change.answer.json.session ?? change.path.match(/^\/sessions\/(ses_[^/]+)/)?.[1];

/** What was acknowledged is there, once, where the answer said. */
export function checkChanges(changes, logs, problem) {
  const taken = changes.filter((change) => change.answer?.status === 202);
  const caused = new Map();
  for (const change of taken) {
    const { what, name, key, answer } = change;
    const session = sessionOf(change);
    const event = logs.get(session)?.[answer.json.seq - 1];
    if (!kKinds[what].includes(event?.kind))
      problem(`${what} ${name} is event ${answer.json.seq} of ${session}, there is ${event?.kind}`);
    const place = `${session} ${answer.json.seq}`;
    if ((caused.get(place) ?? key) !== key) problem(`${what} ${name} and another one are both ${place}`);
    caused.set(place, key);
    if (event && namedBy(event) !== undefined && namedBy(event) !== name)
      problem(`${what} ${name} was answered with the event of ${namedBy(event)}`);
  }
  const known = new Map(taken.map((change) => [change.key, change.answer.json]));
  for (const { what, name, key, answer } of taken) {
    const difference = differ(answer.json, known.get(key));
    if (difference) problem(`${what} ${name} has two answers: ${difference}`);
  }
  checkCauses(taken, caused, logs, problem);
}

/** Positions of the grants that came to nothing: who asked for one is refused, with the reason. */
const failedGrants = (events) =>
  new Set(ofKind(events, "cage.grant_failed").map((event) => event.body.granted));

/** No event of an operator that nobody asked for, and none twice. */
function checkCauses(taken, caused, logs, problem) {
  const kinds = new Set(Object.values(kKinds).flat());
  for (const [session, events] of logs) {
    const failed = failedGrants(events);
    for (const event of events) {
      if (failed.has(event.seq)) continue;
      if (!event.actor.startsWith("operator:") || !kinds.has(event.kind)) continue;
      if (caused.has(`${session} ${event.seq}`)) continue;
      problem(`event ${event.seq} of ${session}, ${event.kind} of ${namedBy(event)}, was never acknowledged`);
    }
    const names = events.map(namedBy).filter((name) => name !== undefined);
    for (const name of doubles(names)) problem(`${name} is in ${session} twice`);
  }
  // One client asks for one thing after the other, and the log keeps that order.
  const last = new Map();
  for (const change of taken) {
    const line = `${change.name.split("-")[0]} ${sessionOf(change)}`;
    const { seq } = change.answer.json;
    const before = last.get(line);
    if (before && before.key !== change.key && before.seq >= seq)
      problem(`${change.what} ${change.name} is event ${seq}, before ${before.seq} that came first`);
    last.set(line, { seq, key: change.key });
  }
}

/** The same key again gives the same answer, however often the daemon died since. */
export async function checkReplays(world, problem) {
  const last = new Map();
  for (const change of world.changes) if (change.answer?.status === 202) last.set(change.key, change);
  for (const { what, name, method, path: route, body, key, answer } of last.values()) {
    const again = await world.daemon.api.request(method, route, { body, key });
    if (again.status !== 202 || again.text !== answer.text)
      problem(`${what} ${name} again: ${again.status} ${again.text}, it was ${answer.text}`);
  }
}

/** Each client holds what the daemon says. */
export async function checkFolds(world, logs, watchers, problem) {
  for (const [session, events] of logs) {
    const state = await world.daemon.api.get(`/sessions/${session}`);
    const difference = differ(fold(events), state);
    if (difference) problem(`the state of ${session} is not the fold of its log: ${difference}`);
    for (const [index, watcher] of watchers.entries()) {
      const held = () => watcher.events.get(session) ?? [];
      const caught = until("a stream has come to the end", () => held().length >= events.length, 5000);
      await caught.catch(() => problem(`stream ${index} has ${held().length} of ${events.length} events`));
      const unlike = differ(held(), events);
      if (unlike) problem(`stream ${index} of ${session} was shown something else: ${unlike}`);
      const shown = () => watcher.summaries.get(session);
      const told = until("the list is told", () => shown()?.last_seq >= events.length, 5000);
      await told.catch(() => problem(`stream ${index} was told of ${session} until ${shown()?.last_seq}`));
      const stale = differ(shown(), summary(state));
      if (stale) problem(`stream ${index} shows ${session} in the list as it is not: ${stale}`);
    }
  }
}

export async function checkVerify(world, problem) {
  for (const session of world.sessions) {
    const { code, stdout, stderr } = await world.daemon.cli("session", "verify", session);
    if (code !== 0) problem(`session verify ${session}: ${code} ${stdout}${stderr}`);
  }
  const { backups } = await world.daemon.api.get("/backups");
  for (const { path: file } of backups) {
    const { code, stdout, stderr } = await world.daemon.cli("backup", "verify", file);
    if (code !== 0) problem(`backup verify ${file}: ${code} ${stdout}${stderr}`);
  }
}

/** A grant for the project that was acknowledged is in the project file, or has failed. */
export function checkProjectFile(world, logs, problem) {
  const text = readFileSync(path.join(world.daemon.project, ".volary/project.yaml"), "utf8");
  for (const change of world.changes) {
    const { name, body, answer } = change;
    if (body?.scope !== "project" || answer?.status !== 202 || text.includes(body.net)) continue;
    const failed = failedGrants(logs.get(sessionOf(change)) ?? []);
    if (!failed.has(answer.json.seq)) problem(`grant ${name} is not in the project file`);
  }
}

/** What was kept is in the project's folder. Its agents add files there, and take none away. */
export function checkKept(world, problem) {
  for (const { what, name, body, answer } of world.changes) {
    if (what !== "keep" || answer?.status !== 202) continue;
    const refused = answer.json.refused.map((text) => text.split(": ")[0]);
    for (const seen of body.seen.filter((change) => !refused.includes(change.path))) {
      const file = seen.path.replace("/workspace", world.daemon.project);
      if (!existsSync(file)) problem(`keep ${name} was acknowledged, and there is no ${file}`);
    }
  }
}

/** No process is there that no run needs. */
export async function checkNoneLeft(world, when, problem) {
  const gone = until("no process is left", () => world.processes().length === 0, kGoneMs);
  await gone.catch(() => {
    const left = survivors(world.processes()).map(({ pid, state }) => `${commandOf(pid)} ${pid} (${state})`);
    if (left.length > 0) problem(`${when} these are left: ${left.join(", ")}`);
  });
}
