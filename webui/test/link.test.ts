// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it } from "vitest";
import { backoff, kBackoffMaxMs, kSilenceMs, Link, type SocketLike } from "../src/link/link.ts";
import { FakeClock } from "./world.ts";

class FakeSocket implements SocketLike {
  onopen = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((close: { code: number }) => void) | null = null;
  readonly sent: unknown[] = [];
  closed = false;
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
  say(...messages: unknown[]) {
    this.onmessage?.({ data: messages.map((each) => JSON.stringify(each)).join("\n") });
  }
}

let clock: FakeClock;
let sockets: FakeSocket[];
let hellos: boolean[];
let link: Link;
let seen: number[];
let after = 0;

const hello = (epoch = "e1") => ({ hello: { epoch, version: "0.1.0", name: "x" } });
const event = (seq: number) => ({ event: { session: "ses_1", seq } });
const socket = () => sockets[sockets.length - 1] as FakeSocket;

beforeEach(() => {
  clock = new FakeClock();
  sockets = [];
  hellos = [];
  seen = [];
  after = 0;
  const open = () => {
    const made = new FakeSocket();
    sockets.push(made);
    return made;
  };
  const { now, later, cancel } = clock;
  link = new Link(
    { open, now, later, cancel, random: () => 1 },
    { changed: () => {}, hello: (changed) => hellos.push(changed), summary: () => {} },
  );
  link.subscribe("ses_1", {
    after: () => after,
    event: (each) => seen.push(each.seq),
    live: () => {},
    delta: () => {},
  });
  link.start();
});

describe("the link", () => {
  it("is live only when the daemon has said hello, and then subscribes", () => {
    expect(link.state.phase).toBe("connecting");
    socket().say(hello());
    expect(link.state.phase).toBe("live");
    expect(socket().sent).toEqual([
      { subscribe: { list: true } },
      { subscribe: { session: "ses_1", after: 0 } },
    ]);
  });

  it("reads several messages from one frame and answers pings", () => {
    socket().say(hello(), event(1), event(2), { ping: 7, at: 1 });
    expect(seen).toEqual([1, 2]);
    expect(socket().sent.at(-1)).toEqual({ pong: 7 });
  });

  it("comes back after a cut and asks for what follows the last number held", () => {
    socket().say(hello(), event(1));
    after = 1;
    socket().onclose?.({ code: 1006 });
    expect(link.state.phase).toBe("waiting");
    clock.pass(link.state.retryAt - clock.time);
    expect(sockets).toHaveLength(2);
    socket().say(hello());
    expect(socket().sent).toContainEqual({ subscribe: { session: "ses_1", after: 1 } });
    expect(hellos).toEqual([false, false]);
  });

  it("tells that the epoch changed, and leaves subscribing to whoever reads again", () => {
    socket().say(hello("e1"));
    socket().onclose?.({ code: 1001 });
    clock.pass(1000);
    socket().say(hello("e2"));
    expect(hellos).toEqual([false, true]);
    expect(socket().sent).toEqual([{ subscribe: { list: true } }]);
  });

  it("takes a silent socket for dead", () => {
    socket().say(hello());
    clock.pass(kSilenceMs - 1);
    expect(link.state.phase).toBe("live");
    clock.pass(1);
    expect(link.state.phase).not.toBe("live");
    expect(sockets[0]?.closed).toBe(true);
  });

  it("does not trust an old socket after a sleep", () => {
    socket().say(hello());
    clock.time += 8 * 3600 * 1000;
    link.nudge();
    expect(link.state.phase).toBe("waiting");
  });

  it("connects at once when the network comes back", () => {
    for (let i = 0; i < 8; i++) {
      socket().onclose?.({ code: 1006 });
      if (i < 7) clock.pass(kBackoffMaxMs);
    }
    const tries = sockets.length;
    link.nudge();
    expect(sockets).toHaveLength(tries + 1);
  });

  it("stops when it is signed out", () => {
    socket().say(hello());
    socket().onclose?.({ code: 4401 });
    expect(link.state.phase).toBe("signed-out");
    clock.pass(60_000);
    expect(sockets).toHaveLength(1);
  });

  it("hears nothing from a socket that it has left", () => {
    const old = socket();
    old.say(hello());
    old.onclose?.({ code: 1006 });
    old.say(event(9));
    expect(seen).toEqual([]);
  });
});

it("backs off to a ceiling, with jitter", () => {
  expect(backoff(0, 0)).toBe(150);
  expect(backoff(0, 1)).toBe(300);
  expect(backoff(50, 1)).toBe(kBackoffMaxMs);
});
