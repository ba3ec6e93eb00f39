// SPDX-License-Identifier: Apache-2.0
// What the agents of the harness do: the project file and the replies of its two models. The word in a
// message chooses: "talk" answers, "work" goes through a plan, a cage, two signals and their deployers,
// "long" works until it is stopped.
import { writeFileSync } from "node:fs";
import path from "node:path";

const kProject = `version: 1
project: music-site
description: the load of tests/fault

primary:
  model: smart
  system_prompt: project:/prompts/primary.md
  tools: { shell: { enabled: false } }
  max_steps: 30
  subagents:
    scraper:
      description: Finds something.
      model: fast
      system_prompt: project:/prompts/scraper.md
      signals: [found_release]
      cage:
        fs: [{ path: project:/data, mode: cow }]
        limits: { memory: 512M, pids: 64, wall: 10m }
    deployer:
      description: Prepares a deploy of it.
      runner: { exec: ["./deploy-prep.sh"] }
      cage:
        fs: [{ path: project:/deploy, mode: rw }]
        limits: { memory: 256M, pids: 32, wall: 5m }

interconnect:
  - { on: found_release, from: scraper, invoke: deployer, dedupe: "$.url", max_in_flight: 1 }
`;

const kDeploy = `#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu
cat >/dev/null
echo a deploy >>deploy/log
echo ready
`;

const kFind =
  "n=$(cat /proc/sys/kernel/random/uuid); echo $n >data/$n; " +
  "curl -sS --max-time 2 -o /dev/null http://refused.example/ 2>/dev/null; " +
  'printf \'{"url":"%s"}\' $n';

const say = (text) => ({ type: "text", text });
const use = (name, input) => ({ type: "tool_use", name, input });
const plan = (...statuses) =>
  use("plan_update", { entries: statuses.map((status, i) => ({ text: `Step ${i + 1}`, status })) });
const invoke = (task) => use("subagent_invoke", { agent: "scraper", task });
const find = use("shell", { command: kFind });
const emit = use("signal_emit", { signal: "found_release", data: { $last_json: "/stdout" } });

/** Milliseconds between the pieces of a reply: some, so that a crash finds texts half said. */
const kDelayMs = 4;
const replies = (list) => list.map(([when, ...content]) => ({ when, delay_ms: kDelayMs, content }));

const scripts = {
  primary: replies([
    // Messages that nobody has answered come together with the next one: only "long" alone is long.
    [{ turn: 0, last_contains: "talk" }, say("I was asked, and this is what I have to say about it.")],
    [
      { turn: 0, last_contains: "work" },
      say("First a plan."),
      plan("in_progress", "pending", "pending"),
      invoke("work"),
    ],
    [{ turn: 0 }, say("This will take a while."), plan("in_progress", "pending"), invoke("long")],
    [
      { last_tool: "subagent_invoke" },
      say("It is at work in a cage of its own."),
      use("subagent_result", { invocation: { $last: "/invocation" } }),
    ],
    [{ last_tool: "subagent_result" }, say("It is back."), plan("completed", "completed", "pending")],
    [{}, say("That was all.")],
  ]),
  scraper: replies([
    [{ turn: 0, last_contains: "long" }, use("shell", { command: "sleep 600" })],
    [{ turn: 0 }, say("I look."), find],
    [{ turn: 1 }, emit],
    [{ turn: 2 }, find],
    [{ turn: 3 }, emit],
    [{}, say("Two were found.")],
  ]),
};

/** Options of Daemon.start. */
export const load = {
  scripts,
  edit: (folder) => {
    writeFileSync(path.join(folder, ".volary/project.yaml"), kProject);
    writeFileSync(path.join(folder, "deploy-prep.sh"), kDeploy, { mode: 0o755 });
  },
};
