import { retryDelayMs } from '../wait/deadline.js';

/** While the log takes nothing and nobody writes, so often it is asked to take a no-op group. */
const PROBE_EVERY_MS = 1000;
const MAX_DOUBLINGS = 4;

/** When something failed, and a number of chance from 0 to 1: for when it is tried again. */
export interface Moment {
  readonly nowMs: number;
  readonly chance: number;
}

/** The log does not take what the committer sends. All times are monotonic. */
export interface LogTrouble {
  /** Tries in a row that failed. */
  readonly failures: number;
  /** No try before this. */
  readonly notBeforeMs: number;
  readonly probeNotBeforeMs: number;
}

export const NO_TROUBLE: LogTrouble = { failures: 0, notBeforeMs: 0, probeNotBeforeMs: 0 };

/** A try failed: the next one waits, longer each time. */
export function backedOff(trouble: LogTrouble, { nowMs, chance }: Moment): LogTrouble {
  const { failures } = trouble;
  const delayMs = retryDelayMs(Math.min(failures, MAX_DOUBLINGS), { random: () => chance });
  return { ...trouble, failures: failures + 1, notBeforeMs: nowMs + delayMs };
}

export function isPausing({ notBeforeMs }: LogTrouble, nowMs: number): boolean {
  return nowMs < notBeforeMs;
}

/**
 * Only trying tells whether the log takes something again: without writes, the alarm would outlast
 * its cause until somebody writes.
 */
export function isProbeDue(
  { probeNotBeforeMs }: LogTrouble,
  { probes, nowMs }: { readonly probes: boolean; readonly nowMs: number },
): boolean {
  return probes && nowMs >= probeNotBeforeMs;
}

export function probed(trouble: LogTrouble, nowMs: number): LogTrouble {
  return { ...trouble, probeNotBeforeMs: nowMs + PROBE_EVERY_MS };
}
