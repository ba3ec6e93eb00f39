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
import "./style/inspector.css";
import { startApp } from "./app.ts";
import { Page } from "./views/page.tsx";

const root = document.getElementById("app");
if (root) {
  startApp();
  render(() => <Page />, root);
}
