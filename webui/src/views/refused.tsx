// SPDX-License-Identifier: Apache-2.0
// What a cage refused, in its card.
import { createMemo, createSignal, For, Show } from "solid-js";
import type { Cage } from "../api/types.ts";
import { now } from "../app.ts";
import type { DenialEntry } from "../fold/entries.ts";
import type { Room } from "../room.ts";
import { tried } from "../text/cage.ts";
import { layerWords } from "../text/refusals.ts";
import { ago, count, exact, visible } from "../text/words.ts";
import { AllowButton } from "./denial.tsx";
import { StateMark } from "./icon.tsx";

/** Lines before the rest is asked for. */
const kFew = 5;

function Line(props: { denial: DenialEntry }) {
  return (
    <li class="told refusal">
      <span class="state state-denied">
        <StateMark of="denied" />
      </span>
      <span class="grow">
        {visible(props.denial.process || "it")} tried to {visible(tried(props.denial.what))}
        <Show when={props.denial.count > 1}>
          <span class="num">, {props.denial.count} times</span>
        </Show>
        <span class="why num" title={exact(props.denial.lastAt)}>
          {ago(props.denial.lastAt, now())} · {props.denial.layer}: {layerWords(props.denial.layer)}
        </span>
      </span>
      <AllowButton denial={props.denial} />
    </li>
  );
}

export function Refused(props: { room: Room; cage: Cage }) {
  const [all, setAll] = createSignal(false);
  const list = createMemo(() => {
    props.room.cageChanges();
    return props.room.denials(props.cage.invocation);
  });
  const shown = () => (all() ? list() : list().slice(0, kFew));
  const told = () => list().reduce((sum, each) => sum + each.count, 0);
  return (
    <section>
      <h3>Refused</h3>
      <ul data-testid="refused">
        <For each={shown()} fallback={<p class="why">Nothing so far.</p>}>
          {(denial) => <Line denial={denial} />}
        </For>
      </ul>
      <Show when={list().length > shown().length}>
        <button type="button" class="button quiet wide" onClick={() => setAll(true)}>
          Show {list().length - shown().length} more
        </button>
      </Show>
      <Show when={props.cage.denials > told() && props.room.earlier()}>
        <p class="why">
          {count(props.cage.denials - told(), "refusal")} earlier in the conversation.{" "}
          <button
            type="button"
            class="button quiet inline"
            onClick={() => void props.room.showEarlier().catch(() => {})}
          >
            Read earlier
          </button>
        </p>
      </Show>
    </section>
  );
}
