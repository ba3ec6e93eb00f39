// SPDX-License-Identifier: Apache-2.0
// What the kernel says about processes. Zombies do not count: a foreign PID 1 may be slow to reap.
import { readdirSync, readFileSync } from "node:fs";

/** {pid, parent, state, started} or undefined when it is gone. */
export function processInfo(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The command may hold spaces and parentheses: fields start after the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, state: fields[0], parent: Number(fields[1]), started: fields[19] };
  } catch {
    return undefined;
  }
}

function alive(info) {
  return info !== undefined && info.state !== "Z" && info.state !== "X";
}

/** All living processes. */
export function processes() {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processInfo(Number(name)))
    .filter(alive);
}

/** Living descendants of `pid`, without itself. */
export function descendants(pid) {
  const all = processes();
  const found = new Set([pid]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const each of all) {
      if (found.has(each.parent) && !found.has(each.pid)) {
        found.add(each.pid);
        grown = true;
      }
    }
  }
  found.delete(pid);
  return all.filter((each) => found.has(each.pid));
}

/** Those of `list` that still live, and are not a reused pid. */
export function survivors(list) {
  return list.filter((each) => {
    const now = processInfo(each.pid);
    return alive(now) && now.started === each.started;
  });
}

function statusField(pid, name) {
  const line = readFileSync(`/proc/${pid}/status`, "latin1")
    .split("\n")
    .find((each) => each.startsWith(`${name}:`));
  return line.split(/\s+/).slice(1).filter(Boolean).map(Number);
}

/** Real, effective, saved and file system uid. */
export const uids = (pid) => statusField(pid, "Uid");

/** How many pid namespaces deep the process is: 1 = this one. */
export const pidDepth = (pid) => statusField(pid, "NSpid").length;

/** Resident memory in bytes. */
export const residentBytes = (pid) => statusField(pid, "VmRSS")[0] * 1024;

/**
 * Living processes whose RLIMIT_MSGQUEUE is `mark`: a limit that nobody here uses is what a program
 * and all that come from it have in common, whoever their parent is by now.
 */
export function marked(mark) {
  const line = new RegExp(`^Max msgqueue size\\s+${mark}\\s`, "m");
  return processes().filter(({ pid }) => {
    try {
      return line.test(readFileSync(`/proc/${pid}/limits`, "latin1"));
    } catch {
      return false;
    }
  });
}

/** The program's name as the kernel has it; empty when the process is gone. */
export function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, "latin1").trim();
  } catch {
    return "";
  }
}
