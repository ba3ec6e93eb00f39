// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { expect, it } from "vitest";
import { Streams } from "../src/fold/streams.ts";

const size = (text: string) => new TextEncoder().encode(text).length;

function delta(offset: number, text: string, item = "itm_1") {
  return { session: "ses_1", item, invocation: "inv_1", kind: "text" as const, offset, text };
}

it("appends what follows, and counts in bytes", () => {
  const streams = new Streams();
  expect(streams.apply(delta(0, "grün "))).toBe("applied");
  expect(streams.apply(delta(6, "blau"))).toBe("applied");
  expect(streams.items.get("itm_1")?.text).toBe("grün blau");
});

it("ignores what it has and takes only the new part of an overlap", () => {
  const streams = new Streams();
  streams.apply(delta(0, "grün"));
  expect(streams.apply(delta(0, "grü"))).toBe("repeated");
  expect(streams.apply(delta(2, "ün blau"))).toBe("applied");
  expect(streams.items.get("itm_1")?.text).toBe("grün blau");
});

it("reports a gap and leaves the text alone", () => {
  const streams = new Streams();
  streams.apply(delta(0, "a"));
  expect(streams.apply(delta(2, "c"))).toBe("gap");
  expect(streams.items.get("itm_1")?.text).toBe("a");
});

it("forgets a finished item and every late word of it", () => {
  const streams = new Streams();
  streams.apply(delta(0, "a"));
  streams.finish("itm_1");
  expect(streams.apply(delta(1, "b"))).toBe("repeated");
  streams.reset([{ item: "itm_1", invocation: "inv_1", kind: "text", text: "a" }]);
  expect(streams.items.size).toBe(0);
});

it("ends with the whole text however the stream is cut and resumed", () => {
  const cuts = fc.array(fc.nat(40), { maxLength: 12 });
  const text = fc.array(fc.constantFrom("a", "ü", "€", "𝄞", " "), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(text, cuts, (points, resumes) => {
      const streams = new Streams();
      const whole = points.join("");
      let at = 0;
      for (const [i, point] of points.entries()) {
        const offset = size(points.slice(0, i).join(""));
        if (resumes.includes(at++)) {
          // A resume says what there is so far; a repeat of an old delta follows it.
          const so = points.slice(0, i).join("");
          streams.reset([{ item: "itm_1", invocation: "inv_1", kind: "text", text: so }]);
          if (i > 0) streams.apply(delta(0, points[0] ?? ""));
        }
        streams.apply(delta(offset, point));
      }
      expect(streams.items.get("itm_1")?.text).toBe(whole);
    }),
  );
});
