// SPDX-License-Identifier: Apache-2.0
// A client that changes things: one change at a time, each with an Idempotency-Key of its own, and sent
// again with that key for as long as nobody has answered it.
import { randomUUID } from "node:crypto";
import { until, within } from "../../support/wait.mjs";

/** Statuses that are an answer: taken, or refused for a reason that the docs give. */
const kAnswers = new Set([200, 201, 202, 403, 404, 409, 429]);

/** Changes of one client in one life of the daemon. */
const kMostChanges = 15;
/** A client that waits for events which do not come goes on after so long. */
const kMostPauseMs = 300;
/** How many of the changes are sent twice at once with one key. */
const kTwice = 0.1;

export class Client {
  #world;
  #name;
  #draw;
  #count = 0;
  #busy = Promise.resolve();
  /** What it does next, before it draws again. */
  #planned = [];

  constructor(world, name, draw) {
    this.#world = world;
    this.#name = name;
    this.#draw = draw;
  }

  /**
   * Changes things while the world is loading, and when what it asked for before was answered; ends when
   * the last change was answered. `seen`: how many events there are by now.
   */
  run(seen) {
    this.#busy = this.#busy.then(() => this.#load(seen));
    // Who waits for it hears of a failure; nobody does when the round has failed before.
    this.#busy.catch(() => {});
    return this.#busy;
  }

  async #load(seen) {
    for (let i = 0; i < kMostChanges && this.#world.loading; i++) {
      const most = Date.now() + Math.floor(this.#draw() * kMostPauseMs);
      const enough = seen() + Math.floor(this.#draw() * 25);
      const turn = () => !this.#world.loading || Date.now() >= most || seen() >= enough;
      await until("it is this client's turn", turn);
      if (!this.#world.loading) return;
      const { request, times = 1 } = await this.#next();
      if (request) await Promise.all(Array.from({ length: times }, () => this.change(request)));
    }
  }

  /** A request of its own key: {what, method, path, body, key, name}. `name` is nobody else's. */
  request(what, method, path, body = {}) {
    const name = `${this.#name}-${++this.#count}`;
    return { what, method, path, body, key: randomUUID(), name };
  }

  message(word, session) {
    const request = this.request("message", "POST", "/projects/music-site/messages");
    request.body = { text: `${word} ${request.name}`, ...(session && { session }) };
    return request;
  }

  /** Sends until it is answered; notes the change in the world and returns its answer. */
  async change(request) {
    const change = { ...request, tries: 0 };
    this.#world.changes.push(change);
    for (;;) {
      await this.#world.ready();
      change.tries++;
      const answer = await this.#send(request);
      if (answer && kAnswers.has(answer.status)) {
        change.answer = answer;
        return answer;
      }
      if (answer && answer.status !== 503 && !(this.#world.bad_disk && answer.status === 500)) {
        this.#world.problem(`${request.method} ${request.path}: ${answer.status} ${answer.text}`);
        change.answer = answer;
        return answer;
      }
      // Not taken, or nobody knows: the same key again, when there is somebody to take it.
      const again = Date.now() + 20;
      await until("the next attempt", () => Date.now() >= again);
    }
  }

  async #send({ method, path, body, key }) {
    try {
      const answer = this.#world.daemon.api.request(method, path, { body, key });
      return await within(`the answer to ${method} ${path}`, answer);
    } catch (error) {
      if (/gave up/.test(error.message)) this.#world.problem(error.message);
      return undefined;
    }
  }

  async #get(path) {
    const answer = await this.#send({ method: "GET", path });
    return answer?.status === 200 ? answer.json : undefined;
  }

  #one(list) {
    return list[Math.floor(this.#draw() * list.length)];
  }

  /** {request, times}: the next change; nothing when the drawn one makes no sense just now. */
  async #next() {
    const next = this.#planned.shift();
    if (next) return next();
    const session = this.#one([...this.#world.sessions]);
    const draw = this.#draw();
    const times = this.#draw() < kTwice ? 2 : 1;
    if (!session || draw < 0.36) return { request: this.#nextMessage(session), times };
    const path = `/sessions/${session}`;
    const post = (verb) => this.request(verb, "POST", `${path}/${verb}`);
    if (draw < 0.44) return { request: post("hold"), times };
    if (draw < 0.52) return this.#holdAndEdit(path, post);
    if (draw < 0.58) return { request: post("resume"), times };
    if (draw < 0.66) return { request: post("stop"), times };
    if (draw < 0.72) return { request: await this.#cancel(path), times };
    if (draw < 0.8) return { request: this.#grant(path, this.#one(["once", "session", "session"])), times };
    if (draw < 0.86) return { request: await this.#projectGrant(path), times };
    if (draw < 0.96) return { request: await this.#settle(path), times };
    if (draw < 0.98) return { request: { ...this.request("backup", "POST", "/backups"), key: undefined } };
    const project = this.request("project", "POST", "/projects", { path: this.#world.daemon.project });
    return { request: { ...project, key: undefined } };
  }

  /** What an operator does who looks at a plan: holds the run, edits it, resumes. */
  async #holdAndEdit(path, post) {
    await this.#soon(async () => (await this.#get(path))?.plan.entries.length > 0);
    const edit = async () => ({ request: await this.#edit(path) });
    this.#planned = [edit, edit, () => ({ request: post("resume") })];
    return { request: post("hold") };
  }

  /** Waits a little until something holds. */
  #soon(holds) {
    return until("it may hold", () => !this.#world.loading || holds(), kMostPauseMs).catch(() => {});
  }

  #nextMessage(session) {
    const word = this.#one(["talk", "work", "work", "long"]);
    const fresh = this.#world.sessions.size < 2 ? "new" : undefined;
    return this.message(word, this.#one([session, session, session, undefined, fresh]));
  }

  async #cancel(path) {
    const queued = this.#one((await this.#get(path))?.queue ?? []);
    return queued && this.request("cancel", "DELETE", `${path}/queue/${queued.run}`);
  }

  async #edit(path) {
    const entry = this.#one((await this.#get(path))?.plan.entries ?? []);
    if (!entry) return undefined;
    const request = this.request("edit", "PATCH", `${path}/plan/entries/${entry.id}`);
    request.body = { text: `as ${request.name} wants` };
    return request;
  }

  #grant(path, scope) {
    const request = this.request("grant", "POST", `${path}/grants`);
    const agent = this.#one(["primary/scraper", "primary/deployer"]);
    request.body = { agent, scope, net: `${request.name}.example:443` };
    return request;
  }

  async #projectGrant(path) {
    const request = this.#grant(path, "project");
    const shown = await this.#send(request);
    if (shown?.status !== 200) return undefined;
    request.body = { ...request.body, confirm: shown.json.hash };
    return request;
  }

  async #settle(path) {
    const agent = "primary/scraper";
    await this.#soon(async () => (await this.#get(path))?.status === "idle");
    if (this.#draw() < 0.5)
      return this.request("drop", "POST", `${path}/changes/drop`, { agent, paths: null });
    const listed = (await this.#get(`${path}/changes?agent=${agent}`))?.changes ?? [];
    if (listed.length === 0) return undefined;
    const seen = listed.map((change) => ({ path: change.path, digest: change.digest }));
    return this.request("keep", "POST", `${path}/changes/keep`, { agent, seen });
  }
}
