// SPDX-License-Identifier: Apache-2.0
// A daemon whose project's primary is a small web app that publishes its port.
import { copyFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Daemon, source } from "./daemon.mjs";
import { until } from "./wait.mjs";

const kProject = `version: 1
project: music-site
description: a web app in a cage
primary:
  runner: { exec: ["/usr/bin/python3", "-u", "app.py", "3000"] }
  cage:
    net: { ports: [{ name: web, port: 3000 }, { name: quiet, port: 3001, public: true }] }
`;

/** {daemon, session, web}: the app listens; `web` is its entry of the API's list. */
export async function startApp(test) {
  const daemon = await Daemon.start(test, {
    edit: (folder) => {
      writeFileSync(path.join(folder, ".volary/project.yaml"), kProject);
      copyFileSync(path.join(source, "tests/support/port_app.py"), path.join(folder, "app.py"));
    },
  });
  const { session } = await daemon.send("serve");
  const list = () => daemon.api.get(`/sessions/${session}/ports`);
  const web = await until("the app listens", async () =>
    (await list()).ports.find((port) => port.name === "web" && port.listening),
  );
  return { daemon, session, web, list };
}
