// SPDX-License-Identifier: Apache-2.0
// A daemon with a state folder, ports, record shop and copy of the demo of its own.
import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Api, rawRequest } from "./http.mjs";
import { Stream } from "./stream.mjs";
import { until, within } from "./wait.mjs";

export const source =
  process.env.VOLARY_SOURCE ?? path.resolve(fileURLToPath(import.meta.url), "../../..");
export const bin = process.env.VOLARY_BIN ?? path.join(source, "build/bin");

/** Fast enough for tests, slow enough that a text comes in more than one piece. */
const kDelayMs = 3;

function firstLine(stream, what, child) {
  const line = once(createInterface({ input: stream }), "line").then(([text]) => text);
  const died = once(child, "exit").then(([code, signal]) => {
    throw new Error(`${what}: ended (${code ?? signal}) before it was ready`);
  });
  return within(what, Promise.race([line, died]));
}

/** Runs a program to its end: {code, stdout, stderr, json()}; never throws for an exit code. */
export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { timeout: 120_000, maxBuffer: 64 << 20, ...options },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : -1) : 0;
        resolve({ code, stdout, stderr, json: () => JSON.parse(stdout) });
      },
    );
    // A program that ends at once does not read its input.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

export class Daemon {
  /**
   * Starts everything and adds the demo project.
   * scripts: {primary, scraper}: replies in place of the demo's. delay: ms between chunks.
   * edit: (folder) => changes the copy of the project first. add: false leaves it out.
   * config: text at the end of the operator's config. launch: false leaves the start to the test.
   * wrap: (program, arguments, daemon) => [program, arguments] that become the daemon.
   */
  static async start(test, options = {}) {
    const daemon = new Daemon();
    test?.after(() => daemon.stop());
    daemon.folder = mkdtempSync(path.join(tmpdir(), "volary-e2e-"));
    daemon.project = path.join(daemon.folder, "music-site");
    daemon.replay = path.join(daemon.folder, "replay/music-site");
    daemon.state = path.join(daemon.folder, "state");
    daemon.socket = path.join(daemon.folder, "volary.sock");
    daemon.config = options.config ?? "";
    daemon.wrap = options.wrap ?? daemon.wrap;
    mkdirSync(daemon.state, { mode: 0o700 });
    await daemon.#startShop();
    daemon.#stageProject(options);
    if (options.launch === false) return daemon;
    await daemon.launch();
    if (options.add !== false) await daemon.api.post("/projects", { path: daemon.project });
    return daemon;
  }

  shopLog = [];
  log = "";
  /** Of the next launch, too: a test may change it in between. */
  wrap = (program, args) => [program, args];
  #shop;
  #child;

  async #startShop() {
    this.#shop = spawn(path.join(bin, "record-shop"), ["--shop", "0", "--deploy", "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ready = await firstLine(this.#shop.stdout, "record-shop", this.#shop);
    [, this.shopPort, this.deployPort] = ready.match(/^ready shop=(\d+) deploy=(\d+)$/);
    createInterface({ input: this.#shop.stdout }).on("line", (line) => this.shopLog.push(line));
  }

  #stageProject({ scripts = {}, delay = kDelayMs, edit }) {
    cpSync(path.join(source, "examples/music-site"), this.project, { recursive: true });
    for (const file of filesBelow(this.project)) {
      const text = readFileSync(file, "utf8");
      const mode = statSync(file).mode;
      const moved = text.replaceAll("18480", this.shopPort).replaceAll("18481", this.deployPort);
      if (moved !== text) writeFileSync(file, moved, { mode });
    }
    cpSync(path.join(this.project, "replay"), this.replay, { recursive: true });
    rmSync(path.join(this.project, "replay"), { recursive: true });
    for (const name of ["primary", "scraper"]) {
      const file = path.join(this.replay, `${name}.json`);
      const script = JSON.parse(readFileSync(file, "utf8"));
      if (scripts[name]) script.replies = scripts[name];
      else for (const reply of script.replies) reply.delay_ms = delay;
      writeFileSync(file, JSON.stringify(script));
    }
    edit?.(this.project, this);
  }

  /** The demo's config file, with `extra` lines (the option `config`) at its end. */
  writeConfig(extra = this.config) {
    const file = path.join(this.folder, "config.toml");
    const lines = [
      '[models.smart]\nprovider = "replay"\nscript = "music-site/primary"',
      '[models.fast]\nprovider = "replay"\nscript = "music-site/scraper"',
      `[replay]\ndir = "${path.join(this.folder, "replay")}"`,
      // A test that ends with a dead daemon leaves nothing behind for long.
      extra.includes("[cages]") ? "" : '[cages]\norphan_ttl = "20s"',
      extra,
    ];
    writeFileSync(file, `${lines.join("\n\n")}\n`);
    return file;
  }

  serveArguments() {
    return [
      "serve",
      ...["--config", this.writeConfig(), "--state", this.state],
      ...["--listen", "127.0.0.1:0", "--listen", `unix:${this.socket}`, "--ready-fd", "3"],
    ];
  }

  /** Starts the daemon on the state folder (again). `gone` is then a promise of its {code, signal}. */
  async launch() {
    const [program, args] = this.wrap(path.join(bin, "volary"), this.serveArguments(), this);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe", "pipe"] });
    this.#child = child;
    this.gone = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        this.log += chunk;
      });
    }
    let line;
    try {
      line = await firstLine(child.stdio[3], "volary serve", child);
    } catch (error) {
      error.message += `\n${this.log.slice(-4000)}`;
      throw error;
    }
    const [, url] = line.match(/^ready (http:\/\/\S+)$/) ?? assert.fail(`unexpected: ${line}`);
    this.url = new URL(url);
    this.port = Number(this.url.port);
    this.api = new Api({ socketPath: this.socket });
  }

  get pid() {
    return this.#child.pid;
  }

  /** kill -9, and waits until it is gone. */
  async crash() {
    this.#child.kill("SIGKILL");
    await this.gone;
  }

  /** TERM; {code, signal} of the daemon. */
  async terminate() {
    this.#child.kill("SIGTERM");
    return within("the daemon's end", this.gone);
  }

  /** Ends everything and removes the folder. */
  async stop() {
    if (this.#child) {
      await this.terminate().catch(() => this.crash());
    }
    if (this.#shop && this.#shop.exitCode === null) {
      const gone = once(this.#shop, "exit");
      this.#shop.kill("SIGKILL");
      await gone;
    }
    // The kernel keeps a folder without any permission in the layers of an overlay.
    spawnSync("chmod", ["-R", "u+rwX", this.folder]);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** `volary --socket PATH ARGS...` */
  cli(...args) {
    return run(path.join(bin, "volary"), ["--socket", this.socket, ...args]);
  }

  /** A signed-in browser: an Api over TCP with the cookie of a launch URL. */
  async signIn() {
    const { url } = await this.api.post("/auth/launch-codes");
    const answer = await rawRequest(this.tcp, {
      path: new URL(url).pathname,
      headers: { host: this.url.host },
    });
    assert.equal(answer.status, 303, answer.text);
    this.cookie = answer.headers["set-cookie"][0].split(";")[0];
    return new Api(this.tcp, this.webHeaders());
  }

  get tcp() {
    return { host: this.url.hostname, port: this.port };
  }

  webHeaders(cookie = this.cookie) {
    return { host: this.url.host, origin: this.url.origin, cookie };
  }

  /** A stream over the operator socket. */
  operatorStream() {
    return Stream.open({ path: this.socket });
  }

  /** A stream as the page opens it. */
  async webStream() {
    if (!this.cookie) await this.signIn();
    const { origin, cookie } = this.webHeaders();
    return Stream.open(this.tcp, { origin, cookie });
  }

  send(text = "scrape the new releases and prep a deploy", extra = {}) {
    return this.api.post("/projects/music-site/messages", { text, ...extra });
  }

  /** Waits until the session has nothing to do; all of its events. */
  async finished(session, runs = 1) {
    await until(`${runs} run(s) of ${session} finished`, async () => {
      const events = await this.api.events(session);
      return events.filter((e) => e.kind === "run.finished").length >= runs;
    });
    return this.api.events(session);
  }
}

/** Events of one kind. */
export const ofKind = (events, kind) => events.filter((event) => event.kind === kind);

/** The one event of a kind; fails when there are more or none. */
export function only(events, kind, matches = () => true) {
  const found = ofKind(events, kind).filter(matches);
  assert.equal(found.length, 1, `${found.length} events ${kind} that match: ${JSON.stringify(found)}`);
  return found[0];
}

/** Sequence numbers must be 1, 2, 3 ... without a gap or a double. */
export function assertContiguous(events, from = 1) {
  assert.deepEqual(
    events.map((event) => event.seq),
    events.map((_, index) => from + index),
  );
}
