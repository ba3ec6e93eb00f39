// SPDX-License-Identifier: Apache-2.0
// A grant for the project is logged, and then written to the project file: a daemon that dies in between.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, only } from "../support/daemon.mjs";
import { Faults } from "./harness/faults.mjs";

const kRule = "shop.example:443";

test("a grant that was logged and not written is written when it is sent again", async (t) => {
  let faults;
  const daemon = await Daemon.start(t, {
    wrap: (program, args, { folder, state }) => {
      faults = new Faults(path.join(folder, "faults"));
      return ["env", [...faults.environment(state), program, ...args]];
    },
  });
  const { session } = await daemon.send();
  await daemon.finished(session);
  const body = { agent: "primary/scraper", net: kRule, scope: "project" };
  const key = randomUUID();
  const give = (more) =>
    daemon.api.request("POST", `/sessions/${session}/grants`, { body: { ...body, ...more }, key });
  const { hash, file } = (await give()).json;

  // The new project file gets its name by a rename, the next one that this daemon makes.
  const rule = faults.arm({ action: "kill", kind: "name", first: faults.count("name") + 1 });
  await assert.rejects(give({ confirm: hash }));
  assert.equal((await daemon.gone).signal, "SIGKILL");
  assert.equal(faults.struck(rule), 1);
  await daemon.launch();
  const events = await daemon.api.events(session);
  const granted = only(events, "cage.granted");
  assert.ok(!readFileSync(file, "utf8").includes(kRule));

  const again = await give({ confirm: hash });
  assert.equal(again.status, 202, again.text);
  assert.deepEqual([again.json.seq, again.json.file], [granted.seq, file]);
  assert.ok(readFileSync(file, "utf8").includes(kRule));
  // Once is enough, and what the operator does to the file later stays.
  const written = readFileSync(file, "utf8");
  assert.equal((await give({ confirm: hash })).status, 202);
  assert.equal(readFileSync(file, "utf8"), written);
  assert.deepEqual(await daemon.api.events(session), events);
});
