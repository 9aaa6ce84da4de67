import { shownOption, abortError, AntiphonError, type Clock, sleep, type Timer } from '@antiphon/core';

/** Between two signs of life during work that is not timed. */
const PROGRESS_MS = 500;

/**
 * An AbortSignal that fires at a time of the Clock port, or with one of the outer signals. `end`
 * it, so that its timer does not stay behind.
 */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #stops: (() => void)[] = [];
  #timer: Timer | undefined;
  #atMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
    outers: readonly (AbortSignal | undefined)[] = [],
    /**
     * What was waited for, for the message of the TIMEOUT ("NATS answers"); or the error itself.
     */
    private readonly what: string | (() => AntiphonError) = 'NATS answers',
    /**
     * Told that something moves: at every renewal, and now and then during work that is not timed.
     */
    private readonly onProgress: () => void = () => undefined,
  ) {
    this.#restart();
    for (const outer of outers) if (outer !== undefined) this.#follow(outer);
  }

  #follow(outer: AbortSignal): void {
    const onAbort = (): void =>
      this.#controller.abort(abortError(outer, 'The caller gave up through its AbortSignal.'));
    if (outer.aborted) return onAbort();
    outer.addEventListener('abort', onAbort, { once: true });
    this.#stops.push(() => outer.removeEventListener('abort', onAbort));
  }

  /**
   * Something has moved: the whole time begins anew. For work of unknown length, where only silence
   * is a failure.
   */
  renew(): void {
    this.#restart();
    this.onProgress();
  }

  #restart(): void {
    this.#atMs = this.clock.monotonicMs() + this.timeoutMs;
    this.#arm();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = this.clock.setTimer(this.leftMs, () => this.#controller.abort(this.#timedOut()));
  }

  #timedOut(): AntiphonError {
    if (typeof this.what === 'function') return this.what();
    const message = `Timed out after ${Math.round(this.timeoutMs)} ms, waiting until ${this.what}.`;
    return new AntiphonError('TIMEOUT', `${message} See whether NATS answers, and \`antiphon status\`.`);
  }

  /**
   * Work of this process, however long it takes: waiting for it is waiting for nobody. What fails
   * has used its time.
   */
  async paused<T>(work: () => Promise<T>): Promise<T> {
    this.#timer?.cancel();
    const saying = this.#sayAgain();
    try {
      const result = await work();
      // Whoever tries the same again and again does not get on by that.
      this.#restart();
      return result;
    } catch (error) {
      this.#arm();
      throw error;
    } finally {
      saying.stop();
    }
  }

  #sayAgain(): { stop(): void } {
    let timer: Timer;
    const again = (): void => {
      this.onProgress();
      timer = this.clock.setTimer(PROGRESS_MS, again);
    };
    timer = this.clock.setTimer(PROGRESS_MS, again);
    return { stop: () => timer.cancel() };
  }

  /**
   * The result of `work`, or at the deadline the reason why it is no longer waited for. Throws
   * TIMEOUT, ABORTED, CLOSED.
   */
  race<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(abortError(signal, 'The caller gave up through its AbortSignal.'));
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
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
    this.#timer?.cancel();
    for (const stop of this.#stops) stop();
  }
}

/** As a caller gave it, if it did. Throws BAD_OPTION. */
export function assertTimeout(timeoutMs: unknown): void {
  if (timeoutMs === undefined || (typeof timeoutMs === 'number' && timeoutMs > 0)) return;
  throw new AntiphonError('BAD_OPTION', `\`timeoutMs\` is ${shownOption(timeoutMs)}. Give a number above 0.`);
}

const FIRST_DELAY_MS = 20;
const LONGEST_DELAY_MS = 1000;

/** The n-th wait (from 0) between tries: doubles up to a second, half of it left to chance. */
export function retryDelayMs(attempt: number, clock: Pick<Clock, 'random'>): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return full * (1 - 0.5 * clock.random());
}

function isRetriable(error: unknown): boolean {
  return error instanceof AntiphonError && error.retriable;
}

export interface RetryOptions {
  /** Which errors are worth another try. Defaults to the retriable ones. */
  readonly again?: (error: unknown) => boolean;
  /** The shortest wait between two tries. Defaults to 0: `retryDelayMs` decides. */
  readonly leastDelayMs?: number;
  /** Monotonic; no wait goes beyond it. Defaults to no limit. */
  readonly untilMs?: number;
}

/**
 * For work that has no deadline of its own: tries again until it succeeds, fails for good, or the
 * signal aborts. Throws the error of the last try, or during a wait the reason of the signal.
 */
export async function retryingUntilAborted<T>(
  clock: Clock,
  signal: AbortSignal,
  attempt: () => Promise<T>,
  { again = isRetriable, leastDelayMs = 0, untilMs = Infinity }: RetryOptions = {},
): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!again(error)) throw error;
      const delayMs = Math.max(leastDelayMs, retryDelayMs(tries, clock));
      if (clock.monotonicMs() + delayMs > untilMs) throw error;
      await sleep(clock, delayMs, signal);
    }
  }
}

/** Tries again while the error is retriable and time is left; then throws the last one. */
export async function retrying<T>(clock: Clock, deadline: Deadline, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetriable(error) || deadline.passed) throw error;
      const delayMs = retryDelayMs(tries, clock);
      if (delayMs >= deadline.leftMs) throw error;
      await sleep(clock, delayMs, deadline.signal);
    }
  }
}
