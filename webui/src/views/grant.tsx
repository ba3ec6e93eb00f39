// SPDX-License-Identifier: Apache-2.0
// What was refused, the rule that would allow it, and for how long.
import { createSignal, For, Match, Show, Switch } from "solid-js";
import { cageActs } from "../api/cages.ts";
import type { GrantAnswer, GrantScope } from "../api/types.ts";
import { now } from "../app.ts";
import type { DenialEntry } from "../fold/entries.ts";
import type { Room } from "../room.ts";
import { tried } from "../text/cage.ts";
import { layerWords, scopeWords } from "../text/refusals.ts";
import { netGrant } from "../text/rules.ts";
import { ago, leaf, visible } from "../text/words.ts";
import { createAct } from "./act.ts";
import { Diff } from "./diff.tsx";
import { Icon, StateWord } from "./icon.tsx";
import { backPanel } from "./panels.ts";

interface Choice {
  scope: GrantScope;
  verb: string;
  means: string;
}

type Step =
  | { at: "choose"; error: string }
  | { at: "review"; preview: GrantAnswer; stale: boolean; error: string }
  | { at: "done"; scope: GrantScope; answer: GrantAnswer };

function choices(agent: string, lives: boolean): Choice[] {
  const name = leaf(agent);
  const once = `Until the cage of ${name} that runs now ends.`;
  const all: Choice[] = [
    { scope: "once", verb: "Allow once", means: once },
    {
      scope: "session",
      verb: "Allow for this session",
      means: `Also each later cage of ${name}, in this session alone.`,
    },
    {
      scope: "project",
      verb: "Write to project file...",
      means: "Every session from now on. You see the change before it is written.",
    },
  ];
  return lives ? all : all.slice(1);
}

/** What was tried, by whom, when, and the rule for it. */
function Tried(props: { denial: DenialEntry; rule: string; private: boolean }) {
  return (
    <>
      <p class="lead" dir="auto">
        <strong>{visible(props.denial.process || leaf(props.denial.agent))}</strong> tried to{" "}
        {visible(tried(props.denial.what))}
        <Show when={props.denial.count > 1}>, {props.denial.count} times</Show>.
      </p>
      <p class="why num">
        In the cage of {leaf(props.denial.agent)}, {ago(props.denial.lastAt, now())}.{" "}
        {layerWords(props.denial.layer)}
      </p>
      <dl class="rule-box">
        <dt>The rule that would allow it</dt>
        <dd>
          <code>{visible(props.rule)}</code>
        </dd>
      </dl>
      <Show when={props.private}>
        <p class="warning" role="note">
          <Icon small name="unshielded" />
          <span>
            <strong>Not a public address.</strong> This rule lets {leaf(props.denial.agent)} reach a
            machine of your own network, where services often trust whoever can connect. Allow it
            only when you know what answers there.
          </span>
        </p>
      </Show>
    </>
  );
}

function Choose(props: {
  list: Choice[];
  busy: boolean;
  wanted: GrantScope | null;
  choose: (scope: GrantScope) => void;
}) {
  return (
    <>
      <ul class="choices">
        <For each={props.list}>
          {(choice) => (
            <li>
              <button
                type="button"
                class="button choice"
                disabled={props.busy}
                data-scope={choice.scope}
                aria-describedby={`means-${choice.scope}`}
                onClick={() => props.choose(choice.scope)}
              >
                <span class="choice-verb">{choice.verb}</span>
                <Show when={props.busy && props.wanted === choice.scope}>
                  <StateWord of="starting" text="asking" />
                </Show>
              </button>
              <p class="why" id={`means-${choice.scope}`}>
                {choice.means}
              </p>
            </li>
          )}
        </For>
      </ul>
      <button type="button" class="button quiet wide" onClick={backPanel}>
        Keep it refused
      </button>
    </>
  );
}

function Review(props: {
  step: Extract<Step, { at: "review" }>;
  busy: boolean;
  write: () => void;
  back: () => void;
}) {
  return (
    <>
      <Show when={props.step.stale}>
        <p class="warning" role="alert">
          <Icon small name="edit" />
          <span>
            <strong>The file has changed since you looked.</strong> Nothing was written. This is the
            change to the file as it is now.
          </span>
        </p>
      </Show>
      <p>This would be written. Comments and order of the file stay as they are.</p>
      <Diff
        diff={props.step.preview.diff ?? ""}
        label={props.step.preview.file ?? "project file"}
      />
      <div class="buttons">
        <button type="button" class="button quiet" onClick={props.back} disabled={props.busy}>
          Back
        </button>
        <button
          type="button"
          class="button primary"
          data-testid="write"
          disabled={props.busy}
          onClick={props.write}
        >
          {props.busy ? "Writing" : "Write it"}
        </button>
      </div>
    </>
  );
}

function Done(props: { step: Extract<Step, { at: "done" }>; denial: DenialEntry }) {
  const live = () => props.step.answer.applied === "live";
  const name = () => leaf(props.denial.agent);
  return (
    <div class="outcome">
      <p class="lead">
        <StateWord of="succeeded" text={`allowed ${scopeWords(props.step.scope)}`} />
      </p>
      <p>
        {live()
          ? `It applies now: ${name()} can try again.`
          : `It applies at the next start of ${name()}; a cage that runs now stays as it is.`}
      </p>
      <Show when={!live() && props.step.answer.reason}>
        {(reason) => <p class="why">{visible(reason())}</p>}
      </Show>
      <Show when={props.step.answer.file}>
        {(file) => (
          <p class="why">
            Written to <code>{visible(file())}</code>.
          </p>
        )}
      </Show>
      <button
        type="button"
        class="button primary wide"
        ref={(button) => queueMicrotask(() => button.focus())}
        onClick={backPanel}
      >
        Done
      </button>
    </div>
  );
}

function createGrant(room: Room, denial: DenialEntry, rule: { net: string; private: boolean }) {
  const [step, setStep] = createSignal<Step>({ at: "choose", error: "" });
  const [wanted, setWanted] = createSignal<GrantScope | null>(null);
  const act = createAct<GrantAnswer>();
  const unfinished = () =>
    (room.state()?.invocations ?? []).filter(
      (each) => each.agent === denial.agent && each.state !== "finished",
    );
  const post = (scope: GrantScope, confirm: string | undefined, stale: boolean) => {
    setWanted(scope);
    const own = unfinished().some((each) => each.id === denial.invocation);
    const body = {
      agent: denial.agent,
      net: rule.net,
      scope,
      ...(rule.private ? { private: true } : {}),
      ...(scope === "once" && own && denial.cage !== "" ? { cage: denial.cage } : {}),
      ...(confirm === undefined ? {} : { confirm }),
    };
    const path = cageActs.grant(room.session);
    act.perform(
      { kind: "grant", scope: room.session, subject: rule.net, path, body },
      (answer, refusal) => {
        // Somebody has written to the file meanwhile: look again, then decide again.
        if (refusal?.status === 409 && confirm !== undefined) return post(scope, undefined, true);
        if (refusal) {
          const error = refusal.message;
          const before = step();
          return setStep(before.at === "review" ? { ...before, error } : { at: "choose", error });
        }
        const preview = answer?.hash !== undefined && answer.applied === undefined;
        if (preview) setStep({ at: "review", preview: answer ?? {}, stale, error: "" });
        else setStep({ at: "done", scope, answer: answer ?? {} });
      },
    );
  };
  return {
    step,
    wanted,
    act,
    lives: () => unfinished().length > 0,
    choose: (scope: GrantScope) => post(scope, undefined, false),
    back: () => setStep({ at: "choose", error: "" }),
    write: () => {
      const at = step();
      if (at.at === "review") post("project", at.preview.hash ?? "", false);
    },
  };
}

function at<K extends Step["at"]>(step: Step, kind: K): Extract<Step, { at: K }> | null {
  return step.at === kind ? (step as Extract<Step, { at: K }>) : null;
}

export function GrantPanel(props: { room: Room; denial: DenialEntry }) {
  const rule = netGrant(props.denial.rule) ?? { net: props.denial.rule, private: false };
  rule.private ||= props.denial.layer === "private" || /^private /.test(props.denial.what);
  const grant = createGrant(props.room, props.denial, rule);
  const busy = () => grant.act.state() !== "";
  const error = () => {
    const step = grant.step();
    return step.at === "done" ? "" : step.error;
  };
  return (
    <div class="scroll panel-body" data-testid="grant">
      <Show when={grant.step().at !== "done"}>
        <Show when={at(grant.step(), "choose")}>
          <Tried denial={props.denial} rule={rule.net} private={rule.private} />
        </Show>
      </Show>
      <div role="status" aria-live="polite">
        <Show when={grant.act.state() === "unknown"}>
          <p class="why">
            <StateWord of="waiting" text="no answer yet" /> It is asked again with the same key, so
            it counts once.
          </p>
        </Show>
        <Show when={error() !== ""}>
          <p>
            <StateWord of="failed" text={`not allowed: ${error()}`} />
          </p>
        </Show>
        <Show when={at(grant.step(), "done")}>
          {(step) => <Done step={step()} denial={props.denial} />}
        </Show>
      </div>
      <Switch>
        <Match when={at(grant.step(), "choose")}>
          <Choose
            list={choices(props.denial.agent, grant.lives())}
            busy={busy()}
            wanted={grant.wanted()}
            choose={grant.choose}
          />
          <Show when={!grant.lives()}>
            <p class="why">
              No cage of {leaf(props.denial.agent)} runs now, so there is nothing to allow once.
            </p>
          </Show>
        </Match>
        <Match when={at(grant.step(), "review")}>
          {(step) => <Review step={step()} busy={busy()} write={grant.write} back={grant.back} />}
        </Match>
      </Switch>
    </div>
  );
}
