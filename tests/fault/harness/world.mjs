// SPDX-License-Identifier: Apache-2.0
// One state folder, the daemons that live and die on it one after the other, and who uses them.
import { readFileSync } from "node:fs";
import path from "node:path";
import { Daemon } from "../../support/daemon.mjs";
import { commandOf, marked } from "../../support/processes.mjs";
import { until } from "../../support/wait.mjs";
import { Faults } from "./faults.mjs";
import { load } from "./load.mjs";

/** Below the kernel's usual limit of 819,200, which an ordinary user may only lower. */
let next_mark = 1 + ((process.pid * 101) % 700_000);

/** Those that have not been closed. */
const worlds = new Set();

/** Ends every daemon and removes its folder: what is left to do when the harness is told to end. */
export const closeAll = () => Promise.all([...worlds].map((world) => world.close()));

export class World {
  static async make() {
    const world = new World();
    worlds.add(world);
    world.daemon = await Daemon.start(undefined, { ...load, launch: false });
    return world;
  }

  /** What the checks found wrong, in the order of finding. */
  problems = [];
  /** Each change that a client has asked for (clients.mjs). */
  changes = [];
  sessions = new Set();
  /** Clients draw new changes only while this holds. */
  loading = false;
  over = false;
  /** The disk of this life has been told to refuse things. */
  bad_disk = false;
  #mark = next_mark++;
  #lives = 0;
  #up = false;

  problem(text) {
    this.problems.push(text);
  }

  /** Starts a daemon with these faults ([rule]); false when it did not come to be ready. */
  async launch(rules = []) {
    const { daemon } = this;
    this.faults?.close();
    this.faults = new Faults(path.join(daemon.folder, `faults.${this.#lives++}`));
    for (const rule of rules) this.faults.arm(rule);
    const environment = this.faults.environment(daemon.state);
    daemon.wrap = (program, args) => [
      "prlimit",
      [`--msgqueue=${this.#mark}`, "env", ...environment, program, ...args],
    ];
    daemon.log += `--- life ${this.#lives}\n`;
    try {
      await daemon.launch();
    } catch (error) {
      if (rules.length === 0) throw error;
      await daemon.crash();
      return false;
    }
    if (this.faults.count() === 0) throw new Error("the preloaded library sees no call of the daemon");
    this.#up = true;
    const { gone } = daemon;
    gone.then(() => {
      if (daemon.gone === gone) this.#up = false;
    });
    return true;
  }

  get up() {
    return this.#up;
  }

  /** Waits for a daemon that answers. Rejects when there will be none. */
  async ready() {
    await until("a daemon is there", () => this.over || this.#up);
    if (this.over) throw new Error("the round is over");
  }

  async kill() {
    this.#up = false;
    await this.daemon.crash();
  }

  async terminate() {
    this.#up = false;
    return this.daemon.terminate();
  }

  /** All processes that came from a daemon of this world, but not the daemon that is there now. */
  processes() {
    const current = this.#up ? this.daemon.pid : 0;
    return marked(this.#mark).filter(({ pid }) => pid !== current);
  }

  /** Kills one of the cages' processes: "volary-shim", "volary-agent", ... Tells whether there was one. */
  killOne(command, draw) {
    const found = this.processes().filter(({ pid }) => commandOf(pid) === command);
    if (found.length === 0) return false;
    const { pid } = found[Math.floor(draw() * found.length)];
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
    return true;
  }

  /** What the daemon was started with is the daemon's alone. */
  checkInheritance() {
    for (const { pid } of this.processes()) {
      let environment = "";
      try {
        environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      } catch {
        // A cage's process in a user namespace of its own, or one that has just ended.
      }
      if (!/VOLARY_FAULT|LD_PRELOAD/.test(environment)) continue;
      this.problem(`${commandOf(pid)} has the daemon's environment`);
    }
  }

  async close() {
    if (this.over) return;
    this.over = true;
    this.#up = false;
    this.faults?.close();
    await this.daemon.stop();
    for (const { pid } of marked(this.#mark)) process.kill(pid, "SIGKILL");
    worlds.delete(this);
  }
}
