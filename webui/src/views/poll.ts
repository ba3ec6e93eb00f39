// SPDX-License-Identifier: Apache-2.0
import { type Accessor, createEffect, createSignal, on, onCleanup } from "solid-js";
import { now } from "../app.ts";

/** Live figures are this old at most while somebody looks at them. */
export const kRefreshMs = 2000;

/** Whether an element is on the screen of a page that is looked at. */
export function createSeen(): [Accessor<boolean>, (element: Element) => void] {
  const [near, setNear] = createSignal(false);
  const [awake, setAwake] = createSignal(document.visibilityState === "visible");
  const watcher = new IntersectionObserver((entries) => {
    setNear(entries[entries.length - 1]?.isIntersecting ?? false);
  });
  const turned = () => setAwake(document.visibilityState === "visible");
  document.addEventListener("visibilitychange", turned);
  onCleanup(() => {
    watcher.disconnect();
    document.removeEventListener("visibilitychange", turned);
  });
  return [() => near() && awake(), (element) => watcher.observe(element)];
}

export interface Read<T> {
  value: Accessor<T | null>;
  /** Why the last reading failed; "" when it did not. */
  error: Accessor<string>;
  /** When `value` was read. */
  at: Accessor<number>;
  again(): Promise<void>;
}

/**
 * Reads something while it is `seen`: at once, when `changed` does, and every two seconds as long
 * as `live` says that it changes by itself. One reading at a time.
 */
export function createRead<T>(parts: {
  read: () => Promise<T>;
  seen: Accessor<boolean>;
  changed: Accessor<unknown>;
  live: (value: T | null) => boolean;
}): Read<T> {
  const [value, setValue] = createSignal<T | null>(null);
  const [error, setError] = createSignal("");
  const [at, setAt] = createSignal(0);
  let asking = false;
  let stale = false;
  let gone = false;
  onCleanup(() => {
    gone = true;
  });
  const again = async (): Promise<void> => {
    stale = asking;
    if (asking) return;
    asking = true;
    try {
      const read = await parts.read();
      if (gone) return;
      setValue(() => read);
      setError("");
      setAt(Date.now());
    } catch (failed) {
      if (!gone) setError(failed instanceof Error ? failed.message : String(failed));
    } finally {
      asking = false;
    }
    if (stale && !gone) void again();
  };
  createEffect(on([parts.seen, parts.changed], () => parts.seen() && void again()));
  const beat = () => Math.floor(now() / kRefreshMs);
  createEffect(
    on(beat, () => parts.seen() && (error() !== "" || parts.live(value())) && void again(), {
      defer: true,
    }),
  );
  return { value, error, at, again };
}
