// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { api } from "../src/api/client.ts";
import { kNoEnd, kPage } from "../src/room.ts";

const early = readFileSync(new URL("../public/early.js", import.meta.url), "utf8");
const world = globalThis as { volaryEarly?: Map<string, Promise<Response>>; fetch: unknown };
const realFetch = world.fetch;

/** Runs early.js as the page at `hash` does; the paths that it asked for. */
function load(hash: string, answer: () => Promise<Response>): string[] {
  const paths: string[] = [];
  const fetch = (path: string) => {
    paths.push(path);
    return answer();
  };
  const page = { fetch, location: { hash }, AbortSignal, Number, Map };
  runInNewContext(early, page);
  world.volaryEarly = (page as typeof page & typeof world).volaryEarly;
  return paths;
}

afterEach(() => {
  world.volaryEarly = undefined;
  world.fetch = realFetch;
});

test("what the first screen of a session asks for has been asked for", async () => {
  const paths = load("#/s/ses_1", async () => Response.json({ name: "early" }));
  expect(paths).toHaveLength(3);
  world.fetch = () => Promise.reject(new Error("asked twice"));
  expect((await api.me()).name).toBe("early");
  await api.session("ses_1");
  await api.eventsBefore("ses_1", kNoEnd, kPage);
  // Each answer serves once: the next question is about a later moment.
  await expect(api.me()).rejects.toThrow("not reachable");
});

test("the list asks only who is there", () => {
  expect(load("", async () => Response.json({}))).toEqual(["/api/v1/me"]);
});

test("a failure of an early question is told as any other", async () => {
  load("#/", () => Promise.reject(new Error("no network")));
  await expect(api.me()).rejects.toThrow("the daemon is not reachable");
});
