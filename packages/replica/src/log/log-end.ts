import type { Clock } from '@antiphon/core';

/** The end of the log as it was last seen, and how far behind it this replica is. */
export class LogEnd {
  #seq = 0;
  #seenAtMs = 0;
  #inStepAtMs: number;
  readonly #listeners = new Set<(seq: number) => void>();

  constructor(private readonly clock: Clock) {
    this.#inStepAtMs = clock.monotonicMs();
  }

  get seq(): number {
    return this.#seq;
  }

  /** Wall time. */
  get seenAtMs(): number {
    return this.#seenAtMs;
  }

  seen(seq: number): void {
    this.#seq = seq;
    this.#seenAtMs = this.clock.nowMs();
    for (const listener of [...this.#listeners]) listener(seq);
  }

  onSeen(listener: (seq: number) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  inStep(): void {
    this.#inStepAtMs = this.clock.monotonicMs();
  }

  lagMessages(appliedSeq: number): number {
    return Math.max(0, this.#seq - appliedSeq);
  }

  /** Since this replica was last in step; 0 when it is. */
  lagSeconds(appliedSeq: number): number {
    if (this.lagMessages(appliedSeq) === 0) return 0;
    return (this.clock.monotonicMs() - this.#inStepAtMs) / 1000;
  }
}
