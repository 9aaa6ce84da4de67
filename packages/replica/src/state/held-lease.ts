import type { Clock } from '@antiphon/core';

/**
 * Until when this replica may believe that nobody else takes its place as the primary. No lease is
 * needed for safety, which the order of the log brings: it bounds what a primary that is cut off
 * commits and the log does not get.
 */
export class HeldLease {
  #untilMs = -Infinity;
  #isForfeited = false;
  #renewedElsewhere: () => number = () => -Infinity;
  readonly #listeners = new Set<() => void>();

  constructor(
    private readonly clock: Clock,
    /** False: there are no leases, and writes wait for none. */
    readonly isNeeded: boolean,
    /** False: a primary that is cut off writes on without it (`onIsolation: continue`). */
    private readonly isBinding = true,
  ) {}

  /** Nothing is to be written, by anybody, until it is back. */
  get bars(): boolean {
    return this.isBinding && !this.isValid;
  }

  get isValid(): boolean {
    return !this.isNeeded || this.leftMs > 0;
  }

  /** Milliseconds; 0 when it has run out. */
  get leftMs(): number {
    if (this.#isForfeited) return 0;
    const nowMs = this.clock.monotonicMs();
    const untilMs = this.#untilMs > nowMs ? this.#untilMs : this.#renewedElsewhere();
    return Math.max(0, untilMs - nowMs);
  }

  /**
   * Asked when it seems to have run out, also in the middle of a write that keeps this thread:
   * another one may have renewed it, until then.
   */
  renewedBy(untilMs: () => number): void {
    this.#renewedElsewhere = untilMs;
  }

  /** By the monotonic clock; -Infinity: not any more. */
  set(untilMs: number): void {
    if (untilMs === this.#untilMs) return;
    this.#untilMs = untilMs;
    this.#tell();
  }

  /** The log has the epoch of another primary, which this database has not come to yet. */
  forfeit(): void {
    this.#isForfeited = true;
    this.#tell();
  }

  get isForfeited(): boolean {
    return this.#isForfeited;
  }

  /** In an epoch of its own. */
  begin(): void {
    this.#isForfeited = false;
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
