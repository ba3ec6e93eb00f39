// SPDX-License-Identifier: Apache-2.0
// What a cage refused, in words; shared by the conversation, the cage card and the grant.

const kLayerWords: Record<string, string> = {
  dns: "This cage knows no such name.",
  net: "No rule of this cage opens this address.",
  private: "The address is not public, and the rule does not say that this is meant.",
  sni: "The TLS handshake named another host than the rule.",
  host: "The request named another host than the rule.",
  http: "The rule lets other methods or paths through.",
  credential: "The rule's credential is not for this host.",
  limit: "The cage is at its limit.",
  syscall: "This system call is not allowed.",
};

/** Why a layer said no. */
export function layerWords(layer: string): string {
  return kLayerWords[layer] ?? `Refused by ${layer}.`;
}

/** The layers whose rule is an entry of the network's list. */
const kNetLayers = new Set(["dns", "net", "private", "sni", "host", "http", "credential"]);

export function isNetLayer(layer: string): boolean {
  return kNetLayers.has(layer);
}

const kScopeWords: Record<string, string> = {
  once: "once",
  session: "for this session",
  project: "in the project file",
};

export function scopeWords(scope: string): string {
  return kScopeWords[scope] ?? scope;
}

/** Ends of `applied` in words; the daemon says which of the two it was. */
export function appliedWords(applied: string): string {
  return applied === "live" ? "applies now" : "applies at the next start";
}
