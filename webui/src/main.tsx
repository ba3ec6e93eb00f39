// SPDX-License-Identifier: Apache-2.0
import { render } from "solid-js/web";
import "./tokens.css";
import "./page.css";
import "./conversation.css";
import { startApp } from "./app.ts";
import { Page } from "./views/page.tsx";

const root = document.getElementById("app");
if (root) {
  startApp();
  render(() => <Page />, root);
}
