// SPDX-License-Identifier: Apache-2.0
import { createSignal, onCleanup } from "solid-js";
import { newKey } from "../api/client.ts";
import { outbox, outboxActs } from "../app.ts";
import type { Act, ActKind } from "../outbox/outbox.ts";

/**
 * One act of the operator that a view waits for. It goes through the outbox, with one key through
 * all of its attempts; when the view is gone before the answer, the dock goes on telling its fate.
 */
export function createAct<T>() {
  const [key, setKey] = createSignal("");
  let gone = false;
  onCleanup(() => {
    gone = true;
  });
  const act = () => outboxActs().find((each) => each.key === key());
  return {
    /** "sending" or "unknown" while an answer is awaited, else "". */
    state: () => (key() === "" ? "" : (act()?.state ?? "")),
    perform(
      parts: { kind: ActKind; scope: string; subject: string; path: string; body: unknown },
      settled: (answer: T | null, refusal: { message: string; status: number } | null) => void,
    ): void {
      const own = newKey();
      setKey(own);
      const done = (act: Act) => {
        if (gone) return;
        setKey("");
        if (act.state === "accepted") return settled(act.answer as T, null);
        outbox.dismiss(act.key);
        settled(null, { message: act.error, status: act.status });
      };
      if (!outbox.put({ ...parts, method: "POST", key: own }, done)) {
        setKey("");
        settled(null, { message: "too much waits to be sent already", status: 0 });
      }
    },
  };
}
