// SPDX-License-Identifier: Apache-2.0
// The control file of preload/fault.c, and how a daemon is started under it.
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import path from "node:path";
import { bin } from "../../support/daemon.mjs";

export const library =
  process.env.VOLARY_FAULT_LIBRARY ?? path.join(bin, "../tests/fault/preload/volary-fault.so");

/** As fault.c has them, in that order. */
const kKinds = ["any", "write", "sync", "create", "name", "size", "send"];
const kPlaces = ["all", "state"];
const kActions = ["none", "kill", "kill-after", "torn", "eio", "enospc", "short", "delay", "clock", "erofs"];

const kWord = 8;
const kCounted = 2;
const kFirstRule = kCounted + kPlaces.length * kKinds.length;
const kRuleWords = 7;
const kRules = 8;
const kForever = 0xffff_ffff;

/** Counts and faults of one process; readable after its death. */
export class Faults {
  #file;
  #rules = 0;

  constructor(file) {
    this.path = file;
    this.#file = openSync(file, "w+");
    const head = Buffer.alloc((kFirstRule + kRules * kRuleWords) * kWord);
    head.write("VOLFAULT");
    head.writeBigUInt64LE(1n, kWord);
    writeSync(this.#file, head, 0, head.length, 0);
  }

  #word(index) {
    const word = Buffer.alloc(kWord);
    readSync(this.#file, word, 0, kWord, index * kWord);
    return Number(word.readBigUInt64LE());
  }

  /** Calls of this kind so far. */
  count(kind = "any", where = "all") {
    return this.#word(kCounted + kPlaces.indexOf(where) * kKinds.length + kKinds.indexOf(kind));
  }

  /**
   * {action, kind, where, first, last, argument}: acts on the calls number first to last of the kind.
   * `last` is `first` when it is left out, and null for ever. Returns the rule's number.
   */
  arm({ action, kind = "any", where = "all", first, last = first, argument = 0 }) {
    const number = this.#rules++;
    if (number >= kRules) throw new Error("too many rules");
    const words = [kKinds.indexOf(kind), kPlaces.indexOf(where), first, last ?? kForever, argument, 0];
    words.push(kActions.indexOf(action));
    if (words.includes(-1) && argument !== -1) throw new Error(`no such fault: ${action} ${kind} ${where}`);
    const rule = Buffer.alloc(kRuleWords * kWord);
    words.forEach((word, i) => rule.writeBigInt64LE(BigInt(word), i * kWord));
    writeSync(this.#file, rule, 0, rule.length, (kFirstRule + number * kRuleWords) * kWord);
    return number;
  }

  /** How often the rule has acted. */
  struck(number) {
    return this.#word(kFirstRule + number * kRuleWords + kRuleWords - 2);
  }

  disarm(number) {
    const at = (kFirstRule + number * kRuleWords + kRuleWords - 1) * kWord;
    writeSync(this.#file, Buffer.alloc(kWord), 0, kWord, at);
  }

  close() {
    closeSync(this.#file);
  }

  /** Environment of the process that these faults are meant for. */
  environment(state) {
    return [`LD_PRELOAD=${library}`, `VOLARY_FAULT=${this.path}`, `VOLARY_FAULT_STATE=${state}`];
  }
}
