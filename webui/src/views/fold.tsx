// SPDX-License-Identifier: Apache-2.0
import { createSignal, type JSX, Show } from "solid-js";
import { Icon, type IconName } from "./icon.tsx";

/** One line that opens to its detail; the detail is built when it is first looked at. */
export function Fold(props: {
  icon: IconName;
  tone?: string;
  line: JSX.Element;
  side?: JSX.Element;
  detail?: () => JSX.Element;
}) {
  const [open, setOpen] = createSignal(false);
  const inner = () => (
    <>
      <Icon small name={props.icon} />
      <span class="line-text">{props.line}</span>
      <span class="line-side num">{props.side}</span>
    </>
  );
  return (
    <Show when={props.detail} fallback={<div class={`line ${props.tone ?? ""}`}>{inner()}</div>}>
      {(detail) => (
        <>
          <button
            type="button"
            class={`line ${props.tone ?? ""}`}
            aria-expanded={open()}
            onClick={() => setOpen(!open())}
          >
            {inner()}
          </button>
          <Show when={open()}>
            <div class="line-detail">{detail()()}</div>
          </Show>
        </>
      )}
    </Show>
  );
}

export function Code(props: { label: string; text: string }) {
  return (
    <figure class="code-box">
      <figcaption>{props.label}</figcaption>
      <pre class="code">{props.text}</pre>
    </figure>
  );
}
