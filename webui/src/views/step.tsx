// SPDX-License-Identifier: Apache-2.0
import { For, Match, Show, Switch } from "solid-js";
import { now } from "../app.ts";
import type { StepEntry } from "../fold/entries.ts";
import { stepDetail, stepLine } from "../text/steps.ts";
import { age, duration, exact } from "../text/words.ts";
import { Code, Fold } from "./fold.tsx";
import { StateMark, StateWord } from "./icon.tsx";

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
      <Match when={props.entry.state === "failed"}>
        <StateWord of="failed" />
      </Match>
      <Match when={props.entry.state === "ended"}>
        <StateWord of="stopped" text="not finished" />
      </Match>
    </Switch>
  );
}

export function Step(props: { entry: StepEntry }) {
  const line = () => stepLine(props.entry);
  return (
    <Fold
      icon={line().icon}
      tone={props.entry.state === "failed" ? "line-failed" : ""}
      line={
        <span class="step-text">
          <span class="verb">{line().verb}</span>
          <span class={line().code ? "object code-text" : "object"}>{line().object}</span>
          <Show when={line().result}>
            <span class="result">{line().result}</span>
          </Show>
        </span>
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
