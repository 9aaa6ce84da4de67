import type { StoreState } from '@antiphon/core';
import type { ReplicaLimits } from '../config/limits.js';

/**
 * Keeps a flood of bad messages from filling the disk: beyond it they are counted only; the log
 * still has them.
 */
export class QuarantineBudget {
  #messages: number;
  #bytes: number;

  /** `kept`: what the quarantine holds already. */
  constructor(
    private readonly limits: Pick<ReplicaLimits, 'quarantinedMessages' | 'quarantinedBytes'>,
    kept: Pick<StoreState, 'quarantined' | 'quarantinedBytes'>,
  ) {
    this.#messages = kept.quarantined;
    this.#bytes = kept.quarantinedBytes;
  }

  /** Takes it from the budget when it fits. */
  admits(bytes: number): boolean {
    const { quarantinedMessages, quarantinedBytes } = this.limits;
    if (this.#messages >= quarantinedMessages || this.#bytes + bytes > quarantinedBytes) return false;
    this.#messages++;
    this.#bytes += bytes;
    return true;
  }
}
