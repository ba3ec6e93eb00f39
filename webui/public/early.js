// SPDX-License-Identifier: Apache-2.0
// Asks for what the first screen shows while the page's program is still being read. The program
// takes the answers by their paths (src/api/client.ts); test/early.test.ts holds both together.
{
  const asked = new Map();
  const ask = (path) => {
    const answer = fetch(`/api/v1${path}`, {
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(15_000),
    });
    // Whoever takes it hears of a failure; one that nobody takes is none.
    answer.catch(() => {});
    asked.set(path, answer);
  };
  ask("/me");
  const session = /^#\/?s\/([^/]+)/.exec(location.hash)?.[1];
  if (session) {
    ask(`/sessions/${session}`);
    ask(`/sessions/${session}/events?before=${Number.MAX_SAFE_INTEGER}&limit=300`);
  }
  globalThis.volaryEarly = asked;
}
