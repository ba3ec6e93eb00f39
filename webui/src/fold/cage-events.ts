// SPDX-License-Identifier: Apache-2.0
// What the conversation shows of cages: refusals, limits, grants, changes that were kept.

import type { LogEvent } from "../api/types.ts";
import { sameRule } from "../text/rules.ts";
import type { DenialEntry, DenialsEntry, Entry, GrantEntry, LimitEntry } from "./entries.ts";
import { num, str, strings } from "./read.ts";
import type { Handler, Transcript } from "./transcript.ts";

/** Different refusals of one agent that get a card each; the rest is one line that opens. */
export const kDenialCards = 3;
/** Refusals of one agent that are told apart; a scan of a network has thousands. */
const kDenialsKept = 500;

const base = (event: LogEvent) => ({ id: `e${event.seq}`, at: event.at });

/** The refusals of one invocation, each counted. */
class Refusals {
  readonly list: DenialEntry[] = [];
  readonly limits = new Map<string, LimitEntry>();
  private readonly byWhat = new Map<string, DenialEntry>();
  private more: DenialsEntry | null = null;

  /** Tried again: one card that counts, not one more. */
  add(entry: DenialEntry, home: Entry[]): void {
    const key = `${entry.layer} ${entry.what}`;
    const same =
      this.byWhat.get(key) ?? (this.full() ? this.list[this.list.length - 1] : undefined);
    if (same) {
      same.count += entry.count;
      // What a cage tried before a grant is often told after it: the mark of the grant stays.
      same.lastAt = entry.at;
      return;
    }
    this.byWhat.set(key, entry);
    this.list.push(entry);
    if (this.list.length <= kDenialCards) home.push(entry);
    else this.fold(entry, home);
  }

  private full(): boolean {
    return this.list.length >= kDenialsKept;
  }

  private fold(entry: DenialEntry, home: Entry[]): void {
    if (this.more === null) {
      this.more = { kind: "denials", id: `d${entry.id}`, at: entry.at, list: [] };
      home.push(this.more);
    }
    this.more.list.push(entry);
  }
}

/** The refusals of a whole transcript, by invocation. */
export class CageLog {
  private readonly invocations = new Map<string, Refusals>();
  /** By the log position of `cage.granted`. */
  readonly grants = new Map<number, { entry: GrantEntry; cages: string[] }>();

  of(invocation: string): Refusals {
    let found = this.invocations.get(invocation);
    if (!found) {
      found = new Refusals();
      this.invocations.set(invocation, found);
    }
    return found;
  }

  /** Marks what a grant allows; one that holds once says nothing about cages that it does not name. */
  grant(entry: GrantEntry, cages: readonly string[]): void {
    for (const refusals of this.invocations.values()) {
      for (const each of refusals.list) {
        if (entry.scope === "once" && !cages.includes(each.cage)) continue;
        if (each.agent === entry.agent && sameRule(each.rule, entry.rule))
          each.granted = entry.applied === "none" ? "" : entry.scope;
      }
    }
  }
}

function denied(to: Transcript, event: LogEvent): void {
  const invocation = str(event.body, "invocation");
  const home = to.home(invocation, event);
  const entry: DenialEntry = {
    kind: "denial",
    ...base(event),
    cage: str(event.body, "cage"),
    invocation,
    agent: str(event.body, "agent") || to.agent(invocation),
    layer: str(event.body, "layer"),
    what: str(event.body, "what"),
    rule: str(event.body, "rule"),
    process: str(event.body, "process"),
    count: Math.max(1, num(event.body, "count")),
    lastAt: event.at,
    granted: "",
  };
  to.cages.of(invocation).add(entry, home);
}

function limited(to: Transcript, event: LogEvent): void {
  const invocation = str(event.body, "invocation");
  const limit = str(event.body, "limit");
  const seen = to.cages.of(invocation).limits;
  const same = seen.get(limit);
  if (same) {
    same.count += Math.max(1, num(event.body, "count"));
    same.detail = str(event.body, "detail") || same.detail;
    return;
  }
  const entry: LimitEntry = {
    kind: "limit",
    ...base(event),
    limit,
    detail: str(event.body, "detail"),
    count: Math.max(1, num(event.body, "count")),
  };
  seen.set(limit, entry);
  to.home(invocation, event).push(entry);
}

function granted(to: Transcript, event: LogEvent): void {
  const body = event.body;
  const invocation = str(body, "invocation");
  const entry: GrantEntry = {
    kind: "grant",
    ...base(event),
    agent: str(body, "agent") || to.agent(invocation),
    rule: str(body, "rule"),
    scope: str(body, "scope"),
    applied: str(body, "applied"),
    by: str(body, "by") || event.actor,
    failure: "",
  };
  const cages = [...strings(body, "cages"), str(body, "cage")];
  to.cages.grant(entry, cages);
  to.cages.grants.set(event.seq, { entry, cages });
  to.home(invocation, event).push(entry);
}

/** What was recorded could not be carried out as it was meant. */
function grantFailed(to: Transcript, event: LogEvent): void {
  const grant = to.cages.grants.get(num(event.body, "granted"));
  if (!grant) return;
  grant.entry.applied = str(event.body, "applied");
  grant.entry.failure = str(event.body, "reason");
  to.cages.grant(grant.entry, grant.cages);
}

function changes(kept: boolean): Handler {
  return (to, event) => {
    to.entries.push({
      kind: "changes",
      ...base(event),
      agent: str(event.body, "agent"),
      by: str(event.body, "by") || event.actor,
      kept,
      count: num(event.body, "paths"),
      refused: strings(event.body, "refused"),
    });
  };
}

export const cageHandlers: Record<string, Handler> = {
  "cage.started": (to, event) => {
    const card = to.card(str(event.body, "invocation"));
    if (!card) return;
    card.layers = strings(event.body, "layers");
    card.limitsBackend = str(event.body, "limits_backend");
    if (card.state === "starting") card.state = "working";
  },
  "cage.exited": (to, event) => {
    const status = str(event.body, "status");
    // A clean end, or one that was asked for, says nothing that the states do not say.
    if (status === "exit 0" || str(event.body, "reason") === "stopped") return;
    to.home(str(event.body, "invocation"), event).push({
      kind: "cage",
      ...base(event),
      status,
      reason: str(event.body, "reason"),
    });
  },
  "cage.recovered": (to, event) => {
    const invocation = str(event.body, "invocation");
    to.home(invocation, event).push({
      kind: "recovery",
      ...base(event),
      agent: to.agent(invocation),
      verdict: str(event.body, "verdict"),
      detail: str(event.body, "detail"),
    });
  },
  "cage.denied": denied,
  "cage.limit": limited,
  "cage.granted": granted,
  "cage.grant_failed": grantFailed,
  "cage.changes_kept": changes(true),
  "cage.changes_dropped": changes(false),
};
