// SPDX-License-Identifier: Apache-2.0
// A small HTTP client for the API: over the operator socket, or over loopback TCP with a cookie.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import http from "node:http";

/** One request with nothing added. `where` is {socketPath} or {host, port}. */
export function rawRequest(where, { method = "GET", path, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const request = http.request({ ...where, method, path, headers, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({
          status: response.statusCode,
          headers: response.headers,
          text,
          get json() {
            return JSON.parse(text);
          },
        });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** The API as one kind of client sees it. */
export class Api {
  /** `extra`: headers of every request, e.g. a cookie and an origin. */
  constructor(where, extra = {}) {
    this.where = where;
    this.extra = extra;
  }

  request(method, path, { body, headers = {}, key } = {}) {
    const all = { ...this.extra };
    let payload;
    if (method !== "GET") all["x-volary-client"] = "test";
    if (key) all["idempotency-key"] = key;
    if (body !== undefined) {
      all["content-type"] = "application/json";
      payload = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      all["content-length"] = Buffer.byteLength(payload);
    }
    Object.assign(all, headers);
    // A test takes a default header away by giving it as undefined.
    for (const [name, value] of Object.entries(all)) if (value === undefined) delete all[name];
    return rawRequest(this.where, { method, path: `/api/v1${path}`, headers: all, body: payload });
  }

  /** GET that must succeed; the parsed answer. */
  async get(path) {
    const answer = await this.request("GET", path);
    assert.equal(answer.status, 200, `GET ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** A mutation that must succeed, with an idempotency key of its own; the parsed answer. */
  async mutate(method, path, body = {}) {
    const answer = await this.request(method, path, { body, key: randomUUID() });
    assert.ok(
      answer.status >= 200 && answer.status < 300,
      `${method} ${path}: ${answer.status} ${answer.text}`,
    );
    return answer.json;
  }

  post(path, body) {
    return this.mutate("POST", path, body);
  }

  /** All events of a session, page by page. */
  async events(session, limit = 200) {
    const all = [];
    for (;;) {
      const after = all.length ? all.at(-1).seq : 0;
      const page = await this.get(`/sessions/${session}/events?after=${after}&limit=${limit}`);
      if (page.events.length === 0) return all;
      all.push(...page.events);
    }
  }
}

/** Asserts the one error shape of the API, and returns the error. */
export function assertError(answer, status, code) {
  assert.equal(answer.status, status, answer.text);
  const { error } = answer.json;
  assert.deepEqual(Object.keys(answer.json), ["error"]);
  assert.equal(typeof error.message, "string");
  assert.ok(error.message.length > 0);
  assert.ok(Array.isArray(error.details ?? []));
  if (code) assert.equal(error.code, code);
  return error;
}
