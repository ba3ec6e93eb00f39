// SPDX-License-Identifier: Apache-2.0
import { createSignal, For, Show } from "solid-js";
import type { ProjectSummary, SessionSummary } from "../api/types.ts";
import { moreSessions, now, projects, route, sessions } from "../app.ts";
import { ago, count, exact, visible } from "../text/words.ts";
import { Icon, StateWord } from "./icon.tsx";
import { LinkChip } from "./states.tsx";

function ProjectRow(props: { project: ProjectSummary }) {
  const here = () => {
    const at = route();
    return at.screen === "project" && at.project === props.project.name;
  };
  return (
    <li>
      <a
        class="row"
        href={`#/p/${encodeURIComponent(props.project.name)}`}
        aria-current={here() ? "page" : undefined}
      >
        <span class="row-text">
          <span class="row-title">{props.project.name}</span>
          <span class="row-sub">{props.project.description || props.project.path}</span>
        </span>
        <Show when={props.project.valid} fallback={<StateWord of="failed" text="broken file" />}>
          <span class="row-side num">{count(props.project.sessions, "session")}</span>
        </Show>
        <Icon name="right" />
      </a>
    </li>
  );
}

function SessionRow(props: { session: SessionSummary }) {
  const here = () => {
    const at = route();
    return at.screen === "session" && at.session === props.session.id;
  };
  return (
    <li>
      <a
        class="row"
        href={`#/s/${encodeURIComponent(props.session.id)}`}
        aria-current={here() ? "page" : undefined}
      >
        <span class="row-text">
          <span class="row-title">{visible(props.session.title) || "untitled"}</span>
          <span class="row-sub">{props.session.project}</span>
        </span>
        <span class="row-state">
          <StateWord of={props.session.status} />
          <time class="row-sub num" title={exact(props.session.updated_at)}>
            {ago(props.session.updated_at, now())}
          </time>
        </span>
      </a>
    </li>
  );
}

export function Lists() {
  const [asking, setAsking] = createSignal(false);
  const more = async () => {
    setAsking(true);
    await moreSessions().catch(() => {});
    setAsking(false);
  };
  return (
    <>
      <header class="head brand">
        <Icon name="bird" />
        <h1>volary</h1>
        <a class="brand-link" href="#/daemon">
          <LinkChip />
        </a>
      </header>
      <div class="scroll">
        <h2 class="label">Projects</h2>
        <Show
          when={projects.list.length > 0}
          fallback={
            <Show when={projects.read}>
              <p class="hint">
                No project yet. On the host, run <code>volary project add FOLDER</code>.
              </p>
            </Show>
          }
        >
          <ul class="rows">
            <For each={projects.list}>{(project) => <ProjectRow project={project} />}</For>
          </ul>
        </Show>
        <h2 class="label">Sessions</h2>
        <Show
          when={sessions.list.length > 0}
          fallback={
            <Show when={projects.read}>
              <p class="hint">No session yet. Open a project and write what is to be done.</p>
            </Show>
          }
        >
          <ul class="rows">
            <For each={sessions.list}>{(session) => <SessionRow session={session} />}</For>
          </ul>
          <Show when={sessions.list.length < sessions.total}>
            <button type="button" class="button quiet wide" disabled={asking()} onClick={more}>
              Show {Math.min(100, sessions.total - sessions.list.length)} more
            </button>
          </Show>
        </Show>
      </div>
    </>
  );
}
