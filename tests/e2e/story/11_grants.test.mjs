// SPDX-License-Identifier: Apache-2.0
// A denial, and what the operator makes of it: once, for the session, in the project file.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import test from "node:test";
import { assertError } from "../../support/http.mjs";
import { Daemon, bin, ofKind } from "../../support/daemon.mjs";
import { until, within } from "../../support/wait.mjs";

const kScraper = "primary/scraper";

/** A scraper that runs `command` once, whatever it was called for. */
const scraperRuns = (command) => ({
  scraper: [
    { when: { turn: 0 }, content: [{ type: "tool_use", name: "shell", input: { command } }] },
    { when: {}, content: [{ type: "text", text: "done" }] },
  ],
});

/** Tries `url` until it answers, then says so: a wait for a grant inside one cage. */
const untilReached = (url) =>
  `n=0; until curl -sS --max-time 3 -o /dev/null ${url} 2>/dev/null; do ` +
  `n=$((n+1)); [ $n -lt 600 ] || exit 7; sleep 0.05; done; echo granted-and-reached after $n`;

const projectFile = (daemon) => path.join(daemon.project, ".volary/project.yaml");

const grant = (daemon, session, body, key = randomUUID()) =>
  daemon.api.request("POST", `/sessions/${session}/grants`, {
    body: { agent: kScraper, scope: "once", ...body },
    key,
  });

async function denialOf(daemon, session, matches) {
  return until("the denial is told", async () => {
    const events = await daemon.api.events(session);
    return ofKind(events, "cage.denied").find((e) => matches.test(e.body.what));
  });
}

const shellResults = (events) =>
  ofKind(events, "step.finished").map((e) => e.body.result).filter((r) => /stdout/.test(r));

/** A daemon whose scraper keeps trying the deploy service, which its policy does not have. */
async function withRefusedService(t, options = {}) {
  const daemon = await Daemon.start(t, { ...options, scripts: scraperRuns("true") });
  const script = path.join(daemon.replay, "scraper.json");
  const command = untilReached(`http://host.volary:${daemon.deployPort}/status`);
  writeFileSync(script, JSON.stringify({ version: 1, replies: scraperRuns(command).scraper }));
  await daemon.terminate();
  await daemon.launch();
  const { session } = await daemon.send();
  const denied = await denialOf(daemon, session, new RegExp(String(daemon.deployPort)));
  return { daemon, session, denied, rule: `host.volary:${daemon.deployPort}` };
}

test("11: a grant for once lets the same live cage through, and goes with it", async (t) => {
  const { daemon, session, denied, rule } = await withRefusedService(t);
  assert.equal(denied.body.rule, rule, "the denial names the rule that would allow it");

  // Without cgroups a cage is looked at four times a second.
  const card = await until("live use is known", async () => {
    const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
    const found = cages.find((c) => c.agent === kScraper);
    return found.limits.find((l) => l.name === "memory").used > 0 && found;
  });
  assert.equal(card.running, true);
  assert.equal(card.cage, denied.body.cage);
  assert.ok(card.denials >= 1);
  assert.equal(card.backend, "bwrap");
  assert.deepEqual(card.policy.net, [
    { rule: `host.volary:${daemon.shopPort}`, credential: "", private: false },
  ]);
  const memory = card.limits.find((l) => l.name === "memory");
  assert.equal(memory.limit, 512 * 1024 * 1024);
  assert.equal(card.limits.find((l) => l.name === "pids").limit, 64);

  const key = randomUUID();
  const first = await grant(daemon, session, { net: rule }, key);
  assert.equal(first.status, 202, first.text);
  assert.equal(first.json.applied, "live");
  assert.equal(first.json.rule, rule);
  const again = await grant(daemon, session, { net: rule }, key);
  assert.deepEqual(again.json, first.json, "the same key gives the same answer");

  const events = await daemon.finished(session);
  assert.ok(shellResults(events).some((r) => r.includes("granted-and-reached")), "the retry came through");
  const granted = ofKind(events, "cage.granted");
  assert.equal(granted.length, 1, "granted once");
  const { body, actor } = granted[0];
  assert.match(actor, /^operator:uid /);
  assert.deepEqual(
    { ...body, by: undefined },
    {
      agent: kScraper,
      applied: "live",
      by: undefined,
      cage: card.cage,
      cages: [card.cage],
      invocation: card.invocation,
      layer: "net",
      private: false,
      rule,
      scope: "once",
    },
  );
  assert.equal(body.by, actor);

  // The card stays, with what was granted; the network log does too, also after a restart.
  const check = async () => {
    const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
    const ended = cages.find((c) => c.cage === card.cage);
    assert.equal(ended.running, false);
    assert.deepEqual(ended.grants.map((g) => [g.rule, g.scope, g.applied]), [[rule, "once", "live"]]);
    const { connections } = await daemon.api.get(`/cages/${card.cage}/network?limit=50`);
    const reached = connections.filter((c) => c.port === Number(daemon.deployPort) && c.verdict === "allowed");
    assert.equal(reached.length, 1, JSON.stringify(connections));
    assert.equal(reached[0].name, "host.volary");
    assert.ok(reached[0].bytes_down > 0);
    assert.ok(reached[0].duration_ms >= 0);
  };
  await check();
  await daemon.terminate();
  await daemon.launch();
  await check();

  const late = await grant(daemon, session, { net: rule, cage: card.cage });
  assert.match(assertError(late, 409, "conflict").message, /has ended/);
  assertError(await daemon.api.request("GET", "/cages/cage_01JD0000000000000000000000/network"), 404, "not_found");
});

test("11: a grant for the session is there for the next cage, also after a restart", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t);
  const done = await grant(daemon, session, { net: rule, scope: "session" });
  assert.equal(done.json.applied, "live", done.text);
  await daemon.finished(session);
  await daemon.crash();
  await daemon.launch();
  await daemon.send("again", { session });
  const events = await daemon.finished(session, 2);
  const results = shellResults(events).filter((r) => r.includes("granted-and-reached"));
  assert.equal(results.length, 2, "both runs came through");
  assert.match(results[1], /after 0\b/, "the second one at once");
  const second = ofKind(events, "cage.started").at(-1);
  assert.ok(second.body.policy.hosts.includes(rule) || ofKind(events, "cage.started").some(
    (e) => e.body.policy.hosts.includes(rule)), "the card of the later cage has it");
});

test("11: a grant for the project is a diff first, keeps the comments, and loses to an editor", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t);
  const file = projectFile(daemon);
  chmodSync(file, 0o640);
  const before = readFileSync(file, "utf8");
  const body = { net: rule, scope: "project" };
  const shown = await grant(daemon, session, body);
  assert.equal(shown.status, 200, shown.text);
  const proposal = shown.json;
  assert.equal(proposal.file, file);
  assert.match(proposal.diff, new RegExp(`^\\+.*${rule}`, "m"));
  assert.equal(readFileSync(file, "utf8"), before, "nothing is written before it is confirmed");

  assertError(await grant(daemon, session, { ...body, confirm: "0-0" }), 409, "conflict");
  writeFileSync(file, `${before}\n# saved by an editor meanwhile\n`);
  const late = await grant(daemon, session, { ...body, confirm: proposal.hash });
  assert.match(assertError(late, 409, "conflict").message, /changed since/);

  const fresh = (await grant(daemon, session, body)).json;
  const key = randomUUID();
  const written = await grant(daemon, session, { ...body, confirm: fresh.hash }, key);
  assert.equal(written.status, 202, written.text);
  assert.equal(written.json.applied, "live");
  assert.equal(written.json.file, file);
  const after = readFileSync(file, "utf8");
  assert.ok(after.includes("# The demo: a primary plans"), "comments stay");
  assert.ok(after.includes("# saved by an editor meanwhile"));
  assert.ok(after.includes(rule));
  assert.equal(statSync(file).mode & 0o7777, 0o640);
  assert.deepEqual(readdirSync(path.dirname(file)), ["project.yaml"], "no file is left behind");
  const again = await grant(daemon, session, { ...body, confirm: fresh.hash }, key);
  assert.deepEqual(again.json, written.json, "the same key gives the same answer");

  const events = await daemon.finished(session);
  assert.ok(shellResults(events).some((r) => r.includes("granted-and-reached")), "the live cage got it");
  const project = await daemon.api.get("/projects/music-site");
  assert.equal(project.valid, true, JSON.stringify(project.diagnostics));
  const scraper = project.agents[0].subagents.find((a) => a.path === kScraper);
  assert.ok(scraper.cage.hosts.includes(rule), "the project was read again");
  await daemon.send("again", { session: "new" });
});

test("11: ten thousand refused attempts make a bounded number of events", async (t) => {
  const flood =
    "i=0; while [ $i -lt 10000 ]; do : > /dev/tcp/198.51.100.$((i % 250 + 1))/$((1000 + i % 5000)); i=$((i+1)); done 2>/dev/null; echo flooded";
  const daemon = await Daemon.start(t, { scripts: scraperRuns(`bash -c '${flood}'`) });
  const { session } = await daemon.send();
  const events = await daemon.finished(session);
  assert.ok(shellResults(events).some((r) => r.includes("flooded")));
  const denied = ofKind(events, "cage.denied");
  assert.ok(denied.length >= 1 && denied.length <= 120, `${denied.length} events`);
  // What was not told one by one is counted when the cage has gone; the kernel may drop packets
  // that nobody could read in time.
  const counted = denied.reduce((sum, { body }) => sum + body.count, 0);
  assert.ok(counted > 1000 && counted <= 10000, `${counted} attempts`);
});

test("11: what a grant may not do is refused, and leaves no trace", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t);
  symlinkSync("/etc", path.join(daemon.project, "out"));
  const refused = async (body, status, code, words) => {
    const error = assertError(await grant(daemon, session, body), status, code);
    assert.match([error.message, ...error.details].join("\n"), words);
  };
  await refused({}, 400, "invalid", /either net .* or fs/);
  await refused({ net: rule, fs: { path: "project:/data", mode: "ro" } }, 400, "invalid", /either/);
  await refused({ net: "no rule" }, 400, "invalid", /body\.net/);
  await refused({ net: "x.example:0" }, 400, "invalid", /body\.net/);
  await refused({ net: "10.0.0.1:80" }, 400, "invalid", /private: true/);
  await refused({ net: "127.0.0.1:22" }, 400, "invalid", /loopback is its own/);
  await refused({ net: rule, scope: "forever" }, 400, "invalid", /body\.scope/);
  await refused({ net: rule, more: 1 }, 400, "invalid", /body\.more/);
  await refused({ net: rule, agent: "primary/nobody" }, 404, "not_found", /no agent/);
  await refused({ net: rule, agent: "primary", scope: "once", cage: "cage_x" }, 400, "invalid", /cage id/);
  await refused({ net: rule, cage: "cage_01JD0000000000000000000000" }, 404, "not_found", /no cage/);
  await refused({ net: rule, agent: "primary/deployer" }, 409, "conflict", /for the session/);
  const folder = (at, mode = "ro") => ({ fs: { path: at, mode }, scope: "session" });
  await refused(folder("/etc"), 400, "invalid", /project:/);
  await refused(folder("project:/../etc"), 400, "invalid", /body\.fs\.path/);
  await refused(folder("project:/out"), 400, "invalid", /body\.fs\.path/);
  await refused(folder("project:/nowhere"), 400, "invalid", /body\.fs\.path/);
  await refused(folder("project:/.volary", "rw"), 403, "denied", /protected/);
  await refused(folder("project:/.volary/project.yaml", "rw"), 403, "denied", /protected/);
  await refused(folder("project:/", "rw"), 403, "denied", /protected/);
  await refused(folder("project:/data", "cow"), 400, "invalid", /ro or rw/);

  const where = `/sessions/${session}/grants`;
  const body = { agent: kScraper, scope: "once", net: rule };
  assertError(await daemon.api.request("POST", where, { body }), 400, "invalid");
  const key = randomUUID();
  assertError(
    await daemon.api.request("POST", where, { body, key, headers: { "x-volary-client": undefined } }),
    403,
    "denied",
  );
  const web = await daemon.signIn();
  const anonymous = { headers: { cookie: undefined }, body, key };
  assertError(await web.request("POST", where, anonymous), 401, "denied");
  assertError(await web.request("POST", where, { body, key, headers: { origin: "http://evil.example" } }), 403, "denied");
  const other = "/sessions/ses_01JD0000000000000000000000/grants";
  assertError(await daemon.api.request("POST", other, { body, key }), 404, "not_found");
  // The cage of one session is none of another's.
  const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
  const mine = cages.find((c) => c.agent === kScraper).cage;
  const second = await daemon.send("another", { session: "new" });
  assertError(await grant(daemon, second.session, { net: rule, cage: mine }), 404, "not_found");

  const events = await daemon.api.events(session);
  assert.equal(ofKind(events, "cage.granted").length, 0);
  // The one that is right goes through all the same.
  assert.equal((await grant(daemon, session, { net: rule })).status, 202);
});

test("11: volary cage log and grant say the same on a terminal", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t);
  const given = await daemon.cli("cage", "grant", session, rule, "--agent", kScraper);
  assert.equal(given.code, 0, given.stderr);
  assert.match(given.stdout, /^granted host\.volary:\d+, now\n$/);
  await daemon.finished(session);
  await until("the connection is in the log", async () => {
    const log = await daemon.cli("cage", "log", session);
    assert.equal(log.code, 0, log.stderr);
    return /reached +host\.volary/.test(log.stdout) && /denied  net/.test(log.stdout);
  });
  const text = (await daemon.cli("cage", "log", session, "--agent", kScraper)).stdout;
  assert.ok(text.indexOf("denied  net") < text.indexOf("granted host.volary"), text);
  assert.match(text, new RegExp(`would be allowed by ${rule}`));
  const { entries } = (await daemon.cli("cage", "log", session, "--json")).json();
  const times = entries.map((e) => e.at_ms);
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
  assert.ok(entries.some((e) => e.kind === "connection" && e.agent === kScraper));
  assert.ok(entries.some((e) => e.kind === "granted" && e.body.rule === rule));
  const wrong = await daemon.cli("cage", "grant", session, "10.0.0.1:80", "--agent", kScraper);
  assert.equal(wrong.code, 2, wrong.stderr);
  const gone = await daemon.cli("cage", "log", "ses_01JD0000000000000000000000");
  assert.equal(gone.code, 3, gone.stderr);
});

test("11: a folder granted read-only to a live cage can be read there, and not written", async (t) => {
  const command =
    "n=0; until grep -q . site/index.html 2>/dev/null; do n=$((n+1)); [ $n -lt 600 ] || exit 7; sleep 0.05; done; " +
    "echo read it after $n; echo more > site/planted || echo may not make; echo more >> site/index.html || echo may not change";
  const daemon = await Daemon.start(t, {
    scripts: scraperRuns(command),
    edit: (folder) => {
      const file = path.join(folder, ".volary/project.yaml");
      const hidden = "{ path: project:/site, mode: hide }, { path: project:/data, mode: rw }";
      writeFileSync(file, readFileSync(file, "utf8").replace("{ path: project:/data, mode: rw }", hidden));
    },
  });
  const page = path.join(daemon.project, "site/index.html");
  if (!existsSync(page)) writeFileSync(page, "a page\n");
  const before = readFileSync(page, "utf8");
  const { session } = await daemon.send();
  const card = await until("the scraper's command runs", async () => {
    const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
    const events = await daemon.api.events(session);
    const asked = ofKind(events, "step.started").some((e) => JSON.stringify(e.body).includes("site/index.html"));
    return asked && cages.find((c) => c.agent === kScraper && c.running);
  });
  const given = await grant(daemon, session, { fs: { path: "project:/site", mode: "ro" } });
  assert.equal(given.status, 202, given.text);
  assert.deepEqual([given.json.applied, given.json.rule], ["live", "/workspace/site ro"]);

  const events = await daemon.finished(session);
  const [result] = shellResults(events);
  const read = result.match(/read it after (\d+)/);
  assert.ok(read, result);
  assert.notEqual(read[1], "0", "it was hidden before the grant");
  assert.match(result, /may not make/);
  assert.match(result, /may not change/);
  assert.equal(readFileSync(page, "utf8"), before);
  assert.equal(existsSync(path.join(daemon.project, "site/planted")), false);
  const [granted] = ofKind(events, "cage.granted");
  assert.deepEqual(
    [granted.body.layer, granted.body.path, granted.body.mode, granted.body.cage, granted.body.applied],
    ["fs", "site", "ro", card.cage, "live"],
  );
});

test("11: a granted folder that became a link keeps no agent from starting, and is not followed", async (t) => {
  const daemon = await Daemon.start(t, {
    scripts: scraperRuns("cat /workspace/extra/secret 2>&1 || echo not there"),
    edit: (folder) => {
      mkdirSync(path.join(folder, "extra"));
      mkdirSync(path.join(folder, "other"));
      writeFileSync(path.join(folder, "other/secret"), "seen through a link\n");
    },
  });
  const { session } = await daemon.send();
  await daemon.finished(session);
  const given = await grant(daemon, session, { fs: { path: "project:/extra", mode: "rw" }, scope: "session" });
  assert.equal(given.status, 202, given.text);
  rmSync(path.join(daemon.project, "extra"), { recursive: true });
  symlinkSync("other", path.join(daemon.project, "extra"));
  await daemon.send("again", { session });
  const events = await daemon.finished(session, 2);
  assert.equal(ofKind(events, "run.finished").at(-1).body.outcome, "succeeded", JSON.stringify(events.slice(-5)));
  const { cages } = await daemon.api.get(`/sessions/${session}/cages`);
  const { folders } = cages.filter((c) => c.agent === kScraper).at(-1).policy;
  assert.ok(folders.some((f) => f.path === "/workspace/data"), JSON.stringify(folders));
  assert.ok(!folders.some((f) => f.path === "/workspace/extra"), JSON.stringify(folders));
});

test("11: the operator's ceiling refuses a grant of any scope, and names its key", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t, {
    // The demo's own rules are under it, the refused service is not.
    edit: (_, self) => {
      self.config = `[ceiling]\nnet = ["host.volary:${self.shopPort}", "pypi.org"]\nprivate = false\n`;
      const file = projectFile(self);
      const text = readFileSync(file, "utf8");
      writeFileSync(file, text.replace(`allow: ["host.volary:${self.deployPort}"]`, "allow: []"));
    },
  });
  const before = readFileSync(projectFile(daemon), "utf8");
  for (const scope of ["once", "session", "project"]) {
    const error = assertError(await grant(daemon, session, { net: rule, scope }), 403, "denied");
    const words = `net[1]: "${rule}" is not in the net of the operator's ceiling`;
    assert.equal(error.message, `the grant goes beyond the operator's ceiling: ${words}`, scope);
    assert.deepEqual(error.details, [words]);
  }
  const hidden = { net: "pypi.org", private: true, scope: "session" };
  const error = assertError(await grant(daemon, session, hidden), 403, "denied");
  assert.match(error.message, /net\[1\]: "pypi\.org" is private: the operator's ceiling allows no private addresses/);
  const told = await daemon.cli("cage", "grant", session, rule, "--agent", kScraper);
  assert.equal(told.code, 4, told.stderr);
  assert.match(told.stderr, /beyond the operator's ceiling: net\[1\]/);
  assert.equal(readFileSync(projectFile(daemon), "utf8"), before);
  assert.equal(ofKind(await daemon.api.events(session), "cage.granted").length, 0);
  // What lies within it is given.
  assert.equal((await grant(daemon, session, { net: "pypi.org", scope: "session" })).status, 202);
});

/** `volary cage grant --scope project` on a terminal; what it showed, and its exit code. */
async function grantOnTerminal(daemon, session, rule, answer) {
  const args = ["--socket", daemon.socket, "cage", "grant", session, rule, "--agent", kScraper, "--scope", "project"];
  const command = [path.join(bin, "volary"), ...args].join(" ");
  // script(1) gives the command a terminal of its own, and ends its input with that of the pipe.
  const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let shown = "";
  child.stdout.on("data", (chunk) => {
    shown += chunk;
  });
  const closed = once(child, "close");
  await until("the question", async () => /\[y\/N\] $/.test(shown));
  child.stdin.end(answer);
  const [code] = await within("the end of cage grant", closed);
  return { code, shown: shown.replaceAll("\r\n", "\n") };
}

test("11: cage grant for the project shows the change and asks, and only yes is a yes", async (t) => {
  const { daemon, session, rule } = await withRefusedService(t);
  const file = projectFile(daemon);
  const before = readFileSync(file, "utf8");
  // Enter alone, no, and an input that ends.
  for (const answer of ["n\n", "\n", "no y\n", ""]) {
    const { code, shown } = await grantOnTerminal(daemon, session, rule, answer);
    assert.equal(code, 4, shown);
    assert.match(shown, new RegExp(`^\\+.*${rule}`, "m"), "the diff is shown first");
    assert.ok(shown.includes(`write this to ${file}? [y/N] `), shown);
    assert.match(shown, /volary: nothing was changed/);
    assert.equal(readFileSync(file, "utf8"), before);
  }
  const deaf = await daemon.cli("cage", "grant", session, rule, "--agent", kScraper, "--scope", "project");
  assert.equal(deaf.code, 4);
  assert.match(deaf.stderr, /--yes/);
  assert.equal(ofKind(await daemon.api.events(session), "cage.granted").length, 0);

  const { code, shown } = await grantOnTerminal(daemon, session, rule, "y\n");
  assert.equal(code, 0, shown);
  assert.match(shown, /granted host\.volary:\d+, now/);
  assert.ok(readFileSync(file, "utf8").includes(rule));
  const events = await daemon.finished(session);
  assert.ok(shellResults(events).some((r) => r.includes("granted-and-reached")));
});
