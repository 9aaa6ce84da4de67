import type { Clock } from '@antiphon/core';
import type { ReadSettings } from '../config/reads.js';

/** How clients that spread their reads see a replica. */
export interface ServingStatus {
  readonly weight: number;
  readonly zone?: string;
  /** Since when clients send no new reads here, wall time, because somebody said so. */
  readonly drainedSinceMs?: number;
}

/** Takes a replica out of service before something is done to it, and back. */
export interface ReadsAccess {
  /**
   * Clients that spread their reads over the replicas send no new ones here, until `resume` or the
   * end of this process; it is not `ready` meanwhile. It follows as before, takes writes as before,
   * and answers whoever asks it by name. Idempotent.
   */
  drain(): void;
  /** They send some again. Idempotent. */
  resume(): void;
  /** As `replica.status().reads`. */
  readonly status: ServingStatus;
}

/** Whether clients send reads here, and how many. */
export class Serving implements ReadsAccess {
  #drainedSinceMs: number | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(
    private readonly settings: ReadSettings,
    private readonly clock: Clock,
  ) {}

  get isDrained(): boolean {
    return this.#drainedSinceMs !== undefined;
  }

  get status(): ServingStatus {
    const since = this.#drainedSinceMs;
    return { ...this.settings, ...(since !== undefined && { drainedSinceMs: since }) };
  }

  drain(): void {
    if (this.isDrained) return;
    this.#drainedSinceMs = this.clock.nowMs();
    this.#changed();
  }

  resume(): void {
    if (!this.isDrained) return;
    this.#drainedSinceMs = undefined;
    this.#changed();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
