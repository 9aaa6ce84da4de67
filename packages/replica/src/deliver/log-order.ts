import {
  AntiphonError,
  type Batch,
  type BatchOrder,
  decodeBatches,
  type IntakeRules,
  type LogEntry,
  refuseBatch,
  type Epoch,
  EpochFold,
  isFenced,
} from '@antiphon/core';

/** Which entries count, as `BatchOrder` says of what is in them. */
export class LogOrder {
  readonly #epochs: EpochFold;

  constructor(
    private readonly rules: IntakeRules,
    private readonly order: BatchOrder,
    /** That holds in front of the first entry. */
    epoch: Epoch,
  ) {
    this.#epochs = new EpochFold(epoch);
  }

  /**
   * To be asked about every entry of an origin, and every record of an epoch, in the order of the
   * log.
   */
  counts(entry: LogEntry): boolean {
    const record = this.#epochs.take(entry);
    if (record !== undefined) this.order.begins(record);
    const counting = batchesOf(entry).filter(
      (batch) =>
        batch.origin === entry.origin &&
        !isFenced(this.#epochs.current, batch) &&
        refuseBatch(entry, batch, this.rules) === undefined &&
        this.order.counts(batch),
    );
    return counting.length > 0;
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
