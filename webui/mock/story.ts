// SPDX-License-Identifier: Apache-2.0
// The scripted run of the mock server: the music-site story, step by step.

export type Body = Record<string, unknown>;

/** What a story may do; the mock's session implements it. */
export interface Stage {
  event(kind: string, actor: string, body: Body): number;
  /** Waits, and while the run is held waits for its end. Throws Stopped when the run is stopped. */
  pause(ms: number): Promise<void>;
  /** Announces a step, waits for admission, and starts it. */
  step(
    invocation: string,
    agent: string,
    name: string,
    args: Body,
    title?: string,
  ): Promise<string>;
  done(step: string, invocation: string, agent: string, result: string, ms: number): void;
  think(invocation: string, agent: string): Promise<void>;
  say(invocation: string, agent: string, text: string): Promise<void>;
  plan(entries: { id: string; text: string; status: string }[]): void;
  planText(entry: string): string;
  setStatus(entry: string, status: string): void;
}

const kShop = "host.volary:18480";

export const cages = {
  primary: {
    disabled: false,
    hosts: [],
    folders: [{ path: "/workspace", mode: "ro" }],
    limits: {},
  },
  scraper: {
    disabled: false,
    hosts: [kShop],
    folders: [{ path: "/workspace/data", mode: "rw" }],
    limits: { memory: "512M", pids: 64 },
  },
  deployer: {
    disabled: false,
    hosts: ["host.volary:16443"],
    folders: [
      { path: "/workspace/site", mode: "ro" },
      { path: "/workspace/deploy", mode: "rw" },
    ],
    limits: { memory: "256M" },
  },
};

const kLayers = [
  "user ns",
  "pid ns",
  "net ns",
  "mount ns",
  "seccomp",
  "no capabilities",
  "gatekeeper",
];

function begin(
  stage: Stage,
  id: string,
  agent: string,
  parent: string | null,
  cage: Body,
  cause: Body,
  input: string,
): void {
  stage.event("invocation.started", "daemon", {
    id,
    parent,
    agent,
    runner: agent.endsWith("deployer") ? "exec" : "builtin",
    depth: agent.split("/").length - 1,
    cause,
    cage,
    input,
  });
  stage.event("cage.started", "daemon", {
    cage: `cage_${id}`,
    invocation: id,
    layers: kLayers,
    limits_backend: "rlimits + supervision",
  });
}

function end(stage: Stage, id: string, result: string): void {
  stage.event("cage.exited", "daemon", {
    cage: `cage_${id}`,
    invocation: id,
    status: "exit 0",
    reason: "exited",
  });
  stage.event("invocation.finished", "daemon", { id, outcome: "succeeded", reason: "", result });
}

async function scrape(stage: Stage, id: string): Promise<void> {
  const agent = "primary/scraper";
  await stage.think(id, agent);
  const list = await stage.step(id, agent, "shell", {
    command: `curl -sS http://${kShop}/new-releases`,
  });
  await stage.pause(300);
  const releases = JSON.stringify({
    exit_code: 0,
    stdout:
      '[{"artist":"Ibeyi","title":"Ash","url":"/r/ash"},{"artist":"Bonobo","title":"Fragments","url":"/r/fragments"}]\n',
    stderr: "",
  });
  stage.done(list, id, agent, releases, 143);
  const evil = await stage.step(id, agent, "shell", {
    command: "curl -sS https://evil.example/track",
  });
  await stage.pause(200);
  stage.event("cage.denied", "daemon", {
    cage: `cage_${id}`,
    invocation: id,
    layer: "dns",
    what: "evil.example:443",
    rule: "evil.example:443",
    process: "curl",
    count: 1,
  });
  for (const [what, rule, count] of [
    ["tcp 93.184.216.34:80", "93.184.216.34:80", 3],
    [
      "private address, tcp nas.home:5000 at 192.168.1.20",
      '{ to: "nas.home:5000", private: true }',
      1,
    ],
    ["udp 8.8.8.8:53", "", 12],
    ["name tracker.example", "tracker.example:443", 1],
  ] as const) {
    const layer = what.startsWith("name") ? "dns" : "net";
    const about = { cage: `cage_${id}`, invocation: id, layer, what, rule };
    stage.event("cage.denied", "daemon", { ...about, process: "python3", count });
  }
  const refused = {
    exit_code: 6,
    stdout: "",
    stderr: "curl: (6) Could not resolve host: evil.example\n",
  };
  stage.done(evil, id, agent, JSON.stringify(refused), 12);
  stage.event("cage.output", "daemon", {
    invocation: id,
    stream: "stdout",
    text: "fetched 2 releases\nwrote data/releases.json\n",
  });
  const save = await stage.step(id, agent, "shell", {
    command: "tee data/releases.json < /tmp/new.json",
  });
  await stage.pause(150);
  stage.done(save, id, agent, JSON.stringify({ exit_code: 0, stdout: "", stderr: "" }), 9);
  const emit = await stage.step(id, agent, "signal_emit", { signal: "found_release", data: {} });
  const data = { url: "/r/ash", artist: "Ibeyi", title: "Ash" };
  stage.event("signal.emitted", `agent:${agent}`, {
    invocation: id,
    agent,
    signal: "found_release",
    data,
  });
  stage.done(emit, id, agent, '{"ok":true}', 3);
  await stage.say(id, agent, "Found **2** new releases, both saved to `data/releases.json`.");
}

async function deploy(stage: Stage, id: string): Promise<void> {
  await stage.pause(400);
  for (const text of [
    "checking the site\n",
    "copying 14 files to deploy/\n",
    "probing host.volary:16443: ok\n",
  ]) {
    stage.event("cage.output", "daemon", { invocation: id, stream: "stdout", text });
    await stage.pause(300);
  }
  end(stage, id, "deploy/ is ready: 14 files, 212 KB");
}

export async function story(stage: Stage, run: string, text: string): Promise<void> {
  const main = `inv_main${run}`;
  const scraper = `inv_scrape${run}`;
  const deployer = `inv_deploy${run}`;
  begin(stage, main, "primary", null, cages.primary, { type: "message" }, text);
  await stage.think(main, "primary");
  stage.plan([
    { id: "1", text: "Scrape the new releases from the record shop", status: "in_progress" },
    { id: "2", text: "Check each release against the catalogue", status: "pending" },
    { id: "3", text: "Prepare a deploy of the site", status: "pending" },
    { id: "4", text: "Report what is new", status: "pending" },
  ]);
  await stage.say(
    main,
    "primary",
    "I let the **scraper** read the shop, then prepare the deploy:\n\n1. scrape `new-releases`\n2. check them against the catalogue\n3. prepare `deploy/`\n\nNothing is published before you say so.",
  );
  const call = await stage.step(main, "primary", "subagent_invoke", {
    agent: "scraper",
    input: "Find the new releases",
  });
  const tool = { type: "tool" };
  begin(
    stage,
    scraper,
    "primary/scraper",
    main,
    cages.scraper,
    tool,
    "Find the new releases and save them.",
  );
  stage.done(call, main, "primary", JSON.stringify({ invocation: scraper }), 4);
  const wait = await stage.step(main, "primary", "subagent_result", { invocation: scraper });
  await scrape(stage, scraper);
  end(stage, scraper, "2 releases");
  stage.event("interconnect.fired", "daemon", {
    rule: 0,
    signal_seq: 30,
    from: "primary/scraper",
    invoke: "primary/deployer",
    invocation: deployer,
  });
  const signal = { type: "signal", rule: 0, signal_seq: 30 };
  begin(stage, deployer, "primary/deployer", null, cages.deployer, signal, '{"url":"/r/ash"}');
  stage.done(
    wait,
    main,
    "primary",
    JSON.stringify({ outcome: "succeeded", result: "2 releases" }),
    2100,
  );
  stage.setStatus("1", "completed");
  await deploy(stage, deployer);
  await stage.think(main, "primary");
  const check = stage.planText("2");
  await stage.say(main, "primary", `Next: ${check}.`);
  stage.setStatus("2", "completed");
  stage.setStatus("3", "completed");
  await stage.pause(300);
  stage.setStatus("4", "completed");
  await stage.say(
    main,
    "primary",
    "Two releases are new, and the deploy is ready.\n\n| Artist | Title | Page |\n|---|---|---|\n| Ibeyi | Ash | `/r/ash` |\n| Bonobo | Fragments | `/r/fragments` |\n\n```\ndeploy/\n  index.html\n  releases/ash.html\n  releases/fragments.html\n```",
  );
  end(stage, main, "done");
}
