// SPDX-License-Identifier: Apache-2.0
// What the daemon says about cages. Read field by field: a daemon of another version must not
// break the page, so what is missing or odd reads as its empty value.

import { list, num, object, str, strings } from "../fold/read.ts";
import { ApiError, request } from "./client.ts";
import type {
  Cage,
  CageBadge,
  CageGrant,
  CageLimit,
  CagePolicy,
  Change,
  Check,
  Connection,
  NetLine,
  PortLine,
} from "./types.ts";

type Body = Record<string, unknown>;

const id = encodeURIComponent;
/** A diff longer than this is not read on a phone; the command line shows all of it. */
const kMaxDiffChars = 256 * 1024;

function rows<T>(body: Body, key: string, read: (row: Body) => T): T[] {
  return list<unknown>(body, key)
    .filter((each): each is Body => typeof each === "object" && each !== null)
    .map(read);
}

/** A number that may be null: not limited, not measured, not over. */
function numOrNull(body: Body, key: string): number | null {
  return typeof body[key] === "number" ? num(body, key) : null;
}

/** A sub-object, or an empty one. */
function part(body: Body, key: string): Body {
  return object<Body>(body, key) ?? {};
}

const readNet = (row: Body): NetLine => ({
  rule: str(row, "rule"),
  credential: str(row, "credential"),
  private: row.private === true,
});

/** Only what the daemon itself serves becomes a link: an address of another kind reads as none. */
function safeUrl(url: string): string {
  return /^(https?:\/\/|\/(?![/\\]))/.test(url) ? url : "";
}

export const readPort = (row: Body): PortLine => ({
  name: str(row, "name"),
  port: num(row, "port"),
  public: row.public === true,
  listening: row.listening !== false,
  url: safeUrl(str(row, "url")),
});

/** Where the daemon publishes the ports of the cages that live; none where it cannot say. */
async function addPorts(session: string, cages: Cage[]): Promise<void> {
  const open = cages.filter((cage) => cage.running && cage.policy.ports.length > 0);
  if (open.length === 0) return;
  try {
    const all = list<unknown>(await request<Body>(`/sessions/${id(session)}/ports`), "ports");
    for (const cage of open) {
      const own = all.filter((row) => str(row as Body, "cage") === cage.cage) as Body[];
      cage.policy.ports = cage.policy.ports.map((port) => {
        const found = own.find((row) => str(row, "name") === port.name);
        return found ? readPort(found) : port;
      });
    }
  } catch (error) {
    // The card has more to say than its ports.
    if (!(error instanceof ApiError)) throw error;
  }
}

function seccompWords(policy: Body): string {
  const value = policy.seccomp;
  if (typeof value === "string") return value;
  const found = part(policy, "seccomp");
  const added = strings(found, "add").map((name) => `+${name}`);
  const removed = strings(found, "remove").map((name) => `-${name}`);
  return [str(found, "profile"), ...added, ...removed].filter((each) => each !== "").join(" ");
}

function readPolicy(policy: Body): CagePolicy {
  const hosts = strings(policy, "hosts");
  const net = rows(policy, "net", readNet);
  return {
    disabled: policy.disabled === true,
    hosts,
    folders: list<CageBadge["folders"][number]>(policy, "folders"),
    limits: part(policy, "limits"),
    net: net.length > 0 ? net : hosts.map((rule) => ({ rule, credential: "", private: false })),
    ports: rows(policy, "ports", readPort),
    seccomp: seccompWords(policy),
    state: str(policy, "state"),
    devices: strings(policy, "devices"),
  };
}

const readLimit = (row: Body): CageLimit => ({
  name: str(row, "name"),
  limit: numOrNull(row, "limit"),
  used: numOrNull(row, "used"),
  unit: str(row, "unit"),
});

const readGrant = (row: Body): CageGrant => ({
  rule: str(row, "rule"),
  layer: str(row, "layer"),
  scope: str(row, "scope"),
  at: num(row, "at_ms"),
  by: str(row, "by"),
});

function readNetwork(network: Body | null): Cage["network"] {
  if (network === null) return null;
  return {
    open: num(network, "open"),
    total: num(network, "total"),
    up: num(network, "bytes_up"),
    down: num(network, "bytes_down"),
  };
}

export function readCage(row: Body): Cage {
  return {
    cage: str(row, "cage"),
    invocation: str(row, "invocation"),
    agent: str(row, "agent"),
    running: row.running !== false,
    startedAt: num(row, "started_ms"),
    backend: str(row, "backend"),
    layers: strings(row, "layers"),
    limitsBackend: str(row, "limits_backend"),
    policy: readPolicy(part(row, "policy")),
    limits: rows(row, "limits", readLimit),
    denials: num(row, "denials"),
    network: readNetwork(object<Body>(row, "network")),
    grants: rows(row, "grants", readGrant),
  };
}

export const readConnection = (row: Body): Connection => ({
  at: num(row, "at_ms"),
  name: str(row, "name"),
  port: num(row, "port"),
  up: num(row, "bytes_up"),
  down: num(row, "bytes_down"),
  duration: numOrNull(row, "duration_ms"),
  verdict: str(row, "verdict"),
});

const readChange = (row: Body): Change => ({
  agent: str(row, "agent"),
  path: str(row, "path"),
  kind: (["added", "deleted"].includes(str(row, "kind")) ? row.kind : "changed") as Change["kind"],
  bytes: num(row, "bytes"),
  binary: row.binary === true,
  digest: str(row, "digest"),
  refused: str(row, "refused"),
});

const readCheck = (row: Body): Check => ({
  name: str(row, "name"),
  layer: str(row, "layer"),
  verdict: str(row, "verdict"),
  detail: str(row, "detail"),
  fix: str(row, "fix"),
});

/** The doctor tries to break each layer in a cage of its own, one after the other. */
const kDoctorMs = 120_000;

async function readDiff(path: string): Promise<string> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new ApiError("unavailable", 0, "the daemon is not reachable");
  }
  const text = await response.text();
  if (!response.ok)
    throw new ApiError("io", response.status, `the daemon answered ${response.status}`);
  return text.slice(0, kMaxDiffChars);
}

export const cageApi = {
  cages: async (session: string): Promise<Cage[]> => {
    const cages = rows(await request<Body>(`/sessions/${id(session)}/cages`), "cages", readCage);
    await addPorts(session, cages);
    return cages;
  },
  connections: async (cage: string, limit: number): Promise<Connection[]> =>
    rows(
      await request<Body>(`/cages/${id(cage)}/network?limit=${limit}`),
      "connections",
      readConnection,
    ),
  changes: async (session: string): Promise<Change[]> =>
    rows(await request<Body>(`/sessions/${id(session)}/changes`), "changes", readChange),
  diff: (session: string, agent: string, path: string): Promise<string> =>
    readDiff(`/sessions/${id(session)}/changes/diff?agent=${id(agent)}&path=${id(path)}`),
  doctor: async (): Promise<Check[]> =>
    rows(
      await request<Body>("/doctor", {
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(kDoctorMs),
      }),
      "checks",
      readCheck,
    ),
};

export const cageActs = {
  grant: (session: string) => `/sessions/${id(session)}/grants`,
  changes: (session: string, verb: "keep" | "drop") => `/sessions/${id(session)}/changes/${verb}`,
};
