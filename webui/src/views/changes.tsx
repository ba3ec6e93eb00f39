// SPDX-License-Identifier: Apache-2.0
// What an agent wrote to the layers above `cow` folders: looked at, kept or dropped.
import { createEffect, createMemo, createSignal, For, Show } from "solid-js";
import { cageActs, cageApi } from "../api/cages.ts";
import type { Change, SettledAnswer } from "../api/types.ts";
import type { Room } from "../room.ts";
import { splitPath } from "../text/cage.ts";
import { bytes, count, leaf, visible } from "../text/words.ts";
import { createAct } from "./act.ts";
import { Diff } from "./diff.tsx";
import { type Mark, StateWord } from "./icon.tsx";
import { createRead, createSeen } from "./poll.ts";

const kMarks: Record<Change["kind"], Mark> = {
  added: "succeeded",
  changed: "waiting",
  deleted: "denied",
};

function DiffOf(props: { session: string; change: Change }) {
  const [seen, watch] = createSeen();
  const diff = createRead({
    read: () => cageApi.diff(props.session, props.change.agent, props.change.path),
    seen,
    changed: () => props.change.digest,
    live: () => false,
  });
  return (
    <div ref={watch} class="change-diff">
      <Show
        when={diff.value() !== null}
        fallback={
          <p class="why">
            {diff.error() === "" ? "Reading the diff." : `It could not be read: ${diff.error()}.`}
          </p>
        }
      >
        <Diff diff={diff.value() ?? ""} label={props.change.path} />
      </Show>
    </div>
  );
}

function Row(props: {
  session: string;
  change: Change;
  chosen: boolean;
  choose: (on: boolean) => void;
}) {
  const [open, setOpen] = createSignal(false);
  const path = () => splitPath(props.change.path);
  return (
    <li class="change" data-path={props.change.path}>
      <div class="change-head">
        <label class="check">
          <input
            type="checkbox"
            checked={props.chosen}
            aria-label={`Choose ${visible(props.change.path)}`}
            onChange={(event) => props.choose(event.currentTarget.checked)}
          />
        </label>
        <button
          type="button"
          class="change-open"
          aria-expanded={open()}
          disabled={props.change.binary}
          onClick={() => setOpen(!open())}
        >
          <span class="change-path">
            <span class="dim">{visible(path().folder)}</span>
            {visible(path().name)}
          </span>
          <span class="why num">
            <StateWord of={kMarks[props.change.kind]} text={props.change.kind} />
            <Show when={props.change.kind !== "deleted"}> · {bytes(props.change.bytes)}</Show>
            <Show when={props.change.binary}> · not text</Show>
          </span>
          <Show when={props.change.refused}>
            <span class="why">
              <StateWord of="failed" text={`cannot be kept: ${props.change.refused}`} />
            </span>
          </Show>
        </button>
      </div>
      <Show when={open()}>
        <DiffOf session={props.session} change={props.change} />
      </Show>
    </li>
  );
}

function Confirm(props: { text: string; drop: () => void; back: () => void }) {
  return (
    <div class="confirm" role="alertdialog" aria-label="Drop the changes">
      <p>
        <strong>{props.text}</strong> They are deleted for good.
      </p>
      <div class="buttons">
        <button
          type="button"
          class="button quiet"
          ref={(button) => queueMicrotask(() => button.focus())}
          onClick={props.back}
        >
          Back
        </button>
        <button type="button" class="button danger" onClick={props.drop}>
          Drop them
        </button>
      </div>
    </div>
  );
}

function createChanges(room: Room, agent: string) {
  const [chosen, setChosen] = createSignal<ReadonlySet<string>>(new Set());
  const [told, setTold] = createSignal("");
  const [refused, setRefused] = createSignal<string[]>([]);
  const [seen, watch] = createSeen();
  const act = createAct<SettledAnswer>();
  const read = createRead({
    read: async () => (await cageApi.changes(room.session)).filter((each) => each.agent === agent),
    seen,
    changed: room.cageChanges,
    live: () => room.state()?.invocations.some((each) => each.state !== "finished") ?? false,
  });
  const list = createMemo(() =>
    [...(read.value() ?? [])].sort((a, b) => (a.path < b.path ? -1 : 1)),
  );
  createEffect(() => {
    // What is no longer there cannot be chosen.
    const paths = new Set(list().map((each) => each.path));
    setChosen((old) => new Set([...old].filter((path) => paths.has(path))));
  });
  const settle = (verb: "keep" | "drop") => {
    const paths = chosen().size > 0 ? [...chosen()] : null;
    const meant = list().filter((each) => paths === null || chosen().has(each.path));
    const seen = meant.map((each) => ({ path: each.path, digest: each.digest }));
    const much = count(meant.length, "change");
    const path = cageActs.changes(room.session, verb);
    act.perform(
      {
        kind: verb,
        scope: room.session,
        subject: agent,
        path,
        body: verb === "keep" ? { agent, seen } : { agent, paths },
      },
      (answer, refusal) => {
        const done = verb === "keep" ? "kept" : "dropped";
        if (refusal) setTold(`not ${done}: ${refusal.message}`);
        else
          setTold(`${answer?.count === undefined ? much : count(answer.count, "change")} ${done}`);
        setRefused(answer?.refused ?? []);
        // What was refused is still chosen, for the second look.
        if (!refusal) setChosen(new Set<string>());
        void read.again();
      },
    );
  };
  const choose = (path: string, on: boolean) => {
    const next = new Set(chosen());
    if (on) next.add(path);
    else next.delete(path);
    setChosen(next);
  };
  return { list, read, watch, chosen, choose, settle, told, refused, act };
}

function Settle(props: { changes: ReturnType<typeof createChanges> }) {
  const [sure, setSure] = createSignal(false);
  const some = () => props.changes.chosen().size;
  const what = () => (some() > 0 ? `the ${count(some(), "chosen change")}` : "all changes");
  const busy = () => props.changes.act.state() !== "";
  return (
    <Show
      when={sure()}
      fallback={
        <div class="buttons panel-foot">
          <button type="button" class="button" disabled={busy()} onClick={() => setSure(true)}>
            Drop {some() > 0 ? some() : "all"}...
          </button>
          <button
            type="button"
            class="button primary"
            disabled={busy()}
            onClick={() => props.changes.settle("keep")}
          >
            Keep {some() > 0 ? some() : "all"}
          </button>
        </div>
      }
    >
      <Confirm
        text={`Drop ${what()}?`}
        back={() => setSure(false)}
        drop={() => {
          setSure(false);
          props.changes.settle("drop");
        }}
      />
    </Show>
  );
}

export function ChangesPanel(props: { room: Room; agent: string }) {
  const changes = createChanges(props.room, props.agent);
  const error = () => changes.read.error();
  return (
    <>
      <div class="scroll panel-body" ref={changes.watch} data-testid="changes">
        <p class="why">
          What {leaf(props.agent)} wrote to its own layers. Your folders hold none of it until you
          keep it.
        </p>
        <div role="status" aria-live="polite">
          <Show when={changes.told()}>
            <p>
              <StateWord
                of={changes.told().startsWith("not ") ? "failed" : "succeeded"}
                text={changes.told()}
              />
            </p>
          </Show>
          <For each={changes.refused()}>
            {(line) => (
              <p>
                <StateWord of="failed" text={visible(line)} />
              </p>
            )}
          </For>
          <Show when={error() !== ""}>
            <p class="why">The changes could not be read: {error()}.</p>
          </Show>
        </div>
        <ul class="changes">
          <For
            each={changes.list()}
            fallback={
              <Show
                when={changes.read.value() !== null}
                fallback={<p class="hint late">Reading the changes.</p>}
              >
                <p class="hint">Nothing has changed, or everything is kept or dropped already.</p>
              </Show>
            }
          >
            {(change) => (
              <Row
                session={props.room.session}
                change={change}
                chosen={changes.chosen().has(change.path)}
                choose={(on) => changes.choose(change.path, on)}
              />
            )}
          </For>
        </ul>
      </div>
      <Show when={changes.list().length > 0}>
        <Settle changes={changes} />
      </Show>
    </>
  );
}
