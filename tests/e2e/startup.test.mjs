// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { Daemon, bin, run } from "../support/daemon.mjs";

/** `volary serve` that must refuse: one clear sentence on stderr. */
async function refuses(args, says, env = {}) {
  const done = await run(path.join(bin, "volary"), ["serve", ...args], {
    env: { ...process.env, ...env },
  });
  assert.notEqual(done.code, 0, "it started");
  assert.match(done.stderr, says);
  assert.ok(done.stderr.trim().split("\n").length <= 4, `too long:\n${done.stderr}`);
  assert.doesNotMatch(done.stderr, /terminate called|Sanitizer|backtrace/);
}

const listen = ["--listen", "127.0.0.1:0"];

test("a second instance on the same state is refused", async (t) => {
  const daemon = await Daemon.start(t);
  await refuses(["--state", daemon.state, ...listen], /already|another|second|in use|lock/i);
  assert.equal((await daemon.api.get("/healthz")).status, "ok");
});

test("a broken config is refused with file, line and key", async (t) => {
  const daemon = await Daemon.start(t);
  const file = path.join(daemon.folder, "broken.toml");
  const state = path.join(daemon.folder, "state2");
  const args = ["--config", file, "--state", state, ...listen];
  for (const [text, says] of [
    ["listen = \n", /broken\.toml:1/],
    ["\nlissten = \"127.0.0.1:0\"\n", /lissten/],
    ["[models.smart]\nprovider = 5\n", /models\.smart\.provider|provider/],
    ["[models.smart]\nprovider = \"magic\"\n", /magic/],
  ]) {
    writeFileSync(file, text);
    await refuses(args, says);
  }
  await refuses(["--config", `${file}.none`, "--state", state, ...listen], /broken\.toml\.none/);
});

test("a state folder that cannot be written is refused", async (t) => {
  const daemon = await Daemon.start(t);
  const sealed = path.join(daemon.folder, "sealed");
  mkdirSync(sealed);
  chmodSync(sealed, 0o500);
  await refuses(["--state", sealed, ...listen], /sealed/);
});

test("a state file that is no database is refused, and left as it is", async (t) => {
  const daemon = await Daemon.start(t);
  await daemon.terminate();
  const name = readdirSync(daemon.state).find((each) => /\.(db|sqlite3?)$/.test(each));
  assert.ok(name, `no database in ${readdirSync(daemon.state)}`);
  writeFileSync(path.join(daemon.state, name), "this is no database, it only looks like a file\n".repeat(200));
  await refuses(["--state", daemon.state, ...listen], new RegExp(name.replace(".", "\\.")));
});

test("a missing bwrap is refused with what to install", async (t) => {
  const daemon = await Daemon.start(t);
  const state = path.join(daemon.folder, "state3");
  await refuses(["--state", state, ...listen], /bubblewrap|bwrap/, { PATH: daemon.folder });
});

test("a taken port is refused by name", async (t) => {
  const daemon = await Daemon.start(t);
  const state = path.join(daemon.folder, "state4");
  await refuses(["--state", state, "--listen", `127.0.0.1:${daemon.port}`], new RegExp(String(daemon.port)));
});
