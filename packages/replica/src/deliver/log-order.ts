import {
  AntiphonError,
  type Batch,
  BatchOrder,
  decodeBatches,
  type IntakeRules,
  type LogEntry,
  refuseBatch,
  type VectorClock,
} from '@antiphon/core';

/** Which entries count, as `BatchOrder` says of what is in them. */
export class LogOrder {
  readonly #order: BatchOrder;

  /** `applied`: as of `BatchOrder`. */
  constructor(
    private readonly rules: IntakeRules,
    applied?: VectorClock,
  ) {
    this.#order = new BatchOrder(applied);
  }

  /** To be asked about every entry of an origin, in the order of the log. */
  counts(entry: LogEntry): boolean {
    const counting = batchesOf(entry).filter(
      (batch) =>
        batch.origin === entry.origin &&
        refuseBatch(entry, batch, this.rules) === undefined &&
        this.#order.counts(batch),
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
