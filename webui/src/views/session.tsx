// SPDX-License-Identifier: Apache-2.0
import { createEffect, createSignal, For, Match, onCleanup, onMount, Show, Switch } from "solid-js";
import { now, outbox, pendingActs, send } from "../app.ts";
import type { Act } from "../outbox/outbox.ts";
import type { Room } from "../room.ts";
import { age, count, leaf, visible } from "../text/words.ts";
import { Composer } from "./composer.tsx";
import { EntryView } from "./entries.tsx";
import { Icon, StateWord } from "./icon.tsx";
import { backPanel, closePanels, leaveRun, openPanel, type Panel, panels } from "./panels.ts";
import { Inspector, PanelView } from "./parts-later.ts";
import { Sheet } from "./sheet.tsx";
import { LinkStates } from "./states.tsx";
import { UnsentMessage } from "./unsent.tsx";

/** Nearer to the end than this counts as reading the end. */
const kEndSlack = 48;

function Conversation(props: { room: Room }) {
  let box: HTMLDivElement | undefined;
  let inner: HTMLDivElement | undefined;
  const [pinned, setPinned] = createSignal(true);
  const [unseen, setUnseen] = createSignal(false);
  const [reading, setReading] = createSignal(false);
  const toEnd = () => {
    if (box) box.scrollTop = box.scrollHeight;
    setUnseen(false);
  };
  onMount(() => {
    if (!box || !inner) return;
    const resized = new ResizeObserver(() => {
      if (pinned()) toEnd();
      else if (!reading()) setUnseen(true);
    });
    resized.observe(inner);
    resized.observe(box);
    onCleanup(() => resized.disconnect());
  });
  let lastTop = 0;
  const scrolled = () => {
    if (!box) return;
    const left = box.scrollHeight - box.scrollTop - box.clientHeight;
    // Only moving up is the reader's will: growth below also leaves a distance to the end.
    if (left < kEndSlack) setPinned(true);
    else if (box.scrollTop < lastTop - 1) setPinned(false);
    if (left < kEndSlack) setUnseen(false);
    lastTop = box.scrollTop;
  };
  const earlier = async () => {
    if (!box) return;
    setReading(true);
    const before = box.scrollHeight - box.scrollTop;
    await props.room.showEarlier().catch(() => {});
    // What was being read stays where it was.
    box.scrollTop = box.scrollHeight - before;
    requestAnimationFrame(() => setReading(false));
  };
  const unsent = () => pendingActs(props.room.session).filter((act) => act.kind === "message");
  return (
    <div class="conversation">
      <div class="scroll" ref={box} onScroll={scrolled} data-testid="scroller">
        <div class="column" ref={inner} role="log" aria-label="Conversation" data-testid="log">
          <Show when={props.room.earlier()}>
            <button
              type="button"
              class="button quiet wide"
              disabled={reading()}
              onClick={() => void earlier()}
            >
              Show earlier
            </button>
          </Show>
          <For each={props.room.entries.list}>{(entry) => <EntryView entry={entry} />}</For>
          <For each={unsent()}>
            {(act) => <UnsentMessage act={act} dismiss={() => outbox.dismiss(act.key)} />}
          </For>
        </div>
      </div>
      <Show when={unseen()}>
        <button
          type="button"
          class="pill"
          onClick={() => {
            setPinned(true);
            toEnd();
          }}
        >
          <Icon small name="down" /> new
        </button>
      </Show>
    </div>
  );
}

function ControlFate(props: { act: Act }) {
  return (
    <p class="dock-note" role="status">
      <Show
        when={props.act.state === "refused"}
        fallback={
          <StateWord
            of={props.act.state === "unknown" ? "waiting" : "starting"}
            text={`${props.act.kind}: ${props.act.state === "unknown" ? "fate unknown, asking again" : "asked"} ${age(now() - props.act.at)} ago`}
          />
        }
      >
        <StateWord of="failed" text={`${props.act.kind} refused: ${props.act.error}`} />
        <button type="button" class="button quiet" onClick={() => outbox.dismiss(props.act.key)}>
          Dismiss
        </button>
      </Show>
    </p>
  );
}

function Queue(props: { room: Room }) {
  const cancelling = (run: string) =>
    pendingActs(props.room.session).some(
      (act) => act.kind === "cancel" && act.subject === run && act.state !== "refused",
    );
  return (
    <Show when={(props.room.state()?.queue.length ?? 0) > 0}>
      <ul class="queue" aria-label="Queue">
        <For each={props.room.state()?.queue}>
          {(queued) => (
            <li class="queued" data-run={queued.run}>
              <StateWord of="waiting" text="queued" />
              <span class="line-text">{visible(queued.message.text)}</span>
              <button
                type="button"
                class="icon-button"
                aria-label={`Cancel the queued message: ${queued.message.text}`}
                disabled={cancelling(queued.run)}
                onClick={() => send.cancel(props.room.session, queued.run)}
              >
                <Icon name="close" />
              </button>
            </li>
          )}
        </For>
      </ul>
    </Show>
  );
}

function RunStrip(props: { room: Room; inspect: () => void }) {
  const state = () => props.room.state();
  const status = () => state()?.status ?? "idle";
  const plan = () => state()?.plan.entries ?? [];
  const done = () => plan().filter((entry) => entry.status === "completed").length;
  const current = () => plan().find((entry) => entry.status === "in_progress")?.text ?? "";
  const waits = () => state()?.pending_steps.length ?? 0;
  const asked = (kind: string) =>
    pendingActs(props.room.session).some((act) => act.kind === kind && act.state !== "refused");
  const queued = () => (state()?.queue.length ?? 0) > 0;
  const text = () => {
    const parts: string[] = [];
    if (waits() > 0) parts.push(count(waits(), "step waits", "steps wait"));
    parts.push(plan().length > 0 ? `plan ${done()} of ${plan().length}` : "no plan yet");
    if (current() && status() !== "idle") parts.push(current());
    return parts.join(" \u00b7 ");
  };
  return (
    <Show when={status() !== "idle" || plan().length > 0 || queued()}>
      <div class={`strip strip-${status()}`}>
        <button type="button" class="strip-open" onClick={props.inspect}>
          <StateWord of={status()} />
          <span class="line-text" dir="auto">
            {visible(text())}
          </span>
        </button>
        <Switch>
          <Match when={status() === "working"}>
            <button
              type="button"
              class="button"
              disabled={asked("hold")}
              onClick={() => send.run(props.room.session, "hold", state()?.run?.id)}
            >
              <Icon small name="pause" /> Hold
            </button>
          </Match>
          <Match when={status() === "holding" || status() === "held"}>
            <button
              type="button"
              class="button held-button"
              disabled={asked("resume")}
              onClick={() => send.run(props.room.session, "resume", state()?.run?.id)}
            >
              <Icon small name="play" /> Resume
            </button>
          </Match>
          <Match when={status() === "idle" && queued()}>
            <button
              type="button"
              class="button"
              disabled={asked("resume")}
              onClick={() => send.run(props.room.session, "resume", undefined)}
            >
              <Icon small name="play" /> Start next
            </button>
          </Match>
        </Switch>
      </div>
    </Show>
  );
}

function Dock(props: { room: Room; inspect: () => void }) {
  const state = () => props.room.state();
  const controls = () =>
    pendingActs(props.room.session).filter(
      (act) => act.kind !== "message" && act.kind !== "plan" && act.state !== "accepted",
    );
  const stopping = () =>
    state()?.status === "stopping" ||
    pendingActs(props.room.session).some((act) => act.kind === "stop" && act.state !== "refused");
  return (
    <div class="dock">
      <For each={controls()}>{(act) => <ControlFate act={act} />}</For>
      <Queue room={props.room} />
      <RunStrip room={props.room} inspect={props.inspect} />
      <Composer
        draft={`s/${props.room.session}`}
        label={state()?.run ? "Queue a message" : "Message"}
        send={(text) => send.message(state()?.project ?? "", props.room.session, text)}
        before={
          <button
            type="button"
            class="button stop"
            aria-label="Stop the run"
            disabled={!state()?.run || stopping()}
            onClick={() => send.run(props.room.session, "stop", state()?.run?.id)}
          >
            <Icon name="stop" />
          </button>
        }
      />
    </div>
  );
}

function Trouble(props: { room: Room }) {
  return (
    <div class="empty">
      <Show
        when={props.room.phase() === "missing"}
        fallback={
          <>
            <p>The session could not be read: {props.room.error()}.</p>
            <button type="button" class="button" onClick={() => void props.room.open()}>
              Read it again
            </button>
          </>
        }
      >
        <p>There is no such session. It may be from another daemon.</p>
        <a class="button" href="#/">
          All sessions
        </a>
      </Show>
    </div>
  );
}

function panelTitle(panel: Panel | undefined): string {
  switch (panel?.kind) {
    case "grant":
      return `Allow for ${leaf(panel.denial.agent)}`;
    case "network":
      return `Network of ${leaf(panel.agent)}`;
    case "changes":
      return `Changes of ${leaf(panel.agent)}`;
    default:
      return "Run";
  }
}

/** One sheet, however deep it goes: what is below waits, hidden. */
function Panels(props: { room: Room }) {
  const top = () => panels()[panels().length - 1];
  return (
    <Show when={panels().length > 0}>
      <Sheet
        title={panelTitle(top())}
        deep={panels().length > 1}
        back={backPanel}
        close={closePanels}
      >
        <For each={panels()}>
          {(panel) => (
            <div class="sheet-panel" hidden={panel !== top()}>
              <Show
                when={panel.kind === "run"}
                fallback={<PanelView room={props.room} panel={panel} />}
              >
                <Inspector room={props.room} />
              </Show>
            </div>
          )}
        </For>
      </Sheet>
    </Show>
  );
}

export function SessionScreen(props: { room: Room }) {
  const state = () => props.room.state();
  const wide = matchMedia("(min-width: 1024px)");
  const widened = () => wide.matches && leaveRun();
  wide.addEventListener("change", widened);
  onCleanup(() => {
    wide.removeEventListener("change", widened);
    closePanels();
  });
  createEffect(() => {
    // A session that is left takes its sheet along.
    if (props.room.phase() !== "ready") closePanels();
  });
  const inspect = () => {
    if (!wide.matches) openPanel({ kind: "run" });
  };
  return (
    <>
      <header class="head">
        <a class="icon-button only-narrow" href="#/" aria-label="Back to all sessions">
          <Icon name="back" />
        </a>
        <div class="head-text">
          <h1>
            {visible(state()?.title ?? "") || "Session"}
            <Show when={state()}>
              {(found) => <span class="head-project">{found().project}</span>}
            </Show>
          </h1>
          <LinkStates state={state()} lastEventAt={props.room.lastEventAt()} />
        </div>
        <button
          type="button"
          class="icon-button no-side"
          aria-label="Plan, agents and cages"
          onClick={inspect}
        >
          <Icon name="tree" />
        </button>
      </header>
      <Switch>
        <Match when={props.room.phase() === "ready"}>
          <Conversation room={props.room} />
          <Dock room={props.room} inspect={inspect} />
        </Match>
        <Match when={props.room.phase() === "loading"}>
          <div class="empty late">
            <p class="dim">Reading the session.</p>
          </div>
        </Match>
        <Match when={true}>
          <Trouble room={props.room} />
        </Match>
      </Switch>
      <Panels room={props.room} />
    </>
  );
}
