// SPDX-License-Identifier: Apache-2.0
import type { Delta, LiveItem, LogEvent, ServerMessage, SessionSummary } from "../api/types.ts";

/** The daemon pings every 25 s; a socket that is silent for longer than this is dead. */
export const kSilenceMs = 40_000;
/** After a wake-up or a network change, silence this long is enough to doubt the socket. */
export const kSuspectMs = 27_000;
export const kBackoffFirstMs = 300;
export const kBackoffMaxMs = 15_000;
/** A handshake that takes longer has failed. */
export const kConnectMs = 10_000;

export type LinkPhase = "connecting" | "live" | "waiting" | "signed-out";

export interface LinkState {
  phase: LinkPhase;
  /** When this phase began (ms). */
  since: number;
  /** When the daemon last said anything (ms), 0 if never. */
  heard: number;
  /** When the next attempt starts (ms), 0 if none is planned. */
  retryAt: number;
  epoch: string;
  version: string;
}

export interface Subscriber {
  /** The last sequence number that is safely held; replay starts after it. */
  after(): number;
  event(event: LogEvent): void;
  live(seq: number, items: LiveItem[]): void;
  delta(delta: Delta): void;
}

export interface LinkHooks {
  changed(state: LinkState): void;
  /** Called with every hello; `epochChanged` means: forget everything and read again. */
  hello(epochChanged: boolean): void;
  summary(summary: SessionSummary): void;
}

/** What the link needs from the browser, so that tests can turn the clock themselves. */
export interface LinkWorld {
  open(): SocketLike;
  now(): number;
  later(run: () => void, ms: number): number;
  cancel(timer: number): void;
  random(): number;
}

export interface SocketLike {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((close: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

/** Full jitter between half and all of the doubled delay: two devices never march in step. */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(kBackoffMaxMs, kBackoffFirstMs * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}

/**
 * The one WebSocket of this page. It reconnects for ever, resumes each subscription after the
 * last number its subscriber holds, and tells its state as it is, never as it is hoped to be.
 */
export class Link {
  private readonly world: LinkWorld;
  private readonly hooks: LinkHooks;
  private readonly subscribers = new Map<string, Subscriber>();
  private socket: SocketLike | null = null;
  private timer = 0;
  private watchdog = 0;
  private attempt = 0;
  state: LinkState;

  constructor(world: LinkWorld, hooks: LinkHooks) {
    this.world = world;
    this.hooks = hooks;
    this.state = {
      phase: "waiting",
      since: world.now(),
      heard: 0,
      retryAt: 0,
      epoch: "",
      version: "",
    };
  }

  start(): void {
    if (this.socket === null) this.connect();
  }

  /** Closes for good (sign-out); start() opens again. */
  stop(): void {
    this.world.cancel(this.timer);
    this.drop();
    this.set({ phase: "signed-out", retryAt: 0 });
  }

  subscribe(session: string, subscriber: Subscriber): void {
    this.subscribers.set(session, subscriber);
    if (this.state.phase === "live") this.ask(session, subscriber);
  }

  unsubscribe(session: string): void {
    if (!this.subscribers.delete(session)) return;
    if (this.state.phase === "live") this.send({ unsubscribe: { session } });
  }

  /** Asks for the replay again: after a gap in the log or in a streamed item. */
  resync(session: string): void {
    const subscriber = this.subscribers.get(session);
    if (subscriber === undefined || this.state.phase !== "live") return;
    this.send({ unsubscribe: { session } });
    this.ask(session, subscriber);
  }

  /** The page became visible or the network came back: do not wait for a timer to find out. */
  nudge(): void {
    if (this.state.phase === "signed-out") return;
    if (this.socket === null) {
      this.attempt = 0;
      this.connect();
    } else if (this.world.now() - this.state.heard > kSuspectMs && this.state.phase === "live") {
      this.lost(0);
    }
  }

  private connect(): void {
    this.world.cancel(this.timer);
    const socket = this.world.open();
    this.socket = socket;
    this.set({ phase: "connecting", retryAt: 0 });
    this.watch(kConnectMs);
    socket.onmessage = (message) => {
      if (this.socket !== socket || typeof message.data !== "string") return;
      this.set({ heard: this.world.now() });
      this.watch(kSilenceMs);
      for (const line of message.data.split("\n")) {
        if (line !== "") this.receive(line);
      }
    };
    socket.onclose = (close) => {
      if (this.socket === socket) this.lost(close.code);
    };
  }

  private receive(line: string): void {
    let message: ServerMessage;
    try {
      message = JSON.parse(line) as ServerMessage;
    } catch {
      return this.lost(0);
    }
    if (message.event) {
      this.subscribers.get(message.event.session)?.event(message.event);
    } else if (message.delta) {
      this.subscribers.get(message.delta.session)?.delta(message.delta);
    } else if (message.live) {
      this.subscribers.get(message.live.session)?.live(message.live.seq, message.live.items);
    } else if (message.ping !== undefined) {
      this.send({ pong: message.ping });
    } else if (message.summary) {
      this.hooks.summary(message.summary);
    } else if (message.hello) {
      this.welcome(message.hello);
    }
  }

  private welcome(hello: { epoch: string; version: string }): void {
    const changed = this.state.epoch !== "" && this.state.epoch !== hello.epoch;
    this.attempt = 0;
    this.set({ phase: "live", epoch: hello.epoch, version: hello.version });
    this.send({ subscribe: { list: true } });
    this.hooks.hello(changed);
    if (!changed) {
      for (const [session, subscriber] of this.subscribers) this.ask(session, subscriber);
    }
  }

  private ask(session: string, subscriber: Subscriber): void {
    this.send({ subscribe: { session, after: subscriber.after() } });
  }

  private lost(code: number): void {
    this.drop();
    if (code === 4401) return this.set({ phase: "signed-out", retryAt: 0 });
    const wait = backoff(this.attempt++, this.world.random());
    this.set({ phase: "waiting", retryAt: this.world.now() + wait });
    this.timer = this.world.later(() => this.connect(), wait);
  }

  private drop(): void {
    this.world.cancel(this.watchdog);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  private watch(ms: number): void {
    this.world.cancel(this.watchdog);
    this.watchdog = this.world.later(() => this.lost(0), ms);
  }

  private send(message: unknown): void {
    try {
      this.socket?.send(JSON.stringify(message));
    } catch {
      // A closing socket throws here; its close event follows and reconnects.
    }
  }

  private set(change: Partial<LinkState>): void {
    const moved = change.phase !== undefined && change.phase !== this.state.phase;
    this.state = {
      ...this.state,
      ...change,
      ...(moved ? { since: this.world.now() } : {}),
    };
    this.hooks.changed(this.state);
  }
}

/** The real world: this page's own origin. */
export function browserWorld(): LinkWorld {
  return {
    open: () => {
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      return new WebSocket(`${scheme}//${location.host}/api/v1/stream`) as unknown as SocketLike;
    },
    now: () => Date.now(),
    later: (run, ms) => window.setTimeout(run, ms),
    cancel: (timer) => window.clearTimeout(timer),
    random: Math.random,
  };
}
