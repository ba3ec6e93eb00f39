// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";
import { Daemon } from "../../support/daemon.mjs";
import { Api, assertError, rawRequest } from "../../support/http.mjs";
import { uids } from "../../support/processes.mjs";

test("1: the daemon starts without root, loads the demo and hands out a one-time launch URL", async (t) => {
  const daemon = await Daemon.start(t);

  assert.ok(uids(daemon.pid).every((uid) => uid !== 0), "the daemon runs as uid 0");
  const { projects } = await daemon.api.get("/projects");
  assert.deepEqual(
    projects.map((p) => [p.name, p.valid, p.sessions, p.active_session]),
    [["music-site", true, 0, null]],
  );

  const launch = await daemon.cli("auth", "launch-url");
  assert.equal(launch.code, 0, launch.stderr);
  const url = new URL(launch.stdout.trim().split(/\s+/).find((word) => word.startsWith("http")));
  assert.equal(url.host, daemon.url.host);
  const visit = () =>
    rawRequest(daemon.tcp, { path: url.pathname, headers: { host: daemon.url.host } });

  const first = await visit();
  assert.equal(first.status, 303);
  assert.equal(first.headers.location, "/");
  const [cookie] = first.headers["set-cookie"];
  for (const part of ["HttpOnly", "SameSite=Strict", "Path=/"]) assert.ok(cookie.includes(part), cookie);
  const web = new Api(daemon.tcp, daemon.webHeaders(cookie.split(";")[0]));
  assert.equal((await web.get("/me")).source, "cookie");

  const second = await visit();
  assert.ok(second.status >= 400 && second.status < 500, `used twice: ${second.status}`);
  assert.equal(second.headers["set-cookie"], undefined);
});

test("1: what is open without sign-in is open, everything else is not", async (t) => {
  const daemon = await Daemon.start(t);
  const nobody = new Api(daemon.tcp, { host: daemon.url.host });

  for (const path of ["/healthz", "/readyz", "/version", "/openapi.json"]) await nobody.get(path);
  assert.equal((await nobody.get("/healthz")).status, "ok");
  assert.equal((await nobody.get("/version")).api, "v1");
  for (const path of ["/me", "/status", "/projects", "/sessions"]) {
    assertError(await nobody.request("GET", path), 401, "denied");
  }
  const unversioned = await rawRequest(daemon.tcp, {
    path: "/api/healthz",
    headers: { host: daemon.url.host },
  });
  assert.equal(unversioned.json.status, "ok");
});
