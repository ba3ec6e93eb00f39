// SPDX-License-Identifier: Apache-2.0
// Waiting for conditions. No test sleeps for a fixed time: it waits until something holds, and
// fails with a sentence that says what did not.

const kPollMs = 15;
/** Long enough for a loaded two-core machine with sanitizers; a green test never waits it out. */
export const kPatienceMs = 60_000;

/** Polls `probe` until it returns something truthy, and returns that. */
export async function until(what, probe, timeout = kPatienceMs) {
  const deadline = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`gave up waiting until ${what}${last ? `: ${last.message}` : ""}`, {
        cause: last,
      });
    }
    await new Promise((done) => setTimeout(done, kPollMs));
  }
}

/** The promise's value, or an error that names `what` after `timeout` ms. */
export function within(what, promise, timeout = kPatienceMs) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`gave up waiting for ${what}`)), timeout);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
