// SPDX-License-Identifier: Apache-2.0
import { createSignal, For, Show } from "solid-js";
import type { PlanEntry, PlanStatus } from "../api/types.ts";
import { outbox, pendingActs, send } from "../app.ts";
import type { Room } from "../room.ts";
import { visible } from "../text/words.ts";
import { Icon, StateWord } from "./icon.tsx";

const kStatusWords: Record<PlanStatus, string> = {
  pending: "to do",
  in_progress: "doing",
  completed: "done",
};
const kStatuses = Object.keys(kStatusWords) as PlanStatus[];

function Box(props: { status: PlanStatus }) {
  return (
    <svg
      class={`box box-${props.status}`}
      viewBox="0 0 20 20"
      role="img"
      aria-label={kStatusWords[props.status]}
    >
      <rect x="2.5" y="2.5" width="15" height="15" rx="4" />
      <Show when={props.status === "completed"}>
        <path d="M6 10.5l3 3l5.5-7" />
      </Show>
      <Show when={props.status === "in_progress"}>
        <path d="M7.5 6.2v7.6l6-3.8z" />
      </Show>
    </svg>
  );
}

function Editor(props: { room: Room; entry: PlanEntry; done: () => void }) {
  let field: HTMLTextAreaElement | undefined;
  const [status, setStatus] = createSignal(props.entry.status);
  const save = () => {
    const text = field?.value.trim() ?? "";
    const change: { text?: string; status?: string } = {};
    if (text !== "" && text !== props.entry.text) change.text = text;
    if (status() !== props.entry.status) change.status = status();
    if (Object.keys(change).length > 0) send.plan(props.room.session, props.entry.id, change);
    props.done();
  };
  return (
    <form
      class="plan-editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={(element) => {
          field = element;
          queueMicrotask(() => element.focus());
        }}
        rows="3"
        maxlength="2000"
        aria-label="What is to be done"
        dir="auto"
      >
        {props.entry.text}
      </textarea>
      <div class="segments" role="radiogroup" aria-label="Status">
        <For each={kStatuses}>
          {(each) => (
            <label class="segment">
              <input
                type="radio"
                name={`status-${props.entry.id}`}
                checked={status() === each}
                onChange={() => setStatus(each)}
              />
              <span>{kStatusWords[each]}</span>
            </label>
          )}
        </For>
      </div>
      <div class="buttons">
        <button type="button" class="button quiet" onClick={props.done}>
          Cancel
        </button>
        <button type="submit" class="button primary">
          Save entry
        </button>
      </div>
    </form>
  );
}

function Fate(props: { room: Room; entry: string }) {
  const act = () =>
    pendingActs(props.room.session).findLast(
      (each) => each.kind === "plan" && each.subject === props.entry,
    );
  return (
    <Show when={act()}>
      {(found) => (
        <p class="meta" role="status">
          <Show
            when={found().state === "refused"}
            fallback={<StateWord of="starting" text="saving your edit" />}
          >
            <StateWord of="failed" text={`not saved: ${found().error}`} />
            <button type="button" class="button quiet" onClick={() => outbox.dismiss(found().key)}>
              Dismiss
            </button>
          </Show>
        </p>
      )}
    </Show>
  );
}

/** The plan as a checklist; while the run is held each entry can be edited. */
export function PlanList(props: { room: Room }) {
  const [editing, setEditing] = createSignal("");
  const plan = () => props.room.state()?.plan.entries ?? [];
  const editable = () => {
    const status = props.room.state()?.status;
    return status === "holding" || status === "held";
  };
  return (
    <>
      <ol class={props.room.state()?.run ? "plan" : "plan plan-idle"} data-testid="plan">
        <For each={plan()} fallback={<p class="hint">The agent has not written a plan yet.</p>}>
          {(entry) => (
            <li class={`plan-entry plan-${entry.status}`} data-entry={entry.id}>
              <Show
                when={editable() && editing() === entry.id}
                fallback={
                  <>
                    <Box status={entry.status} />
                    <span class="grow" dir="auto">
                      {visible(entry.text)}
                    </span>
                    <Show when={editable()}>
                      <button
                        type="button"
                        class="icon-button"
                        aria-label={`Edit: ${entry.text}`}
                        onClick={() => setEditing(entry.id)}
                      >
                        <Icon name="edit" />
                      </button>
                    </Show>
                  </>
                }
              >
                <Editor room={props.room} entry={entry} done={() => setEditing("")} />
              </Show>
              <Fate room={props.room} entry={entry.id} />
            </li>
          )}
        </For>
      </ol>
      <Show when={plan().length > 0 && !editable() && props.room.state()?.status === "working"}>
        <p class="hint">Hold the run to edit the plan.</p>
      </Show>
    </>
  );
}
