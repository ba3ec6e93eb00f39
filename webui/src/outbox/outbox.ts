// SPDX-License-Identifier: Apache-2.0
import { ApiError, type Mutation } from "../api/client.ts";

/** Retries of an act whose fate is unknown: soon at first, then every 15 s for as long as it takes. */
const kRetryMs = [500, 1000, 2000, 4000, 8000, 15_000];
/** Texts and keys are small; more unsent acts than this is no longer a queue but a fault. */
const kMaxActs = 100;

export type ActKind =
  | "message"
  | "hold"
  | "resume"
  | "stop"
  | "plan"
  | "cancel"
  | "grant"
  | "keep"
  | "drop";
/** `unknown`: an attempt got no answer. The same key is sent again, so nothing is doubled. */
export type ActState = "sending" | "unknown" | "accepted" | "refused";

export interface Answer {
  session?: string;
  run?: string;
  message?: string;
  /** Where the log shows it; an act without one needs no shadow. */
  seq?: number;
}

export interface Act extends Mutation {
  kind: ActKind;
  /** Session id, or "project:NAME" for a message that opens a session. */
  scope: string;
  /** What the act is about: the message's text, the plan entry's or the queued run's id. */
  subject: string;
  at: number;
  tries: number;
  state: ActState;
  error: string;
  /** HTTP status of a refusal, else 0. */
  status: number;
  answer: Answer | null;
}

export interface OutboxWorld {
  perform(mutation: Mutation): Promise<Answer>;
  now(): number;
  later(run: () => void, ms: number): number;
  cancel(timer: number): void;
  load(): string | null;
  save(text: string): void;
}

export interface OutboxHooks {
  changed(acts: readonly Act[]): void;
  accepted(act: Act, answer: Answer): void;
  signedOut(): void;
}

/**
 * Carries the operator's acts to the daemon, each exactly once: an act keeps its idempotency key
 * through retries and page reloads until the daemon has accepted or refused it. Messages of one
 * scope go out in order; control acts do not wait behind them.
 */
export class Outbox {
  private readonly world: OutboxWorld;
  private readonly hooks: OutboxHooks;
  private acts: Act[] = [];
  private readonly busy = new Set<string>();
  private readonly timers = new Map<string, number>();
  private readonly waiting = new Map<string, (act: Act) => void>();

  constructor(world: OutboxWorld, hooks: OutboxHooks) {
    this.world = world;
    this.hooks = hooks;
  }

  /** Takes up what a closed page left behind; call once the operator is signed in. */
  restore(): void {
    try {
      const saved = JSON.parse(this.world.load() ?? "[]") as Act[];
      const seen = new Set(this.acts.map((act) => act.key));
      this.acts = [...saved.filter((act) => !seen.has(act.key)), ...this.acts];
    } catch {
      // What cannot be read cannot be sent; the log still has everything that was accepted.
    }
    this.publish();
    this.nudge();
  }

  /** False when too much waits already. `settled` hears once that it was accepted or refused. */
  put(
    act: Pick<Act, "kind" | "scope" | "subject" | "method" | "path" | "body" | "key">,
    settled?: (act: Act) => void,
  ): boolean {
    if (this.acts.length >= kMaxActs) return false;
    const full: Act = {
      ...act,
      at: this.world.now(),
      tries: 0,
      state: "sending",
      error: "",
      status: 0,
      answer: null,
    };
    this.acts = [...this.acts, full];
    if (settled) this.waiting.set(act.key, settled);
    this.publish();
    this.pump();
    return true;
  }

  /** Forgets an act that was refused or that the log shows by now. */
  dismiss(key: string): void {
    this.acts = this.acts.filter((act) => act.key !== key);
    this.publish();
  }

  /** The log of `session` is held up to `seq`: what was accepted before that needs no shadow. */
  seen(session: string, seq: number): void {
    const left = this.acts.filter(
      (act) =>
        act.state !== "accepted" ||
        (act.answer?.session ?? act.scope) !== session ||
        (act.answer?.seq ?? 0) > seq,
    );
    if (left.length === this.acts.length) return;
    this.acts = left;
    this.publish();
  }

  /** The link is back: do not wait for the retry timers. */
  nudge(): void {
    for (const timer of this.timers.values()) this.world.cancel(timer);
    this.timers.clear();
    this.pump();
  }

  private pump(): void {
    const started = new Set<string>();
    for (const act of this.acts) {
      if (act.state !== "sending" && act.state !== "unknown") continue;
      const lane = act.kind === "message" ? act.scope : act.key;
      if (started.has(lane)) continue;
      started.add(lane);
      if (!this.busy.has(lane) && !this.timers.has(lane)) void this.attempt(act, lane);
    }
  }

  private async attempt(act: Act, lane: string): Promise<void> {
    this.busy.add(lane);
    try {
      const { method, path, body, key } = act;
      const answer = await this.world.perform({ method, path, body, key });
      this.settle(act.key, { state: "accepted", answer, error: "" });
      this.hooks.accepted(act, answer);
    } catch (error) {
      this.failed(act, lane, error);
    } finally {
      this.busy.delete(lane);
    }
    this.pump();
  }

  private failed(act: Act, lane: string, error: unknown): void {
    const known = error instanceof ApiError ? error : new ApiError("internal", 0, String(error));
    if (!known.fateUnknown && !known.signedOut) {
      const message = [known.message, ...known.details].join("; ");
      this.settle(act.key, { state: "refused", error: message, status: known.status });
      return;
    }
    const tries = (this.acts.find((each) => each.key === act.key)?.tries ?? 0) + 1;
    this.change(act.key, { state: "unknown", tries, error: known.message });
    if (known.signedOut) this.hooks.signedOut();
    const wait = kRetryMs[Math.min(tries - 1, kRetryMs.length - 1)] ?? 15_000;
    const retry = () => {
      this.timers.delete(lane);
      this.pump();
    };
    this.timers.set(lane, this.world.later(retry, wait));
  }

  private settle(key: string, change: Partial<Act>): void {
    this.change(key, change);
    const settled = this.waiting.get(key);
    this.waiting.delete(key);
    const act = this.acts.find((each) => each.key === key);
    if (act) settled?.(act);
  }

  private change(key: string, change: Partial<Act>): void {
    this.acts = this.acts.map((act) => (act.key === key ? { ...act, ...change } : act));
    this.publish();
  }

  private publish(): void {
    // Control acts are not kept: a stop that is sent an hour late would hit another run.
    const kept = this.acts.filter((act) => act.kind === "message" && act.state !== "accepted");
    this.world.save(JSON.stringify(kept));
    this.hooks.changed(this.acts);
  }
}

const kStorageKey = "volary.outbox";

export function browserOutboxWorld(perform: OutboxWorld["perform"]): OutboxWorld {
  return {
    perform,
    now: () => Date.now(),
    later: (run, ms) => window.setTimeout(run, ms),
    cancel: (timer) => window.clearTimeout(timer),
    load: () => {
      try {
        return localStorage.getItem(kStorageKey);
      } catch {
        return null;
      }
    },
    save: (text) => {
      try {
        localStorage.setItem(kStorageKey, text);
      } catch {
        // Private mode or a full disk: the outbox then lives as long as the page.
      }
    },
  };
}
