// SPDX-License-Identifier: Apache-2.0
// A client that looks on: it holds every session's events from the stream alone, and after each cut goes
// on from the last one that it holds.
import { EventEmitter, once } from "node:events";
import { Stream } from "../../support/stream.mjs";
import { until } from "../../support/wait.mjs";

/** Between attempts to connect. */
const kAgainMs = 30;

export class Watcher {
  /** session -> its events. */
  events = new Map();
  /** session -> the summary that was shown last. */
  summaries = new Map();
  cuts = 0;
  #world;
  #name;
  #epoch;
  #stream;
  /** item -> text as it was streamed. */
  #texts = new Map();
  #live = new Set();

  constructor(world, name) {
    this.#world = world;
    this.#name = name;
  }

  /** Watches until the world is over. */
  async run() {
    while (!this.#world.over) {
      try {
        await this.#world.ready();
        await this.#watch();
      } catch (error) {
        // A daemon that dies during the handshake; what lasts ends in the check of what was seen.
        this.last = error;
        const again = performance.now() + kAgainMs;
        await until("the next attempt", () => performance.now() >= again);
      }
    }
  }

  cut() {
    this.cuts++;
    this.#stream?.cut();
  }

  #problem(text) {
    this.#world.problem(`stream ${this.#name}: ${text}`);
  }

  async #watch() {
    const end = new EventEmitter();
    const over = once(end, "over");
    this.#live.clear();
    this.#texts.clear();
    let stream;
    const waiting = [];
    const hear = (message) => {
      if (message === undefined) return end.emit("over");
      // Messages may come with the handshake's answer, before the stream is handed out.
      if (!stream) return waiting.push(message);
      this.#hear(stream, message);
    };
    stream = await Stream.open({ path: this.#world.daemon.socket }, {}, hear);
    this.#stream = stream;
    try {
      stream.send({ subscribe: { list: true } });
      for (const session of this.events.keys()) this.#subscribe(stream, session);
      for (const message of waiting) this.#hear(stream, message);
      // The list tells what changes from now on.
      const { sessions } = await this.#world.daemon.api.get("/sessions?limit=200");
      for (const summary of sessions) this.#summary(stream, summary);
      await over;
    } finally {
      stream.cut();
    }
  }

  #subscribe(stream, session) {
    stream.subscribe(session, this.events.get(session).length);
  }

  #hear(stream, message) {
    stream.messages.length = 0;
    const { hello, summary, event, live, delta, error } = message;
    if (hello) this.#hello(hello);
    if (summary) this.#summary(stream, summary);
    if (event) this.#event(event);
    if (live) this.#begin(live);
    if (delta) this.#delta(delta);
    if (error) this.#problem(`${error.code} ${error.message}`);
  }

  #hello({ epoch }) {
    this.#epoch ??= epoch;
    if (epoch !== this.#epoch) this.#problem(`epoch ${epoch} after ${this.#epoch}`);
  }

  #summary(stream, summary) {
    const known = this.summaries.get(summary.id);
    if (!known || known.last_seq <= summary.last_seq) this.summaries.set(summary.id, summary);
    if (this.events.has(summary.id)) return;
    this.events.set(summary.id, []);
    this.#world.sessions.add(summary.id);
    this.#subscribe(stream, summary.id);
  }

  #event(event) {
    const held = this.events.get(event.session);
    if (!held) return this.#problem(`an event of ${event.session}, which nobody asked for`);
    if (event.seq !== held.length + 1)
      this.#problem(`event ${event.seq} of ${event.session} after ${held.length}`);
    held.push(event);
    if (event.kind !== "message.agent" && event.kind !== "thought.agent") return;
    const { item, text, partial } = event.body;
    const streamed = this.#texts.get(item);
    if (streamed !== undefined && !partial && !text.startsWith(streamed))
      this.#problem(`"${streamed}" was streamed, "${text}" is stored`);
    this.#texts.delete(item);
  }

  #begin({ session, seq, items }) {
    const held = this.events.get(session) ?? [];
    if (seq !== held.length) this.#problem(`live at ${seq} of ${session}, ${held.length} came`);
    this.#live.add(session);
    for (const { item, text } of items) this.#texts.set(item, text);
  }

  #delta({ session, item, offset, text }) {
    if (!this.#live.has(session)) this.#problem(`a delta of ${session} before it was live`);
    const held = this.#texts.get(item) ?? "";
    if (Buffer.byteLength(held) !== offset)
      this.#problem(`a delta at ${offset} of ${item}, of which ${Buffer.byteLength(held)} bytes came`);
    this.#texts.set(item, held + text);
  }
}
