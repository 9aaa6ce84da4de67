import { abortError, AntiphonError, type Clock, type Timer } from '@antiphon/core';

export interface LocalWriteOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * One asynchronous write, from its call to its outcome. Until its function runs, the caller can
 * give up, and it never runs then. From there on the database decides within moments, and the
 * caller is told what it decided: a limit that said TIMEOUT or ABORTED of a write that is committed
 * a moment later would make callers write twice.
 */
export class LocalWrite<T> {
  place = -1;
  readonly #untilMs: number;
  readonly #timer: Timer;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void =>
    this.#give(abortError(this.#signal, 'The caller gave up before the write ran. Nothing was written.'));
  #running = false;
  #givenUp: AntiphonError | undefined;
  #reject: ((error: AntiphonError) => void) | undefined;

  constructor(
    private readonly work: (tx: unknown) => T,
    { timeoutMs, signal }: LocalWriteOptions,
    private readonly clock: Clock,
  ) {
    this.#untilMs = clock.monotonicMs() + timeoutMs;
    this.#timer = clock.setTimer(timeoutMs, () => this.#give(timedOut(timeoutMs)));
    this.#signal = signal;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get leftMs(): number {
    return this.#untilMs - this.clock.monotonicMs();
  }

  /** In the database's transaction. Throws what its caller was told when nobody waits any more. */
  readonly run = (tx: unknown): T => {
    if (this.#givenUp !== undefined) throw this.#givenUp;
    this.#running = true;
    return this.work(tx);
  };

  /** The outcome of one attempt; TIMEOUT, ABORTED or `giveUp` while it has not begun to run. */
  attempt<O>(ask: () => Promise<O>): Promise<O> {
    if (this.#givenUp !== undefined) return Promise.reject(this.#givenUp);
    this.#running = false;
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      ask().then(resolve, reject);
    });
  }

  /** Before the next attempt. Throws ABORTED. */
  async pause(delayMs: number): Promise<void> {
    this.#running = false;
    await this.attempt(() => new Promise<void>((resolve) => this.clock.setTimer(delayMs, resolve)));
  }

  giveUp(error: AntiphonError): void {
    this.#give(error);
  }

  end(): void {
    this.#timer.cancel();
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #give(error: AntiphonError): void {
    if (this.#running || this.#givenUp !== undefined) return;
    this.#givenUp = error;
    this.#reject?.(error);
  }
}

function timedOut(timeoutMs: number): AntiphonError {
  return new AntiphonError(
    'TIMEOUT',
    `The write did not begin within ${Math.round(timeoutMs)} ms: other writes, or another program, were before it. Nothing was written. Try again.`,
  );
}
