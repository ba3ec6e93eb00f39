// SPDX-License-Identifier: Apache-2.0
// Whether each layer of a cage holds on this host, tried by a small attack on it.
import { createResource, For, Show } from "solid-js";
import "../style/cage.css";
import { cageApi } from "../api/cages.ts";
import type { Check } from "../api/types.ts";
import { count, visible } from "../text/words.ts";
import { Icon, type Mark, StateMark } from "./icon.tsx";
import { LinkStates } from "./states.tsx";

const kVerdicts: Record<string, { mark: Mark; word: string }> = {
  ok: { mark: "succeeded", word: "holds" },
  missing: { mark: "waiting", word: "missing" },
  broken: { mark: "failed", word: "broken" },
};

function verdict(check: Check): { mark: Mark; word: string } {
  return kVerdicts[check.verdict] ?? { mark: "lost", word: check.verdict || "unknown" };
}

const kRank: Record<string, number> = { broken: 0, missing: 1, ok: 3 };

/** What needs something done comes first. */
function rank(checks: readonly Check[]): Check[] {
  const of = (check: Check) => kRank[check.verdict] ?? 2;
  return [...checks].sort((a, b) => of(a) - of(b));
}

function CheckCard(props: { check: Check }) {
  const found = () => verdict(props.check);
  return (
    <li class={`check-card check-${props.check.verdict}`} data-check={props.check.name}>
      <p class="check-head">
        <span class={`state verdict state-${found().mark}`}>
          <StateMark of={found().mark} />
          <span>{found().word}</span>
        </span>
        <strong>{visible(props.check.name)}</strong>
        <Show when={props.check.layer && props.check.layer !== props.check.name}>
          <span class="tag">{visible(props.check.layer)}</span>
        </Show>
      </p>
      <Show when={props.check.detail}>
        <p class="why">{visible(props.check.detail)}</p>
      </Show>
      <Show when={props.check.fix}>
        <p class="fix">
          <Icon small name="tool" label="What to do" />
          <span>{visible(props.check.fix)}</span>
        </p>
      </Show>
    </li>
  );
}

function sum(checks: readonly Check[]): string {
  const bad = checks.filter((check) => check.verdict !== "ok").length;
  if (bad === 0) return `All ${checks.length} layers hold.`;
  return `${count(bad, "of the layers needs", "of the layers need")} something; ${checks.length - bad} hold.`;
}

export function DoctorScreen() {
  const [checks, { refetch }] = createResource(() => cageApi.doctor());
  const list = () => (checks.state === "errored" ? [] : rank(checks.latest ?? []));
  return (
    <>
      <header class="head">
        <a class="icon-button" href="#/daemon" aria-label="Back to the daemon">
          <Icon name="back" />
        </a>
        <div class="head-text">
          <h1>Doctor</h1>
          <LinkStates state={null} lastEventAt={0} />
        </div>
      </header>
      <div class="scroll">
        <div class="column wide-column">
          <p class="doctor-lead">Each layer of a cage is tried by a small attack on this host.</p>
          <div class="doctor-bar">
            <p role="status" class="grow">
              <Show
                when={!checks.loading}
                fallback={<span class="dim">Trying each layer. This takes some seconds.</span>}
              >
                <Show
                  when={checks.state !== "errored"}
                  fallback={`It could not be run: ${(checks.error as Error)?.message ?? ""}.`}
                >
                  <strong>{sum(list())}</strong>
                </Show>
              </Show>
            </p>
            <button
              type="button"
              class="button"
              disabled={checks.loading}
              onClick={() => void refetch()}
            >
              Run again
            </button>
          </div>
          <ul class="check-cards" aria-busy={checks.loading} data-testid="checks">
            <For each={list()}>{(check) => <CheckCard check={check} />}</For>
          </ul>
        </div>
      </div>
    </>
  );
}
