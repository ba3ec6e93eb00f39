// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it } from "vitest";
import { ApiError, type Mutation } from "../src/api/client.ts";
import { type Act, type Answer, Outbox } from "../src/outbox/outbox.ts";
import { FakeClock, settle } from "./world.ts";

let clock: FakeClock;
let calls: Mutation[];
let acts: readonly Act[];
let saved: string;
let replies: (Answer | ApiError | "hang")[];
let box: Outbox;

function make(): Outbox {
  const { now, later, cancel } = clock;
  return new Outbox(
    {
      perform: (mutation) => {
        calls.push(mutation);
        const reply = replies.shift();
        if (reply === undefined || reply === "hang") return new Promise(() => {});
        return reply instanceof ApiError ? Promise.reject(reply) : Promise.resolve(reply);
      },
      now,
      later,
      cancel,
      load: () => saved,
      save: (text) => {
        saved = text;
      },
    },
    {
      changed: (now) => {
        acts = now;
      },
      accepted: () => {},
      signedOut: () => {},
    },
  );
}

function message(key: string, scope = "ses_1") {
  const body = { text: key };
  return {
    kind: "message" as const,
    scope,
    subject: key,
    method: "POST" as const,
    path: "/m",
    body,
    key,
  };
}

const gone = () => new ApiError("unavailable", 0, "the daemon is not reachable");
const ok = (seq: number): Answer => ({ session: "ses_1", run: "r", message: "m", seq });

beforeEach(() => {
  clock = new FakeClock();
  calls = [];
  acts = [];
  saved = "[]";
  replies = [];
  box = make();
});

describe("the outbox", () => {
  it("shows an act until the log has it", async () => {
    replies = [ok(5)];
    box.put(message("a"));
    expect(acts[0]?.state).toBe("sending");
    await settle();
    expect(acts[0]?.state).toBe("accepted");
    box.seen("ses_1", 4);
    expect(acts).toHaveLength(1);
    box.seen("ses_1", 5);
    expect(acts).toHaveLength(0);
  });

  it("repeats an act whose fate is unknown with the same key", async () => {
    replies = [gone(), new ApiError("internal", 500, "x"), ok(1)];
    box.put(message("a"));
    await settle();
    expect(acts[0]?.state).toBe("unknown");
    clock.pass(500);
    await settle();
    clock.pass(1000);
    await settle();
    expect(acts[0]?.state).toBe("accepted");
    expect(calls.map((call) => call.key)).toEqual(["a", "a", "a"]);
  });

  it("does not repeat what was refused", async () => {
    replies = [new ApiError("conflict", 409, "nothing to hold")];
    box.put({ ...message("a"), kind: "hold" });
    await settle();
    clock.pass(60_000);
    expect(acts[0]?.state).toBe("refused");
    expect(acts[0]?.error).toContain("nothing to hold");
    expect(calls).toHaveLength(1);
  });

  it("keeps the order of messages: the second waits until the first is settled", async () => {
    replies = [gone(), ok(1), ok(2)];
    box.put(message("a"));
    box.put(message("b"));
    await settle();
    expect(calls.map((call) => call.key)).toEqual(["a"]);
    clock.pass(500);
    await settle();
    expect(calls.map((call) => call.key)).toEqual(["a", "a", "b"]);
  });

  it("lets a stop pass a message that hangs", async () => {
    replies = ["hang", ok(2)];
    box.put(message("a"));
    box.put({ ...message("b"), kind: "stop" });
    await settle();
    expect(calls.map((call) => call.key)).toEqual(["a", "b"]);
    expect(acts.map((act) => act.state)).toEqual(["sending", "accepted"]);
  });

  it("sends what a closed page left behind, once, with its old key", async () => {
    replies = [gone()];
    box.put(message("a"));
    await settle();
    replies = [ok(3)];
    const reopened = make();
    reopened.restore();
    await settle();
    expect(calls.map((call) => call.key)).toEqual(["a", "a"]);
    expect(JSON.parse(saved)).toEqual([]);
  });

  it("never keeps a control act over a reload", () => {
    replies = ["hang"];
    box.put({ ...message("a"), kind: "stop" });
    expect(JSON.parse(saved)).toEqual([]);
  });

  it("tries at once when the link is back", async () => {
    replies = [gone(), ok(1)];
    box.put(message("a"));
    await settle();
    box.nudge();
    await settle();
    expect(acts[0]?.state).toBe("accepted");
  });

  it("starts with an unreadable store as with an empty one", () => {
    saved = "{broken";
    box.restore();
    expect(acts).toEqual([]);
  });
});

describe("who waits for an act", () => {
  it("hears once, after the attempts that got no answer, with the answer", async () => {
    const heard: Act[] = [];
    replies = [new ApiError("unavailable", 0, "gone"), { seq: 5 }];
    box.put(message("a"), (act) => heard.push(act));
    await settle();
    expect(heard).toHaveLength(0);
    expect(acts[0]?.state).toBe("unknown");
    clock.pass(500);
    await settle();
    expect(heard.map((act) => [act.state, act.answer?.seq, act.key])).toEqual([
      ["accepted", 5, "a"],
    ]);
    expect(calls.map((call) => call.key)).toEqual(["a", "a"]);
  });

  it("hears why it was refused, and by which status", async () => {
    const heard: Act[] = [];
    replies = [new ApiError("conflict", 409, "the file has changed")];
    box.put(message("a"), (act) => heard.push(act));
    await settle();
    expect(heard).toMatchObject([{ state: "refused", status: 409, error: "the file has changed" }]);
  });
});
