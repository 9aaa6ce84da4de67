import {
  abortError,
  AntiphonError,
  type Clock,
  counterOf,
  type Store,
  type VectorClock,
  sentence,
} from '@antiphon/core';

import type { Health } from './health.js';

interface Waiter {
  readonly reached: () => boolean;
  readonly done: () => void;
  readonly failed: (error: AntiphonError) => void;
}

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** For the message of a TIMEOUT: "everything is published". */
  readonly what: string;
}

/** As `Progress.until`, and ends with why replication has stopped, when it has. */
export async function untilReplicated(
  progress: Pick<Progress, 'until'>,
  health: Pick<Health, 'replicating' | 'stopped'>,
  reached: () => boolean,
  options: WaitOptions,
): Promise<void> {
  await progress.until(() => reached() || !health.replicating, options);
  const { stopped } = health;
  if (stopped !== undefined && !reached()) throw stopped;
}

/**
 * A way to wait for this replica to get somewhere. Whoever moves something calls `moved`, when all
 * of it has moved.
 */
export class Progress {
  #ended: AntiphonError | undefined;
  readonly #waiters = new Set<Waiter>();
  readonly #listeners = new Set<() => void>();

  constructor(
    private readonly store: Store<unknown>,
    private readonly clock: Clock,
    private readonly id: string,
    /** Why it may take long, for the message of a TIMEOUT. */
    private readonly obstacle: () => string | undefined = () => undefined,
  ) {}

  /** Without holes; own transactions included. */
  get vector(): VectorClock {
    return this.store.state().vector;
  }

  get unpublished(): number {
    const { lastCounter, publishedCounter, spentCounter } = this.store.state();
    // Numbers of what was rewound stand for nothing that could be sent.
    return Math.max(0, lastCounter - Math.max(publishedCounter, spentCounter));
  }

  get ownCounter(): number {
    return counterOf(this.vector, this.id);
  }

  moved(): void {
    for (const waiter of [...this.#waiters]) if (waiter.reached()) waiter.done();
    for (const listener of [...this.#listeners]) listener();
  }

  onMove(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nothing moves any more: whoever waits, now or later, gets this error. */
  end(error: AntiphonError): void {
    this.#ended = error;
    for (const waiter of [...this.#waiters]) waiter.failed(error);
  }

  /** Throws TIMEOUT, ABORTED, CLOSED. */
  until(reached: () => boolean, options: WaitOptions): Promise<void> {
    const { timeoutMs, signal, what } = options;
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    if (signal?.aborted === true)
      return Promise.reject(abortError(signal, `The caller gave up waiting until ${what}.`));
    if (reached()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer?.cancel();
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
      };
      const fail = (error: AntiphonError): void => {
        end();
        reject(this.#explained(error));
      };
      const onAbort = (): void => fail(abortError(signal, `The caller gave up waiting until ${what}.`));
      const waiter: Waiter = {
        reached,
        done: () => {
          end();
          resolve();
        },
        failed: fail,
      };
      const timer = Number.isFinite(timeoutMs)
        ? this.clock.setTimer(timeoutMs, () => fail(timedOut(what, timeoutMs)))
        : undefined;
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Whoever set the deadline knows less about what is in the way. */
  #explained(error: AntiphonError): AntiphonError {
    const obstacle = this.obstacle();
    if (error.code !== 'TIMEOUT' || obstacle === undefined) return error;
    return new AntiphonError('TIMEOUT', `${error.message} The obstacle: ${sentence(obstacle)}`, {
      cause: error,
    });
  }
}

function timedOut(what: string, timeoutMs: number): AntiphonError {
  const message = `Timed out after ${Math.round(timeoutMs)} ms, waiting until ${what}. See \`antiphon status\`.`;
  return new AntiphonError('TIMEOUT', message);
}
