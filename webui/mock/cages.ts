// SPDX-License-Identifier: Apache-2.0
// The mock's cages: what the routes of docs/api.md answer about the story's agents.

import { createHash } from "node:crypto";
import type { CageBadge, Invocation } from "../src/api/types.ts";
import type { MockSession } from "./session.ts";
import type { Body } from "./story.ts";

export interface Answered {
  status: number;
  body: unknown;
}

const ok = (body: unknown): Answered => ({ status: 200, body });

function fail(status: number, code: string, message: string): Answered {
  return { status, body: { error: { code, message, details: [] } } };
}

const kLayers = [
  "namespaces: user, pid, ipc, uts, cgroup, net, mount (bwrap); no nested user namespaces",
  "root: empty, allowlisted binds opened beforehand",
  "seccomp: default",
  "landlock: ABI 4",
  "no capabilities, no new privileges, no inherited descriptors or environment",
  "network: gatekeeper",
];

const MiB = 1024 * 1024;

/** Live figures that move, so that one sees them move. */
function wave(low: number, high: number, seconds: number): number {
  const phase = (Date.now() / 1000 / seconds) % 1;
  return Math.round(low + (high - low) * (0.5 + 0.5 * Math.sin(phase * 2 * Math.PI)));
}

function limits(agent: string, running: boolean) {
  const scraper = agent.endsWith("scraper");
  const used = (value: number) => (running ? value : null);
  const memory = scraper ? 512 * MiB : 2048 * MiB;
  return [
    { name: "memory", limit: memory, used: used(wave(96 * MiB, 130 * MiB, 20)), unit: "bytes" },
    { name: "pids", limit: scraper ? 64 : 512, used: used(scraper ? 57 : 4), unit: "count" },
    { name: "cpu", limit: scraper ? 0.5 : null, used: used(0.12), unit: "cpus" },
    { name: "disk", limit: 1024 * MiB, used: used(3.2 * MiB), unit: "bytes" },
    { name: "wall", limit: null, used: used(83_000), unit: "ms" },
  ];
}

function policy(badge: CageBadge, agent: string) {
  const scraper = agent.endsWith("scraper");
  const net: Body[] = badge.hosts.map((rule) => ({ rule, credential: null, private: false }));
  const folders = [...badge.folders];
  if (scraper) {
    net.push({ rule: "api.discogs.com:443", credential: "discogs", private: false });
    net.push({ rule: "nas.home:445", credential: null, private: true });
    folders.push(
      { path: "/workspace/site", mode: "cow" },
      { path: "/workspace/old", mode: "hide" },
    );
  }
  const port = { name: "preview", port: 8000, public: false };
  return {
    ...badge,
    folders,
    net,
    seccomp: "default",
    state: scraper ? "kept" : "ephemeral",
    devices: [],
    ports: agent.endsWith("deployer") ? [port] : [],
  };
}

function cage(session: MockSession, each: Invocation) {
  const running = each.state !== "finished";
  const denied = session.events.filter(
    (event) => event.kind === "cage.denied" && event.body.invocation === each.id,
  );
  const granted = session.events.filter(
    (event) => event.kind === "cage.granted" && event.body.agent === each.agent,
  );
  const off = each.cage.disabled;
  return {
    cage: `cage_${each.id}`,
    agent: each.agent,
    invocation: each.id,
    running,
    started_ms: each.started_at,
    backend: off ? "none" : "bwrap",
    layers: off ? [] : kLayers,
    limits_backend: off ? "" : "cgroup v2",
    policy: policy(each.cage, each.agent),
    limits: off ? [] : limits(each.agent, running),
    denials: denied.reduce((sum, event) => sum + Number(event.body.count ?? 1), 0),
    network: running ? { open: 1, total: 12, bytes_up: 4312, bytes_down: 1_204_208 } : null,
    grants: granted.map((event) => ({
      rule: event.body.rule,
      layer: "net",
      scope: event.body.scope,
      at_ms: event.at,
      by: event.body.by,
    })),
  };
}

export function cagesOf(session: MockSession) {
  return { cages: session.state.invocations.map((each) => cage(session, each)) };
}

export function ports(session: MockSession) {
  const deployer = session.state.invocations.find((each) => each.agent.endsWith("deployer"));
  if (!deployer || deployer.state === "finished") return { ports: [] };
  const cage = `cage_${deployer.id}`;
  const url = `/ports/${session.state.id}/${cage}/preview`;
  const port = { name: "preview", port: 8000, public: false, listening: true, url };
  return { ports: [{ agent: deployer.agent, cage, ...port }] };
}

export function connections() {
  const now = Date.now();
  const done = (ago: number, name: string, port: number, up: number, down: number, ms: number) => ({
    at_ms: now - ago,
    name,
    port,
    bytes_up: up,
    bytes_down: down,
    duration_ms: ms,
    verdict: "allowed",
  });
  return {
    connections: [
      { ...done(14_000, "api.discogs.com", 443, 1811, 92_114, 0), duration_ms: null },
      done(18_000, "host.volary", 18480, 312, 14_208, 143),
      { ...done(25_000, "api.discogs.com", 443, 0, 0, 3), verdict: "sni" },
      { ...done(61_000, "nas.home", 445, 0, 0, 1), verdict: "private" },
      done(64_000, "api.discogs.com", 443, 2189, 1_097_886, 2412),
      { ...done(90_000, "host.volary", 18480, 0, 0, 10_000), verdict: "connect" },
    ],
  };
}

const changed: Body[] = [
  { path: "site/index.html", kind: "changed", bytes: 2411, binary: false },
  { path: "site/releases/ash.html", kind: "added", bytes: 1804, binary: false },
  { path: "site/covers/ash.jpg", kind: "added", bytes: 84_112, binary: true },
  { path: "site/releases/2019-a-very-long-name-of-a-release.html", kind: "deleted", bytes: 0 },
];
let left: Body[] = changed.map((each) => ({ agent: "primary/scraper", binary: false, ...each }));

const kDiff = `--- site/index.html
+++ site/index.html
@@ -11,5 +11,6 @@ <body>
   <ul class="releases">
-    <li><a href="/r/old">Old one</a></li>
+    <li><a href="/r/ash">Ibeyi: Ash</a> <time datetime="2026-11-20">20 November</time></li>
+    <li><a href="/r/fragments">Bonobo: Fragments</a></li>
   </ul>
   <p>That is all for now.</p>
 </body>
`;

export const changes = () => ({ changes: left });
export const diff = () => kDiff;

export function settle(session: MockSession, verb: string, body: Body): Answered {
  const seen = Array.isArray(body.seen)
    ? (body.seen as Body[]).map((each) => String(each.path))
    : null;
  const paths = Array.isArray(body.paths) ? (body.paths as string[]) : seen;
  const gone = left.filter((each) => paths === null || paths.includes(String(each.path)));
  left = left.filter((each) => !gone.includes(each));
  const kind = verb === "keep" ? "cage.changes_kept" : "cage.changes_dropped";
  const about = { agent: body.agent, paths: gone.length, by: "operator:uid 0" };
  const seq = session.event(kind, "operator:uid 0", about);
  return { status: 202, body: { seq } };
}

/** The project file of the mock; a grant for the project is written to it. */
let file = `agents:
  scraper:
    cage:
      net:
        # the shop, and nothing else
        allow:
          - host.volary:18480
          - { to: "api.discogs.com:443", credential: discogs, methods: [GET], paths: ["/database/*", "/releases/*"] }
      limits: { memory: 512M, pids: 64 }
`;

function written(rule: string): string {
  const lines = file.split("\n");
  const at = lines.findIndex((line) => line.includes("limits:"));
  lines.splice(at, 0, `          - ${rule}`);
  return lines.join("\n");
}

const hash = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 16);

function projectDiff(rule: string): string {
  const lines = file.split("\n");
  const at = lines.findIndex((line) => line.includes("limits:"));
  const before = lines.slice(at - 3, at).map((line) => ` ${line}`);
  const after = lines.slice(at, at + 1).map((line) => ` ${line}`);
  const head = `--- a/.volary/project.yaml\n+++ b/.volary/project.yaml\n@@ -${at - 2},4 +${at - 2},5 @@\n`;
  return `${head}${[...before, `+          - ${rule}`, ...after].join("\n")}\n`;
}

/** The key "fail" in the rule's name lets a tester see a refusal. */
export function grant(session: MockSession, body: Body): Answered {
  const rule = String(body.net ?? "");
  const agent = String(body.agent ?? "");
  const scope = String(body.scope ?? "");
  if (!rule.includes(":")) return fail(400, "invalid", "body.net: needs a host and a port");
  const live = session.state.invocations.filter(
    (each) => each.agent === agent && each.state !== "finished",
  );
  if (scope === "once" && live.length === 0)
    return fail(409, "conflict", `every cage of ${agent} has ended`);
  const text = body.private === true ? `{ to: "${rule}", private: true }` : rule;
  if (scope === "project") {
    const path = ".volary/project.yaml";
    if (body.confirm === undefined)
      return ok({ file: path, diff: projectDiff(text), hash: hash(file) });
    if (body.confirm !== hash(file))
      return fail(409, "conflict", `${path} has changed since the diff was made`);
    file = written(text);
  }
  const applied = live.length > 0 ? "live" : "next_start";
  const by = "operator:device dev_01M7Z8R2JE18BZ0VY8VZPTJPFG";
  const first = live.length === 1 ? live[0] : undefined;
  session.event("cage.granted", by, {
    agent,
    cages: live.map((each) => `cage_${each.id}`),
    ...(first ? { cage: `cage_${first.id}`, invocation: first.id } : {}),
    layer: "net",
    rule,
    scope,
    applied,
    by,
  });
  return {
    status: 202,
    body: { applied, rule, ...(scope === "project" ? { file: ".volary/project.yaml" } : {}) },
  };
}

export const doctor = () => ({
  ok: false,
  checks: [
    {
      name: "user namespaces",
      layer: "namespaces",
      verdict: "ok",
      detail: "made one as uid 999, nested ones are refused inside",
      fix: "",
    },
    {
      name: "network",
      layer: "network",
      verdict: "ok",
      detail: "a connect to 1.1.1.1:443 was reset and told in 0.4 ms",
      fix: "",
    },
    {
      name: "seccomp",
      layer: "seccomp",
      verdict: "ok",
      detail: "mount, ptrace, bpf, keyctl and io_uring_setup answered EPERM",
      fix: "",
    },
    {
      name: "landlock",
      layer: "landlock",
      verdict: "missing",
      detail: "the kernel answers ENOSYS to landlock_create_ruleset",
      fix: "boot with lsm=landlock,... or a kernel of 5.13 or later; see docs/operations.md",
    },
    {
      name: "cgroup",
      layer: "memory",
      verdict: "broken",
      detail: "a bomb of 64 MiB reached 91 MiB before it was ended: limits are only sampled",
      fix: "start the daemon by systemd with Delegate=yes, or give its user a subtree",
    },
    {
      name: "privileges",
      layer: "privileges",
      verdict: "ok",
      detail: "no capability inside, sudo and ping gain nothing",
      fix: "",
    },
  ],
});
