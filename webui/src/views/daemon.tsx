// SPDX-License-Identifier: Apache-2.0
import { createEffect, For, on, Show } from "solid-js";
import { linkState, me, now } from "../app.ts";
import { age, bytes, duration } from "../text/words.ts";
import { refetch, setTheme, status, type Theme, theme } from "./banner.tsx";
import { Icon } from "./icon.tsx";
import { LinkStates } from "./states.tsx";

const kThemes: Theme[] = ["system", "light", "dark"];

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
          <ul class="rows boxed">
            <li>
              <a class="row" href="#/doctor">
                <Icon name="shield" />
                <span class="row-text">
                  <span class="row-title">Doctor</span>
                  <span class="row-sub">Tries each layer of a cage on this host.</span>
                </span>
                <Icon name="right" />
              </a>
            </li>
          </ul>
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
