// SPDX-License-Identifier: Apache-2.0
// A small Markdown reader: text in, plain data out. The view builds DOM nodes from the data, so
// nothing that an agent writes is ever parsed as HTML.

export type Inline =
  | { t: "text"; text: string }
  | { t: "code"; text: string }
  | { t: "strong" | "em" | "del"; of: Inline[] }
  | { t: "link"; href: string; of: Inline[] }
  | { t: "break" };

export interface ListItem {
  of: Inline[];
  depth: number;
  checked: boolean | null;
}

export type Block =
  | { t: "p"; of: Inline[]; src: string }
  | { t: "h"; level: number; of: Inline[]; src: string }
  | { t: "code"; lang: string; text: string; src: string }
  | { t: "quote"; of: Block[]; src: string }
  | { t: "list"; ordered: boolean; start: number; items: ListItem[]; src: string }
  | { t: "table"; head: Inline[][]; rows: Inline[][][]; src: string }
  | { t: "hr"; src: string };

/** Longer texts are cut here; the log has them whole. */
export const kMaxText = 200_000;
const kMaxDepth = 6;
/** How far a mark looks for its partner: keeps hostile text linear. */
const kMaxSpan = 2000;
const kMaxCandidates = 20;

const kLink =
  /^\[((?:[^[\]\\]|\\.){0,500})\]\(\s*<?([^\s<>()]{1,2000})>?(?:\s+"[^"]{0,200}")?\s*\)/;
const kUrl = /^https?:\/\/[^\s<>"'`]{1,2000}/;

/** Only addresses that open a page or a mail; everything else stays text. */
export function safeHref(href: string): string | null {
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function codeSpan(text: string, at: number): { node: Inline; end: number } | null {
  const ticks = /^`+/.exec(text.slice(at, at + 20))?.[0] ?? "";
  const window = text.slice(at, at + kMaxSpan);
  const close = window.indexOf(ticks, ticks.length);
  if (ticks === "" || close < 0) return null;
  const inner = window.slice(ticks.length, close);
  return {
    node: { t: "code", text: inner.replace(/^ (.+) $/, "$1") },
    end: at + close + ticks.length,
  };
}

function emphasis(
  whole: string,
  from: number,
  depth: number,
): { node: Inline; end: number } | null {
  // One character before the mark is kept: it tells a word from its beginning.
  const text = whole.slice(Math.max(0, from - 1), from + kMaxSpan);
  const at = Math.min(1, from);
  for (const [mark, t] of [
    ["**", "strong"],
    ["__", "strong"],
    ["~~", "del"],
    ["*", "em"],
    ["_", "em"],
  ] as const) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (/^\s|^$/.test(text.slice(start, start + 1))) continue;
    if (mark[0] === "_" && /\w/.test(text.slice(at - 1, at))) continue;
    let close = text.indexOf(mark, start + 1);
    for (let tries = 0; close >= 0; tries++) {
      if (tries === kMaxCandidates) close = -1;
      if (close < 0) break;
      const tail = text.slice(close + mark.length, close + mark.length + 1);
      const word = mark[0] === "_" && /\w/.test(tail);
      if (!/\s/.test(text[close - 1] ?? " ") && !word && !(mark.length === 1 && tail === mark))
        break;
      close = text.indexOf(mark, close + (mark.length === 1 && tail === mark ? 2 : 1));
    }
    if (close < 0) continue;
    const node: Inline = { t, of: inline(text.slice(start, close), depth + 1) };
    return { node, end: from - at + close + mark.length };
  }
  return null;
}

function link(text: string, at: number, depth: number): { node: Inline; end: number } | null {
  const rest = text.slice(at, at + 2600);
  const made = kLink.exec(rest);
  if (made) {
    const href = safeHref(made[2] ?? "");
    const of = inline(made[1] ?? "", depth + 1);
    const end = at + made[0].length;
    if (href === null) return { node: { t: "text", text: made[0] }, end };
    return { node: { t: "link", href, of }, end };
  }
  const url = kUrl.exec(rest)?.[0].replace(/[.,;:!?)\]}*_]+$/, "");
  if (!url) return null;
  const href = safeHref(url);
  if (href === null) return null;
  return { node: { t: "link", href, of: [{ t: "text", text: url }] }, end: at + url.length };
}

export function inline(text: string, depth = 0): Inline[] {
  const out: Inline[] = [];
  let plain = "";
  const flush = () => {
    if (plain !== "") out.push({ t: "text", text: plain });
    plain = "";
  };
  let at = 0;
  while (at < text.length) {
    const c = text[at] ?? "";
    let found: { node: Inline; end: number } | null = null;
    if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    if (c === "\n") {
      if (/ {2}$/.test(plain)) found = { node: { t: "break" }, end: at + 1 };
    } else if (c === "`") found = codeSpan(text, at);
    else if (depth < kMaxDepth && (c === "*" || c === "_" || c === "~")) {
      found = emphasis(text, at, depth);
    } else if (depth < kMaxDepth && (c === "[" || c === "h")) {
      const inWord = c === "h" && /\w/.test(text[at - 1] ?? "");
      found = inWord ? null : link(text, at, depth);
    }
    if (found) {
      flush();
      out.push(found.node);
      at = found.end;
    } else if (c === "`" || c === "*" || c === "_" || c === "~") {
      // An unmatched run is taken whole, so that a line of marks costs one look, not n.
      let end = at + 1;
      while (text[end] === c) end++;
      plain += text.slice(at, end);
      at = end;
    } else {
      plain += c;
      at++;
    }
  }
  flush();
  return out;
}

const kFence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,40})/;
const kHead = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const kItem = /^(\s*)([-*+]|\d{1,6}[.)])\s+(.*)$/;
const kRule = /^ {0,3}(?:-\s*){3,}$|^ {0,3}(?:\*\s*){3,}$|^ {0,3}(?:_\s*){3,}$/;
const kTableRule = /^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)+\|?\s*$/;

function cells(line: string): Inline[][] {
  const inner = line.trim().replace(/^\||\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => inline(cell.trim().replaceAll("\\|", "|")));
}

function listItem(line: string): (ListItem & { ordered: boolean; start: number }) | null {
  const found = kItem.exec(line);
  if (!found || kRule.test(line)) return null;
  const mark = found[2] ?? "-";
  const task = /^\[([ xX])\]\s+/.exec(found[3] ?? "");
  const text = (found[3] ?? "").slice(task?.[0].length ?? 0);
  return {
    of: inline(text),
    depth: Math.min(4, Math.floor((found[1] ?? "").length / 2)),
    checked: task ? task[1] !== " " : null,
    ordered: /\d/.test(mark),
    start: Number.parseInt(mark, 10) || 1,
  };
}

class Reader {
  private readonly lines: string[];
  private at = 0;
  private readonly depth: number;
  readonly blocks: Block[] = [];

  constructor(text: string, depth: number) {
    this.lines = text.split("\n");
    this.depth = depth;
  }

  read(): Block[] {
    while (this.at < this.lines.length) {
      if ((this.lines[this.at] ?? "").trim() === "") this.at++;
      else this.block(this.lines[this.at] ?? "");
    }
    return this.blocks;
  }

  private block(line: string): void {
    const from = this.at;
    const fence = kFence.exec(line);
    const head = kHead.exec(line);
    if (fence) return this.fence(fence[1] ?? "```", fence[2] ?? "");
    this.at++;
    if (head) {
      const level = (head[1] ?? "#").length;
      this.blocks.push({ t: "h", level, of: inline(head[2] ?? ""), src: line });
    } else if (kRule.test(line)) this.blocks.push({ t: "hr", src: line });
    else if (/^ {0,3}>/.test(line) && this.depth < kMaxDepth) this.quote(from);
    else if (listItem(line)) this.list(from);
    else if (line.includes("|") && kTableRule.test(this.lines[this.at] ?? "")) this.table(from);
    else this.paragraph(from);
  }

  private src(from: number): string {
    return this.lines.slice(from, this.at).join("\n");
  }

  private fence(mark: string, lang: string): void {
    const from = this.at++;
    const body: string[] = [];
    while (this.at < this.lines.length) {
      const line = this.lines[this.at++] ?? "";
      if (line.trim().startsWith(mark) && line.trim().replaceAll(mark[0] ?? "`", "") === "") break;
      body.push(line);
    }
    this.blocks.push({ t: "code", lang, text: body.join("\n"), src: this.src(from) });
  }

  private quote(from: number): void {
    while (/^ {0,3}>/.test(this.lines[this.at] ?? "")) this.at++;
    const src = this.src(from);
    const inner = src.replace(/^ {0,3}> ?/gm, "");
    this.blocks.push({ t: "quote", of: new Reader(inner, this.depth + 1).read(), src });
  }

  private list(from: number): void {
    const first = listItem(this.lines[from] ?? "");
    if (!first) return;
    const items: ListItem[] = [first];
    while (this.at < this.lines.length) {
      const item = listItem(this.lines[this.at] ?? "");
      if (!item || (item.depth === 0 && item.ordered !== first.ordered)) break;
      items.push(item);
      this.at++;
    }
    const { ordered, start } = first;
    this.blocks.push({ t: "list", ordered, start, items, src: this.src(from) });
  }

  private table(from: number): void {
    const head = cells(this.lines[from] ?? "");
    this.at++;
    const rows: Inline[][][] = [];
    while ((this.lines[this.at] ?? "").includes("|")) rows.push(cells(this.lines[this.at++] ?? ""));
    this.blocks.push({ t: "table", head, rows, src: this.src(from) });
  }

  private paragraph(from: number): void {
    while (this.at < this.lines.length) {
      const line = this.lines[this.at] ?? "";
      if (line.trim() === "" || kFence.test(line) || kHead.test(line) || /^ {0,3}>/.test(line))
        break;
      if (listItem(line) || kRule.test(line)) break;
      this.at++;
    }
    const src = this.src(from);
    this.blocks.push({ t: "p", of: inline(src), src });
  }
}

export function markdown(text: string): Block[] {
  return new Reader(text.slice(0, kMaxText), 0).read();
}
