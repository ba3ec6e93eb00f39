// SPDX-License-Identifier: Apache-2.0
import { For, Show } from "solid-js";
import { now, outbox, outboxActs, projects, send, sessions } from "../app.ts";
import { ago, visible } from "../text/words.ts";
import { Composer } from "./composer.tsx";
import { Icon, StateWord } from "./icon.tsx";
import { LinkStates } from "./states.tsx";
import { UnsentMessage } from "./unsent.tsx";

/** A project: its sessions, and a field that starts a new one. */
export function ProjectScreen(props: { project: string }) {
  const project = () => projects.list.find((each) => each.name === props.project);
  const mine = () => sessions.list.filter((each) => each.project === props.project);
  const unsent = () =>
    outboxActs().filter(
      (act) => act.scope === `project:${props.project}` && act.state !== "accepted",
    );
  return (
    <>
      <header class="head">
        <a class="icon-button only-narrow" href="#/" aria-label="Back to all sessions">
          <Icon name="back" />
        </a>
        <div class="head-text">
          <h1>{props.project}</h1>
          <LinkStates state={null} lastEventAt={0} />
        </div>
      </header>
      <div class="scroll">
        <div class="column">
          <Show
            when={project()}
            fallback={
              <Show when={projects.read}>
                <p class="hint">There is no such project. It may be from another daemon.</p>
              </Show>
            }
          >
            {(found) => (
              <>
                <p class="lead">{visible(found().description)}</p>
                <p class="dim mono small">{found().path}</p>
                <Show when={!found().valid}>
                  <p class="card card-denied">
                    The project file has errors, so nothing new starts. On the host, run{" "}
                    <code>volary dsl validate {found().path}</code>.
                  </p>
                </Show>
              </>
            )}
          </Show>
          <h2 class="label">Sessions</h2>
          <Show
            when={mine().length > 0}
            fallback={
              <p class="hint">
                {project() ? "None yet. Write below what is to be done." : "None."}
              </p>
            }
          >
            <ul class="rows boxed">
              <For each={mine()}>
                {(session) => (
                  <li>
                    <a class="row" href={`#/s/${encodeURIComponent(session.id)}`}>
                      <span class="row-text">
                        <span class="row-title">{visible(session.title) || "untitled"}</span>
                        <span class="row-sub num">{ago(session.updated_at, now())}</span>
                      </span>
                      <StateWord of={session.status} />
                    </a>
                  </li>
                )}
              </For>
            </ul>
          </Show>
          <For each={unsent()}>
            {(act) => <UnsentMessage act={act} dismiss={() => outbox.dismiss(act.key)} />}
          </For>
        </div>
      </div>
      <Show when={project() || !projects.read}>
        <div class="dock">
          <Composer
            draft={`p/${props.project}`}
            label={`Start a session in ${props.project}`}
            send={(text) => send.message(props.project, null, text)}
          />
        </div>
      </Show>
    </>
  );
}
