import {
  AntiphonError,
  type Batch,
  type BatchOrder,
  decodeBatches,
  type IntakeRules,
  type LogEntry,
  refuseBatch,
} from '@antiphon/core';

/** Which entries count, as `BatchOrder` says of what is in them. */
export class LogOrder {
  constructor(
    private readonly rules: IntakeRules,
    private readonly order: BatchOrder,
  ) {}

  /** To be asked about every entry of an origin, in the order of the log. */
  counts(entry: LogEntry): boolean {
    const counting = batchesOf(entry).filter(
      (batch) =>
        batch.origin === entry.origin &&
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
