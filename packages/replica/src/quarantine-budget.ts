import type { ReplicaLimits } from './limits.js';

/** Keeps a flood of bad messages from filling the disk: beyond it they are counted only; the log still has them. */
export class QuarantineBudget {
  #bytes = 0;

  constructor(
    private readonly limits: Pick<ReplicaLimits, 'quarantinedMessages' | 'quarantinedBytes'>,
    private messages: number,
  ) {}

  /** Takes it from the budget when it fits. */
  admits(bytes: number): boolean {
    const { quarantinedMessages, quarantinedBytes } = this.limits;
    if (this.messages >= quarantinedMessages || this.#bytes + bytes > quarantinedBytes) return false;
    this.messages++;
    this.#bytes += bytes;
    return true;
  }
}
