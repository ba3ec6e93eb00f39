// SPDX-License-Identifier: Apache-2.0
import { createEffect, type JSX, on, onCleanup, onMount, Show } from "solid-js";
import { Icon } from "./icon.tsx";

/** How far a thumb drags the sheet down before letting go closes it. */
const kCloseDrag = 80;

/**
 * A sheet from below; a swipe down, Escape or a tap beside it closes it, Back leaves what is
 * uppermost in it. `back` is false when nothing is left.
 */
export function Sheet(props: {
  title: string;
  deep: boolean;
  back: () => boolean;
  close: () => void;
  children: JSX.Element;
}) {
  let dialog: HTMLDialogElement | undefined;
  let heading: HTMLHeadingElement | undefined;
  let from = 0;
  let closed = false;
  const onBack = () => {
    closed = true;
    if (!props.back()) return;
    closed = false;
    history.pushState({ sheet: true }, "");
  };
  onMount(() => {
    dialog?.showModal();
    history.pushState({ sheet: true }, "");
    window.addEventListener("popstate", onBack);
    heading?.focus();
  });
  // What the sheet shows now is read out, and Tab goes on from its beginning.
  createEffect(on([() => props.title, () => props.deep], () => heading?.focus(), { defer: true }));
  onCleanup(() => {
    window.removeEventListener("popstate", onBack);
    if (!closed && history.state?.sheet) history.back();
  });
  const drag = (to: number) => {
    if (dialog) dialog.style.transform = to > 0 ? `translateY(${to}px)` : "";
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape is onCancel, and there is a button
    <dialog
      ref={dialog}
      class="sheet"
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
      onClick={(event) => {
        if (event.target === dialog) props.close();
      }}
    >
      <div class="sheet-body">
        <header
          class="sheet-head"
          onTouchStart={(event) => {
            from = event.touches[0]?.clientY ?? 0;
          }}
          onTouchMove={(event) => drag((event.touches[0]?.clientY ?? 0) - from)}
          onTouchEnd={(event) => {
            if ((event.changedTouches[0]?.clientY ?? 0) - from > kCloseDrag) props.close();
            else drag(0);
          }}
        >
          <span class="grip" aria-hidden="true" />
          <Show when={props.deep}>
            <button
              type="button"
              class="icon-button"
              aria-label="Back"
              onClick={() => props.back()}
            >
              <Icon name="back" />
            </button>
          </Show>
          <h2 ref={heading} tabindex="-1">
            {props.title}
          </h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={props.close}>
            <Icon name="close" />
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
