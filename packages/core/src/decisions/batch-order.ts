import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import type { Batch } from '../model/transaction.js';
import { admit, admitted, type AdmissionState } from './admission.js';

/**
 * Which batches count, by their order in the log alone: an origin's next transaction counts where
 * it stands behind the one before it. What came too early was dropped by every replica, and its
 * origin published it again, after a loss of power with another content: whoever reads the log a
 * second time, knowing more, must not take the early one.
 */
export class BatchOrder {
  #state: AdmissionState = { vector: {}, partial: {} };

  /**
   * `applied`: where entries of the log are missing, what is applied counts as having stood there.
   * Absent: the log is whole.
   */
  constructor(private readonly applied?: VectorClock) {}

  /** To be asked about every batch of an origin that is not refused, in the order of the log. */
  counts(batch: Batch): boolean {
    if (admit(this.#state, batch).type === 'hole') this.#step(batch);
    if (admit(this.#state, batch).type !== 'apply') return false;
    this.#state = admitted(this.#state, batch);
    return true;
  }

  /** Over what is missing in the log, and applied. */
  #step({ origin, firstCounter }: Batch): void {
    if (this.applied === undefined || firstCounter - 1 > counterOf(this.applied, origin)) return;
    const { vector, partial } = this.#state;
    this.#state = { vector: { ...vector, [origin]: firstCounter - 1 }, partial };
  }
}
