// SPDX-License-Identifier: Apache-2.0
import { createSignal, type JSX, onMount } from "solid-js";
import { Icon } from "./icon.tsx";

/** The daemon takes messages up to 256 KiB; a longer one is a file, not a message. */
const kMaxMessage = 100_000;

function readDraft(key: string): string {
  try {
    return sessionStorage.getItem(`volary.draft.${key}`) ?? "";
  } catch {
    return "";
  }
}

function writeDraft(key: string, text: string): void {
  try {
    if (text === "") sessionStorage.removeItem(`volary.draft.${key}`);
    else sessionStorage.setItem(`volary.draft.${key}`, text);
  } catch {
    // Without storage the draft lives as long as the field.
  }
}

/** True where Enter belongs to the keyboard on the screen and a button sends. */
const touch = () => matchMedia("(pointer: coarse)").matches;

export function Composer(props: {
  draft: string;
  label: string;
  before?: JSX.Element;
  send: (text: string) => boolean;
}) {
  let field: HTMLTextAreaElement | undefined;
  const [text, setText] = createSignal(readDraft(props.draft));
  const grow = () => {
    if (!field) return;
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight + 2, 180)}px`;
  };
  onMount(grow);
  const change = (value: string) => {
    setText(value);
    writeDraft(props.draft, value);
  };
  const submit = () => {
    const value = text().trim();
    if (value === "" || !props.send(value)) return;
    change("");
    queueMicrotask(grow);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {props.before}
      <textarea
        id="message"
        ref={field}
        rows="1"
        maxlength={kMaxMessage}
        placeholder={props.label}
        aria-label={props.label}
        enterkeyhint={touch() ? "enter" : "send"}
        dir="auto"
        value={text()}
        onInput={(event) => {
          change(event.currentTarget.value);
          grow();
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch()) return;
          event.preventDefault();
          submit();
        }}
      />
      <button
        type="submit"
        class="button primary send"
        disabled={text().trim() === ""}
        // Keeps the field focused: the keyboard stays for the next message.
        onPointerDown={(event) => event.preventDefault()}
        aria-label="Send"
      >
        <Icon name="send" />
      </button>
    </form>
  );
}
