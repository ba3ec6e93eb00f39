// SPDX-License-Identifier: Apache-2.0
import { Show } from "solid-js";
import type { CageBadge } from "../api/types.ts";
import { visible } from "../text/words.ts";
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
