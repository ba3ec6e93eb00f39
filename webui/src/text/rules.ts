// SPDX-License-Identifier: Apache-2.0
// The rules that a denial names, as far as the page must understand them.

/** An entry of `cage.net.allow` that the operator can grant. */
export interface NetGrant {
  net: string;
  private: boolean;
}

const kTarget = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9*_.-]+(?:\/\d{1,3})?):(\d{1,5})$/;
const kPrivateForm = /^\{\s*to:\s*"?([^",}]+)"?\s*,\s*private:\s*true\s*\}$/;

function target(text: string): string | null {
  const found = kTarget.exec(text);
  const port = Number(found?.[2] ?? 0);
  return found && port > 0 && port < 65_536 ? text : null;
}

/**
 * `evil.example:443` or `{ to: "k3s.local:6443", private: true }`; null for a rule of another
 * layer, and for what no rule allows.
 */
export function netGrant(rule: string): NetGrant | null {
  const wrapped = kPrivateForm.exec(rule.trim());
  const net = target((wrapped?.[1] ?? rule).trim());
  return net === null ? null : { net, private: wrapped !== null };
}

/** Whether two spellings name the same rule. */
export function sameRule(a: string, b: string): boolean {
  const left = netGrant(a)?.net ?? a;
  return left !== "" && left === (netGrant(b)?.net ?? b);
}
