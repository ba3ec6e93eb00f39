// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Daemon, ofKind, only } from "../../support/daemon.mjs";

test("6: the scraper writes its results and emits found_release with data", async (t) => {
  const daemon = await Daemon.start(t);
  const { session, run } = await daemon.send();
  const events = await daemon.finished(session);

  const scraper = only(events, "invocation.started", (e) => e.body.agent === "primary/scraper");
  const signal = only(events, "signal.emitted");
  assert.equal(signal.actor, "agent:primary/scraper");
  assert.equal(signal.run, run);
  assert.deepEqual(
    [signal.body.invocation, signal.body.agent, signal.body.signal],
    [scraper.body.id, "primary/scraper", "found_release"],
  );
  const written = JSON.parse(readFileSync(`${daemon.project}/data/releases.json`, "utf8"));
  assert.deepEqual(signal.body.data, written.releases[0]);
});

test("6: a signal that the project file does not declare is refused", async (t) => {
  const emit = { type: "tool_use", name: "signal_emit", input: { signal: "launch_rocket", data: {} } };
  const daemon = await Daemon.start(t, {
    scripts: {
      scraper: [
        { when: { turn: 0 }, content: [emit] },
        { when: {}, content: [{ type: "text", text: "it was refused" }] },
      ],
    },
  });
  const { session } = await daemon.send();
  const events = await daemon.finished(session);
  assert.deepEqual(ofKind(events, "signal.emitted"), []);
  const step = ofKind(events, "step.started").find((e) => e.body.name === "signal_emit");
  assert.equal(only(events, "step.finished", (e) => e.body.id === step.body.id).body.ok, false);
});
