// SPDX-License-Identifier: Apache-2.0
// The sweep: one start and one story, and a daemon that dies at its 1st write-class call, at its 2nd ...,
// and in the middle of its 1st write to the state folder, of its 2nd ...
import { until } from "../../support/wait.mjs";
import { Client } from "./client.mjs";
import { conclude } from "./round.mjs";
import { Watcher } from "./watcher.mjs";
import { World } from "./world.mjs";

/** Calls beyond those of the measured story that are still tried: no two stories are quite alike. */
const kMargin = 1.05;

/** The story: a project, a message that makes everything happen, another that waits for it. */
async function story(world, clients) {
  const words = ["work", "talk"];
  const work = clients.map((client, i) => client.change(client.message(words[i])));
  for (const each of work) each.catch(() => {});
  await until("the story is over or the daemon dead", async () => {
    if (!world.up) return true;
    try {
      const { sessions } = await world.daemon.api.get("/sessions?limit=1");
      const [{ id, status }] = sessions;
      return status === "idle" && (await world.daemon.api.get(`/sessions/${id}`)).queue.length === 0;
    } catch {
      return false;
    }
  });
  if (world.up) await world.terminate();
  return work;
}

/** One story with one fault ({} for none): {struck, problems, calls, writes, log}. */
async function tell(rule) {
  const world = await World.make();
  const clients = ["c0", "c1"].map((name) => new Client(world, name, () => 0));
  const watcher = new Watcher(world, "one");
  const watching = watcher.run();
  const out = { struck: false, calls: 0, writes: 0 };
  try {
    let pending = [];
    if (await world.launch(rule ? [rule] : [])) {
      const added = world.daemon.api.post("/projects", { path: world.daemon.project });
      await added.catch(() => {});
      if (world.up) pending = await story(world, clients);
    }
    out.struck = rule !== undefined && world.faults.struck(0) > 0;
    out.calls = world.faults.count();
    out.writes = world.faults.count("write", "state");
    await conclude(world, pending, [watcher]);
  } catch (error) {
    world.problem(error.stack);
  } finally {
    await world.close();
    await Promise.allSettled([watching]);
  }
  return { ...out, problems: world.problems, log: world.daemon.log };
}

/** The faults of the sweep, in order; `calls` and `writes` of a story without one. */
export async function measure() {
  const { calls, writes, problems, log } = await tell();
  if (problems.length > 0) throw new Error(`the story fails by itself:\n${problems.join("\n")}\n${log}`);
  const upTo = (count, rule) =>
    Array.from({ length: Math.ceil(count * kMargin) }, (_, i) => ({ ...rule, first: i + 1 }));
  return [
    ...upTo(calls, { action: "kill", kind: "any", where: "all" }),
    ...upTo(writes, { action: "torn", kind: "write", where: "state" }),
  ];
}

export const step = (rule) => tell(rule);
