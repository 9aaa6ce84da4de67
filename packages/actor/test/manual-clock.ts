import type { Clock, Timer } from '@antiphon/core';
import { setImmediate as immediate } from 'node:timers/promises';

interface Pending {
  readonly atMs: number;
  readonly fire: () => void;
}

/** Time stands still until a test moves it. */
export class ManualClock implements Clock {
  /** What `random` returns. */
  chance = 0;
  yields = 0;
  #nowMs = 0;
  readonly #timers = new Set<Pending>();

  get pending(): number {
    return this.#timers.size;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  random(): number {
    return this.chance;
  }

  yield(): Promise<void> {
    this.yields++;
    return immediate();
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, fire };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Moves time without firing anything: work that takes long. */
  spend(ms: number): void {
    this.#nowMs += ms;
  }

  /**
   * Fires what is due on the way, in order of time, letting everything that follows happen in
   * between.
   */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await idle();
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#timers.delete(next);
      next.fire();
      await idle();
    }
    this.#nowMs = untilMs;
  }

  #next(untilMs: number): Pending | undefined {
    const due = [...this.#timers].filter((timer) => timer.atMs <= untilMs);
    return due.sort((left, right) => left.atMs - right.atMs)[0];
  }
}

/** Everything that can happen without time passing has happened. */
export async function idle(): Promise<void> {
  for (let round = 0; round < 5; round++) await immediate();
}
