// SPDX-License-Identifier: Apache-2.0
import { createEffect, Match, Show, Switch } from "solid-js";
import { drawn, linkState, room, route, signIn } from "../app.ts";
import { WarningBanner } from "./banner.tsx";
import { Icon, type IconName } from "./icon.tsx";
import { Lists } from "./lists.tsx";
import { DaemonScreen, DoctorScreen, Inspector } from "./parts-later.ts";
import { ProjectScreen } from "./project.tsx";
import { SessionScreen } from "./session.tsx";
import { SignInScreen } from "./signin.tsx";

function BarItem(props: { href: string; icon: IconName; text: string; here: boolean }) {
  return (
    <a class="bar-item" href={props.href} aria-current={props.here ? "page" : undefined}>
      <Icon name={props.icon} />
      <span>{props.text}</span>
    </a>
  );
}

function Empty() {
  return (
    <div class="empty">
      <Icon name="bird" />
      <p>Choose a session on the left, or a project to start a new one.</p>
    </div>
  );
}

function Main() {
  const session = () => {
    const opened = room();
    const here = route();
    return here.screen === "session" && opened?.session === here.session ? opened : null;
  };
  const project = () => {
    const here = route();
    return here.screen === "project" ? here.project : null;
  };
  return (
    <main class="pane main" id="main">
      <Switch fallback={<Empty />}>
        <Match when={session()} keyed>
          {(opened) => <SessionScreen room={opened} />}
        </Match>
        <Match when={project()} keyed>
          {(name) => <ProjectScreen project={name} />}
        </Match>
        <Match when={route().screen === "daemon"}>
          <DaemonScreen />
        </Match>
        <Match when={route().screen === "doctor"}>
          <DoctorScreen />
        </Match>
      </Switch>
    </main>
  );
}

function ofDaemon(): boolean {
  return route().screen === "daemon" || route().screen === "doctor";
}

function titleOf(): string {
  const state = room()?.state();
  if (route().screen !== "session" || !state) return "volary";
  const mark = state.status === "idle" ? "" : `${state.status} \u00b7 `;
  return `${mark}${state.title || state.project} \u00b7 volary`;
}

export function Page() {
  createEffect(() => {
    document.title = titleOf();
  });
  return (
    <Show when={signIn() === "in"} fallback={<SignInScreen />}>
      <button
        type="button"
        class="skip"
        onClick={() => document.getElementById("message")?.focus()}
      >
        Skip to the message field
      </button>
      <div class="page" data-screen={route().screen} data-link={linkState().phase}>
        <WarningBanner />
        <div class="panes">
          <nav class="pane list" aria-label="Projects and sessions">
            <Show when={drawn() || route().screen !== "session"}>
              <Lists />
            </Show>
          </nav>
          <Main />
          <Show when={route().screen === "session" && room()} keyed>
            {(opened) => (
              <aside class="pane side" aria-label="Run">
                <Show when={drawn()}>
                  <Inspector room={opened} />
                </Show>
              </aside>
            )}
          </Show>
        </div>
        <nav class="bar" aria-label="Screens">
          <BarItem href="#/" icon="sessions" text="Sessions" here={!ofDaemon()} />
          <BarItem href="#/daemon" icon="daemon" text="Daemon" here={ofDaemon()} />
        </nav>
      </div>
    </Show>
  );
}
