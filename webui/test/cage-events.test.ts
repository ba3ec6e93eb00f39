// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { kDenialCards } from "../src/fold/cage-events.ts";
import type { CardEntry, DenialEntry, Entry, GrantEntry } from "../src/fold/entries.ts";
import { Transcript } from "../src/fold/transcript.ts";
import { log } from "./make.ts";

type Line = Parameters<typeof log>[number];

const operator = "operator:uid 0";

function started(id: string, agent: string, parent: string | null): Line {
  const body = {
    id,
    parent,
    agent,
    runner: "builtin",
    cause: { type: parent ? "tool" : "message" },
  };
  return ["invocation.started", "daemon", body];
}

function denied(what: string, more: Record<string, unknown> = {}): Line {
  const rule = what.replace(/^\w+ /, "");
  const about = { cage: "cage_s", invocation: "inv_s", layer: "net", what, rule, count: 1 };
  return ["cage.denied", "daemon", { ...about, ...more }];
}

function granted(scope: string, cages: string[], more: Record<string, unknown> = {}): Line {
  const about = { agent: "primary/scraper", layer: "net", rule: "a.example:443", applied: "live" };
  return ["cage.granted", operator, { ...about, scope, cages, by: operator, ...more }];
}

function fold(...lines: Line[]): Transcript {
  const transcript = new Transcript();
  const begin = [started("inv_p", "primary", null), started("inv_s", "primary/scraper", "inv_p")];
  for (const event of log(...begin, ...lines)) transcript.add(event);
  return transcript;
}

const inCard = (transcript: Transcript) =>
  (transcript.entries.find((each) => each.kind === "card") as CardEntry).children;
const ofKind = <K extends Entry["kind"]>(list: Entry[], kind: K) =>
  list.filter((each): each is Extract<Entry, { kind: K }> => each.kind === kind);
const refused = (transcript: Transcript, invocation = "inv_s"): DenialEntry[] =>
  transcript.cages.of(invocation).list;

describe("a refusal", () => {
  test("knows its agent and its cage", () => {
    const entry = ofKind(inCard(fold(denied("tcp a.example:443"))), "denial")[0];
    expect(entry).toMatchObject({ agent: "primary/scraper", cage: "cage_s", invocation: "inv_s" });
    const own = fold(denied("tcp a.example:443", { invocation: "inv_p", cage: "cage_p" }));
    expect(ofKind(own.entries, "denial")[0]?.agent).toBe("primary");
  });

  test("that is tried again counts on its card", () => {
    const list = inCard(
      fold(denied("tcp a:1"), denied("tcp b:1"), denied("tcp a:1", { count: 7 })),
    );
    expect(ofKind(list, "denial").map((each) => each.count)).toEqual([8, 1]);
    expect(ofKind(list, "denial")[0]?.lastAt).toBeGreaterThan(list[0]?.at ?? 0);
  });

  test("of the same thing by another layer is another one", () => {
    const list = inCard(fold(denied("tcp a:1"), denied("tcp a:1", { layer: "sni" })));
    expect(ofKind(list, "denial")).toHaveLength(2);
  });

  test("is no flood: beyond a few, one line holds them all", () => {
    const scan = Array.from({ length: 600 }, (_, i) => denied(`tcp 10.0.0.${i}:22`));
    const list = inCard(fold(...scan));
    expect(ofKind(list, "denial")).toHaveLength(kDenialCards);
    const more = ofKind(list, "denials");
    expect(more).toHaveLength(1);
    const counted = [...ofKind(list, "denial"), ...(more[0]?.list ?? [])];
    expect(counted.reduce((sum, each) => sum + each.count, 0)).toBe(600);
    expect(counted.length).toBeLessThanOrEqual(500);
  });
});

describe("a grant", () => {
  test("is a line, and marks what it allows", () => {
    const transcript = fold(
      denied("tcp a.example:443"),
      denied("tcp b.example:443"),
      granted("session", ["cage_s"], { invocation: "inv_s" }),
    );
    expect(refused(transcript).map((each) => each.granted)).toEqual(["session", ""]);
    expect(ofKind(inCard(transcript), "grant")[0]).toMatchObject({
      rule: "a.example:443",
      scope: "session",
      by: operator,
      failure: "",
    });
  });

  test("for once marks only the cages that it names", () => {
    const two = [
      started("inv_t", "primary/scraper", "inv_p"),
      denied("tcp a.example:443"),
      denied("tcp a.example:443", { invocation: "inv_t", cage: "cage_t" }),
    ];
    const once = fold(...two, granted("once", ["cage_t"]));
    expect(refused(once)[0]?.granted).toBe("");
    expect(refused(once, "inv_t")[0]?.granted).toBe("once");
    const session = fold(...two, granted("session", ["cage_s", "cage_t"]));
    expect(refused(session)[0]?.granted).toBe("session");
    expect(refused(session, "inv_t")[0]?.granted).toBe("session");
    // It concerns both, so it stands beside their cards.
    expect(ofKind(session.entries, "grant")).toHaveLength(1);
  });

  test("of another agent marks nothing", () => {
    const transcript = fold(
      denied("tcp a.example:443"),
      granted("session", [], { agent: "primary" }),
    );
    expect(refused(transcript)[0]?.granted).toBe("");
  });

  test("stays when attempts from before it are told after it, and not for the next cage", () => {
    const transcript = fold(
      denied("tcp a.example:443"),
      granted("once", ["cage_s"]),
      denied("tcp a.example:443"),
      started("inv_t", "primary/scraper", "inv_p"),
      denied("tcp a.example:443", { invocation: "inv_t", cage: "cage_t" }),
    );
    expect(refused(transcript)[0]).toMatchObject({ granted: "once", count: 2 });
    expect(refused(transcript, "inv_t")[0]?.granted).toBe("");
  });

  test("that could not be carried out says why", () => {
    const transcript = fold(granted("session", []), [
      "cage.grant_failed",
      "daemon",
      { granted: 3, applied: "next_start", reason: "the host forbids it" },
    ]);
    const entry = ofKind(transcript.entries, "grant")[0] as GrantEntry;
    expect(entry).toMatchObject({ applied: "next_start", failure: "the host forbids it" });
  });
});

test("a grant that came to nothing marks nothing", () => {
  const transcript = fold(denied("tcp a.example:443"), granted("session", ["cage_s"]), [
    "cage.grant_failed",
    "daemon",
    { granted: 4, applied: "none", reason: "the project file could not be written" },
  ]);
  expect(refused(transcript)[0]?.granted).toBe("");
});

test("a limit that is hit again counts, with its newest figures", () => {
  const limit = (detail: string): Line => [
    "cage.limit",
    "daemon",
    { invocation: "inv_s", limit: "pids", detail },
  ];
  const list = ofKind(inCard(fold(limit("64 of 64"), limit("65 of 64"))), "limit");
  expect(list).toHaveLength(1);
  expect(list[0]).toMatchObject({ count: 2, detail: "65 of 64" });
});

test("changes that were kept or dropped are told with their number", () => {
  const transcript = fold(
    ["cage.changes_kept", operator, { agent: "primary/scraper", paths: 3, by: operator }],
    ["cage.changes_dropped", operator, { agent: "primary/scraper", paths: 1, by: operator }],
  );
  const list = ofKind(transcript.entries, "changes");
  expect(list.map((each) => [each.kept, each.count])).toEqual([
    [true, 3],
    [false, 1],
  ]);
});

describe("after a restart of the daemon", () => {
  test("each cage's verdict is a line where its agent speaks", () => {
    const verdict = (invocation: string, word: string): Line => [
      "cage.recovered",
      "daemon",
      { cage: "cage_x", invocation, verdict: word, detail: "81 ms without a daemon" },
    ];
    const transcript = fold(verdict("inv_p", "re-adopted"), verdict("inv_s", "lost"));
    const all: Entry[] = [];
    const walk = (list: readonly Entry[]) => {
      for (const entry of list) {
        all.push(entry);
        if (entry.kind === "card") walk(entry.children);
      }
    };
    walk(transcript.entries);
    const found = all.filter((entry) => entry.kind === "recovery");
    expect(found.map((entry) => [entry.agent, entry.verdict]).sort()).toEqual([
      ["primary", "re-adopted"],
      ["primary/scraper", "lost"],
    ]);
    expect(found[0]?.detail).toBe("81 ms without a daemon");
  });
});
