// SPDX-License-Identifier: Apache-2.0
// Parts of the page that the first screen does not need: read when they are asked for, or when
// the browser has nothing else to do.

import { type Component, createComponent, createResource, Match, Show, Switch } from "solid-js";

type Props = Record<string, unknown>;

const wanted: (() => Promise<unknown>)[] = [];

/** A component whose program comes later. Says so when it cannot be had, and tries again. */
export function later<P extends Props>(read: () => Promise<Component<P>>): Component<P> {
  let held: Promise<Component<P>> | null = null;
  let ready: Component<P> | null = null;
  const get = () => {
    held ??= read().then(
      (part) => {
        ready = part;
        return part;
      },
      (error) => {
        held = null;
        throw error;
      },
    );
    return held;
  };
  wanted.push(get);
  return (props: P) => {
    if (ready) return createComponent(ready, props);
    const [part, { refetch }] = createResource(get);
    return (
      <Switch fallback={<p class="hint late">Reading this part of the page.</p>}>
        <Match when={part.state === "errored"}>
          <p class="hint" role="alert">
            This part of the page could not be read. The daemon may be away, or a new version of it
            may have come.
          </p>
          <p class="buttons">
            <button type="button" class="button" onClick={() => void refetch()}>
              Read it again
            </button>
            <button type="button" class="button quiet" onClick={() => location.reload()}>
              Reload the page
            </button>
          </p>
        </Match>
        <Match when={part.state === "ready"}>
          <Show when={part()}>{(loaded) => createComponent(loaded(), props)}</Show>
        </Match>
      </Switch>
    );
  };
}

/** Reads what was not asked for yet, so that it is there when the network is not. */
export function readLater(): void {
  const all = () => {
    for (const get of wanted) get().catch(() => {});
  };
  if (typeof requestIdleCallback === "function") requestIdleCallback(all, { timeout: 5000 });
  else window.setTimeout(all, 1000);
}
