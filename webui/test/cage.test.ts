// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { readCage, readConnection, readPort } from "../src/api/cages.ts";
import {
  binary,
  diffCount,
  diffLines,
  figure,
  limitLine,
  rankConnections,
  splitPath,
  tried,
  verdictWords,
} from "../src/text/cage.ts";
import { netGrant, sameRule } from "../src/text/rules.ts";

const MiB = 1024 * 1024;

describe("a limit", () => {
  const limit = (used: number | null, most: number | null, unit = "bytes") => ({
    name: "memory",
    used,
    limit: most,
    unit,
  });

  test("is told in the units of project files", () => {
    expect(binary(512 * MiB)).toBe("512 MiB");
    expect(binary(1.5 * MiB)).toBe("1.5 MiB");
    expect(binary(1023.6 * MiB)).toBe("1.0 GiB");
    expect(binary(0)).toBe("0 B");
    expect(figure(0.5, "cpus")).toBe("0.5 CPU");
    expect(figure(1500, "ms")).toBe("1.5 s");
    expect(figure(600_000, "ms")).toBe("10 min");
    expect(figure(64, "count")).toBe("64");
  });

  test("has a share where it is measured and limited, and none elsewhere", () => {
    expect(limitLine(limit(128 * MiB, 512 * MiB))).toEqual({
      name: "Memory",
      text: "128 MiB of 512 MiB",
      share: 0.25,
      near: "",
    });
    expect(limitLine(limit(MiB, null))).toMatchObject({ text: "1 MiB, no limit", share: null });
    expect(limitLine(limit(null, MiB))).toMatchObject({ text: "up to 1 MiB", share: null });
    expect(limitLine(limit(null, null))).toMatchObject({ text: "not limited", share: null });
    expect(limitLine(limit(null, 0))).toMatchObject({ text: "none", share: null });
    expect(limitLine(limit(0.12, 0.5, "cpus")).text).toBe("0.12 of 0.5 CPU");
  });

  test("says in words that its end is near", () => {
    expect(limitLine(limit(79, 100, "count")).near).toBe("");
    expect(limitLine(limit(80, 100, "count")).near).toBe("near its limit");
    expect(limitLine(limit(100, 100, "count")).near).toBe("at its limit");
    expect(limitLine(limit(300, 100, "count")).share).toBe(1);
  });

  test("keeps a name that it does not know", () => {
    expect(limitLine({ ...limit(1, 2, "count"), name: "inodes" }).name).toBe("inodes");
  });
});

describe("the rule of a denial", () => {
  test.each([
    ["evil.example:443", { net: "evil.example:443", private: false }],
    ["*.shop.example:443", { net: "*.shop.example:443", private: false }],
    ["1.2.3.4:80", { net: "1.2.3.4:80", private: false }],
    ["[2606:4700::1111]:443", { net: "[2606:4700::1111]:443", private: false }],
    ["10.0.0.0/8:5432", { net: "10.0.0.0/8:5432", private: false }],
    ['{ to: "k3s.local:6443", private: true }', { net: "k3s.local:6443", private: true }],
    ["{to: nas.home:445, private: true}", { net: "nas.home:445", private: true }],
  ])("%s can be granted", (rule, expected) => {
    expect(netGrant(rule)).toEqual(expected);
  });

  test.each(["", "ptrace", "evil.example", "evil.example:0", "evil.example:70000", "a b:443"])(
    "%j cannot",
    (rule) => {
      expect(netGrant(rule)).toBeNull();
    },
  );

  test("is the same in both spellings", () => {
    expect(sameRule('{ to: "nas.home:445", private: true }', "nas.home:445")).toBe(true);
    expect(sameRule("a.example:443", "b.example:443")).toBe(false);
    expect(sameRule("", "")).toBe(false);
  });
});

test.each([
  ["name evil.example", "look up the name evil.example"],
  ["tcp 1.2.3.4:80", "connect to 1.2.3.4:80"],
  ["udp 8.8.8.8:53", "send UDP to 8.8.8.8:53"],
  ["icmp 8.8.8.8", "ping 8.8.8.8"],
  ["evil.example:443", "connect to evil.example:443"],
  ["host evil.example to shop.example:80", "ask shop.example:80 for the host evil.example"],
  [
    "server name evil.example to shop.example:443",
    "start TLS with evil.example over the rule for shop.example:443",
  ],
  [
    "private address, tcp k3s.local:6443 at 10.0.0.4",
    "connect to k3s.local:6443, whose address 10.0.0.4 is not public",
  ],
  ["two Hosts to shop.example:80", "two Hosts to shop.example:80"],
])("%s was an attempt to %s", (what, words) => {
  expect(tried(what)).toBe(words);
});

describe("a diff", () => {
  const text = [
    "--- a/.volary/project.yaml",
    "+++ b/.volary/project.yaml",
    "@@ -7,3 +7,4 @@ agents:",
    "   allow:",
    "-    - old.example",
    "+    - evil.example:443",
    "+    --- not a header",
    "--- a removed line of two dashes",
    "\\ No newline at end of file",
    "",
  ].join("\n");

  test("is told line by line, without the names of its files", () => {
    expect(diffLines(text)).toEqual([
      { kind: "place", text: "line 7" },
      { kind: "same", text: "  allow:" },
      { kind: "removed", text: "    - old.example" },
      { kind: "added", text: "    - evil.example:443" },
      { kind: "added", text: "    --- not a header" },
      { kind: "removed", text: "-- a removed line of two dashes" },
    ]);
    expect(diffCount(diffLines(text))).toEqual({ added: 2, removed: 2 });
  });
});

describe("the network log", () => {
  const at = (ms: number, duration: number | null, verdict = "allowed") =>
    readConnection({ at_ms: ms, name: "a", port: 443, duration_ms: duration, verdict });

  test("has what is open first, then the newest", () => {
    const list = rankConnections([at(1, 5), at(3, 5), at(2, null)]);
    expect(list.map((each) => each.at)).toEqual([2, 3, 1]);
  });

  test("tells how a connection stands or ended", () => {
    expect(verdictWords(at(1, null))).toBe("open");
    expect(verdictWords(at(1, 2))).toBe("allowed");
    expect(verdictWords(at(1, 2, "sni"))).toBe("refused: other server name");
    expect(verdictWords(at(1, 2, "something new"))).toBe("something new");
  });
});

describe("what another version of the daemon says", () => {
  test("is read as far as it is understood", () => {
    const cage = readCage({ cage: "cage_1", agent: "primary", policy: { hosts: ["a:443"] } });
    expect(cage.policy.net).toEqual([{ rule: "a:443", credential: "", private: false }]);
    expect(cage).toMatchObject({ running: true, limits: [], grants: [], denials: 0 });
    expect(readCage({ denials: [1, 2], limits: "x", policy: null, net: 3 })).toMatchObject({
      denials: 0,
      limits: [],
    });
  });

  test("becomes no link unless the daemon serves it", () => {
    expect(readPort({ name: "web", port: 80, url: "javascript:alert(1)" }).url).toBe("");
    expect(readPort({ name: "web", port: 80, url: "//evil.example/" }).url).toBe("");
    expect(readPort({ name: "web", port: 80, url: "/ports/web/" }).url).toBe("/ports/web/");
    expect(readPort({ name: "web", port: 80, url: "http://w.localhost:1/" }).url).not.toBe("");
  });
});

test("a path is told by its end", () => {
  expect(splitPath("site/r/ash.html")).toEqual({ folder: "site/r/", name: "ash.html" });
  expect(splitPath("readme")).toEqual({ folder: "", name: "readme" });
});
