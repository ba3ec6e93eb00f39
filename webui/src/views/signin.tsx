// SPDX-License-Identifier: Apache-2.0
import { Show } from "solid-js";
import { check, signIn } from "../app.ts";
import { Icon } from "./icon.tsx";

/** Shown until the daemon knows this browser: what is the matter, and the command that mends it. */
export function SignInScreen() {
  return (
    <main class="gate">
      <div class="gate-card">
        <Icon name="bird" />
        <h1>volary</h1>
        <Show when={signIn() === "out"}>
          <p>This browser is not signed in. On the host, run:</p>
          <pre class="command">volary auth launch-url</pre>
          <p class="dim">
            Open the address it prints, here. It works once, and for ten minutes. What you wrote and
            did not send is kept in this browser.
          </p>
          <button type="button" class="button primary" onClick={() => void check()}>
            Check again
          </button>
        </Show>
        <Show when={signIn() === "unreachable"}>
          <p>The daemon does not answer. Trying again every 2 s.</p>
          <p class="dim">When it does not run, start it on the host:</p>
          <pre class="command">volary serve</pre>
        </Show>
        <Show when={signIn() === "checking"}>
          <p class="dim late">Asking the daemon who you are.</p>
        </Show>
      </div>
    </main>
  );
}
