import type { Clock } from '../src/index.js';

/** A clock that only moves when it is told to. */
export interface ManualClock extends Clock {
  wallMs: number;
}

export function manualClock(wallMs: number): ManualClock {
  return {
    wallMs,
    nowMs() {
      return this.wallMs;
    },
    monotonicMs: () => 0,
    setTimer: () => ({ cancel: () => undefined }),
    yield: () => Promise.resolve(),
    random: () => 0,
  };
}
