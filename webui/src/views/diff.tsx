// SPDX-License-Identifier: Apache-2.0
import { createMemo, For, Show } from "solid-js";
import { diffCount, diffLines } from "../text/cage.ts";
import { count, exactly, visible } from "../text/words.ts";

/** Lines that are drawn; a longer diff is read with the command line. */
const kMaxLines = 2000;

const kMarks = { added: "+", removed: "\u2212", place: "", same: " " };
const kSpoken = { added: "added: ", removed: "removed: ", place: "", same: "" };

/** Added and removed lines, by sign and colour; long lines are scrolled, not broken. */
export function Diff(props: { diff: string; label: string }) {
  const lines = createMemo(() => diffLines(props.diff));
  const sum = createMemo(() => diffCount(lines()));
  return (
    <figure class="diff-box">
      <figcaption class="num">
        {visible(props.label)}
        <span class="diff-sum">
          {count(sum().added, "line")} added, {sum().removed} removed
        </span>
      </figcaption>
      <section class="diff" tabindex="0" aria-label={`Diff of ${visible(props.label)}`}>
        <div class="diff-lines">
          <For each={lines().slice(0, kMaxLines)}>
            {(line) => (
              <div class={`diff-line diff-${line.kind}`}>
                <span class="diff-mark" aria-hidden="true">
                  {kMarks[line.kind]}
                </span>
                <Show when={kSpoken[line.kind]}>
                  <span class="unseen">{kSpoken[line.kind]}</span>
                </Show>
                <span>{exactly(line.text) || " "}</span>
              </div>
            )}
          </For>
        </div>
      </section>
      <Show when={lines().length > kMaxLines}>
        <p class="why">{count(lines().length - kMaxLines, "more line")}.</p>
      </Show>
    </figure>
  );
}
