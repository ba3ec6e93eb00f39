// SPDX-License-Identifier: Apache-2.0
import { type Accessor, batch, createSignal, type Setter } from "solid-js";
import { createStore, reconcile, type SetStoreFunction } from "solid-js/store";
import { ApiError, api } from "./api/client.ts";
import type { Delta, LiveItem, LogEvent, SessionState } from "./api/types.ts";
import { asksLast, type DenialEntry, type Entry, weight } from "./fold/entries.ts";
import { advance } from "./fold/live.ts";
import { Streams } from "./fold/streams.ts";
import { streamEntry, Transcript } from "./fold/transcript.ts";
import type { Link, Subscriber } from "./link/link.ts";

/** Events read when a session is opened, and with each "show earlier". */
export const kPage = 300;
/** Later than any event. */
export const kNoEnd = Number.MAX_SAFE_INTEGER;
/** Lines of the first paint: a screenful and some. */
const kFirst = 16;
/** Lines on the page soon after; each "show earlier" adds as many. */
export const kWindow = 200;

export type RoomPhase = "loading" | "ready" | "missing" | "failed";

function copy(entry: Entry): Entry {
  if (entry.kind === "denials") return { ...entry, list: entry.list.map((each) => ({ ...each })) };
  if (entry.kind !== "card") return { ...entry };
  return { ...entry, children: entry.children.map(copy) };
}

/**
 * One opened session: holds a contiguous piece of its log up to the newest event, folds it, and
 * offers the result to the views. Events arrive in any order or twice; what is shown never
 * depends on that.
 */
export class Room implements Subscriber {
  readonly session: string;
  private readonly link: Link;
  private readonly seen: (seq: number) => void;
  private events: LogEvent[] = [];
  private transcript = new Transcript();
  private streams = new Streams();
  private window = kFirst;
  private painting = false;
  private resyncing = false;
  private closed = false;
  private generation = 0;

  readonly phase: Accessor<RoomPhase>;
  readonly error: Accessor<string>;
  readonly state: Accessor<SessionState | null>;
  readonly entries: { readonly list: Entry[] };
  readonly earlier: Accessor<boolean>;
  readonly lastEventAt: Accessor<number>;
  /** Counts what the log says of cages, so that who shows them looks again. */
  readonly cageChanges: Accessor<number>;
  private readonly setPhase: Setter<RoomPhase>;
  private readonly setError: Setter<string>;
  private readonly setState: Setter<SessionState | null>;
  private readonly setEntries: SetStoreFunction<{ list: Entry[] }>;
  private readonly setEarlier: Setter<boolean>;
  private readonly setLastEventAt: Setter<number>;
  private readonly setCageChanges: Setter<number>;

  constructor(session: string, link: Link, seen: (seq: number) => void) {
    this.session = session;
    this.link = link;
    this.seen = seen;
    [this.phase, this.setPhase] = createSignal<RoomPhase>("loading");
    [this.error, this.setError] = createSignal("");
    [this.state, this.setState] = createSignal<SessionState | null>(null);
    [this.entries, this.setEntries] = createStore<{ list: Entry[] }>({ list: [] });
    [this.earlier, this.setEarlier] = createSignal(false);
    [this.lastEventAt, this.setLastEventAt] = createSignal(0);
    [this.cageChanges, this.setCageChanges] = createSignal(0);
  }

  /** Reads the state and the last page, then follows. Also the way back after a lost database. */
  async open(): Promise<void> {
    const generation = ++this.generation;
    this.link.unsubscribe(this.session);
    try {
      const [state, events] = await this.read();
      if (this.closed || generation !== this.generation) return;
      this.streams = new Streams();
      this.resyncing = false;
      this.events = events;
      this.setState(state);
      this.refold(state);
      batch(() => {
        this.paint();
        this.setPhase("ready");
      });
      this.link.subscribe(this.session, this);
      this.seen(state.last_seq);
      if (this.window === kFirst)
        requestAnimationFrame(() => window.setTimeout(() => this.widen()));
    } catch (error) {
      if (this.closed || generation !== this.generation) return;
      this.fail(error);
    }
  }

  /** The state and the page of events that ends where it stands: one moment of the log. */
  private async read(): Promise<[SessionState, LogEvent[]]> {
    const [state, page] = await Promise.all([
      api.session(this.session),
      api.eventsBefore(this.session, kNoEnd, kPage),
    ]);
    // Both were asked for at once, so either may be the newer one.
    const events = page.events.filter((event) => event.seq <= state.last_seq);
    if (events[events.length - 1]?.seq === state.last_seq || state.last_seq === 0) {
      return [state, events];
    }
    const again = await api.eventsBefore(this.session, state.last_seq + 1, kPage);
    return [state, again.events];
  }

  /** What is above the first screen is built when that one is painted. */
  private widen(): void {
    if (this.closed || this.window !== kFirst) return;
    this.window = kWindow;
    this.paint();
  }

  private fail(error: unknown): void {
    const known = error instanceof ApiError ? error : null;
    this.setError(known?.message ?? String(error));
    this.setPhase(known?.status === 404 ? "missing" : "failed");
    if (known?.fateUnknown) {
      window.setTimeout(() => {
        if (!this.closed && this.phase() === "failed") void this.open();
      }, 2000);
    }
  }

  close(): void {
    this.closed = true;
    this.link.unsubscribe(this.session);
  }

  after(): number {
    this.resyncing = false;
    return this.state()?.last_seq ?? 0;
  }

  event(event: LogEvent): void {
    const state = this.state();
    if (state === null || event.seq <= state.last_seq) return;
    if (event.seq !== state.last_seq + 1) return this.resync();
    this.events.push(event);
    this.transcript.add(event);
    if (event.kind === "message.agent" || event.kind === "thought.agent") {
      if (typeof event.body.item === "string") this.streams.finish(event.body.item);
    }
    if (event.kind === "run.finished") this.streams.reset([]);
    batch(() => {
      this.setState(advance(state, event));
      this.setLastEventAt(event.at);
      if (event.kind.startsWith("cage.") && event.kind !== "cage.output")
        this.setCageChanges((count) => count + 1);
    });
    this.seen(event.seq);
    this.schedule();
  }

  live(seq: number, items: LiveItem[]): void {
    if (seq > (this.state()?.last_seq ?? 0)) return this.resync();
    this.streams.reset(items);
    this.schedule();
  }

  delta(delta: Delta): void {
    if (this.streams.apply(delta) === "gap") this.resync();
    else this.schedule();
  }

  private resync(): void {
    if (this.resyncing) return;
    this.link.resync(this.session);
    this.resyncing = true;
  }

  /** Makes more of the past visible, reading it from the daemon when it is not held. */
  async showEarlier(): Promise<void> {
    const first = this.events[0]?.seq ?? 1;
    this.window = this.window === kFirst ? kWindow : this.window + kWindow;
    if (this.held() < this.window && first > 1) {
      const page = await api.eventsBefore(this.session, first, kPage);
      if (this.closed || this.events[0]?.seq !== first) return;
      this.events = [...page.events, ...this.events];
      const state = this.state();
      if (state) this.refold(state);
    }
    this.paint();
  }

  /** What an agent's cage refused, the newest first, as far back as the held events go. */
  denials(invocation: string): DenialEntry[] {
    const list = this.transcript.cages.of(invocation).list.map((each) => ({ ...each }));
    return list.sort((a, b) => b.lastAt - a.lastAt);
  }

  private held(): number {
    return this.transcript.entries.reduce((sum, entry) => sum + weight(entry), 0);
  }

  private refold(state: SessionState): void {
    this.transcript = new Transcript(state.invocations);
    for (const event of this.events) {
      this.transcript.add(event);
      if (typeof event.body.item === "string") this.streams.finish(event.body.item);
    }
    this.setLastEventAt(this.events[this.events.length - 1]?.at ?? 0);
    // What was refused earlier may be held now.
    this.setCageChanges((count) => count + 1);
  }

  private schedule(): void {
    if (this.painting) return;
    this.painting = true;
    const run = () => {
      if (!this.painting) return;
      this.painting = false;
      this.paint();
    };
    requestAnimationFrame(run);
    // A hidden page gets no frames, but its title and its tests still want the newest state.
    window.setTimeout(run, 250);
  }

  private paint(): void {
    const all = this.transcript.entries;
    let from = all.length;
    let lines = 0;
    while (from > 0 && lines < this.window) {
      from--;
      const entry = all[from];
      if (entry) lines += weight(entry);
    }
    const list = all.slice(from).map(copy);
    this.addStreams(list);
    const settled = settle(list);
    batch(() => {
      this.setEntries("list", reconcile(settled, { key: "id", merge: true }));
      this.setEarlier(from > 0 || (this.events[0]?.seq ?? 1) > 1);
    });
  }

  private addStreams(list: Entry[]): void {
    for (const item of this.streams.items.values()) {
      const card = this.transcript.card(item.invocation);
      const shown = card ? findCard(list, item.invocation) : null;
      if (card && !shown) continue;
      (shown ?? list).push(streamEntry(item));
    }
  }
}

function settle(list: Entry[]): Entry[] {
  for (const entry of list) {
    if (entry.kind === "card") entry.children = settle(entry.children);
  }
  return asksLast(list);
}

function findCard(list: Entry[], invocation: string): Entry[] | null {
  for (const entry of list) {
    if (entry.kind !== "card") continue;
    if (entry.invocation === invocation) return entry.children;
    const inner = findCard(entry.children, invocation);
    if (inner) return inner;
  }
  return null;
}
