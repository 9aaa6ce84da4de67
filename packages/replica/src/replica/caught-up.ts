import { checkOptions, type OptionNames } from '@antiphon/core';
import { untilReplicated } from '../state/progress.js';
import type { Scope } from '../state/scope.js';
import { assertTimeout, Deadline } from '../wait/deadline.js';

/** How long to wait for this replica to catch up. */
export interface CaughtUpOptions {
  /**
   * How long to wait, in milliseconds; TIMEOUT after that.
   * @defaultValue 30 000
   */
  readonly timeoutMs?: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal;
}

const DEFAULT_CAUGHT_UP_MS = 30_000;
const CAUGHT_UP_OPTIONS: OptionNames<CaughtUpOptions> = { timeoutMs: true, signal: true };

/** Throws TIMEOUT, LOG_UNAVAILABLE, CLOSED, BAD_OPTION, and why the replica has stopped. */
export async function caughtUp(scope: Scope, options: CaughtUpOptions): Promise<void> {
  const { positions, progress, log, health, clock, closing } = scope;
  checkOptions(options, CAUGHT_UP_OPTIONS, 'caughtUp()');
  const { timeoutMs = DEFAULT_CAUGHT_UP_MS, signal } = options;
  assertTimeout(timeoutMs);
  const { stopped } = health;
  if (stopped !== undefined) throw stopped;
  const deadline = new Deadline(clock, timeoutMs, [signal, closing], 'the log says how far it goes');
  try {
    const { lastSeq } = await deadline.race(log.identity(deadline.signal));
    positions.sawEnd(Math.max(lastSeq, positions.end));
    await untilReplicated(progress, health, () => positions.applied >= lastSeq, {
      timeoutMs: deadline.leftMs,
      what: `everything up to entry ${lastSeq} of the log is applied here`,
      signal: deadline.signal,
    });
  } finally {
    deadline.end();
  }
}
