// SPDX-License-Identifier: Apache-2.0
// A refusal in the conversation, and the way to allow it.
import { createSignal, For, Show } from "solid-js";
import type { DenialEntry, DenialsEntry } from "../fold/entries.ts";
import { isNetLayer, layerWords, scopeWords } from "../text/refusals.ts";
import { netGrant } from "../text/rules.ts";
import { count, visible } from "../text/words.ts";
import { Icon, StateWord } from "./icon.tsx";
import { openPanel } from "./panels.ts";

/** Not there where no grant of the operator could allow it. */
export function AllowButton(props: { denial: DenialEntry }) {
  const can = () => isNetLayer(props.denial.layer) && netGrant(props.denial.rule) !== null;
  return (
    <Show
      when={props.denial.granted === ""}
      fallback={<StateWord of="succeeded" text={`allowed ${scopeWords(props.denial.granted)}`} />}
    >
      <Show when={can()}>
        <button
          type="button"
          class="button allow"
          aria-label={`Allow ${props.denial.what}...`}
          onClick={() => openPanel({ kind: "grant", denial: { ...props.denial } })}
        >
          Allow...
        </button>
      </Show>
    </Show>
  );
}

function Why(props: { denial: DenialEntry }) {
  return (
    <p class="why">
      {layerWords(props.denial.layer)}
      <Show when={props.denial.process}> Tried by {visible(props.denial.process)}.</Show>{" "}
      <Show when={props.denial.rule} fallback="No rule of a project file can allow this.">
        {isNetLayer(props.denial.layer)
          ? "Rule:"
          : "To allow it, the cage in the project file needs"}{" "}
        <code>{visible(props.denial.rule)}</code>
      </Show>
    </p>
  );
}

export function Denial(props: { entry: DenialEntry }) {
  return (
    <div class="card card-denied" role="note">
      <div class="card-head">
        <StateWord of="denied" text="denied" />
        <strong class="mono grow">{visible(props.entry.what)}</strong>
        <Show when={props.entry.count > 1}>
          <span class="dim small num">{props.entry.count} times</span>
        </Show>
      </div>
      <div class="card-foot">
        <Why denial={props.entry} />
        <AllowButton denial={props.entry} />
      </div>
    </div>
  );
}

/** What is more than a few: one line that opens. */
export function Denials(props: { entry: DenialsEntry }) {
  const [open, setOpen] = createSignal(false);
  const total = () => props.entry.list.reduce((sum, each) => sum + each.count, 0);
  return (
    <div class="card card-denied">
      <button
        type="button"
        class="card-head card-toggle"
        aria-expanded={open()}
        onClick={() => setOpen(!open())}
      >
        <StateWord of="denied" text="denied" />
        <strong class="grow">{count(props.entry.list.length, "more refusal")}</strong>
        <Show when={total() > props.entry.list.length}>
          <span class="dim small num">{total()} times</span>
        </Show>
        <Icon small name="down" />
      </button>
      <Show when={open()}>
        <ul class="more-denials">
          <For each={props.entry.list}>
            {(denial) => (
              <li>
                <span class="grow">
                  <strong class="mono">{visible(denial.what)}</strong>
                  <Show when={denial.count > 1}>
                    <span class="dim small num"> {denial.count} times</span>
                  </Show>
                  <Why denial={denial} />
                </span>
                <AllowButton denial={denial} />
              </li>
            )}
          </For>
        </ul>
      </Show>
    </div>
  );
}
