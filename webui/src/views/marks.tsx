// SPDX-License-Identifier: Apache-2.0
// The entries that hold no other: refusals, turns of the run, the plan, signals, output.
import { Show } from "solid-js";
import type {
  ControlEntry,
  Entry,
  GrantEntry,
  PlanChangeEntry,
  WireEntry,
} from "../fold/entries.ts";
import { afterRecovery, recoveryWords } from "../text/recovery.ts";
import { appliedWords, scopeWords } from "../text/refusals.ts";
import { clock, count, exact, firstLine, leaf, pretty, visible, who } from "../text/words.ts";
import { Code, Fold } from "./fold.tsx";
import { Icon, type Mark, StateWord } from "./icon.tsx";

const controlWords: Record<ControlEntry["what"], string> = {
  holding: "asked to hold",
  held: "everything holds",
  resumed: "resumed",
  stopping: "asked to stop",
  finished: "run",
};

function controlMark(entry: ControlEntry): Mark {
  if (entry.what === "finished") return entry.outcome ?? "lost";
  return entry.what === "resumed" ? "working" : entry.what;
}

export function Control(props: { entry: ControlEntry }) {
  const text = () => {
    const entry = props.entry;
    if (entry.what === "finished") return `run ${entry.outcome}`;
    const name = entry.actor === "daemon" ? "" : `${who(entry.actor)} `;
    return name + controlWords[entry.what];
  };
  return (
    <div class="rule">
      <StateWord of={controlMark(props.entry)} text={text()} />
      <Show when={props.entry.reason}>
        <span class="dim">{visible(props.entry.reason)}</span>
      </Show>
      <time class="dim num" title={exact(props.entry.at)}>
        {clock(props.entry.at)}
      </time>
    </div>
  );
}

export function PlanChange(props: { entry: PlanChangeEntry }) {
  const before = () => props.entry.before;
  const edited = () => props.entry.after?.text ?? before()?.text ?? "";
  return (
    <Show
      when={before()}
      fallback={
        <Fold
          icon="list"
          line={
            <>
              <span class="verb">updated the plan</span> {props.entry.done} of {props.entry.total}{" "}
              done
              <Show when={props.entry.current}>
                <span class="result">{firstLine(visible(props.entry.current), 80)}</span>
              </Show>
            </>
          }
        />
      }
    >
      <div class="card card-edit">
        <p class="card-head">
          <Icon small name="edit" />
          <strong>{who(props.entry.actor)} edited the plan</strong>
        </p>
        <Show when={before()?.text && before()?.text !== edited()}>
          <p class="was" dir="auto">
            {visible(before()?.text ?? "")}
          </p>
        </Show>
        <p dir="auto">{visible(edited())}</p>
        <Show when={props.entry.after?.status && props.entry.after.status !== before()?.status}>
          <p class="meta">
            {before()?.status ?? ""} → {props.entry.after?.status}
          </p>
        </Show>
      </div>
    </Show>
  );
}

export function Wire(props: { entry: WireEntry }) {
  return (
    <Show
      when={props.entry.limit === ""}
      fallback={
        <Fold
          icon="wire"
          tone="line-failed"
          line={
            <>
              <span class="verb">interconnect {props.entry.action}</span> a signal: limit{" "}
              {props.entry.limit}
            </>
          }
          side={`#${props.entry.signalSeq}`}
        />
      }
    >
      <Fold
        icon="wire"
        tone="line-wire"
        line={
          <>
            <span class="verb">interconnect</span>{" "}
            <span class="object">
              {leaf(props.entry.from)} → {leaf(props.entry.invoke)}
            </span>
          </>
        }
        side={`#${props.entry.signalSeq}`}
      />
    </Show>
  );
}

const kLimitWords: Record<string, string> = {
  memory: "memory",
  oom: "memory",
  pids: "processes",
  wall: "time",
  disk: "private files",
  files: "open files",
  output: "output",
};

function limitWords(limit: string): string {
  return kLimitWords[limit] ?? limit;
}

function Grant(props: { entry: GrantEntry }) {
  return (
    <Fold
      icon={props.entry.applied === "none" ? "close" : "check"}
      tone={props.entry.failure ? "line-failed" : "line-granted"}
      line={
        <>
          <span class="verb">{who(props.entry.by)} allowed</span>{" "}
          <span class="object code-text">{visible(props.entry.rule)}</span> for{" "}
          {leaf(props.entry.agent)}
          <span class="result">
            {props.entry.applied === "none" ? "not applied" : appliedWords(props.entry.applied)}
          </span>
        </>
      }
      side={scopeWords(props.entry.scope)}
      detail={
        props.entry.failure
          ? () => <Code label="why" text={visible(props.entry.failure)} />
          : undefined
      }
    />
  );
}

export function Other(props: { entry: Entry }) {
  const entry = props.entry;
  switch (entry.kind) {
    case "limit":
      return (
        <div class="card card-denied">
          <p class="card-head">
            <StateWord of="denied" text="limit" />
            <strong class="grow">{limitWords(entry.limit)}</strong>
            <Show when={entry.count > 1}>
              <span class="dim small num">{entry.count} times</span>
            </Show>
          </p>
          <p class="meta">{visible(entry.detail)}</p>
        </div>
      );
    case "grant":
      return <Grant entry={entry} />;
    case "changes":
      return (
        <Fold
          icon="file"
          line={
            <>
              <span class="verb">
                {who(entry.by)} {entry.kept ? "kept" : "dropped"}
              </span>{" "}
              {count(entry.count, "change")} of {leaf(entry.agent)}
            </>
          }
          side={entry.refused.length > 0 ? `${entry.refused.length} refused` : ""}
          detail={
            entry.refused.length > 0
              ? () => <Code label="refused" text={visible(entry.refused.join("\n"))} />
              : undefined
          }
        />
      );
    case "signal":
      return (
        <Fold
          icon="radio"
          tone="line-wire"
          line={
            <>
              <span class="verb">signal</span> <span class="object">{visible(entry.signal)}</span>
              <span class="result">{firstLine(visible(JSON.stringify(entry.data) ?? ""), 80)}</span>
            </>
          }
          side={`#${entry.seq}`}
          detail={() => <Code label="data" text={visible(pretty(entry.data))} />}
        />
      );
    case "note":
      return (
        <Fold
          icon="edit"
          line={
            <>
              <span class="verb">told the agent</span> {firstLine(visible(entry.text), 120)}
            </>
          }
          detail={() => <Code label="note" text={visible(entry.text)} />}
        />
      );
    case "cage":
      return (
        <Fold
          icon="shield"
          tone="line-failed"
          line={
            <>
              <span class="verb">cage ended</span> {entry.status} {visible(entry.reason)}
            </>
          }
        />
      );
    case "recovery":
      return (
        <Fold
          icon={entry.verdict === "lost" ? "unshielded" : "shield"}
          tone={entry.verdict === "lost" ? "line-failed" : ""}
          line={
            <>
              <span class="verb">daemon restarted</span>{" "}
              {visible(recoveryWords(leaf(entry.agent), entry.verdict))}
            </>
          }
          side={visible(entry.detail)}
          detail={() => <p class="dim">{afterRecovery(entry.verdict)}</p>}
        />
      );
    case "unknown":
      return (
        <Fold
          icon="file"
          line={
            <>
              <span class="verb">{visible(entry.event)}</span> {who(entry.actor)}
            </>
          }
          detail={() => <Code label="event" text={visible(pretty(entry.body))} />}
        />
      );
    default:
      return null;
  }
}

export function Output(props: { text: string; stream: string }) {
  const lines = () => visible(props.text).trimEnd().split("\n");
  return (
    <Fold
      icon="terminal"
      tone={props.stream === "stderr" ? "line-err" : ""}
      line={
        <>
          <span class="verb">{props.stream}</span>{" "}
          <span class="mono">{firstLine(lines()[lines().length - 1] ?? "", 120)}</span>
        </>
      }
      side={lines().length > 1 ? count(lines().length, "line") : ""}
      detail={() => <Code label={props.stream} text={lines().join("\n")} />}
    />
  );
}
