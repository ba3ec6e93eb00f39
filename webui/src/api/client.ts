// SPDX-License-Identifier: Apache-2.0
import type {
  DaemonStatus,
  EventPage,
  ProjectSummary,
  SessionState,
  SessionSummary,
} from "./types.ts";

/** What went wrong with a request, by what the caller can do about it. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  readonly details: string[];

  constructor(code: string, status: number, message: string, details: string[] = []) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.details = details;
  }

  /** No answer came: the request may or may not have taken effect. Ask again with the same key. */
  get fateUnknown(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }

  get signedOut(): boolean {
    return this.status === 401;
  }
}

/** A request that hangs longer than this counts as unanswered; the daemon answers in milliseconds. */
const kRequestTimeoutMs = 15_000;

export interface Mutation {
  method: "POST" | "PATCH" | "DELETE";
  path: string;
  body?: unknown;
  /** The operator's act, not the attempt: every retry carries the same one. */
  key: string;
}

async function readError(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as {
      error?: { code?: string; message?: string; details?: string[] };
    };
    return new ApiError(
      body.error?.code ?? "internal",
      response.status,
      body.error?.message ?? `the daemon answered ${response.status}`,
      body.error?.details ?? [],
    );
  } catch {
    return new ApiError("internal", response.status, `the daemon answered ${response.status}`);
  }
}

/** What public/early.js has asked for already, by path; each answer serves once. */
function takeEarly(path: string): Promise<Response> | undefined {
  const asked = (globalThis as { volaryEarly?: Map<string, Promise<Response>> }).volaryEarly;
  const answer = asked?.get(path);
  asked?.delete(path);
  return answer;
}

/** One request below /api/v1. Throws ApiError. */
export async function request<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await ((init ? undefined : takeEarly(path)) ??
      fetch(`/api/v1${path}`, {
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(kRequestTimeoutMs),
        ...init,
      }));
  } catch (error) {
    const timeout = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(
      "unavailable",
      0,
      timeout ? "no answer in time" : "the daemon is not reachable",
    );
  }
  if (!response.ok) throw await readError(response);
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError("unavailable", 0, "the answer was cut off");
  }
}

export function mutate<T>(mutation: Mutation): Promise<T> {
  return request<T>(mutation.path, {
    method: mutation.method,
    headers: {
      "Content-Type": "application/json",
      "X-Volary-Client": "web",
      "Idempotency-Key": mutation.key,
    },
    body: JSON.stringify(mutation.body ?? {}),
  });
}

/** A new key for one act of the operator. */
export function newKey(): string {
  // randomUUID is missing on plain http from another host; getRandomValues is not.
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const id = encodeURIComponent;

export const api = {
  me: () => request<{ name: string; source: string }>("/me"),
  status: () => request<DaemonStatus>("/status"),
  projects: () => request<{ projects: ProjectSummary[] }>("/projects"),
  sessions: (limit = 50, offset = 0) =>
    request<{ sessions: SessionSummary[]; total: number }>(
      `/sessions?limit=${limit}&offset=${offset}`,
    ),
  session: (session: string) => request<SessionState>(`/sessions/${id(session)}`),
  eventsBefore: (session: string, before: number, limit: number) =>
    request<EventPage>(`/sessions/${id(session)}/events?before=${before}&limit=${limit}`),
  eventsAfter: (session: string, after: number, limit: number) =>
    request<EventPage>(`/sessions/${id(session)}/events?after=${after}&limit=${limit}`),
};

export const acts = {
  message: (project: string) => `/projects/${id(project)}/messages`,
  run: (session: string, verb: "hold" | "resume" | "stop") => `/sessions/${id(session)}/${verb}`,
  planEntry: (session: string, entry: string) =>
    `/sessions/${id(session)}/plan/entries/${id(entry)}`,
  queued: (session: string, run: string) => `/sessions/${id(session)}/queue/${id(run)}`,
};
