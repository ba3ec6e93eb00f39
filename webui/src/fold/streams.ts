// SPDX-License-Identifier: Apache-2.0
import type { Delta, LiveItem } from "../api/types.ts";

export interface StreamItem extends LiveItem {
  /** Length of `text` in UTF-8 bytes. */
  bytes: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export type DeltaResult = "applied" | "repeated" | "gap";

/** The unfinished items of one session: text that streams and is not in the log yet. */
export class Streams {
  readonly items = new Map<string, StreamItem>();
  private readonly finished = new Set<string>();

  /** Replaces everything by what the daemon says is unfinished now. */
  reset(items: LiveItem[]): void {
    this.items.clear();
    for (const item of items) {
      if (this.finished.has(item.item)) continue;
      this.items.set(item.item, { ...item, bytes: encoder.encode(item.text).length });
    }
  }

  apply(delta: Delta): DeltaResult {
    if (this.finished.has(delta.item)) return "repeated";
    const item = this.items.get(delta.item);
    const have = item?.bytes ?? 0;
    if (delta.offset > have) return "gap";
    let bytes = encoder.encode(delta.text);
    if (delta.offset + bytes.length <= have) return "repeated";
    let text = delta.text;
    if (delta.offset < have) {
      bytes = bytes.subarray(have - delta.offset);
      text = decoder.decode(bytes);
    }
    if (item === undefined) {
      const { item: id, invocation, kind } = delta;
      this.items.set(id, { item: id, invocation, kind, text, bytes: bytes.length });
    } else {
      this.items.set(delta.item, { ...item, text: item.text + text, bytes: have + bytes.length });
    }
    return "applied";
  }

  /** The item is a row of the log now; late deltas of it say nothing new. */
  finish(item: string): void {
    this.items.delete(item);
    this.finished.add(item);
  }
}
