// SPDX-License-Identifier: Apache-2.0
import { render } from "solid-js/web";
import "./style/tokens.css";
import "./style/elements.css";
import "./style/frame.css";
import "./style/parts.css";
import "./style/wide.css";
import "./style/conversation.css";
import "./style/prose.css";
import "./style/dock.css";
import { firstScreenDrawn, startApp } from "./app.ts";
import { readLater } from "./views/later.tsx";
import { Page } from "./views/page.tsx";

const root = document.getElementById("app");
if (root) {
  void startApp().then(() => {
    render(() => <Page />, root);
    // The first moment after that frame; a hidden page has no frames.
    requestAnimationFrame(() => window.setTimeout(firstScreenDrawn));
    window.setTimeout(() => {
      firstScreenDrawn();
      readLater();
    }, 1000);
  });
}
