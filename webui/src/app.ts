// SPDX-License-Identifier: Apache-2.0
// What the whole page shares: who is signed in, the link, the lists, the outbox, the route.

import { createSignal } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { ApiError, acts, api, mutate, newKey } from "./api/client.ts";
import type { ProjectSummary, SessionSummary } from "./api/types.ts";
import { browserWorld, Link, type LinkState } from "./link/link.ts";
import { type Act, type Answer, browserOutboxWorld, Outbox } from "./outbox/outbox.ts";
import { Room } from "./room.ts";

export type SignIn = "checking" | "in" | "out" | "unreachable";
export type Route =
  | { screen: "list" }
  | { screen: "session"; session: string }
  | { screen: "project"; project: string }
  | { screen: "daemon" }
  | { screen: "doctor" };

export const [signIn, setSignIn] = createSignal<SignIn>("checking");
export const [now, setNow] = createSignal(Date.now());
export const [projects, setProjects] = createStore<{ list: ProjectSummary[]; read: boolean }>({
  list: [],
  read: false,
});
export const [sessions, setSessions] = createStore<{ list: SessionSummary[]; total: number }>({
  list: [],
  total: 0,
});
export const [outboxActs, setOutboxActs] = createSignal<readonly Act[]>([]);
export const [room, setRoom] = createSignal<Room | null>(null);
export const [me, setMe] = createSignal("");
/** Whether the first screen has been seen: what is beside it, or not yet needed, comes after. */
export const [drawn, setDrawn] = createSignal(false);

/** How long the page may stay blank while the daemon is asked. */
const kBlankMs = 250;

function parseRoute(): Route {
  const [screen, arg] = location.hash.replace(/^#\/?/, "").split("/");
  if (screen === "s" && arg) return { screen: "session", session: decodeURIComponent(arg) };
  if (screen === "p" && arg) return { screen: "project", project: decodeURIComponent(arg) };
  if (screen === "daemon" || screen === "doctor") return { screen };
  return { screen: "list" };
}

export const [route, setRoute] = createSignal<Route>(parseRoute());

export function go(hash: string): void {
  location.hash = hash;
}

function rankSessions(list: SessionSummary[]): SessionSummary[] {
  return [...list].sort((a, b) => b.updated_at - a.updated_at);
}

export const link = new Link(browserWorld(), {
  changed: (state) => {
    setLinkState({ ...state });
    if (state.phase === "signed-out") signedOut();
    // A refused handshake does not say why; the API does.
    if (state.phase === "waiting" && state.heard === 0) void check();
  },
  hello: (epochChanged) => {
    void readLists();
    outbox.nudge();
    if (epochChanged || room()?.phase() === "failed") void room()?.open();
  },
  summary: (summary) => {
    const others = sessions.list.filter((each) => each.id !== summary.id);
    const unknown = others.length === sessions.list.length;
    setSessions("list", reconcile(rankSessions([summary, ...others]), { key: "id" }));
    // New, or older than what the list holds: the counts come from the daemon.
    if (unknown) void readLists();
  },
});
export const [linkState, setLinkState] = createSignal<LinkState>(link.state);

export const outbox = new Outbox(
  browserOutboxWorld((mutation) => mutate<Answer>(mutation)),
  {
    changed: setOutboxActs,
    accepted: (act, answer) => {
      const here = route();
      const fromProject = act.scope.startsWith("project:");
      if (fromProject && answer.session && here.screen === "project") go(`#/s/${answer.session}`);
      const state = room()?.state();
      if (state && state.id === (answer.session ?? act.scope))
        outbox.seen(state.id, state.last_seq);
      // Nobody looks at that session, so nothing needs a shadow until its log is read.
      else if (fromProject || !state) outbox.dismiss(act.key);
    },
    signedOut,
  },
);

function signedOut(): void {
  if (signIn() === "out") return;
  setSignIn("out");
  room()?.close();
  setRoom(null);
  link.stop();
}

export async function readLists(): Promise<void> {
  try {
    const [found, latest] = await Promise.all([api.projects(), api.sessions(100)]);
    setProjects("list", reconcile(found.projects, { key: "name" }));
    setProjects("read", true);
    setSessions("list", reconcile(rankSessions(latest.sessions), { key: "id" }));
    setSessions("total", latest.total);
  } catch (error) {
    if (error instanceof ApiError && error.signedOut) signedOut();
  }
}

export async function moreSessions(): Promise<void> {
  const page = await api.sessions(100, sessions.list.length);
  const ids = new Set(sessions.list.map((each) => each.id));
  const added = page.sessions.filter((each) => !ids.has(each.id));
  setSessions("list", (list) => [...list, ...added]);
}

/** Asks the daemon whether this browser is signed in. */
export async function check(): Promise<void> {
  try {
    setMe((await api.me()).name);
    if (signIn() !== "in") {
      setSignIn("in");
      outbox.restore();
      void openRoute();
    }
    if (drawn()) link.start();
  } catch (error) {
    if (error instanceof ApiError && error.signedOut) return signedOut();
    if (signIn() === "checking" || signIn() === "out") setSignIn("unreachable");
    window.setTimeout(() => {
      if (signIn() === "unreachable") void check();
    }, 2000);
  }
}

async function openRoute(): Promise<void> {
  const here = route();
  const wanted = here.screen === "session" ? here.session : null;
  // At start the session is read while the daemon is asked who this is: one round trip less.
  if (signIn() === "out" || (room()?.session ?? null) === wanted) return;
  room()?.close();
  if (wanted === null) {
    setRoom(null);
    return;
  }
  const opened = new Room(wanted, link, (seq) => outbox.seen(wanted, seq));
  setRoom(opened);
  await opened.open();
}

/**
 * Settles when what the first screen shows is known, so that it is drawn once and whole; or soon,
 * so that whoever waits for the daemon sees that.
 */
export function startApp(): Promise<unknown> {
  window.addEventListener("hashchange", () => {
    setRoute(parseRoute());
    void openRoute();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    setNow(Date.now());
    link.nudge();
    outbox.nudge();
    if (signIn() === "out") void check();
  });
  window.addEventListener("online", () => {
    link.nudge();
    outbox.nudge();
  });
  window.setInterval(() => setNow(Date.now()), 1000);
  const known = Promise.all([openRoute(), check()]);
  return Promise.race([known, new Promise((done) => window.setTimeout(done, kBlankMs))]);
}

/** To be called when the first screen is drawn: starts what would have held it up. */
export function firstScreenDrawn(): void {
  if (drawn()) return;
  setDrawn(true);
  if (signIn() === "in") link.start();
}

export const send = {
  message: (project: string, session: string | null, text: string) =>
    outbox.put({
      kind: "message",
      scope: session ?? `project:${project}`,
      subject: text,
      method: "POST",
      path: acts.message(project),
      body: { text, session: session ?? "new" },
      key: newKey(),
    }),
  /** Names the run that is meant: an act that arrives late must not hit the one that came after. */
  run: (session: string, verb: "hold" | "resume" | "stop", run: string | undefined) =>
    outbox.put({
      kind: verb,
      scope: session,
      subject: "",
      method: "POST",
      path: acts.run(session, verb),
      body: run ? { run } : {},
      key: newKey(),
    }),
  plan: (session: string, entry: string, change: { text?: string; status?: string }) =>
    outbox.put({
      kind: "plan",
      scope: session,
      subject: entry,
      method: "PATCH",
      path: acts.planEntry(session, entry),
      body: change,
      key: newKey(),
    }),
  cancel: (session: string, run: string) =>
    outbox.put({
      kind: "cancel",
      scope: session,
      subject: run,
      method: "DELETE",
      path: acts.queued(session, run),
      body: undefined,
      key: newKey(),
    }),
};

/** The operator's acts on a session that the log does not show yet. */
export function pendingActs(session: string): Act[] {
  return outboxActs().filter((act) => act.scope === session);
}
