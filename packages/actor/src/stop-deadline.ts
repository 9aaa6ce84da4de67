import type { Clock, Timer } from '@antiphon/core';

/** What waiting for an actor's work ends with once its stop deadline has passed. */
export const ABANDONED = new Error('abandoned at its stop deadline');

/** Keeps ending an actor bounded: work that outlasts the deadline is no longer waited for. */
export class StopDeadline {
  #atMs = Infinity;
  #timer: Timer | undefined;
  #overdue = false;
  #interrupt: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  get atMs(): number {
    return this.#atMs;
  }

  /** Monotonic time. An earlier deadline replaces a later one, never the reverse. */
  set(atMs: number): void {
    if (this.#atMs <= atMs) return;
    this.clear();
    this.#atMs = atMs;
    this.#timer = this.clock.setTimer(Math.max(0, atMs - this.clock.monotonicMs()), () => {
      this.#overdue = true;
      this.#interrupt?.();
    });
  }

  clear(): void {
    this.#timer?.cancel();
    this.#atMs = Infinity;
    this.#overdue = false;
  }

  /** Rejects with ABANDONED when the deadline passes first. One piece of work at a time. */
  bounded<T>(work: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // Handled even when overdue: a late failure of abandoned work must not end the process.
      work.then(resolve, reject);
      if (this.#overdue) reject(ABANDONED);
      else this.#interrupt = () => reject(ABANDONED);
    });
  }
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
