// SPDX-License-Identifier: Apache-2.0
import { type JSX, onCleanup, onMount } from "solid-js";
import { Icon } from "./icon.tsx";

/** How far a thumb drags the sheet down before letting go closes it. */
const kCloseDrag = 80;

/** A sheet from below; a swipe down, Back, Escape or a tap beside it closes it. */
export function Sheet(props: { title: string; close: () => void; children: JSX.Element }) {
  let dialog: HTMLDialogElement | undefined;
  let from = 0;
  let closed = false;
  const onBack = () => {
    closed = true;
    props.close();
  };
  onMount(() => {
    dialog?.showModal();
    history.pushState({ sheet: true }, "");
    window.addEventListener("popstate", onBack);
  });
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
          <h2>{props.title}</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={props.close}>
            <Icon name="close" />
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
