// SPDX-License-Identifier: Apache-2.0
import type { CageBadge } from "../api/types.ts";

function folders(badge: CageBadge, mode: string): string {
  return badge.folders
    .filter((each) => each.mode === mode)
    .map((each) => each.path.replace(/^\/workspace\/?/, "") || "the workspace")
    .join(", ");
}

/** What a cage may touch, in words. */
export function cageWords(badge: CageBadge): string {
  if (badge.disabled) return "no cage: runs with the daemon's own rights";
  const hosts = badge.hosts.length > 0 ? `reaches ${badge.hosts.join(", ")}` : "no network";
  const writes = folders(badge, "rw");
  const aside = folders(badge, "cow");
  const reads = folders(badge, "ro");
  return [
    hosts,
    writes && `writes ${writes}`,
    aside && `writes aside ${aside}`,
    reads && `reads ${reads}`,
  ]
    .filter((part) => part !== "")
    .join(" \u00b7 ");
}
