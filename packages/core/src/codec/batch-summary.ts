import type { Batch, SyncSection } from '../model/transaction.js';

/** The head of a batch, without its dictionary and changes. */
export interface BatchSummary {
  readonly kind: 'transactions' | 'part';
  readonly origin: string;
  readonly firstCounter: number;
  /** Equal to `firstCounter` for a part. */
  readonly lastCounter: number;
  /** Of a part: where its bytes begin. 0 for whole transactions. */
  readonly offset: number;
  /** Of the body. */
  readonly bytes: number;
  /** False for a part that others follow. */
  readonly last: boolean;
  readonly epoch: number;
  readonly time: number;
  readonly schemaVersion: number;
  /** Present when the batch is a synchronous group. */
  readonly sync?: SyncSection;
}

/** The counter of its last transaction; of a part, that of its transaction. */
export function lastCounterOf(batch: Batch | BatchSummary): number {
  if ('lastCounter' in batch) return batch.lastCounter;
  return batch.kind === 'part' ? batch.firstCounter : batch.firstCounter + batch.transactions.length - 1;
}
