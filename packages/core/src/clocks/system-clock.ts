import { uptime } from 'node:os';
// The global one is looked up by a getter, each time.
import { performance } from 'node:perf_hooks';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock, Timer } from '../ports/clock.js';

/** `setTimeout` fires at once when asked for more. */
const MAX_TIMER_MS = 2_147_483_647;

/** The real clock. Its timers do not keep the process alive. */
export function systemClock(): Clock {
  return {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    uptimeMs: () => uptime() * 1000,
    setTimer: (delayMs, fire): Timer => {
      const timer = setTimeout(fire, Math.min(Math.max(delayMs, 0), MAX_TIMER_MS));
      timer.unref();
      return { cancel: () => clearTimeout(timer) };
    },
    keepAlive: (): Timer => {
      const timer = setInterval(() => undefined, MAX_TIMER_MS);
      return { cancel: () => clearInterval(timer) };
    },
    // A macrotask after the poll phase: timers and I/O get their turn, which a microtask would not
    // give them.
    yield: () => immediate(),
    random: () => Math.random(),
  };
}
