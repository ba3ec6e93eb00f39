// SPDX-License-Identifier: Apache-2.0
import { Show } from "solid-js";
import { now } from "../app.ts";
import type { Act } from "../outbox/outbox.ts";
import { age } from "../text/words.ts";
import { StateWord } from "./icon.tsx";

function fate(act: Act, at: number): string {
  if (act.state === "sending") return "sending";
  if (act.state === "accepted") return "accepted";
  const since = age(at - act.at);
  return `fate unknown for ${since}: ${act.error}. It is sent again and counts once.`;
}

/** A message of the operator that the log does not show yet, and what is known about it. */
export function UnsentMessage(props: { act: Act; dismiss: () => void }) {
  return (
    <div class="entry user" data-act={props.act.state}>
      <div class="bubble">
        <p class="plain">{props.act.subject}</p>
        <Show
          when={props.act.state === "refused"}
          fallback={
            <p class="meta" role="status">
              <StateWord
                of={props.act.state === "unknown" ? "waiting" : "starting"}
                text={fate(props.act, now())}
              />
            </p>
          }
        >
          <p class="meta" role="alert">
            <StateWord of="failed" text={`refused: ${props.act.error}. Nothing was started.`} />
          </p>
          <button type="button" class="button quiet" onClick={props.dismiss}>
            Remove
          </button>
        </Show>
      </div>
    </div>
  );
}
