// SPDX-License-Identifier: Apache-2.0
// The three states that are never mixed: the link, the daemon, the agent.

import { Show } from "solid-js";
import type { SessionState } from "../api/types.ts";
import { linkState, now } from "../app.ts";
import type { LinkState } from "../link/link.ts";
import { age, exact } from "../text/words.ts";
import { type Mark, StateMark, StateWord } from "./icon.tsx";

export function linkWords(state: LinkState, at: number): string {
  if (state.phase === "live") return "link live";
  if (state.phase === "signed-out") return "signed out";
  if (state.phase === "connecting") return "link: connecting";
  const wait = Math.max(0, Math.ceil((state.retryAt - at) / 1000));
  return wait > 0 ? `link lost, again in ${wait} s` : "link lost, trying";
}

function linkMark(state: LinkState): Mark {
  if (state.phase === "live") return "succeeded";
  return state.phase === "connecting" ? "starting" : "failed";
}

/** The link's state: shape, word, colour. */
export function LinkChip(props: { name?: string }) {
  return (
    <span
      class={`link-chip link-${linkState().phase}`}
      data-testid={props.name}
      title={`since ${exact(linkState().since)}`}
    >
      <StateMark of={linkMark(linkState())} />
      {linkWords(linkState(), now())}
    </span>
  );
}

export function LinkStates(props: { state: SessionState | null; lastEventAt: number }) {
  const heard = () => linkState().heard;
  const agent = () => {
    const run = props.state?.run;
    const status = props.state?.status ?? "idle";
    // Without a link this is what was, not what is.
    if (linkState().phase !== "live") return `was ${status}`;
    if (!run) return status;
    return `${status} ${age(now() - run.started_at)}`;
  };
  return (
    <div class="links" aria-live="off">
      <LinkChip name="link" />
      <span class="link-chip num" data-testid="daemon" title={heard() ? exact(heard()) : ""}>
        daemon {heard() ? `${age(now() - heard())} ago` : "not heard yet"}
      </span>
      <Show when={props.state}>
        {(state) => (
          <span class="link-chip link-agent num" data-testid="agent" data-status={state().status}>
            <StateWord
              of={linkState().phase === "live" ? state().status : "lost"}
              text={`agent ${agent()}`}
            />
          </span>
        )}
      </Show>
    </div>
  );
}
