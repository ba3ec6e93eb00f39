// SPDX-License-Identifier: Apache-2.0
import { createResource, For, Show } from "solid-js";
import { api } from "../api/client.ts";
import type { Cage, CageBadge } from "../api/types.ts";
import { now } from "../app.ts";
import type { Room } from "../room.ts";
import { ago, bytes, count, leaf, visible } from "../text/words.ts";
import { cageWords } from "./cage-words.ts";
import { Icon } from "./icon.tsx";

export function Badge(props: { cage: CageBadge | null }) {
  return (
    <Show when={props.cage}>
      {(badge) => (
        <p class={badge().disabled ? "badge badge-off" : "badge"}>
          <Icon small name={badge().disabled ? "unshielded" : "shield"} label="cage" />
          <span>{visible(cageWords(badge()))}</span>
        </p>
      )}
    </Show>
  );
}

function CageDetail(props: { cage: Cage }) {
  return (
    <details class="cage">
      <summary>
        <Icon small name="shield" />
        <span class="grow">{leaf(props.cage.agent)}</span>
        <span class="dim num">{count(props.cage.pids.length, "process", "processes")}</span>
      </summary>
      <dl class="cage-facts">
        <dt>Enforced by</dt>
        <dd>{props.cage.layers.join(", ") || "nothing"}</dd>
        <dt>Limits by</dt>
        <dd>{props.cage.limits_backend || "none"}</dd>
        <dt>Network</dt>
        <dd>
          <For each={props.cage.net} fallback={"no connection so far"}>
            {(rule) => (
              <div class="num">
                {visible(rule.text)}: {count(rule.connections, "connection")},{" "}
                {bytes(rule.bytes_up)} up, {bytes(rule.bytes_down)} down
              </div>
            )}
          </For>
        </dd>
        <dt>Refused</dt>
        <dd>
          <For each={props.cage.denials} fallback={"nothing so far"}>
            {(denial) => (
              <div class="num">
                {visible(denial.what)} ({denial.layer}, {count(denial.count, "time")},{" "}
                {ago(denial.at, now())})
              </div>
            )}
          </For>
        </dd>
      </dl>
    </details>
  );
}

/** The cages of this session as the daemon enforces them now. */
export function Cages(props: { room: Room }) {
  const key = () => {
    const state = props.room.state();
    const states = state?.invocations.map((each) => each.id + each.state).join() ?? "";
    return `${props.room.session} ${states}`;
  };
  const [cages] = createResource(key, () => api.cages(props.room.session));
  return (
    <Show when={!cages.error} fallback={<p class="hint">The cages could not be read.</p>}>
      <For
        each={cages.latest?.cages ?? []}
        fallback={<p class="hint">No cage is open. Each agent gets one when it starts.</p>}
      >
        {(cage) => <CageDetail cage={cage} />}
      </For>
    </Show>
  );
}
