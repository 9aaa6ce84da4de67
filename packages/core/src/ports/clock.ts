import { abortError } from '../errors/antiphon-error.js';

export interface Timer {
  cancel(): void;
}

/**
 * Time, timers and chance. The only source of them in core, actor and replica, so that a simulation
 * can replay a run exactly. Real clocks: `systemClock()` of this package.
 */
export interface Clock {
  /** Wall time, milliseconds since 1970; may jump. */
  nowMs(): number;
  /** Never goes back; for durations only. */
  monotonicMs(): number;
  /**
   * As `monotonicMs`, from another beginning and more coarsely, but goes on while the machine
   * sleeps. Absent where nothing ever sleeps, or where `monotonicMs` goes on then.
   */
  uptimeMs?(): number;
  /** Fires once, never inside the call itself; does not keep the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
  /**
   * Keeps the process alive until it is cancelled: for what somebody waits for while only timers
   * that do not keep it alive are left. Absent where a process does not end by itself.
   */
  keepAlive?(): Timer;
  /** Gives timers and I/O a turn before it resolves. */
  yield(): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

/**
 * Rejects with ABORTED when the signal ends it first, or with the signal's reason where that is an
 * AntiphonError already.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(abortError(signal, 'The wait was given up.'));
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = (): void => {
      timer.cancel();
      reject(abortError(signal, 'The wait was given up.'));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
