// SPDX-License-Identifier: Apache-2.0
import type { StepEntry } from "../fold/entries.ts";
import { bytes, firstLine, leaf, pretty, visible } from "./words.ts";

/** What a line needs of a step; a step that waits has no result yet. */
export type StepFacts = Pick<
  StepEntry,
  "type" | "name" | "title" | "arguments" | "state" | "result" | "output"
>;

export type StepIcon = "terminal" | "bot" | "radio" | "list" | "file" | "tool" | "brain";

export interface StepLine {
  icon: StepIcon;
  /** True where the object is code: a command, a path. */
  code: boolean;
  verb: string;
  object: string;
  result: string;
}

function field(value: unknown, ...names: string[]): string {
  if (typeof value !== "object" || value === null) return "";
  for (const name of names) {
    const found = (value as Record<string, unknown>)[name];
    if (typeof found === "string" && found !== "") return found;
  }
  return "";
}

function parsed(text: string): Record<string, unknown> | null {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function shellResult(result: string): string {
  const json = parsed(result);
  if (json === null || typeof json.exit_code !== "number") return firstLine(result, 60);
  const out = typeof json.stdout === "string" ? json.stdout : "";
  const err = typeof json.stderr === "string" ? json.stderr : "";
  const size = new TextEncoder().encode(out).length;
  if (json.exit_code !== 0) {
    const why = firstLine(err || out, 60);
    return why ? `exit ${json.exit_code}, ${why}` : `exit ${json.exit_code}`;
  }
  return size > 0 ? `exit 0, ${bytes(size)}` : "exit 0";
}

function toolName(name: string): string {
  return name.replace(/^mcp__volary__|^volary[._:]/, "");
}

const kTold = new Set(["signal_emit", "plan_update", "subagent_invoke"]);

/** True for a finished step whose effect stands in the conversation as an entry of its own. */
export function isSilent(step: StepFacts): boolean {
  return step.state === "ok" && (step.type === "model" || kTold.has(toolName(step.name)));
}

/** [to do, doing, done]: a step that waits or runs is not told as if it were over. */
function tense(step: StepFacts, words: readonly [string, string, string]): string {
  if (step.state === "held") return words[0];
  return step.state === "running" ? words[1] : words[2];
}

function shellLine(step: StepFacts): string {
  const lines = step.output.trimEnd().split("\n");
  const last = firstLine(lines[lines.length - 1] ?? "", 60);
  if (step.result === "") return last;
  // Only the beginning of a long result is logged, so it need not be whole JSON.
  const cut = parsed(step.result) ? null : /^\{"exit_code":(-?\d+)/.exec(step.result);
  if (cut) return cut[1] === "0" ? "exit 0" : `exit ${cut[1]}, ${last}`;
  return shellResult(step.result);
}

type Words = Omit<StepLine, "code">;

function toolLine(step: StepFacts): Words {
  const args = step.arguments;
  const name = toolName(step.name);
  switch (name) {
    case "shell":
      return {
        icon: "terminal",
        verb: tense(step, ["run", "running", "ran"]),
        object: field(args, "command") || step.title,
        result: shellLine(step),
      };
    case "subagent_invoke":
      return {
        icon: "bot",
        verb: tense(step, ["call", "calling", "called"]),
        object: leaf(field(args, "agent", "name", "subagent")) || step.title,
        result: "",
      };
    case "subagent_result":
      return {
        icon: "bot",
        verb: tense(step, ["wait for", "waiting for", "waited for"]),
        object: step.title,
        result: outcome(step),
      };
    case "signal_emit":
      return {
        icon: "radio",
        verb: tense(step, ["signal", "signalling", "signalled"]),
        object: field(args, "signal", "name") || step.title,
        result: "",
      };
    case "plan_update":
      return {
        icon: "list",
        verb: tense(step, ["write", "writing", "wrote"]),
        object: "the plan",
        result: "",
      };
    default:
      return {
        icon: /read|write|edit|file/.test(name) ? "file" : "tool",
        verb: name || "tool",
        object: step.title === name ? field(args, "path", "file", "url", "query") : step.title,
        result: firstLine(step.result, 60),
      };
  }
}

function outcome(step: StepFacts): string {
  const json = parsed(step.result);
  const text = json ? (json.outcome ?? json.state) : "";
  return typeof text === "string" ? text : "";
}

/** One line for a step: icon, verb, object, result. */
export function stepLine(step: StepFacts): StepLine {
  const line: Words =
    step.type === "model"
      ? {
          icon: "brain",
          verb: tense(step, ["ask", "asking", "asked"]),
          object: step.name || step.title || "the model",
          result: step.state === "failed" ? firstLine(step.result, 80) : "",
        }
      : toolLine(step);
  return {
    icon: line.icon,
    code: line.icon === "terminal" || line.icon === "file",
    verb: line.verb,
    object: firstLine(visible(line.object), 160),
    result: visible(line.result),
  };
}

/** What a step was given and gave, for the opened line. */
export function stepDetail(step: StepFacts): { label: string; text: string }[] {
  const parts: { label: string; text: string }[] = [];
  const command = step.name === "shell" ? field(step.arguments, "command") : "";
  const given = command || pretty(step.arguments);
  if (given !== "" && given !== "{}") {
    parts.push({ label: command ? "command" : "arguments", text: visible(given) });
  }
  // What was printed is whole; of the result only the beginning is logged.
  if (step.output !== "") {
    parts.push({ label: "output", text: visible(step.output.trimEnd()) });
    return parts;
  }
  const json = step.name === "shell" ? parsed(step.result) : null;
  if (json && typeof json.stdout === "string") {
    if (json.stdout) parts.push({ label: "output", text: visible(json.stdout) });
    if (typeof json.stderr === "string" && json.stderr) {
      parts.push({ label: "errors", text: visible(json.stderr) });
    }
  } else if (step.result !== "") {
    const whole = parsed(step.result);
    parts.push({ label: "result", text: visible(whole ? pretty(whole) : step.result) });
  }
  return parts;
}
