// SPDX-License-Identifier: Apache-2.0
// A client of the event stream. It speaks WebSocket (RFC 6455) itself, because a test must be able
// to cut the connection at any byte, which the built-in client does not offer.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import net from "node:net";
import { kPatienceMs, within } from "./wait.mjs";

const kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const Opcode = { text: 1, close: 8, ping: 9, pong: 10 };

function frame(opcode, payload) {
  const mask = randomBytes(4);
  const size = payload.length;
  const head = size < 126 ? Buffer.alloc(2) : Buffer.alloc(4);
  assert.ok(size < 65536);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (size < 126 ? size : 126);
  if (size >= 126) head.writeUInt16BE(size, 2);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3])]);
}

/** The first whole frame of `bytes`: {opcode, final, payload, size}; undefined when it is cut. */
function parseFrame(bytes) {
  if (bytes.length < 2) return undefined;
  let size = bytes[1] & 0x7f;
  let at = 2;
  if (size === 126) {
    if (bytes.length < 4) return undefined;
    size = bytes.readUInt16BE(2);
    at = 4;
  } else if (size === 127) {
    if (bytes.length < 10) return undefined;
    size = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  if (bytes.length < at + size) return undefined;
  return {
    opcode: bytes[0] & 0x0f,
    final: (bytes[0] & 0x80) !== 0,
    payload: bytes.subarray(at, at + size),
    size: at + size,
  };
}

export class Stream {
  /**
   * `where`: {path} of the operator socket or {host, port}; `headers`: cookie and origin.
   * `onMessage` hears each message as it comes, and undefined at the end.
   */
  static async open(where, headers = {}, onMessage = () => {}) {
    const stream = new Stream();
    stream.#onMessage = onMessage;
    await within("the WebSocket handshake", stream.#connect(where, headers));
    return stream;
  }

  messages = [];
  closeCode = undefined;
  #socket;
  #bytes = Buffer.alloc(0);
  #fragments = [];
  #waiters = new Set();
  #ended = false;
  #onMessage;

  /** The answer's status when the handshake is refused is in the thrown error's `status`. */
  #connect(where, headers) {
    const key = randomBytes(16).toString("base64");
    const host = where.host ? `${where.host}:${where.port}` : "localhost";
    const lines = [
      "GET /api/v1/stream HTTP/1.1",
      `Host: ${host}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${key}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    return new Promise((resolve, reject) => {
      this.#socket = net.connect(where);
      this.#socket.on("error", reject);
      this.#socket.on("close", () => {
        this.#ended = true;
        this.#wake();
        this.#onMessage(undefined);
        reject(new Error("the connection closed during the handshake"));
      });
      this.#socket.once("connect", () => this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`));
      let open = false;
      this.#socket.on("data", (chunk) => {
        this.#bytes = Buffer.concat([this.#bytes, chunk]);
        if (!open) {
          const end = this.#bytes.indexOf("\r\n\r\n");
          if (end < 0) return;
          const head = this.#bytes.subarray(0, end).toString();
          this.#bytes = this.#bytes.subarray(end + 4);
          const status = Number(head.split(" ")[1]);
          if (status !== 101) {
            reject(Object.assign(new Error(`refused: ${head.split("\r\n")[0]}`), { status }));
            this.#socket.destroy();
            return;
          }
          const accept = createHash("sha1").update(key + kGuid).digest("base64");
          assert.match(head, new RegExp(`sec-websocket-accept: ${accept.replace(/[+/]/g, "\\$&")}`, "i"));
          open = true;
          resolve();
        }
        this.#frames();
      });
    });
  }

  #frames() {
    for (let next = parseFrame(this.#bytes); next; next = parseFrame(this.#bytes)) {
      this.#bytes = this.#bytes.subarray(next.size);
      if (next.opcode === Opcode.close) {
        this.closeCode = next.payload.length >= 2 ? next.payload.readUInt16BE(0) : 1005;
        this.#socket.destroy();
      } else if (next.opcode === Opcode.ping) {
        this.#socket.write(frame(Opcode.pong, next.payload));
      } else if (next.opcode <= 2) {
        this.#fragments.push(next.payload);
        if (!next.final) continue;
        const text = Buffer.concat(this.#fragments).toString("utf8");
        this.#fragments = [];
        for (const line of text.split("\n")) if (line) this.#message(JSON.parse(line));
      }
    }
    this.#wake();
  }

  #message(message) {
    if (message.ping !== undefined) this.send({ pong: message.ping });
    this.messages.push(message);
    this.#onMessage(message);
  }

  #wake() {
    for (const waiter of this.#waiters) waiter();
  }

  send(message) {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    this.#socket.write(frame(Opcode.text, Buffer.from(text)));
  }

  subscribe(session, after = 0) {
    this.send({ subscribe: { session, after } });
  }

  /** The events so far, of one session when it is named. */
  events(session) {
    return this.messages
      .filter((m) => m.event && (!session || m.event.session === session))
      .map((m) => m.event);
  }

  /** Waits for the first message (also an earlier one) that `matches`. */
  async message(what, matches, timeout = kPatienceMs) {
    let seen = 0;
    let waiter;
    const found = new Promise((resolve, reject) => {
      waiter = () => {
        while (seen < this.messages.length) {
          const message = this.messages[seen++];
          if (matches(message)) return resolve(message);
        }
        if (this.#ended) reject(new Error(`the stream ended before ${what} came`));
      };
      this.#waiters.add(waiter);
      waiter();
    });
    return within(what, found, timeout).finally(() => this.#waiters.delete(waiter));
  }

  /** Waits for an event of this kind that also `matches`. */
  async event(kind, matches = () => true, timeout = kPatienceMs) {
    const found = await this.message(
      `the event ${kind}`,
      (m) => m.event?.kind === kind && matches(m.event),
      timeout,
    );
    return found.event;
  }

  /** Waits until the server has closed the connection; its close code. */
  async closed(timeout = kPatienceMs) {
    if (this.#ended) return this.closeCode;
    let waiter;
    const gone = new Promise((resolve) => {
      waiter = () => this.#ended && resolve(this.closeCode);
      this.#waiters.add(waiter);
    });
    return within("the end of the stream", gone, timeout).finally(() =>
      this.#waiters.delete(waiter),
    );
  }

  /** Cuts the connection as a lost network does: no close frame. */
  cut() {
    this.#socket.destroy();
  }
}
