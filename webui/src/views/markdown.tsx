// SPDX-License-Identifier: Apache-2.0
import { createMemo, For, Show } from "solid-js";
import { Dynamic } from "solid-js/web";
import { type Block, type Inline, kMaxText, markdown } from "../text/markdown.ts";
import { visible } from "../text/words.ts";

function InlineNode(props: { node: Inline }) {
  const node = props.node;
  switch (node.t) {
    case "text":
      return <>{node.text}</>;
    case "code":
      return <code>{node.text}</code>;
    case "break":
      return <br />;
    case "link":
      return (
        <a href={node.href} target="_blank" rel="noopener noreferrer nofollow">
          <Inlines of={node.of} />
        </a>
      );
    default:
      return (
        <Dynamic component={node.t}>
          <Inlines of={node.of} />
        </Dynamic>
      );
  }
}

function Inlines(props: { of: Inline[] }) {
  return <For each={props.of}>{(node) => <InlineNode node={node} />}</For>;
}

type Of<T extends Block["t"]> = Extract<Block, { t: T }>;

function ListBlock(props: { block: Of<"list"> }) {
  return (
    <Dynamic
      component={props.block.ordered ? "ol" : "ul"}
      start={props.block.ordered ? props.block.start : undefined}
    >
      <For each={props.block.items}>
        {(item) => (
          <li class={`depth-${item.depth}${item.checked === null ? "" : " task"}`}>
            <Show when={item.checked !== null}>
              <input type="checkbox" disabled checked={item.checked ?? false} />
            </Show>
            <Inlines of={item.of} />
          </li>
        )}
      </For>
    </Dynamic>
  );
}

function TableBlock(props: { block: Of<"table"> }) {
  return (
    <div class="table-box">
      <table>
        <thead>
          <tr>
            <For each={props.block.head}>
              {(cell) => (
                <th>
                  <Inlines of={cell} />
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody>
          <For each={props.block.rows}>
            {(row) => (
              <tr>
                <For each={row}>
                  {(cell) => (
                    <td>
                      <Inlines of={cell} />
                    </td>
                  )}
                </For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function BlockNode(props: { block: Block }) {
  const block = props.block;
  switch (block.t) {
    case "p":
      return (
        <p>
          <Inlines of={block.of} />
        </p>
      );
    case "h":
      // The page's own headings end at two; the agent's start below them.
      return (
        <Dynamic component={`h${Math.min(6, block.level + 2)}`}>
          <Inlines of={block.of} />
        </Dynamic>
      );
    case "code":
      return (
        <pre>
          <code>{block.text}</code>
        </pre>
      );
    case "quote":
      return (
        <blockquote>
          <For each={block.of}>{(inner) => <BlockNode block={inner} />}</For>
        </blockquote>
      );
    case "list":
      return <ListBlock block={block} />;
    case "table":
      return <TableBlock block={block} />;
    default:
      return <hr />;
  }
}

/** An agent's text as DOM nodes. While it streams, only its last block is built again. */
export function Markdown(props: { text: string }) {
  const blocks = createMemo<Block[]>((before) => {
    const parsed = markdown(visible(props.text));
    return parsed.map((block, i) => {
      const old = before[i];
      return old && old.t === block.t && old.src === block.src ? old : block;
    });
  }, []);
  return (
    <div class="md" dir="auto">
      <For each={blocks()}>{(block) => <BlockNode block={block} />}</For>
      <Show when={props.text.length > kMaxText}>
        <p class="dim">The rest of this text is too long for the page; the log has it whole.</p>
      </Show>
    </div>
  );
}
