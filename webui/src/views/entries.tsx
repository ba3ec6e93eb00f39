// SPDX-License-Identifier: Apache-2.0
import { createMemo, createSignal, For, Show } from "solid-js";
import { now } from "../app.ts";
import {
  type CardEntry,
  type Entry,
  kCardLines,
  type TextEntry,
  type UserEntry,
} from "../fold/entries.ts";
import { isSilent } from "../text/steps.ts";
import { age, clock, count, exact, firstLine, leaf, tokens, visible, who } from "../text/words.ts";
import { Badge } from "./cage.tsx";
import { Denial, Denials } from "./denial.tsx";
import { Code, Fold } from "./fold.tsx";
import { Icon, invocationMark, StateWord } from "./icon.tsx";
import { Markdown } from "./markdown.tsx";
import { Control, Other, Output, PlanChange, Wire } from "./marks.tsx";
import { Step } from "./step.tsx";

/** Lines that are drawn beyond kCardLines before the earlier ones are folded away. */
const kCardSlack = 5;

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
    <div class={props.entry.streaming ? "said streaming" : "said"}>
      <Markdown text={props.entry.text} />
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

function spent(entry: CardEntry): string {
  return age((entry.state === "finished" ? entry.finishedAt : now()) - entry.at);
}

function Card(props: { entry: CardEntry }) {
  const [all, setAll] = createSignal(false);
  const [open, setOpen] = createSignal(true);
  const lines = createMemo(() =>
    props.entry.children.filter((each) => each.kind !== "step" || !isSilent(each)),
  );
  // A button that saves a line or two costs as much as it saves.
  const hidden = () =>
    all() || lines().length <= kCardLines + kCardSlack ? 0 : lines().length - kCardLines;
  // What an agent said last, and what a program printed, is its result: no need to tell it twice.
  const ending = () => {
    const { reason, result, children, outcome, runner } = props.entry;
    if (reason !== "") return reason;
    const told = children.some(
      (each) => each.kind === "text" && each.text.trim() === result.trim(),
    );
    return told || (runner === "exec" && outcome === "succeeded") ? "" : result;
  };
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
        <span class="line-side num">
          {spent(props.entry)}
          <Show when={props.entry.tokens > 0}>
            {" \u00b7 "}
            {tokens(props.entry.tokens)}
          </Show>
        </span>
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
          <For each={hidden() > 0 ? lines().slice(-kCardLines) : lines()}>
            {(entry) => <EntryView entry={entry} />}
          </For>
        </div>
        <Show when={props.entry.state === "finished" && ending() !== ""}>
          <Fold
            icon={props.entry.outcome === "succeeded" ? "check" : "close"}
            tone={props.entry.outcome === "succeeded" ? "" : "line-failed"}
            line={
              <>
                <span class="verb">{props.entry.outcome}</span> {firstLine(visible(ending()), 140)}
              </>
            }
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
      case "denials":
        return <Denials entry={entry} />;
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
