import type { AntiphonError } from '@antiphon/core';
import { retryDelayMs } from '../wait/deadline.js';
import { alarmPublish, endPublishAlarm, isPublishAlarmed } from '../publish/publish-alarm.js';
import type { Scope } from '../state/scope.js';

/** While the log takes nothing and nobody writes, so often it is asked to take an empty group. */
const PROBE_EVERY_MS = 1000;
const MAX_DOUBLINGS = 4;

/** The log does not take what the committer sends: for how many tries, and when the next one is due. */
export class LogTrouble {
  #failures = 0;
  #notBeforeMs = 0;
  #probeNotBeforeMs = 0;

  constructor(private readonly scope: Scope) {}

  get pauses(): boolean {
    return this.scope.clock.monotonicMs() < this.#notBeforeMs;
  }

  /**
   * Only trying tells whether the log takes something again: without writes, the alarm would outlast its
   * cause until somebody writes. Nobody accepts a group of a replica that may not write.
   */
  get isProbeDue(): boolean {
    const { authority, condition, clock } = this.scope;
    return (
      authority.current().mayWrite &&
      isPublishAlarmed(condition) &&
      clock.monotonicMs() >= this.#probeNotBeforeMs
    );
  }

  takeProbe(): boolean {
    if (!this.isProbeDue) return false;
    this.#probeNotBeforeMs = this.scope.clock.monotonicMs() + PROBE_EVERY_MS;
    return true;
  }

  /** Refused, or not answered. */
  refused(error: AntiphonError): void {
    alarmPublish(this.scope.condition, this.#failures, error, 'synchronous writes');
  }

  backOff(): void {
    const { clock } = this.scope;
    const delayMs = retryDelayMs(Math.min(this.#failures++, MAX_DOUBLINGS), clock);
    this.#notBeforeMs = clock.monotonicMs() + delayMs;
  }

  over(): void {
    this.#failures = 0;
    endPublishAlarm(this.scope.condition);
  }
}
