// SPDX-License-Identifier: Apache-2.0
import { Match, Switch } from "solid-js";
import "../style/cage.css";
import type { Room } from "../room.ts";
import { ChangesPanel } from "./changes.tsx";
import { GrantPanel } from "./grant.tsx";
import { NetworkPanel } from "./network.tsx";
import type { Panel } from "./panels.ts";

function of<K extends Panel["kind"]>(panel: Panel, kind: K): Extract<Panel, { kind: K }> | null {
  return panel.kind === kind ? (panel as Extract<Panel, { kind: K }>) : null;
}

export function PanelView(props: { room: Room; panel: Panel }) {
  return (
    <Switch>
      <Match when={of(props.panel, "grant")}>
        {(panel) => <GrantPanel room={props.room} denial={panel().denial} />}
      </Match>
      <Match when={of(props.panel, "network")}>{(panel) => <NetworkPanel panel={panel()} />}</Match>
      <Match when={of(props.panel, "changes")}>
        {(panel) => <ChangesPanel room={props.room} agent={panel().agent} />}
      </Match>
    </Switch>
  );
}
