import { AntiphonError, counterOf, type Clock, type Store, type VectorClock } from '@antiphon/core';

interface Waiter {
  readonly reached: () => boolean;
  readonly done: () => void;
}

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** What is waited for, for the message of a TIMEOUT. */
  readonly what: string;
}

/** How far this replica is, and a way to wait for it to get somewhere. Whoever moves something calls `moved`. */
export class Progress {
  /** Last sequence of the log that was dealt with, perhaps not yet durably so. */
  #seq = 0;
  readonly #waiters = new Set<Waiter>();
  readonly #listeners = new Set<() => void>();

  constructor(
    private readonly store: Store<unknown>,
    private readonly clock: Clock,
    private readonly id: string,
  ) {}

  get seq(): number {
    return this.#seq;
  }

  /** Without holes; own transactions included. */
  get vector(): VectorClock {
    return this.store.state().vector;
  }

  get unpublished(): number {
    const { lastCounter, publishedCounter } = this.store.state();
    return Math.max(0, lastCounter - publishedCounter);
  }

  get ownCounter(): number {
    return counterOf(this.vector, this.id);
  }

  moved(seq?: number): void {
    if (seq !== undefined && seq > this.#seq) this.#seq = seq;
    for (const waiter of [...this.#waiters]) if (waiter.reached()) waiter.done();
    for (const listener of [...this.#listeners]) listener();
  }

  onMove(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Throws TIMEOUT, ABORTED. */
  until(reached: () => boolean, options: WaitOptions): Promise<void> {
    const { timeoutMs, signal, what } = options;
    if (signal?.aborted === true) return Promise.reject(aborted(what, signal));
    if (reached()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer?.cancel();
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        end();
        reject(aborted(what, signal));
      };
      const waiter: Waiter = {
        reached,
        done: () => {
          end();
          resolve();
        },
      };
      const timer = Number.isFinite(timeoutMs)
        ? this.clock.setTimer(timeoutMs, () => {
            end();
            reject(new AntiphonError('TIMEOUT', `${what} did not happen within ${timeoutMs} ms; see status`));
          })
        : undefined;
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

function aborted(what: string, signal: AbortSignal | undefined): AntiphonError {
  const reason: unknown = signal?.reason;
  if (reason instanceof AntiphonError) return reason;
  return new AntiphonError('ABORTED', `the caller gave up waiting until ${what}`, { cause: reason });
}
