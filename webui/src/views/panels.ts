// SPDX-License-Identifier: Apache-2.0
// The one sheet of a session: what it shows, and what it goes back to.

import { createSignal } from "solid-js";
import type { DenialEntry } from "../fold/entries.ts";

export type Panel =
  | { kind: "run" }
  | { kind: "grant"; denial: DenialEntry }
  | { kind: "network"; cage: string; agent: string; running: boolean }
  | { kind: "changes"; agent: string };

interface Opened {
  panel: Panel;
  /** What had the focus, to have it again. */
  from: Element | null;
}

const [opened, setOpened] = createSignal<readonly Opened[]>([]);

export function panels(): Panel[] {
  return opened().map((each) => each.panel);
}

function refocus(from: Element | null | undefined): void {
  // After the frame in which what had the focus can have it again.
  requestAnimationFrame(() => {
    if (from instanceof HTMLElement && from.isConnected) from.focus();
  });
}

export function openPanel(panel: Panel): void {
  setOpened([...opened(), { panel, from: document.activeElement }]);
}

/** Leaves the uppermost panel; false when it was the last and the sheet is closed. */
export function backPanel(): boolean {
  const last = opened()[opened().length - 1];
  setOpened(opened().slice(0, -1));
  refocus(last?.from);
  return opened().length > 0;
}

export function closePanels(): void {
  if (opened().length === 0) return;
  const first = opened()[0];
  setOpened([]);
  refocus(first?.from);
}

/** The third pane shows the run by now: the sheet need not. */
export function leaveRun(): void {
  if (panels().some((panel) => panel.kind === "run")) {
    setOpened(opened().filter((each) => each.panel.kind !== "run"));
  }
}
