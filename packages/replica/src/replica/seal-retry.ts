import { type AntiphonError, sentence } from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';
import type { Scope } from '../state/scope.js';

const ALARM = 'seal';
/** Another program's transaction may last; the wait for its lock is no news before this. */
const BUSY_PATIENCE_MS = 5000;

const WAY_OUT: Partial<Record<AntiphonError['code'], string>> = {
  STORE_BUSY: "End the other program's transaction",
  STORE_FULL: 'Free disk space',
  STORE_UNAVAILABLE: 'Check the disk, the permissions and the limits of this process (`ulimit -a`)',
  STORE_FAILED: 'Check the file and its disk',
};

/**
 * When captured writes are sealed again after it failed. They are safe in the database meanwhile;
 * whatever may pass is tried again, with growing waits so that a broken disk is not asked a hundred
 * times a second.
 */
export class SealRetry {
  #failures = 0;
  #sinceMs = 0;
  #notBeforeMs = 0;

  constructor(private readonly scope: Scope) {}

  get due(): boolean {
    return this.#failures === 0 || this.scope.clock.monotonicMs() >= this.#notBeforeMs;
  }

  /** It succeeded, or something else is in the way now and it is not tried any more. */
  over(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    this.scope.health.clearAlarm(ALARM);
  }

  /** True when it is tried again; false when that would change nothing. */
  failed(error: AntiphonError): boolean {
    if (!error.retriable && error.code !== 'STORE_FAILED') return false;
    const { counters, clock, health } = this.scope;
    const nowMs = clock.monotonicMs();
    if (this.#failures === 0) this.#sinceMs = nowMs;
    counters.storeRetries++;
    const wayOut = WAY_OUT[error.code];
    // What has an alarm of its own (clocks, an attempt without an answer), or passes in a moment.
    if (wayOut === undefined) return true;
    const delayMs = retryDelayMs(this.#failures++, clock);
    // The wait for the lock was long enough already.
    this.#notBeforeMs = error.code === 'STORE_BUSY' ? nowMs : nowMs + delayMs;
    if (error.code === 'STORE_BUSY' && nowMs - this.#sinceMs < BUSY_PATIENCE_MS) return true;
    health.alarm(
      ALARM,
      `Writes of this database wait to be published: ${sentence(error.message)} ` +
        `${wayOut}. The replica retries and resumes automatically.`,
    );
    return true;
  }
}
