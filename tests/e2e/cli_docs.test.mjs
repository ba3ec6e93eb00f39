// SPDX-License-Identifier: Apache-2.0
// docs/cli.md holds the help text of every verb. VOLARY_ACCEPT=1 rewrites its blocks.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { bin, run, source } from "../support/daemon.mjs";

const page = path.join(source, "docs/cli.md");
const kBlock = /```text\n\$ (volary[^\n]*) --help\n([\s\S]*?)```/g;

/** The default socket depends on who asks; the page shows it as PATH. */
const settle = (help) => `${help.replace(/--socket TEXT=\S+/, "--socket TEXT=PATH").trim()}\n`;

async function helpOf(verb) {
  const args = [...verb.split(" ").slice(1), "--help"];
  const done = await run(path.join(bin, "volary"), args);
  assert.equal(done.code, 0, `${verb} --help: ${done.stderr}`);
  return settle(done.stdout);
}

/** Names of the verbs below, from the section "Subcommands:" of a help text. */
function verbsBelow(help) {
  const section = help.split("\nSubcommands:\n")[1] ?? "";
  return [...section.matchAll(/^ {2}(\S+)/gm)].map(([, name]) => name);
}

/** Help of `verb` and of every verb below it: Map of "volary session list" to text. */
async function allHelp(verb = "volary", found = new Map()) {
  const help = await helpOf(verb);
  found.set(verb, help);
  for (const name of verbsBelow(help)) await allHelp(`${verb} ${name}`, found);
  return found;
}

test("docs/cli.md has the help of every verb as the program prints it", async (t) => {
  const real = await allHelp();
  assert.ok(real.size > 20, `only ${[...real.keys()]}`);
  const text = readFileSync(page, "utf8");
  const blocks = new Map([...text.matchAll(kBlock)].map(([, verb, help]) => [verb, help]));
  if (process.env.VOLARY_ACCEPT === "1") {
    const fresh = text.replace(kBlock, (_, verb) =>
      `\`\`\`text\n$ ${verb} --help\n${real.get(verb) ?? "no such verb\n"}\`\`\``);
    writeFileSync(page, fresh);
    for (const verb of blocks.keys()) blocks.set(verb, real.get(verb));
  }
  assert.deepEqual([...blocks.keys()].sort(), [...real.keys()].sort(), "verbs with a block");
  for (const [verb, help] of real) {
    await t.test(`${verb} --help`, () => assert.equal(blocks.get(verb), help));
  }
});
