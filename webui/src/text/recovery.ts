// SPDX-License-Identifier: Apache-2.0
// What a restart of the daemon meant for an agent, and what can be done.

export function recoveryWords(agent: string, verdict: string): string {
  if (verdict === "re-adopted") return `${agent} went on`;
  if (verdict === "exited_while_away") return `${agent} had ended meanwhile`;
  if (verdict === "lost") return `${agent} is lost`;
  return `${agent}: ${verdict}`;
}

export function afterRecovery(verdict: string): string {
  if (verdict === "re-adopted")
    return "Its cage did not end. A call of the model that was under way is made again.";
  if (verdict === "exited_while_away")
    return "What it said until its end was kept and has been read.";
  return "Its cage was not found again. Nothing is repeated by itself: look at what it left in the workspace, then send the message again or another one.";
}
