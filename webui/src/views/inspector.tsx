// SPDX-License-Identifier: Apache-2.0
import { createMemo, For, Show } from "solid-js";
import "../style/inspector.css";
import type { Invocation, PendingStep } from "../api/types.ts";
import { now } from "../app.ts";
import type { Room } from "../room.ts";
import { stepLine } from "../text/steps.ts";
import { age, leaf, pretty, visible } from "../text/words.ts";
import { Badge } from "./cage.tsx";
import { Cages } from "./cages.tsx";
import { invocationMark, StateWord } from "./icon.tsx";
import { PlanList } from "./plan.tsx";

function causeWords(invocation: Invocation): string {
  if (invocation.cause.type === "signal") return "by a signal";
  return invocation.cause.type === "tool" ? "by its parent" : "by your message";
}

function TreeNode(props: { invocation: Invocation }) {
  const spent = () => (props.invocation.finished_at ?? now()) - props.invocation.started_at;
  return (
    <li
      class={`tree-node depth-${Math.min(4, props.invocation.depth)}`}
      data-agent={props.invocation.agent}
      data-state={props.invocation.outcome ?? props.invocation.state}
    >
      <div class="tree-head">
        <span class="tree-name">{leaf(props.invocation.agent)}</span>
        <StateWord of={invocationMark(props.invocation.state, props.invocation.outcome)} />
      </div>
      <p class="row-sub num">
        {props.invocation.runner} · started {causeWords(props.invocation)} · {age(spent())}
      </p>
      <Badge cage={props.invocation.cage} />
      <Show when={props.invocation.reason}>
        <p class="row-sub">{visible(props.invocation.reason)}</p>
      </Show>
    </li>
  );
}

function PendingRow(props: { step: PendingStep; agent: string }) {
  const line = () => stepLine({ ...props.step, state: "held", result: "", output: "" });
  return (
    <li class="pending">
      <details>
        <summary>
          <StateWord of="held" text="waits" />
          <span class="grow">
            {leaf(props.agent)}: {line().verb}{" "}
            <span class={line().code ? "object code-text" : "object"}>{line().object}</span>
          </span>
        </summary>
        <pre class="code">{visible(pretty(props.step.arguments))}</pre>
      </details>
    </li>
  );
}

/** The run beside the conversation: what waits, the plan, the agents, their cages. */
export function Inspector(props: { room: Room }) {
  const state = () => props.room.state();
  const agentOf = createMemo(() => {
    const names = new Map<string, string>();
    for (const each of state()?.invocations ?? []) names.set(each.id, each.agent);
    return names;
  });
  return (
    <div class="inspector scroll">
      <Show when={(state()?.pending_steps.length ?? 0) > 0}>
        <section>
          <h2 class="label">Waits for your resume</h2>
          <ul class="pendings" data-testid="pending">
            <For each={state()?.pending_steps}>
              {(step) => <PendingRow step={step} agent={agentOf().get(step.invocation) ?? ""} />}
            </For>
          </ul>
        </section>
      </Show>
      <section>
        <h2 class="label">Plan</h2>
        <PlanList room={props.room} />
      </section>
      <section>
        <h2 class="label">Agents</h2>
        <ul class="tree" data-testid="tree">
          <For
            each={state()?.invocations}
            fallback={<p class="hint">None yet. A message starts the primary.</p>}
          >
            {(invocation) => <TreeNode invocation={invocation} />}
          </For>
        </ul>
      </section>
      <section>
        <h2 class="label">Cages</h2>
        <Cages room={props.room} />
      </section>
    </div>
  );
}
