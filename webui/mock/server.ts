// SPDX-License-Identifier: Apache-2.0
// A small server that speaks API v1 and plays a story: for work on the page without a daemon.
//   npm run mock -- [--port 7181] [--speed 1] [--long 10000]

import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import { parseArgs } from "node:util";
import { type WebSocket, WebSocketServer } from "ws";
import {
  type Answered,
  cagesOf,
  changes,
  connections,
  diff,
  doctor,
  grant,
  ports,
  settle,
} from "./cages.ts";
import { MockSession } from "./session.ts";
import type { Body } from "./story.ts";

const kCsp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const kTypes: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "7181" },
    speed: { type: "string", default: "1" },
    long: { type: "string", default: "0" },
    pingMs: { type: "string", default: "25000" },
  },
});
const speed = Number(values.speed);
const dist = new URL("../dist/", import.meta.url).pathname;
const epoch = "mock-epoch";
const started = Date.now();
const sessions = new Map<string, MockSession>();
const answers = new Map<string, { status: number; body: unknown }>();

interface Client {
  socket: WebSocket;
  list: boolean;
  following: Set<string>;
}
const clients = new Set<Client>();

function tell(client: Client, message: unknown): void {
  client.socket.send(JSON.stringify(message));
}

const fan = {
  event: (event: { session: string }) => {
    for (const client of clients) if (client.following.has(event.session)) tell(client, { event });
  },
  delta: (delta: Body) => {
    for (const client of clients) {
      if (client.following.has(String(delta.session))) tell(client, { delta });
    }
  },
  summary: (summary: unknown) => {
    for (const client of clients) if (client.list) tell(client, { summary });
  },
};

function newSession(project: string): MockSession {
  const session = new MockSession(project, fan, speed);
  sessions.set(session.state.id, session);
  return session;
}

/** A session with many events, for the time that opening one takes. */
function longSession(events: number): void {
  const session = newSession("music-site");
  const run = "run_long";
  session.event(
    "message.user",
    "operator:uid 0",
    { id: "msg_long", text: "A long one", client: "cli" },
    run,
  );
  session.event("run.started", "daemon", { message: "msg_long" }, run);
  const invocation = "inv_long";
  const cause = { type: "message" };
  const start = {
    id: invocation,
    parent: null,
    agent: "primary",
    runner: "builtin",
    depth: 0,
    cause,
  };
  session.event("invocation.started", "daemon", start, run);
  for (let i = 0; session.events.length < events - 2; i++) {
    const id = `stp_long${i}`;
    const step = { id, invocation, type: "tool", name: "shell", title: "shell" };
    const args = { arguments: { command: `make part-${i}` } };
    session.event("step.started", "agent:primary", { ...step, ...args }, run);
    const result = JSON.stringify({ exit_code: 0, stdout: `built part ${i}\n`, stderr: "" });
    session.event(
      "step.finished",
      "agent:primary",
      { ...step, ok: true, result, duration_ms: i },
      run,
    );
    const text = `Part **${i}** is built. Its log is in \`out/part-${i}.log\`.`;
    session.event("message.agent", "agent:primary", { item: `itm_l${i}`, invocation, text }, run);
  }
  session.event("invocation.finished", "daemon", { id: invocation, outcome: "succeeded" }, run);
  session.event("run.finished", "daemon", { outcome: "succeeded", reason: "" }, run);
}

function fail(status: number, code: string, message: string): { status: number; body: unknown } {
  return { status, body: { error: { code, message, details: [] } } };
}

function project() {
  const all = [...sessions.values()];
  return {
    name: "music-site",
    description: "Watches record shops and prepares deploys.",
    path: "/srv/music-site",
    valid: true,
    sessions: all.length,
    active_session: all.at(-1)?.state.id ?? null,
  };
}

function read(path: string[], query: URLSearchParams): Answered {
  const ok = (body: unknown) => ({ status: 200, body });
  const [first, id, rest] = path;
  if (first === "me") return ok({ name: "device dev_mock", source: "cookie" });
  if (first === "status") {
    const rss_bytes = 9_800_000;
    const counts = { projects: 1, sessions: sessions.size, working: 0, cages: 2 };
    const uptime_ms = Date.now() - started;
    return ok({
      version: "0.1.0",
      epoch,
      uptime_ms,
      rss_bytes,
      ...counts,
      insecure: false,
      no_cage: false,
    });
  }
  if (first === "projects") return ok({ projects: [project()] });
  if (first === "doctor") return ok(doctor());
  if (first === "cages" && rest === "network") return ok(connections());
  if (first !== "sessions") return fail(404, "not_found", "no such route");
  if (id === undefined) {
    const all = [...sessions.values()].map((each) => each.summary());
    all.sort((a, b) => b.updated_at - a.updated_at);
    const offset = Number(query.get("offset") ?? 0);
    const limit = Number(query.get("limit") ?? 50);
    return ok({ sessions: all.slice(offset, offset + limit), total: all.length });
  }
  const session = sessions.get(id);
  if (!session) return fail(404, "not_found", `session "${id}"`);
  if (rest === undefined) return ok(session.state);
  if (rest === "cages") return ok(cagesOf(session));
  if (rest === "ports") return ok(ports(session));
  if (rest === "changes") return ok(path[3] === "diff" ? diff() : changes());
  const limit = Number(query.get("limit") ?? 200);
  const before = query.get("before");
  const last = before === null ? 0 : Math.min(session.events.length, Number(before) - 1);
  const from = before === null ? Number(query.get("after") ?? 0) : Math.max(0, last - limit);
  const to = before === null ? from + limit : last;
  return ok({ epoch, events: session.events.slice(from, to), last_seq: session.events.length });
}

function write(method: string, path: string[], body: Body, client: string): Answered {
  const [first, id, verb, sub, entry] = path;
  const text = typeof body.text === "string" ? body.text : "";
  if (first === "projects" && verb === "messages") {
    if (text === "") return fail(400, "invalid", "body.text: required string");
    const wanted = typeof body.session === "string" ? body.session : "";
    const session = sessions.get(wanted) ?? newSession(id ?? "");
    return { status: 202, body: { session: session.state.id, ...session.message(text, client) } };
  }
  const session = sessions.get(id ?? "");
  if (!session) return fail(404, "not_found", `session "${id}"`);
  if (verb === "grants") return grant(session, body);
  if (verb === "changes") return settle(session, sub ?? "", body);
  let seq: number | null = null;
  if (method === "PATCH" && sub === "entries") seq = session.edit(entry ?? "", body);
  else if (method === "DELETE" && verb === "queue") seq = session.cancel(sub ?? "");
  else seq = session.control(verb ?? "");
  if (seq === null) return fail(409, "conflict", `the session is ${session.state.status}`);
  return { status: 202, body: { seq } };
}

async function readBody(request: IncomingMessage): Promise<Body> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text || "{}") as Body;
}

async function api(request: IncomingMessage, url: URL): Promise<Answered> {
  const path = url.pathname
    .replace(/^\/api\/v1\//, "")
    .split("/")
    .map(decodeURIComponent);
  if (request.method === "GET") return read(path, url.searchParams);
  const key = String(request.headers["idempotency-key"] ?? "");
  const client = String(request.headers["x-volary-client"] ?? "");
  if (client === "") return fail(403, "denied", "X-Volary-Client: required header");
  const body = await readBody(request);
  const seen = answers.get(key);
  if (seen) return seen;
  const answer = write(request.method ?? "", path, body, client);
  answers.set(key, answer);
  return answer;
}

async function page(url: URL, response: ServerResponse): Promise<void> {
  const path = url.pathname === "/" ? "/index.html" : normalize(url.pathname);
  try {
    const data = await readFile(join(dist, path));
    const type = kTypes[extname(path)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-security-policy": kCsp }).end(data);
  } catch {
    response.writeHead(404).end("not found");
  }
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://mock");
  if (!url.pathname.startsWith("/api/")) return page(url, response);
  const answer = await api(request, url);
  const headers = { "content-type": "application/json", "content-security-policy": kCsp };
  const text = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
  response.writeHead(answer.status, headers).end(text);
});

function subscribe(client: Client, id: string, after: number): void {
  const session = sessions.get(id);
  if (!session) return tell(client, { error: { code: "not_found", message: id } });
  for (const event of session.events.slice(after)) tell(client, { event });
  const items = [...session.items.values()];
  tell(client, { live: { session: id, seq: session.events.length, items } });
  client.following.add(id);
}

const sockets = new WebSocketServer({ server, path: "/api/v1/stream" });
sockets.on("connection", (socket) => {
  const client: Client = { socket, list: false, following: new Set() };
  clients.add(client);
  tell(client, { hello: { epoch, version: "0.1.0", name: "mock" } });
  const pings = setInterval(
    () => tell(client, { ping: Date.now(), at: Date.now() }),
    Number(values.pingMs),
  );
  socket.on("message", (data) => {
    const message = JSON.parse(String(data)) as {
      subscribe?: { session?: string; after?: number; list?: boolean };
      unsubscribe?: { session: string };
    };
    if (message.subscribe?.list) client.list = true;
    else if (message.subscribe?.session)
      subscribe(client, message.subscribe.session, message.subscribe.after ?? 0);
    if (message.unsubscribe) client.following.delete(message.unsubscribe.session);
  });
  socket.on("close", () => {
    clearInterval(pings);
    clients.delete(client);
  });
});

if (Number(values.long) > 0) longSession(Number(values.long));
server.listen(Number(values.port), "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : values.port;
  console.log(`ready http://127.0.0.1:${port}/`);
});
