// SPDX-License-Identifier: Apache-2.0
// The cages of a session: what each may touch, what holds it, what it uses and what was refused.
import { createEffect, For, Show } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import "../style/cage.css";
import { cageApi } from "../api/cages.ts";
import type { Cage } from "../api/types.ts";
import { now } from "../app.ts";
import type { Room } from "../room.ts";
import { age, bytes, count, exact, leaf, visible } from "../text/words.ts";
import { Grants, HeldBy, Limits, MayTouch, Ports } from "./cage-parts.tsx";
import { Icon, StateWord } from "./icon.tsx";
import { openPanel } from "./panels.ts";
import { createRead, createSeen } from "./poll.ts";
import { Refused } from "./refused.tsx";

function Network(props: { cage: Cage }) {
  const opens = () => props.cage.policy.net.length > 0 || (props.cage.network?.total ?? 0) > 0;
  const log = () =>
    openPanel({
      kind: "network",
      cage: props.cage.cage,
      agent: props.cage.agent,
      running: props.cage.running,
    });
  return (
    <section>
      <h3>Network</h3>
      <Show when={opens()} fallback={<p class="why">No rule opens anything.</p>}>
        <Show when={props.cage.network}>
          {(net) => (
            <p class="num">
              {count(net().total, "connection")}, {net().open || "none"} open · {bytes(net().up)}{" "}
              up, {bytes(net().down)} down
            </p>
          )}
        </Show>
        <button type="button" class="button quiet inline" onClick={log}>
          <Icon small name="tree" /> Network log
        </button>
      </Show>
    </section>
  );
}

function hasLayers(cage: Cage): boolean {
  return cage.policy.folders.some((folder) => folder.mode === "cow");
}

function CageCard(props: { room: Room; cage: Cage }) {
  const cage = () => props.cage;
  return (
    <details class={`cage ${cage().running ? "" : "cage-ended"}`} data-cage={cage().agent}>
      <summary>
        <Icon small name={cage().policy.disabled ? "unshielded" : "shield"} />
        <span class="tree-name">{leaf(cage().agent)}</span>
        <StateWord
          of={cage().running ? "working" : "stopped"}
          text={cage().running ? "running" : "ended"}
        />
        <span class="line-side num">
          <Show when={cage().denials > 0}>
            <StateWord of="denied" text={`${cage().denials} refused`} />
          </Show>
        </span>
        <Icon small name="down" />
      </summary>
      <div class="cage-body">
        <MayTouch cage={cage()} />
        <HeldBy cage={cage()} />
        <Limits cage={cage()} />
        <Show when={!cage().policy.disabled}>
          <Network cage={cage()} />
          <Refused room={props.room} cage={cage()} />
          <Grants cage={cage()} />
        </Show>
        <Ports cage={cage()} />
        <Show when={hasLayers(cage())}>
          <section>
            <h3>Changes</h3>
            <p class="why">What it writes to its own layers waits for you to keep or drop it.</p>
            <button
              type="button"
              class="button"
              onClick={() => openPanel({ kind: "changes", agent: cage().agent })}
            >
              <Icon small name="file" /> Look at the changes
            </button>
          </section>
        </Show>
        <p class="why num" title={exact(cage().startedAt)}>
          <Show when={cage().startedAt > 0}>started {age(now() - cage().startedAt)} ago · </Show>
          <span class="mono">{visible(cage().cage)}</span>
        </p>
      </div>
    </details>
  );
}

/** A cage that is off is told before anything else, opened or not. */
function Uncaged(props: { cages: readonly Cage[] }) {
  const bare = () => props.cages.filter((cage) => cage.policy.disabled && cage.running);
  return (
    <Show when={bare().length > 0}>
      <p class="uncaged" role="alert">
        <Icon name="unshielded" />
        <span>
          <strong>
            {bare()
              .map((cage) => leaf(cage.agent))
              .join(", ")}
            : no cage.
          </strong>{" "}
          The project file says <code>cage: disabled</code>: it runs with the daemon's own rights.
        </span>
      </p>
    </Show>
  );
}

/** The cages of this session as the daemon enforces them now. */
export function Cages(props: { room: Room }) {
  const [seen, watch] = createSeen();
  const [shown, setShown] = createStore<{ list: Cage[] }>({ list: [] });
  const states = () => {
    const invocations = props.room.state()?.invocations ?? [];
    return `${props.room.cageChanges()} ${invocations.map((each) => each.id + each.state).join()}`;
  };
  const cages = createRead({
    read: () => cageApi.cages(props.room.session),
    seen,
    changed: states,
    live: (list) => list?.some((cage) => cage.running) ?? false,
  });
  createEffect(() => {
    const list = cages.value();
    if (list) setShown("list", reconcile(list, { key: "cage" }));
  });
  return (
    <div class="cages" ref={watch} data-testid="cages">
      <Uncaged cages={shown.list} />
      <Show when={cages.error() !== ""}>
        <p class="why" role="status">
          The cages could not be read: {cages.error()}.
          <Show when={cages.at() > 0}> Shown is what was known {age(now() - cages.at())} ago.</Show>
        </p>
      </Show>
      <For
        each={shown.list}
        fallback={
          <Show
            when={cages.value() !== null}
            fallback={
              <Show when={cages.error() === ""}>
                <p class="hint late">Reading the cages.</p>
              </Show>
            }
          >
            <p class="hint">No cage yet. Each agent gets one when it starts.</p>
          </Show>
        }
      >
        {(cage) => <CageCard room={props.room} cage={cage} />}
      </For>
    </div>
  );
}
