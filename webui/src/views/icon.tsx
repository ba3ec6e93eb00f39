// SPDX-License-Identifier: Apache-2.0
import type { IconNode } from "lucide";
import {
  ArrowLeft,
  Bird,
  Bot,
  Brain,
  Check,
  ChevronDown,
  ChevronRight,
  FileText,
  Layers,
  ListChecks,
  Network,
  Pause,
  Pencil,
  Play,
  Radio,
  SendHorizontal,
  Server,
  Shield,
  ShieldOff,
  Square,
  Terminal,
  Wrench,
  X,
  Zap,
} from "lucide";
import type { JSX } from "solid-js";

const icons = {
  back: ArrowLeft,
  bird: Bird,
  bot: Bot,
  brain: Brain,
  check: Check,
  down: ChevronDown,
  right: ChevronRight,
  file: FileText,
  sessions: Layers,
  list: ListChecks,
  tree: Network,
  pause: Pause,
  edit: Pencil,
  play: Play,
  radio: Radio,
  send: SendHorizontal,
  daemon: Server,
  shield: Shield,
  unshielded: ShieldOff,
  stop: Square,
  terminal: Terminal,
  tool: Wrench,
  close: X,
  wire: Zap,
} satisfies Record<string, IconNode>;

export type IconName = keyof typeof icons;

const kSvg = "http://www.w3.org/2000/svg";
const drawn = new Map<IconName, SVGSVGElement>();

/** A copy of the icon's one drawing: a screen has hundreds of them. */
function draw(name: IconName): SVGSVGElement {
  let svg = drawn.get(name);
  if (!svg) {
    svg = document.createElementNS(kSvg, "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    for (const [tag, attributes] of icons[name]) {
      const part = document.createElementNS(kSvg, tag);
      for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, String(value));
      svg.append(part);
    }
    drawn.set(name, svg);
  }
  return svg.cloneNode(true) as SVGSVGElement;
}

/** A Lucide icon. Without `label` it is decoration, and the words beside it carry the meaning. */
export function Icon(props: { name: IconName; label?: string; small?: boolean }): JSX.Element {
  const drawing = () => {
    const svg = draw(props.name);
    svg.setAttribute("class", props.small ? "icon small" : "icon");
    if (props.label) {
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", props.label);
    } else {
      svg.setAttribute("aria-hidden", "true");
    }
    return svg;
  };
  return <>{drawing()}</>;
}

export type Mark =
  | "idle"
  | "starting"
  | "working"
  | "holding"
  | "held"
  | "stopping"
  | "succeeded"
  | "failed"
  | "stopped"
  | "lost"
  | "waiting"
  | "denied";

/** The mark of an invocation's state, or of how it ended. */
export function invocationMark(state: string, outcome: string | null): Mark {
  if (state === "finished") return (outcome ?? "lost") as Mark;
  return state as Mark;
}

const shapes: Record<Mark, string> = {
  idle: "M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7z",
  starting: "M6 2.5a3.5 3.5 0 0 1 3.5 3.5",
  working: "M3 1.5L10.5 6L3 10.5z",
  holding: "M2.5 2v8M6 2v8M9 4v4",
  held: "M3.5 2v8M8.5 2v8",
  stopping: "M2.5 2.5h7v7h-7z",
  stopped: "M2.5 2.5h7v7h-7z",
  succeeded: "M2 6.5L5 9.5L10.5 3",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7",
  lost: "M3.8 4.2a2.3 2.3 0 1 1 3.2 2.1q-1 .5-1 1.6M6 10.4v.2",
  waiting: "M6 1.2L10.8 6L6 10.8L1.2 6z",
  denied: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9zM3 9L9 3",
};

const filled = new Set<Mark>(["working", "stopped"]);

/** The shape of a state; the word and the colour stand beside it. */
export function StateMark(props: { of: Mark }) {
  return (
    <svg
      class={`mark ${filled.has(props.of) ? "filled" : ""}`}
      viewBox="0 0 12 12"
      aria-hidden="true"
    >
      <path d={shapes[props.of]} />
    </svg>
  );
}

export function StateWord(props: { of: Mark; text?: string }) {
  return (
    <span class={`state state-${props.of}`}>
      <StateMark of={props.of} />
      <span>{props.text ?? props.of}</span>
    </span>
  );
}
