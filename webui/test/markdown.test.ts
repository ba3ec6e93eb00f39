// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Block, type Inline, inline, markdown, safeHref } from "../src/text/markdown.ts";

const text = (nodes: Inline[]): string =>
  nodes
    .map((node) => ("of" in node ? text(node.of) : node.t === "break" ? "\n" : node.text))
    .join("");
const first = (source: string) => markdown(source)[0] as Block;

describe("blocks", () => {
  it("reads headings, lists, quotes, rules, code and tables", () => {
    const source =
      "# Title\n\nText\nmore\n\n- a\n- [x] b\n  - c\n\n2. x\n3. y\n\n> q\n\n---\n\n```sh\nls <b>\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |";
    expect(markdown(source).map((block) => block.t)).toEqual([
      "h",
      "p",
      "list",
      "list",
      "quote",
      "hr",
      "code",
      "table",
    ]);
  });

  it("keeps task marks and depths", () => {
    const list = first("- a\n- [x] b\n  - c");
    expect(list.t === "list" && list.items.map((item) => [item.checked, item.depth])).toEqual([
      [null, 0],
      [true, 0],
      [null, 1],
    ]);
  });

  it("treats an open fence as code, so that streaming does not flicker", () => {
    const block = first("```js\nlet a");
    expect(block.t === "code" && block.text).toBe("let a");
  });
});

describe("inlines", () => {
  it("reads strong, emphasis, code and links", () => {
    const nodes = inline("a **b** _c_ `d*e*` [f](https://g.example/) ~~h~~");
    expect(nodes.filter((node) => node.t !== "text").map((node) => node.t)).toEqual([
      "strong",
      "em",
      "code",
      "link",
      "del",
    ]);
  });

  it("leaves snake_case_words and lone marks alone", () => {
    expect(inline("a_b_c 2 * 3 * 4")).toEqual([{ t: "text", text: "a_b_c 2 * 3 * 4" }]);
  });

  it("links bare addresses without their full stop", () => {
    const link = inline("See https://a.example/x.")[1];
    expect(link?.t === "link" && link.href).toBe("https://a.example/x");
  });
});

describe("hostile text", () => {
  it("links nothing that could run", () => {
    for (const href of [
      "javascript:alert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "//x",
      "/a",
    ]) {
      expect(safeHref(href)).toBeNull();
    }
    const nodes = inline("[x](javascript:alert(1))");
    expect(nodes.every((node) => node.t !== "link")).toBe(true);
  });

  it("keeps HTML as text", () => {
    const block = first("<img src=x onerror=alert(1)>");
    expect(block.t === "p" && text(block.of)).toBe("<img src=x onerror=alert(1)>");
  });

  it("is read in bounded time", () => {
    const from = performance.now();
    for (const seed of ["*a ", "**", "[", "`", "> ", "_a", "[a](", "|", "- ", "~~x", "https://"]) {
      markdown(seed.repeat(200_000 / seed.length));
    }
    expect(performance.now() - from).toBeLessThan(4000);
  });

  it("never throws and never loses a plain word", () => {
    const piece = fc.constantFrom(
      "word",
      "*",
      "_",
      "`",
      "[",
      "](",
      ")",
      "#",
      ">",
      "|",
      "\n",
      " ",
      "-",
      "~~",
      "1.",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        markdown(pieces.join(""));
      }),
      { numRuns: 500 },
    );
    expect(text(inline("word *open"))).toBe("word *open");
  });
});
