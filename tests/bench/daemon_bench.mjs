// SPDX-License-Identifier: Apache-2.0
// What a daemon costs that has a thousand stored sessions and nothing to do: the time from its start
// to the ready line, and the memory it then holds. Medians of several starts.
// Prints {"daemon_ready_1000_ms": n, "daemon_idle_rss_mb": n}.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { Daemon } from "../support/daemon.mjs";

const kSessions = 1000;
const kStarts = 9;
/** What start-up has queued is done long before, and nothing else happens. */
const kIdleMs = 1000;

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Copies the one stored session, log and all, under new ids. */
function copySession(file, session) {
  const db = new DatabaseSync(file);
  const { no, ...row } = db.prepare("SELECT * FROM session WHERE id = ?").get(session);
  const add = db.prepare(
    `INSERT INTO session (${Object.keys(row)}) VALUES (${Object.keys(row).map(() => "?")})`,
  );
  const log = db.prepare(
    "INSERT INTO event SELECT ?1, seq, at, kind, actor, run, body FROM event WHERE session = ?2",
  );
  db.exec("BEGIN");
  for (let i = 1; i < kSessions; i++) {
    const id = session.slice(0, -4) + String(i).padStart(4, "0");
    const state = row.state.replaceAll(session, id);
    const { lastInsertRowid } = add.run(...Object.values({ ...row, id, state }));
    log.run(lastInsertRowid, no);
  }
  db.exec("COMMIT");
  db.close();
}

function residentMb(pid) {
  const [, kb] = readFileSync(`/proc/${pid}/status`, "utf8").match(/^VmRSS:\s*(\d+) kB$/m);
  return Number(kb) / 1024;
}

const daemon = await Daemon.start();
try {
  const { session } = await daemon.send();
  await daemon.finished(session);
  await daemon.terminate();
  copySession(path.join(daemon.state, "volary.db"), session);
  const ready = [];
  const resident = [];
  for (let i = 0; i < kStarts; i++) {
    const start = performance.now();
    await daemon.launch();
    ready.push(performance.now() - start);
    await delay(kIdleMs);
    resident.push(residentMb(daemon.pid));
    if (i === 0) assert.equal((await daemon.api.get("/status")).sessions, kSessions);
    await daemon.terminate();
  }
  const figures = {
    daemon_ready_1000_ms: Number(median(ready).toFixed(1)),
    daemon_idle_rss_mb: Number(median(resident).toFixed(2)),
  };
  console.log(JSON.stringify(figures));
} finally {
  await daemon.stop();
}
