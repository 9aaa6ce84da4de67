import { counterOf, type VectorClock } from '../clocks/vector-clock.js';
import { isWhole } from '../cluster/reserved.js';
import type { Batch } from '../model/transaction.js';
import type { LogIdentity } from '../ports/log.js';
import { admit, admitted, type AdmissionState } from './admission.js';
import { inEpoch } from './epoch.js';
import type { EpochRecord } from '../model/epoch-record.js';

/**
 * Which batches count, by their order in the log alone: an origin's next transaction counts where
 * it stands behind the one before it. What came too early was dropped by every replica, and its
 * origin published it again, after a loss of power with another content: whoever reads the log a
 * second time, knowing more, must not take the early one.
 */
export class BatchOrder {
  #state: AdmissionState = { vector: {}, partial: {} };
  readonly #met = new Set<string>();

  /**
   * Where entries of the log are missing, what is `applied` counts as having stood there: in front
   * of the first batch that is met of its origin or anywhere. Absent: the log is whole.
   */
  constructor(
    private readonly applied?: VectorClock,
    private readonly missing: 'in front' | 'anywhere' = 'anywhere',
  ) {}

  /** For all entries of such a log. */
  static of(identity: LogIdentity, applied: VectorClock): BatchOrder {
    if (isWhole(identity)) return new BatchOrder();
    return new BatchOrder(applied, (identity.removed ?? 0) === 0 ? 'in front' : 'anywhere');
  }

  /** To be asked about every batch of an origin that is not refused, in the order of the log. */
  counts(batch: Batch): boolean {
    if (admit(this.#state, batch).type === 'hole') this.#step(batch);
    if (admit(this.#state, batch).type !== 'apply') return false;
    this.#state = admitted(this.#state, batch);
    this.#met.add(batch.origin);
    return true;
  }

  /** An epoch begins with the next entry. */
  begins(record: EpochRecord): void {
    this.#state = inEpoch(this.#state, record);
  }

  /** Over what is missing in the log, and applied. */
  #step({ origin, firstCounter }: Batch): void {
    if (this.applied === undefined || firstCounter - 1 > counterOf(this.applied, origin)) return;
    if (this.missing === 'in front' && this.#met.has(origin)) return;
    const { vector, partial } = this.#state;
    this.#state = { vector: { ...vector, [origin]: firstCounter - 1 }, partial };
  }
}
