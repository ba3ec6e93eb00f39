// SPDX-License-Identifier: Apache-2.0
import type { Component } from "solid-js";
import type { Room } from "../room.ts";
import { later } from "./later.tsx";
import type { Panel } from "./panels.ts";

export const Inspector: Component<{ room: Room }> = later(async () => {
  const part = await import("./inspector.tsx");
  return part.Inspector;
});

/** What a session's sheet shows beside the run itself. */
export const PanelView: Component<{ room: Room; panel: Panel }> = later(async () => {
  const part = await import("./panel.tsx");
  return part.PanelView;
});

export const DaemonScreen: Component<Record<string, never>> = later(async () => {
  const part = await import("./daemon.tsx");
  return part.DaemonScreen;
});

export const DoctorScreen: Component<Record<string, never>> = later(async () => {
  const part = await import("./doctor.tsx");
  return part.DoctorScreen;
});
