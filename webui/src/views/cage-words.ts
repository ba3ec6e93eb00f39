// SPDX-License-Identifier: Apache-2.0
import type { CageBadge } from "../api/types.ts";

function folders(badge: CageBadge, wanted: (mode: string) => boolean): string {
  return badge.folders
    .filter((each) => wanted(each.mode))
    .map((each) => each.path.replace(/^\/workspace\/?/, "") || "the workspace")
    .join(", ");
}

/** What a cage may touch, in words. */
export function cageWords(badge: CageBadge): string {
  if (badge.disabled) return "no cage: runs with the daemon's own rights";
  const hosts = badge.hosts.length > 0 ? `reaches ${badge.hosts.join(", ")}` : "no network";
  const writes = folders(badge, (mode) => mode === "rw");
  const reads = folders(badge, (mode) => mode === "ro" || mode === "cow");
  return [hosts, writes && `writes ${writes}`, reads && `reads ${reads}`]
    .filter((part) => part !== "")
    .join(" \u00b7 ");
}
