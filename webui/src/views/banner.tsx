// SPDX-License-Identifier: Apache-2.0
// What every screen shows of the daemon: its warnings, and the chosen colours.
import { createEffect, createResource, createSignal, Show } from "solid-js";
import { api } from "../api/client.ts";
import { linkState } from "../app.ts";
import { Icon } from "./icon.tsx";

export type Theme = "system" | "light" | "dark";

function readTheme(): Theme {
  try {
    const saved = localStorage.getItem("volary.theme");
    return saved === "light" || saved === "dark" ? saved : "system";
  } catch {
    return "system";
  }
}

export const [theme, setTheme] = createSignal<Theme>(readTheme());

function applyTheme(value: Theme): void {
  if (value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
  try {
    localStorage.setItem("volary.theme", value);
  } catch {
    // The choice then lasts as long as the page.
  }
}

export const [status, { refetch }] = createResource(
  () => linkState().phase === "live",
  () => api.status(),
);

/** No sign-in, no cages, a damaged database: every screen says so. */
export function WarningBanner() {
  createEffect(() => applyTheme(theme()));
  const found = () => (status.state === "ready" ? status() : undefined);
  return (
    <Show when={found()?.insecure || found()?.no_cage || found()?.database.problems.length}>
      <p class="banner" role="alert">
        <Icon name="unshielded" />
        <span>
          {found()?.no_cage ? "Cages are off: agents run with your own rights. " : ""}
          {found()?.insecure
            ? "Sign-in is off: whoever reaches this address is the operator. "
            : ""}
          {found()?.database.problems.length
            ? "The database is damaged: stop volary and restore a backup (volary backup restore)."
            : ""}
        </span>
      </p>
    </Show>
  );
}
