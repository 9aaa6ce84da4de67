import { abortError, AntiphonError, sleep, type Clock } from '@antiphon/core';

/** An AbortSignal that fires at a time of the Clock port. `end` it, so that its timer does not stay behind. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #end: () => void;
  readonly #atMs: number;

  constructor(
    private readonly clock: Clock,
    timeoutMs: number,
    outer?: AbortSignal,
  ) {
    this.#atMs = clock.monotonicMs() + timeoutMs;
    const onAbort = (): void =>
      this.#controller.abort(abortError(outer, 'the caller gave up through its AbortSignal'));
    const timer = clock.setTimer(timeoutMs, () =>
      this.#controller.abort(new AntiphonError('TIMEOUT', `no answer within ${timeoutMs} ms`)),
    );
    if (outer?.aborted === true) onAbort();
    else outer?.addEventListener('abort', onAbort, { once: true });
    this.#end = () => {
      timer.cancel();
      outer?.removeEventListener('abort', onAbort);
    };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Throws ABORTED when it was the caller who ended it. */
  assertWanted(): void {
    const reason: unknown = this.signal.reason;
    if (reason instanceof AntiphonError && reason.code === 'ABORTED') throw reason;
  }

  get leftMs(): number {
    return Math.max(0, this.#atMs - this.clock.monotonicMs());
  }

  get passed(): boolean {
    return this.#controller.signal.aborted || this.leftMs === 0;
  }

  end(): void {
    this.#end();
  }
}

const FIRST_DELAY_MS = 20;
const LONGEST_DELAY_MS = 1000;

/** The n-th wait (from 0) between tries: doubles up to a second, half of it left to chance. */
export function retryDelayMs(attempt: number, clock: Clock): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return full * (1 - 0.5 * clock.random());
}

/** Tries again while the error is retriable and time is left; then throws the last one. */
export async function retrying<T>(clock: Clock, deadline: Deadline, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof AntiphonError) || !error.retriable || deadline.passed) throw error;
      const delayMs = retryDelayMs(tries, clock);
      if (delayMs >= deadline.leftMs) throw error;
      await sleep(clock, delayMs, deadline.signal);
    }
  }
}
