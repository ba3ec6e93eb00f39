// SPDX-License-Identifier: Apache-2.0
// The network log of one cage.
import { createMemo, For, Show } from "solid-js";
import { cageApi } from "../api/cages.ts";
import type { Connection } from "../api/types.ts";
import { now } from "../app.ts";
import { rankConnections, verdictWords } from "../text/cage.ts";
import { ago, bytes, duration, exact, visible } from "../text/words.ts";
import { type Mark, StateWord } from "./icon.tsx";
import type { Panel } from "./panels.ts";
import { createRead, createSeen } from "./poll.ts";

/** Open ones and the newest: what a person reads; the command line has the rest. */
const kLimit = 200;

function mark(connection: Connection): Mark {
  if (connection.duration === null) return "working";
  if (connection.verdict === "allowed") return "succeeded";
  return connection.verdict === "idle" ? "stopped" : "denied";
}

function Row(props: { connection: Connection }) {
  const one = () => props.connection;
  return (
    <li class="connection">
      <span class="connection-name">
        <code>
          {visible(one().name)}:{one().port}
        </code>
        <StateWord of={mark(one())} text={verdictWords(one())} />
      </span>
      <span class="why num" title={exact(one().at)}>
        {bytes(one().up)} up · {bytes(one().down)} down ·{" "}
        {one().duration === null
          ? `open for ${duration(Math.max(0, now() - one().at))}`
          : duration(one().duration ?? 0)}{" "}
        · {ago(one().at, now())}
      </span>
    </li>
  );
}

export function NetworkPanel(props: { panel: Extract<Panel, { kind: "network" }> }) {
  const [seen, watch] = createSeen();
  const log = createRead({
    read: () => cageApi.connections(props.panel.cage, kLimit),
    seen,
    changed: () => props.panel.cage,
    live: () => props.panel.running,
  });
  const list = createMemo(() => rankConnections(log.value() ?? []));
  return (
    <div class="scroll panel-body" ref={watch} data-testid="network">
      <Show when={log.error() !== ""}>
        <p class="why" role="status">
          The network log could not be read: {log.error()}.
        </p>
      </Show>
      <ul class="connections">
        <For
          each={list()}
          fallback={
            <Show
              when={log.value() !== null}
              fallback={
                <Show when={log.error() === ""}>
                  <p class="hint late">Reading the network log.</p>
                </Show>
              }
            >
              <p class="hint">No connection so far. What was refused stands in the cage's card.</p>
            </Show>
          }
        >
          {(connection) => <Row connection={connection} />}
        </For>
      </ul>
    </div>
  );
}
