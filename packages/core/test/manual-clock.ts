import type { Clock } from '../src/index.js';

/** A clock that only moves when it is told to. */
export interface ManualClock extends Clock {
  wallMs: number;
  awakeMs: number;
  /** How long the machine has slept: its monotonic clock stood still meanwhile. */
  sleptMs: number;
  /** Time goes by, for both clocks alike. */
  pass(ms: number): void;
}

export function manualClock(wallMs: number): ManualClock {
  return {
    wallMs,
    awakeMs: 0,
    sleptMs: 0,
    pass(ms) {
      this.wallMs += ms;
      this.awakeMs += ms;
    },
    nowMs() {
      return this.wallMs;
    },
    monotonicMs() {
      return this.awakeMs;
    },
    uptimeMs() {
      return this.awakeMs + this.sleptMs;
    },
    setTimer: () => ({ cancel: () => undefined }),
    yield: () => Promise.resolve(),
    random: () => 0,
  };
}
