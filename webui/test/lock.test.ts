// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

interface Locked {
  optionalDependencies?: Record<string, string>;
}

// npm 11 refuses a lock that names a package it does not hold, and not every registry has the
// packages of every platform. After `npm install`, take such names out of the lock.
it("the lock holds every optional package that it names", () => {
  const text = readFileSync(new URL("../package-lock.json", import.meta.url), "utf8");
  const { packages } = JSON.parse(text) as { packages: Record<string, Locked> };
  const missing = Object.entries(packages).flatMap(([from, { optionalDependencies }]) =>
    Object.keys(optionalDependencies ?? {})
      .filter((name) => !(`node_modules/${name}` in packages))
      .map((name) => `${from}: ${name}`),
  );
  expect(missing).toEqual([]);
});
