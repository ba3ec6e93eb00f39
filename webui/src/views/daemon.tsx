// SPDX-License-Identifier: Apache-2.0
import { createEffect, createResource, createSignal, For, on, Show } from "solid-js";
import { api } from "../api/client.ts";
import { linkState, me, now } from "../app.ts";
import { age, bytes, duration } from "../text/words.ts";
import { Icon } from "./icon.tsx";
import { LinkStates } from "./states.tsx";

type Theme = "system" | "light" | "dark";
const kThemes: Theme[] = ["system", "light", "dark"];

function readTheme(): Theme {
  try {
    const saved = localStorage.getItem("volary.theme");
    return saved === "light" || saved === "dark" ? saved : "system";
  } catch {
    return "system";
  }
}

const [theme, setTheme] = createSignal<Theme>(readTheme());

function applyTheme(value: Theme): void {
  if (value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
  try {
    localStorage.setItem("volary.theme", value);
  } catch {
    // The choice then lasts as long as the page.
  }
}

const [status, { refetch }] = createResource(
  () => linkState().phase === "live",
  () => api.status(),
);

/** No sign-in or no cages: every screen says so. */
export function WarningBanner() {
  createEffect(() => applyTheme(theme()));
  const found = () => (status.state === "ready" ? status() : undefined);
  return (
    <Show when={found()?.insecure || found()?.no_cage}>
      <p class="banner" role="alert">
        <Icon name="unshielded" />
        <span>
          {found()?.no_cage ? "Cages are off: agents run with your own rights. " : ""}
          {found()?.insecure ? "Sign-in is off: whoever reaches this address is the operator." : ""}
        </span>
      </p>
    </Show>
  );
}

function Fact(props: { name: string; value: string }) {
  return (
    <div class="fact">
      <dt>{props.name}</dt>
      <dd class="num">{props.value}</dd>
    </div>
  );
}

export function DaemonScreen() {
  // Read again when the screen is looked at and every ten seconds after that.
  createEffect(
    on(
      () => Math.floor(now() / 10_000),
      () => void refetch(),
    ),
  );
  return (
    <>
      <header class="head">
        <a class="icon-button only-narrow" href="#/" aria-label="Back to all sessions">
          <Icon name="back" />
        </a>
        <div class="head-text">
          <h1>Daemon</h1>
          <LinkStates state={null} lastEventAt={0} />
        </div>
      </header>
      <div class="scroll">
        <div class="column">
          <Show
            when={status.latest}
            fallback={<p class="hint late">Waiting for the daemon's status.</p>}
          >
            {(found) => (
              <dl class="facts">
                <Fact name="Version" value={found().version} />
                <Fact name="Up for" value={age(found().uptime_ms)} />
                <Fact name="Memory" value={bytes(found().rss_bytes)} />
                <Fact name="Projects" value={String(found().projects)} />
                <Fact name="Sessions" value={String(found().sessions)} />
                <Fact name="Working now" value={String(found().working)} />
                <Fact name="Cages now" value={String(found().cages)} />
                <Fact name="You are" value={me()} />
                <Fact name="This link" value={`${duration(now() - linkState().since)}`} />
              </dl>
            )}
          </Show>
          <fieldset class="choice">
            <legend class="label">Colours</legend>
            <For each={kThemes}>
              {(each) => (
                <label class="pick">
                  <input
                    type="radio"
                    name="theme"
                    checked={theme() === each}
                    onChange={() => setTheme(each)}
                  />
                  <span>{each === "system" ? "as the device" : each}</span>
                </label>
              )}
            </For>
          </fieldset>
        </div>
      </div>
    </>
  );
}
