// SPDX-License-Identifier: Apache-2.0
// A clock that tests turn.

export class FakeClock {
  time = 1_000_000;
  private next = 1;
  private readonly timers = new Map<number, { at: number; run: () => void }>();

  now = () => this.time;

  later = (run: () => void, ms: number) => {
    const id = this.next++;
    this.timers.set(id, { at: this.time + ms, run });
    return id;
  };

  cancel = (timer: number) => {
    this.timers.delete(timer);
  };

  /** Lets `ms` pass, running what falls due in order. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end);
      const first = due.sort((a, b) => a[1].at - b[1].at)[0];
      if (!first) break;
      this.timers.delete(first[0]);
      this.time = first[1].at;
      first[1].run();
    }
    this.time = end;
  }
}

/** Lets every settled promise run its continuation. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}
