// SPDX-License-Identifier: Apache-2.0
import { createSignal, For, type JSX, Match, Show, Switch } from "solid-js";
import { now } from "../app.ts";
import {
  type CardEntry,
  type ControlEntry,
  type DenialEntry,
  type Entry,
  kCardLines,
  type PlanChangeEntry,
  type StepEntry,
  type TextEntry,
  type UserEntry,
  type WireEntry,
} from "../fold/entries.ts";
import { isSilent, stepDetail, stepLine } from "../text/steps.ts";
import {
  age,
  clock,
  count,
  duration,
  exact,
  firstLine,
  leaf,
  pretty,
  visible,
  who,
} from "../text/words.ts";
import { Badge } from "./cage.tsx";
import { Icon, type IconName, type Mark, StateMark, StateWord } from "./icon.tsx";
import { invocationMark } from "./inspector.tsx";
import { Markdown } from "./markdown.tsx";

/** One line that opens to its detail; the detail is built when it is first looked at. */
function Fold(props: {
  icon: IconName;
  tone?: string;
  line: JSX.Element;
  side?: JSX.Element;
  detail?: () => JSX.Element;
}) {
  const [open, setOpen] = createSignal(false);
  const inner = () => (
    <>
      <Icon small name={props.icon} />
      <span class="line-text">{props.line}</span>
      <span class="line-side num">{props.side}</span>
    </>
  );
  return (
    <Show when={props.detail} fallback={<div class={`line ${props.tone ?? ""}`}>{inner()}</div>}>
      {(detail) => (
        <>
          <button
            type="button"
            class={`line ${props.tone ?? ""}`}
            aria-expanded={open()}
            onClick={() => setOpen(!open())}
          >
            {inner()}
          </button>
          <Show when={open()}>
            <div class="line-detail">{detail()()}</div>
          </Show>
        </>
      )}
    </Show>
  );
}

function Code(props: { label: string; text: string }) {
  return (
    <figure class="code-box">
      <figcaption>{props.label}</figcaption>
      <pre class="code">{props.text}</pre>
    </figure>
  );
}

function User(props: { entry: UserEntry }) {
  return (
    <div class={`user user-${props.entry.state}`}>
      <div class="bubble">
        <p class="plain" dir="auto">
          {visible(props.entry.text)}
        </p>
        <p class="meta num">
          <Show when={props.entry.state !== "started"}>
            <StateWord
              of={props.entry.state === "queued" ? "waiting" : "stopped"}
              text={props.entry.state}
            />
          </Show>
          <span title={exact(props.entry.at)}>
            {who(props.entry.actor)} · {props.entry.client} · {clock(props.entry.at)}
          </span>
        </p>
      </div>
    </div>
  );
}

function Text(props: { entry: TextEntry }) {
  return (
    <div class="said">
      <Markdown text={props.entry.text} />
      <Show when={props.entry.streaming}>
        <span class="caret" aria-hidden="true" />
      </Show>
      <Show when={props.entry.partial}>
        <p class="meta">
          <StateWord of="stopped" text="cut off here" />
        </p>
      </Show>
    </div>
  );
}

function Thought(props: { entry: TextEntry }) {
  return (
    <Fold
      icon="brain"
      line={
        <>
          <span class="verb">thought</span> {firstLine(visible(props.entry.text), 100)}
        </>
      }
      detail={() => <Markdown text={props.entry.text} />}
    />
  );
}

function StepSide(props: { entry: StepEntry }) {
  return (
    <Switch fallback={duration(props.entry.duration)}>
      <Match when={props.entry.state === "running"}>
        <span class="state state-working">
          <StateMark of="working" />
          {age(now() - props.entry.at)}
        </span>
      </Match>
      <Match when={props.entry.state === "held"}>
        <StateWord of="held" text="waits" />
      </Match>
      <Match when={props.entry.state === "ended"}>
        <StateWord of="stopped" text="not finished" />
      </Match>
    </Switch>
  );
}

function Step(props: { entry: StepEntry }) {
  const line = () => stepLine(props.entry);
  return (
    <Fold
      icon={line().icon}
      tone={props.entry.state === "failed" ? "line-failed" : ""}
      line={
        <>
          <span class="verb">{line().verb}</span> <span class="object">{line().object}</span>
          <Show when={line().result}>
            <span class="result">{line().result}</span>
          </Show>
        </>
      }
      side={<StepSide entry={props.entry} />}
      detail={() => (
        <>
          <For each={stepDetail(props.entry)}>
            {(part) => <Code label={part.label} text={part.text} />}
          </For>
          <p class="meta">{exact(props.entry.at)}</p>
        </>
      )}
    />
  );
}

function Denial(props: { entry: DenialEntry }) {
  return (
    <div class="card card-denied" role="note">
      <p class="card-head">
        <StateWord of="denied" text="denied" />
        <strong class="mono">{visible(props.entry.what)}</strong>
        <Show when={props.entry.count > 1}>
          <span class="dim num">{props.entry.count} times</span>
        </Show>
      </p>
      <p class="meta">
        by {props.entry.layer}
        <Show when={props.entry.process}> · tried by {visible(props.entry.process)}</Show>
      </p>
      <Show
        when={props.entry.rule}
        fallback={<p class="meta">No rule of a project file can allow this.</p>}
      >
        <p class="meta">To allow it, write in the project file:</p>
        <pre class="code">{visible(props.entry.rule)}</pre>
      </Show>
    </div>
  );
}

function spent(entry: CardEntry): string {
  return age((entry.state === "finished" ? entry.finishedAt : now()) - entry.at);
}

function Card(props: { entry: CardEntry }) {
  const [all, setAll] = createSignal(false);
  const [open, setOpen] = createSignal(true);
  const hidden = () => (all() ? 0 : Math.max(0, props.entry.children.length - kCardLines));
  const mark = () => invocationMark(props.entry.state, props.entry.outcome);
  return (
    <section class={`card agent-card agent-${mark()}`} aria-label={`Subagent ${props.entry.agent}`}>
      <button
        type="button"
        class="card-head card-toggle"
        aria-expanded={open()}
        onClick={() => setOpen(!open())}
      >
        <Icon small name="bot" />
        <span class="tree-name grow">{leaf(props.entry.agent)}</span>
        <StateWord of={mark()} />
        <span class="line-side num">{spent(props.entry)}</span>
      </button>
      <Badge cage={props.entry.cage} />
      <Show when={open()}>
        <Show when={props.entry.input}>
          <Fold
            icon="right"
            line={
              <>
                <span class="verb">told</span> {firstLine(visible(props.entry.input), 140)}
              </>
            }
            detail={() => (
              <>
                <Code label="input" text={visible(props.entry.input)} />
                <Show when={props.entry.layers.length > 0}>
                  <Code
                    label="cage"
                    text={`${props.entry.layers.join(", ")}\nlimits: ${props.entry.limitsBackend}`}
                  />
                </Show>
              </>
            )}
          />
        </Show>
        <div class="card-lines">
          <Show when={hidden() > 0}>
            <button type="button" class="button quiet wide" onClick={() => setAll(true)}>
              Show {count(hidden(), "earlier line")}
            </button>
          </Show>
          <For each={hidden() > 0 ? props.entry.children.slice(-kCardLines) : props.entry.children}>
            {(entry) => <EntryView entry={entry} />}
          </For>
        </div>
        <Show when={props.entry.state === "finished"}>
          <Fold
            icon={props.entry.outcome === "succeeded" ? "check" : "close"}
            tone={props.entry.outcome === "succeeded" ? "" : "line-failed"}
            line={
              <>
                <span class="verb">{props.entry.outcome}</span>{" "}
                {firstLine(visible(props.entry.reason || props.entry.result), 140)}
              </>
            }
            side={props.entry.tokens > 0 ? `${props.entry.tokens} tokens` : ""}
            detail={
              props.entry.result
                ? () => <Code label="result" text={visible(props.entry.result)} />
                : undefined
            }
          />
        </Show>
      </Show>
    </section>
  );
}

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

function Control(props: { entry: ControlEntry }) {
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

function PlanChange(props: { entry: PlanChangeEntry }) {
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

function Wire(props: { entry: WireEntry }) {
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

function Other(props: { entry: Entry }) {
  const entry = props.entry;
  switch (entry.kind) {
    case "limit":
      return (
        <div class="card card-denied">
          <p class="card-head">
            <StateWord of="denied" text="limit" />
            <strong>{entry.limit}</strong>
          </p>
          <p class="meta">{visible(entry.detail)}</p>
        </div>
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

function Output(props: { text: string; stream: string }) {
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

export function EntryView(props: { entry: Entry }) {
  const body = () => {
    const entry = props.entry;
    switch (entry.kind) {
      case "user":
        return <User entry={entry} />;
      case "text":
        return <Text entry={entry} />;
      case "thought":
        return <Thought entry={entry} />;
      case "step":
        return <Step entry={entry} />;
      case "card":
        return <Card entry={entry} />;
      case "denial":
        return <Denial entry={entry} />;
      case "control":
        return <Control entry={entry} />;
      case "plan":
        return <PlanChange entry={entry} />;
      case "wire":
        return <Wire entry={entry} />;
      case "output":
        return <Output text={entry.text} stream={entry.stream} />;
      default:
        return <Other entry={entry} />;
    }
  };
  const silent = () => props.entry.kind === "step" && isSilent(props.entry);
  return (
    <Show when={!silent()}>
      <div class={`entry entry-${props.entry.kind}`} data-id={props.entry.id}>
        {body()}
      </div>
    </Show>
  );
}
