// SPDX-License-Identifier: Apache-2.0
// What an agent changes in a cow folder waits until the operator keeps or drops it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { assertError } from "../../support/http.mjs";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";

const kScraper = "primary/scraper";

const command =
  "cat data/kept.txt; echo changed > data/kept.txt; echo fresh > data/fresh.txt; rm data/gone.txt; echo wrote";

async function changed(t) {
  const daemon = await Daemon.start(t, {
    scripts: {
      scraper: [
        { when: { turn: 0 }, content: [{ type: "tool_use", name: "shell", input: { command } }] },
        { when: {}, content: [{ type: "text", text: "done" }] },
      ],
    },
    edit: (folder) => {
      writeFileSync(path.join(folder, "data/kept.txt"), "first\n");
      writeFileSync(path.join(folder, "data/gone.txt"), "here\n");
      const file = path.join(folder, ".volary/project.yaml");
      const text = readFileSync(file, "utf8");
      writeFileSync(file, text.replace("{ path: project:/data, mode: rw }", "{ path: project:/data, mode: cow }"));
    },
  });
  const { session } = await daemon.send();
  const events = await daemon.finished(session);
  const wrote = ofKind(events, "step.finished").some((e) => /wrote/.test(e.body.result));
  assert.ok(wrote, JSON.stringify(ofKind(events, "invocation.finished").map((e) => e.body)));
  return { daemon, session };
}

const inProject = (daemon, name) => path.join(daemon.project, "data", name);
const listed = async (daemon, session) => (await daemon.api.get(`/sessions/${session}/changes`)).changes;
/** Changes as a request to keep them names them. */
const seenOf = (changes) => changes.map(({ path, digest }) => ({ path, digest }));
const list = async (daemon, session) =>
  (await listed(daemon, session))
    .map((c) => `${c.agent} ${c.kind} ${c.path}`)
    .sort();

test("12: changes in a cow folder are listed, diffed, kept and dropped", async (t) => {
  const { daemon, session } = await changed(t);
  assert.equal(readFileSync(inProject(daemon, "kept.txt"), "utf8"), "first\n", "the host is untouched");
  assert.ok(existsSync(inProject(daemon, "gone.txt")));
  assert.deepEqual(await list(daemon, session), [
    `${kScraper} added /workspace/data/fresh.txt`,
    `${kScraper} changed /workspace/data/kept.txt`,
    `${kScraper} deleted /workspace/data/gone.txt`,
  ]);
  const where = `/sessions/${session}/changes`;
  const diff = await daemon.api.request("GET", `${where}/diff?agent=${kScraper}&path=/workspace/data/kept.txt`);
  assert.equal(diff.status, 200, diff.text);
  assert.match(diff.text, /^-first$/m);
  assert.match(diff.text, /^\+changed$/m);
  assertError(await daemon.api.request("GET", `${where}/diff?agent=${kScraper}&path=/etc/passwd`), 404, "not_found");
  assertError(await daemon.api.request("GET", `${where}/diff?agent=${kScraper}`), 400, "invalid");

  const seen = seenOf(await listed(daemon, session));
  const body = { agent: kScraper, seen: seen.filter((each) => each.path.endsWith("kept.txt")) };
  const key = randomUUID();
  const kept = await daemon.api.request("POST", `${where}/keep`, { body, key });
  assert.equal(kept.status, 202, kept.text);
  assert.equal(kept.json.count, 1);
  assert.deepEqual(kept.json.refused, []);
  assert.equal(readFileSync(inProject(daemon, "kept.txt"), "utf8"), "changed\n");
  const again = await daemon.api.request("POST", `${where}/keep`, { body, key });
  assert.deepEqual(again.json, kept.json);
  assert.deepEqual(await list(daemon, session), [
    `${kScraper} added /workspace/data/fresh.txt`,
    `${kScraper} deleted /workspace/data/gone.txt`,
  ]);

  const dropped = await daemon.cli("cage", "drop", session, "--agent", kScraper);
  assert.equal(dropped.code, 0, dropped.stderr);
  assert.match(dropped.stdout, /2 changes dropped/);
  assert.deepEqual(await list(daemon, session), []);
  assert.ok(!existsSync(inProject(daemon, "fresh.txt")));
  assert.ok(existsSync(inProject(daemon, "gone.txt")));

  const events = await daemon.api.events(session);
  const one = only(events, "cage.changes_kept").body;
  assert.deepEqual([one.agent, one.paths, one.refused], [kScraper, 1, []]);
  assert.equal(only(events, "cage.changes_dropped").body.paths, 2);
  assertError(
    await daemon.api.request("POST", `${where}/keep`, { body: { agent: "primary", seen }, key: randomUUID() }),
    404,
    "not_found",
  );
  assertError(await daemon.api.request("POST", `${where}/keep`, { body: { agent: kScraper, seen } }), 400, "invalid");
});

/** The upper folder of the scraper's only layer. */
const layerOf = (daemon, session) =>
  path.join(daemon.state, "layers", session, "primary%2fscraper/1/%2fworkspace%2fdata/upper");

test("12: what has changed since it was looked at is not kept", async (t) => {
  const { daemon, session } = await changed(t);
  const where = `/sessions/${session}/changes`;
  const keep = (seen) => daemon.api.request("POST", `${where}/keep`, { body: { agent: kScraper, seen }, key: randomUUID() });
  const seen = seenOf(await listed(daemon, session));
  assert.equal(seen.length, 3);
  for (const without of [{ agent: kScraper }, { agent: kScraper, seen: [] }, { agent: kScraper, paths: null }])
    assertError(await daemon.api.request("POST", `${where}/keep`, { body: without, key: randomUUID() }), 400, "invalid");

  // What another cage of the agent could do: as long, but not the same.
  const layer = layerOf(daemon, session);
  writeFileSync(path.join(layer, "kept.txt"), "planted\n");
  mkdirSync(path.join(layer, "later"));
  const refused = await keep(seen);
  assertError(refused, 409, "conflict");
  assert.match(refused.json.error.message, /"\/workspace\/data\/kept.txt" changed since you looked.*look again/);
  assert.deepEqual(refused.json.error.details, ["/workspace/data/kept.txt"]);
  assert.equal(readFileSync(inProject(daemon, "kept.txt"), "utf8"), "first\n");
  assert.ok(!existsSync(inProject(daemon, "fresh.txt")), "nothing of it was kept");
  assert.ok(existsSync(inProject(daemon, "gone.txt")));

  // The command line says what it keeps.
  const kept = await daemon.cli("cage", "keep", session, "--agent", kScraper, "/workspace/data/kept.txt");
  assert.equal(kept.code, 0, kept.stderr);
  assert.match(kept.stdout, /^changed +primary\/scraper +\/workspace\/data\/kept.txt \(8 bytes\)$/m);
  assert.match(kept.stdout, /1 changes kept/);
  assert.equal(readFileSync(inProject(daemon, "kept.txt"), "utf8"), "planted\n");

  // The host's side counts, too: somebody else has written what would be replaced.
  const now = seenOf(await listed(daemon, session));
  writeFileSync(inProject(daemon, "fresh.txt"), "mine\n");
  const host = await keep(now);
  assertError(host, 409, "conflict");
  assert.deepEqual(host.json.error.details, ["/workspace/data/fresh.txt"]);
  assert.equal(readFileSync(inProject(daemon, "fresh.txt"), "utf8"), "mine\n");
  const all = await keep(seenOf(await listed(daemon, session)));
  assert.equal(all.status, 202, all.text);
  assert.equal(all.json.count, 3);
  assert.ok(!existsSync(inProject(daemon, "gone.txt")));
  assert.ok(existsSync(inProject(daemon, "later")));
});
