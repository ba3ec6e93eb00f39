// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";
import { assertError } from "../../support/http.mjs";

test("3: a message goes to the project's active session, which is created when there is none", async (t) => {
  const daemon = await Daemon.start(t);

  const first = await daemon.send();
  const second = await daemon.send("and once more");
  assert.equal(second.session, first.session);
  assert.notEqual(second.run, first.run);
  const { projects } = await daemon.api.get("/projects");
  assert.equal(projects[0].active_session, first.session);

  const fresh = await daemon.send("elsewhere", { session: "new" });
  assert.notEqual(fresh.session, first.session);
  const named = await daemon.send("here again", { session: first.session });
  assert.equal(named.session, first.session);
  const { sessions, total } = await daemon.api.get("/sessions?project=music-site");
  assert.equal(total, 2);
  assert.deepEqual(new Set(sessions.map((s) => s.id)), new Set([first.session, fresh.session]));

  const unknown = { body: { text: "hello" }, key: "k" };
  assertError(await daemon.api.request("POST", "/projects/nobody/messages", unknown), 404, "not_found");
});

test("3: messages that arrive while a run works are queued, in order, and can be cancelled", async (t) => {
  const daemon = await Daemon.start(t, { delay: 25 });
  const first = await daemon.send();
  const second = await daemon.send("second");
  const third = await daemon.send("third");

  const state = await daemon.api.get(`/sessions/${first.session}`);
  assert.equal(state.run.id, first.run);
  assert.deepEqual(state.queue.map((q) => q.run), [second.run, third.run]);
  await daemon.api.mutate("DELETE", `/sessions/${first.session}/queue/${second.run}`);

  const events = await daemon.finished(first.session, 2);
  only(events, "message.cancelled", (e) => e.body.id === second.message);
  assert.deepEqual(ofKind(events, "run.started").map((e) => e.run), [first.run, third.run]);
  const ended = events.find((e) => e.kind === "run.finished" && e.run === first.run);
  const begun = events.find((e) => e.kind === "run.started" && e.run === third.run);
  assert.ok(ended.seq < begun.seq);
});

test("3: primary, model alias, prompts and the tree of subagents are resolved", async (t) => {
  const daemon = await Daemon.start(t);

  const project = await daemon.api.get("/projects/music-site");
  assert.deepEqual(project.diagnostics, []);
  const [primary] = project.agents;
  assert.deepEqual([primary.path, primary.runner, primary.model], ["primary", "builtin", "smart"]);
  assert.deepEqual(
    primary.subagents.map((a) => [a.path, a.runner]).sort(),
    [
      ["primary/deployer", "exec"],
      ["primary/scraper", "builtin"],
    ],
  );
  const scraper = primary.subagents.find((a) => a.name === "scraper");
  assert.equal(scraper.model, "fast");
  assert.deepEqual(scraper.signals, ["found_release"]);
  assert.deepEqual(scraper.cage.hosts, [`host.volary:${daemon.shopPort}`]);
  assert.deepEqual(project.interconnect, [
    { on: "found_release", from: "primary/scraper", invoke: "primary/deployer" },
  ]);
});
