// SPDX-License-Identifier: Apache-2.0
// The parts of a cage card that only show.
import { For, type JSX, Show } from "solid-js";
import type { Cage, CageGrant, CageLimit, NetLine, PortLine } from "../api/types.ts";
import { now } from "../app.ts";
import { limitLine } from "../text/cage.ts";
import { scopeWords } from "../text/refusals.ts";
import { ago, exact, visible, who } from "../text/words.ts";
import { Icon, StateWord } from "./icon.tsx";

const kModeWords: Record<string, string> = {
  rw: "writes",
  cow: "writes aside",
  ro: "reads",
  tmp: "private, empty",
  hide: "does not see",
};
/** What can do most comes first. */
const kModes = ["rw", "cow", "ro", "tmp", "hide"];

function Row(props: { word: string; children: JSX.Element }) {
  return (
    <div class="touch-row">
      <dt>{props.word}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}

function NetRule(props: { rule: NetLine }) {
  return (
    <div class="rule-line">
      <code>{visible(props.rule.rule)}</code>
      <Show when={props.rule.credential}>
        <span class="tag">with credential {visible(props.rule.credential)}</span>
      </Show>
      <Show when={props.rule.private}>
        <span class="tag tag-warn">private address</span>
      </Show>
    </div>
  );
}

/** The policy in words. */
export function MayTouch(props: { cage: Cage }) {
  const policy = () => props.cage.policy;
  const folders = (mode: string) => policy().folders.filter((each) => each.mode === mode);
  return (
    <section>
      <h3>May touch</h3>
      <Show
        when={!policy().disabled}
        fallback={<p class="why">Everything that the daemon's own user may.</p>}
      >
        <dl class="touch">
          <For each={kModes}>
            {(mode) => (
              <Show when={folders(mode).length > 0}>
                <Row word={kModeWords[mode] ?? mode}>
                  <For each={folders(mode)}>
                    {(folder) => (
                      <div class="rule-line">
                        <code>{visible(folder.path)}</code>
                      </div>
                    )}
                  </For>
                </Row>
              </Show>
            )}
          </For>
          <Row word="reaches">
            <For each={policy().net} fallback="nothing: no network">
              {(rule) => <NetRule rule={rule} />}
            </For>
          </Row>
          <Show when={policy().devices.length > 0}>
            <Row word="devices">
              <code>{visible(policy().devices.join(" "))}</code>
            </Row>
          </Show>
          <Show when={policy().seccomp}>
            <Row word="system calls">{visible(policy().seccomp)}</Row>
          </Show>
          <Show when={policy().state}>
            <Row word="home folder">
              {policy().state === "kept" ? "kept for its next cage" : "gone when it ends"}
            </Row>
          </Show>
        </dl>
      </Show>
    </section>
  );
}

/** "seccomp: default" -> its name and what the daemon says of it. */
function layerParts(layer: string): [string, string] {
  const cut = layer.indexOf(": ");
  return cut < 0 ? ["also", layer] : [layer.slice(0, cut), layer.slice(cut + 2)];
}

export function HeldBy(props: { cage: Cage }) {
  return (
    <section>
      <h3>Held by</h3>
      <Show when={!props.cage.policy.disabled} fallback={<StateWord of="denied" text="nothing" />}>
        <dl class="touch">
          <Show when={props.cage.backend}>
            <Row word="built by">{visible(props.cage.backend)}</Row>
          </Show>
          <For each={props.cage.layers}>
            {(layer) => (
              <Row word={visible(layerParts(layer)[0])}>{visible(layerParts(layer)[1])}</Row>
            )}
          </For>
        </dl>
      </Show>
    </section>
  );
}

function Limit(props: { limit: CageLimit }) {
  const line = () => limitLine(props.limit);
  const percent = () => Math.round((line().share ?? 0) * 100);
  return (
    <li class={`limit ${line().near === "" ? "" : "limit-near"}`}>
      <span class="limit-name">{line().name}</span>
      <span class="num">
        {line().text}
        <Show when={line().near}>
          {" "}
          <StateWord of="waiting" text={line().near} />
        </Show>
      </span>
      <Show when={line().share !== null}>
        {/* The figures beside it say the same. */}
        <svg class="gauge" aria-hidden="true">
          <rect class="gauge-all" width="100%" height="100%" rx="2" />
          <rect class="gauge-used" width={`${percent()}%`} height="100%" rx="2" />
        </svg>
      </Show>
    </li>
  );
}

export function Limits(props: { cage: Cage }) {
  const told = () => props.cage.limits.filter((each) => each.limit !== null || each.used !== null);
  const free = () => props.cage.limits.filter((each) => each.limit === null && each.used === null);
  return (
    <Show when={props.cage.limits.length > 0 || props.cage.limitsBackend}>
      <section>
        <h3>Limits</h3>
        <ul class="limits">
          <For each={told()}>{(limit) => <Limit limit={limit} />}</For>
        </ul>
        <Show when={free().length > 0}>
          <p class="why">
            Not limited:{" "}
            {free()
              .map((each) => limitLine(each).name.toLowerCase())
              .join(", ")}
            .
          </p>
        </Show>
        <Show when={props.cage.limitsBackend}>
          <p class="why">Held by {visible(props.cage.limitsBackend)}.</p>
        </Show>
      </section>
    </Show>
  );
}

function Grant(props: { grant: CageGrant }) {
  return (
    <li class="told">
      <Icon small name="check" />
      <span class="grow">
        <code>{visible(props.grant.rule)}</code> {scopeWords(props.grant.scope)}
        <span class="why num" title={exact(props.grant.at)}>
          by {who(props.grant.by)}, {ago(props.grant.at, now())}
        </span>
      </span>
    </li>
  );
}

export function Grants(props: { cage: Cage }) {
  return (
    <Show when={props.cage.grants.length > 0}>
      <section>
        <h3>Granted</h3>
        <ul>
          <For each={props.cage.grants}>{(grant) => <Grant grant={grant} />}</For>
        </ul>
      </section>
    </Show>
  );
}

function Port(props: { port: PortLine; running: boolean }) {
  const open = () => props.running && props.port.url !== "" && props.port.listening;
  return (
    <li class="told">
      <span class="grow">
        <strong>{visible(props.port.name)}</strong> <span class="num">port {props.port.port}</span>
        <Show when={props.port.public}>
          {" "}
          <span class="tag">whoever may see the session</span>
        </Show>
      </span>
      <Show
        when={open()}
        fallback={<span class="why">{props.running ? "nothing listens yet" : "ended"}</span>}
      >
        <a class="button" href={props.port.url} target="_blank" rel="noopener noreferrer">
          Open
        </a>
      </Show>
    </li>
  );
}

export function Ports(props: { cage: Cage }) {
  return (
    <Show when={props.cage.policy.ports.length > 0}>
      <section>
        <h3>Published ports</h3>
        <ul>
          <For each={props.cage.policy.ports}>
            {(port) => <Port port={port} running={props.cage.running} />}
          </For>
        </ul>
      </section>
    </Show>
  );
}
