import {
  type AdmissionState,
  admit,
  admitted,
  AntiphonError,
  type Batch,
  counterOf,
  decodeBatches,
  type IntakeRules,
  type LogEntry,
  refuseBatch,
  type VectorClock,
} from '@antiphon/core';

/**
 * Which entries count, by their order in the log alone: an origin's next transaction counts where
 * it stands behind the one before it. What came too early was dropped by every replica, and its
 * origin published it again, after a loss of power with another content: whoever reads the log a
 * second time, knowing more, must not take the early one.
 */
export class LogOrder {
  #state: AdmissionState = { vector: {}, partial: {} };

  /**
   * `applied`: where entries of the log are missing, what is applied counts as having stood there.
   * Absent: the log is whole.
   */
  constructor(
    private readonly rules: IntakeRules,
    private readonly applied?: VectorClock,
  ) {}

  /** To be asked about every entry of an origin, in the order of the log. */
  counts(entry: LogEntry): boolean {
    let counts = false;
    for (const batch of batchesOf(entry)) {
      if (batch.origin !== entry.origin || refuseBatch(entry, batch, this.rules) !== undefined) continue;
      if (admit(this.#state, batch).type === 'hole') this.#step(batch);
      if (admit(this.#state, batch).type !== 'apply') continue;
      this.#state = admitted(this.#state, batch);
      counts = true;
    }
    return counts;
  }

  /** Over what is missing in the log, and applied. */
  #step({ origin, firstCounter }: Batch): void {
    if (this.applied === undefined || firstCounter - 1 > counterOf(this.applied, origin)) return;
    const { vector, partial } = this.#state;
    this.#state = { vector: { ...vector, [origin]: firstCounter - 1 }, partial };
  }
}

/** None of what cannot be read. */
function batchesOf({ data }: LogEntry): readonly Batch[] {
  try {
    return decodeBatches(data);
  } catch (error) {
    if (error instanceof AntiphonError) return [];
    throw error;
  }
}
